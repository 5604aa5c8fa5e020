"""Hand-worked numbers, another library's numbers, and laws."""

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recsys.beyond_accuracy import CATALOGUE_METRICS, LIST_METRICS, Shown, category_mix
from recsys.metrics import (
    METRICS,
    Judged,
    Ranks,
    auc,
    average_precision,
    hit_rate,
    hits_of,
    mrr,
    ndcg,
    precision,
    recall,
)


def judged(hits, relevant):
    return Judged(np.array(hits, bool), np.array(relevant, np.int64))


def test_hand_worked_numbers():
    one = judged([[0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]], [3, 2, 0])
    log2 = np.log2
    assert recall(one, 4)[:2] == pytest.approx([2 / 3, 0])
    assert recall(one, 2)[0] == pytest.approx(1 / 3)
    assert ndcg(one, 4)[0] == pytest.approx((1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / log2(4)))
    assert mrr(one, 4)[:2] == pytest.approx([1 / 2, 0])
    assert precision(one, 4)[:2] == pytest.approx([1 / 2, 0])
    assert average_precision(one, 4)[:2] == pytest.approx([(1 / 2 + 2 / 4) / 3, 0])
    assert average_precision(one, 2)[0] == pytest.approx((1 / 2) / 2)
    assert hit_rate(one, 1)[:2] == pytest.approx([0, 0])
    assert hit_rate(one, 4)[:2] == pytest.approx([1, 0])


@pytest.mark.parametrize("name", METRICS)
def test_a_query_without_relevant_items_is_undefined(name):
    assert np.isnan(METRICS[name](judged([[0, 0]], [0]), 2)).all()


@pytest.mark.parametrize("k", [0, -1])
def test_k_must_be_at_least_one(k):
    with pytest.raises(ValueError, match=f"k is {k} but the lists have 2 slots"):
        recall(judged([[0, 0]], [1]), k)


def test_an_item_counts_where_it_stands_first_and_an_empty_slot_is_a_miss():
    rows = np.array([[2, 2, -1, 0], [-1, -1, 1, 1]], np.int32)
    relevant = np.array([[True, False, True], [True, True, False]])
    assert hits_of(rows, relevant).tolist() == [[True, False, False, True], [False, False, True, False]]


@pytest.mark.parametrize("name", METRICS)
def test_k_beyond_the_list_is_an_error_with_both_numbers(name):
    with pytest.raises(ValueError, match="k is 3 but the lists have 2 slots"):
        METRICS[name](judged([[0, 0]], [1]), 3)


THEIRS = {
    "recall": lambda k: ir_measures.R @ k,
    "ndcg": lambda k: ir_measures.nDCG @ k,
    "mrr": lambda k: ir_measures.RR @ k,
    "hit-rate": lambda k: ir_measures.Success @ k,
    "precision": lambda k: ir_measures.P @ k,
    "map": lambda k: ir_measures.AP @ k,
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
        if name == "map":  # trec_eval divides by all that is relevant
            theirs *= relevant / min(relevant, k)
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


@given(hnp.arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 8))), st.integers(0, 5))
def test_recall_precision_and_hit_rate_agree(hits, missed):
    n = hits.shape[1]
    some = judged(hits, hits.sum(axis=1) + missed)
    for k in range(1, n + 1):
        assert precision(some, k) * k == pytest.approx(recall(some, k) * some.relevant, nan_ok=True)
        assert np.array_equal(hit_rate(some, k) > 0, mrr(some, k) > 0)
        if k > 1:
            assert not (recall(some, k) < recall(some, k - 1)).any()


def naive_auc(scores, relevant, excluded):
    ours = [score for score, hit, out in zip(scores, relevant, excluded, strict=True) if hit and not out]
    others = [score for score, hit, out in zip(scores, relevant, excluded, strict=True) if not hit and not out]
    if not ours or not others:
        return np.nan
    return np.mean([(a > b) + (a == b) / 2 for a in ours for b in others])


@given(st.data())
def test_auc_counts_pairs_and_a_tie_as_half(data):
    shape = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 9)))
    levels = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0])
    scores = data.draw(hnp.arrays(np.float32, shape, elements=levels))
    relevant, excluded = (data.draw(hnp.arrays(bool, shape)) for _ in range(2))
    before = scores.copy()
    values = auc(Ranks.of(scores, relevant, excluded))
    wanted = [naive_auc(*row) for row in zip(scores, relevant, excluded, strict=True)]
    assert values == pytest.approx(wanted, nan_ok=True)
    assert np.array_equal(scores, before)
    turned = auc(Ranks.of(-scores, relevant, excluded))
    assert values + turned == pytest.approx(np.where(np.isnan(values), np.nan, 1.0), nan_ok=True)


def test_ranks_share_the_mean_among_ties_and_leave_out_what_was_seen():
    scores = np.array([[3, 2, 2, 1, 9]], np.float32)
    relevant = np.array([[False, True, False, True, True]])
    ranks = Ranks.of(scores, relevant, np.array([[False, False, False, False, True]]))
    assert ranks.rank.tolist() == [2.5, 4]
    assert ranks.ranked.tolist() == [4]
    assert auc(ranks).tolist() == [0.5 / 4]


def test_scores_that_are_nan_are_refused():
    with pytest.raises(ValueError, match="1 of 2 scores are nan: -inf ranks an item last"):
        Ranks.of(np.array([[np.nan, 1]], np.float32), np.zeros((1, 2), bool), np.zeros((1, 2), bool))


# Beyond accuracy: four items, three lists; the third shows nothing.

ROWS = np.array([[0, 1, 0], [0, 2, -1], [-1, -1, -1]], np.int32)
SHOWN = Shown(
    ROWS,
    items=4,
    users=8,
    consumers=np.array([8, 2, 0, 1]),
    vectors=np.array([[2, 0], [0, 3], [1, 1], [0, 0]], np.float32),
    judged=judged([[0, 1, 0], [1, 0, 0], [0, 0, 0]], [2, 1, 0]),
    expected=np.array([[0, 3, 2], [0, 1, -1], [0, 1, 2]], np.int32),
    categories=np.array([[1, 0], [0, 1], [0.5, 0.5], [0, 0]]),
    tastes=np.array([[0.5, 0.5], [1, 0], [1, 0]]),
)


def test_hand_worked_numbers_beyond_accuracy():
    values = {name: metric(SHOWN, 3) for name, metric in LIST_METRICS.items()}
    # −log2 of 8/8, 2/8, and of item 2, which nobody consumed, 1/8
    assert values["novelty"] == pytest.approx([(0 + 2) / 2, (0 + 3) / 2, np.nan], nan_ok=True)
    assert values["popularity-bias"] == pytest.approx([5, 4, np.nan], nan_ok=True)
    assert values["diversity"] == pytest.approx([1, 1 - 1 / np.sqrt(2), np.nan], nan_ok=True)
    assert values["serendipity"] == pytest.approx([1 / 3, 0, np.nan], nan_ok=True)
    # the second list's mix is (3/4, 1/4)
    assert values["calibration"] == pytest.approx([0, -np.log(0.99 * 0.75 + 0.01), np.nan], nan_ok=True)
    assert CATALOGUE_METRICS["coverage"](SHOWN, 3) == 3 / 4
    assert CATALOGUE_METRICS["coverage"](SHOWN, 1) == 1 / 4
    # shown 0, 1, 1 and 2 times: (−3·0 − 1·1 + 1·1 + 3·2) / (4 · 4)
    assert CATALOGUE_METRICS["gini"](SHOWN, 3) == pytest.approx(6 / 16)
    assert CATALOGUE_METRICS["gini"](SHOWN, 1) == pytest.approx(1 - 1 / 4)


@pytest.mark.parametrize("metric", [*LIST_METRICS.values(), *CATALOGUE_METRICS.values()])
def test_beyond_accuracy_k_beyond_the_list_is_an_error_with_both_numbers(metric):
    with pytest.raises(ValueError, match="k is 4 but the lists have 3 slots"):
        metric(SHOWN, 4)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("novelty", "consumers"),
        ("popularity-bias", "consumers"),
        ("diversity", "vectors"),
        ("serendipity", "judged"),
        ("calibration", "tastes"),
    ],
)
def test_a_metric_says_what_it_lacks(name, part):
    with pytest.raises(ValueError, match=f"looks at `{part}`"):
        LIST_METRICS[name](Shown(ROWS, 4), 2)


def test_novelty_refuses_more_consumers_than_users():
    with pytest.raises(ValueError, match="an item has 8 consumers, but there are 7 users"):
        LIST_METRICS["novelty"](Shown(ROWS, 4, 7, SHOWN.consumers), 2)


def test_lists_that_show_nothing_cover_nothing():
    empty = Shown(np.full((2, 3), -1, np.int32), 4)
    assert CATALOGUE_METRICS["coverage"](empty, 3) == 0
    assert np.isnan(CATALOGUE_METRICS["gini"](empty, 3))


def test_a_users_category_mix_is_shares_and_zeros_where_nothing_is_known():
    weights = np.array([[3.0, 1, 0, 5], [0, 0, 0, 1]])
    assert category_mix(weights, SHOWN.categories).tolist() == [[0.75, 0.25], [0, 0]]


@given(st.data())
def test_laws_beyond_accuracy(data):
    items, users = 6, 9
    shape = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 6)))
    rows = data.draw(hnp.arrays(np.int32, shape, elements=st.integers(-1, items - 1)))
    consumers = data.draw(hnp.arrays(np.int64, items, elements=st.integers(0, users)))
    vectors = data.draw(hnp.arrays(np.float32, (items, 3), elements=st.sampled_from([-1.0, 0.0, 0.5, 2.0])))
    categories = data.draw(hnp.arrays(np.float64, (items, 2), elements=st.sampled_from([0.0, 1.0])))
    tastes = category_mix(data.draw(hnp.arrays(np.float64, (shape[0], items), elements=st.integers(0, 3))), categories)
    relevant = data.draw(hnp.arrays(bool, (shape[0], items)))
    expected = data.draw(hnp.arrays(np.int32, shape, elements=st.integers(-1, items - 1)))
    k = data.draw(st.integers(1, shape[1]))

    def values(rows):
        lists = Judged(hits_of(rows, relevant), relevant.sum(axis=1))
        shown = Shown(rows, items, users, consumers, vectors, lists, expected, categories, tastes)
        return {name: metric(shown, k) for name, metric in {**LIST_METRICS, **CATALOGUE_METRICS}.items()}

    some = values(rows)
    bounds = {
        "novelty": np.log2(users),
        "popularity-bias": users,
        "diversity": 2,
        "serendipity": 1,
        "calibration": np.log(100),
        "coverage": 1,
        "gini": 1 - 1 / items,
    }
    for name, most in bounds.items():
        known = np.atleast_1d(some[name])
        known = known[~np.isnan(known)]
        assert ((known >= -1e-9) & (known <= most + 1e-9)).all(), name
    # the order inside the first k says nothing, and one query is as good as a batch
    turned = values(np.concatenate([rows[:, :k][:, ::-1], rows[:, k:]], axis=1))
    for name, value in some.items():
        assert value == pytest.approx(turned[name], nan_ok=True), name
    for row, listed in enumerate(rows[:, :k]):
        unique = list(dict.fromkeys(item for item in listed if item >= 0))
        unit = [vectors[item] / (np.linalg.norm(vectors[item]) or 1) for item in unique]
        pairs = [1 - a @ b for place, a in enumerate(unit) for b in unit[:place]]
        assert some["diversity"][row] == pytest.approx(np.mean(pairs) if pairs else np.nan, abs=1e-6, nan_ok=True)
        wanted = sum(relevant[row, item] and item not in expected[row, :k] for item in unique) / k
        assert some["serendipity"][row] == pytest.approx(wanted if relevant[row].any() else np.nan, nan_ok=True)
