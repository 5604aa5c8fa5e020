"""Hand-worked numbers, another library's numbers, and laws."""

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recsys.metrics import METRICS, Judged, hit_rate, mrr, ndcg, recall


def judged(hits, relevant):
    return Judged(np.array(hits, bool), np.array(relevant, np.int64))


def test_hand_worked_numbers():
    one = judged([[0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]], [3, 2, 0])
    log2 = np.log2
    assert recall(one, 4)[:2] == pytest.approx([2 / 3, 0])
    assert recall(one, 2)[0] == pytest.approx(1 / 3)
    assert ndcg(one, 4)[0] == pytest.approx((1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / log2(4)))
    assert mrr(one, 4)[:2] == pytest.approx([1 / 2, 0])
    assert hit_rate(one, 1)[:2] == pytest.approx([0, 0])
    assert hit_rate(one, 4)[:2] == pytest.approx([1, 0])


@pytest.mark.parametrize("name", METRICS)
def test_a_query_without_relevant_items_is_undefined(name):
    assert np.isnan(METRICS[name](judged([[0, 0]], [0]), 2)).all()


@pytest.mark.parametrize("name", METRICS)
def test_k_beyond_the_list_is_an_error_with_both_numbers(name):
    with pytest.raises(ValueError, match="k is 3 but the lists have 2 slots"):
        METRICS[name](judged([[0, 0]], [1]), 3)


THEIRS = {
    "recall": lambda k: ir_measures.R @ k,
    "ndcg": lambda k: ir_measures.nDCG @ k,
    "mrr": lambda k: ir_measures.RR @ k,
    "hit-rate": lambda k: ir_measures.Success @ k,
}


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_they_equal_an_independent_library(data):
    n, k = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 6))
    k = min(k, n)
    hits = data.draw(hnp.arrays(bool, n))
    missed = data.draw(st.integers(0 if hits.any() else 1, 4))
    relevant = int(hits.sum()) + missed
    qrels = [ir_measures.Qrel("q", f"d{place:02}", 1) for place in np.flatnonzero(hits)]
    qrels += [ir_measures.Qrel("q", f"missed{place}", 1) for place in range(missed)]
    run = [ir_measures.ScoredDoc("q", f"d{place:02}", 100.0 - place) for place in range(n)]
    for name, metric in METRICS.items():
        measure = THEIRS[name](k)
        theirs = ir_measures.calc_aggregate([measure], qrels, run)[measure]
        assert metric(judged([hits], [relevant]), k)[0] == pytest.approx(theirs, abs=1e-6), name


@given(hnp.arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 8))), st.integers(0, 5))
def test_metrics_lie_between_0_and_1_and_a_perfect_list_has_1(hits, missed):
    k = hits.shape[1]
    some = judged(hits, hits.sum(axis=1) + missed)
    perfect = judged(np.ones_like(hits), np.full(len(hits), k))
    for metric in METRICS.values():
        values = metric(some, k)
        values = values[~np.isnan(values)]
        assert ((values >= 0) & (values <= 1 + 1e-12)).all()
        assert metric(perfect, k) == pytest.approx(1.0)
