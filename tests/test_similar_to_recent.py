"""The source of what is like the last items, against every cosine written out."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.exact import Exact
from index.growing import Growing
from index.remembering import Remembering
from recsys.masks import Mask
from recsys.retrieval import Parts, Query, Scorer
from recsys.sources import SOURCES

NOW = datetime(2026, 11, 25, tzinfo=UTC)
N = 25
VECTORS = np.random.default_rng(0).normal(size=(N, 6)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
VECTORS[7] = 0
COSINES = VECTORS @ VECTORS.T
PARTS = Parts(N, {"similar": Exact.build(VECTORS)}, np.ones(N, np.float32), {"similar": VECTORS})
SOURCE = SOURCES["similar-to-recent"](PARTS, last=3)
REMEMBERING = {"similar": Growing.of(Remembering.of(Exact.build(VECTORS), VECTORS, 9))}
KNOWING = SOURCES["similar-to-recent"](Parts(N, REMEMBERING, np.ones(N, np.float32), {"similar": VECTORS}), last=3)


def query(taken, allowed=None):
    rows = np.array([row for row, _ in taken], np.int32)
    weights = np.array([weight for _, weight in taken], np.float32)
    return Query(now=NOW, recent=rows, weights=weights, allowed=allowed)


TAKEN = st.lists(st.tuples(st.integers(0, N - 1), st.sampled_from([-1, 0, 1, 2])), max_size=8)


@given(st.lists(st.tuples(TAKEN, st.sampled_from([None, Mask.of_rows(range(0, N, 3), N)])), min_size=1, max_size=4))
def test_items_are_scored_by_the_best_cosine_with_any_of_the_last(asked):
    queries = [query(taken, allowed) for taken, allowed in asked]
    found = SOURCE(queries, 9)
    # What knows nothing has slots that are empty, or none at all.
    known, searched = KNOWING(queries, 9).top(9), found.top(9)
    assert [set(line.tolist()) for line in known.rows] == [set(line.tolist()) for line in searched.rows]
    assert np.allclose(known.scores, searched.scores, atol=1e-6)
    said = SOURCE.score(queries, np.tile(np.arange(N, dtype=np.int32), (len(queries), 1)))
    for line, (taken, allowed) in enumerate(asked):
        last = [row for row, weight in taken if weight > 0][:3]
        last = [row for row in last if row != 7]
        filled = found.filled[line] if found.shape[1] else np.zeros(0, bool)
        if not last:
            assert not filled.any()
            assert np.isnan(said[line]).all()
            continue
        best = COSINES[:, last].max(axis=1)
        assert np.allclose(said[line], np.maximum(best, 0), atol=1e-6)
        wanted = [row for row in np.argsort(-best) if best[row] > 0 and (allowed is None or row % 3 == 0)][:9]
        # An item's cosine with itself is 1 but for rounding, so the first may come in any order.
        assert set(found.rows[line][filled].tolist()) == set(wanted)
        assert np.allclose(found.scores[line][filled], best[wanted], atol=1e-6)


def test_it_can_score_and_refuses_what_is_not_there():
    assert isinstance(SOURCE, Scorer)
    with pytest.raises(ValueError, match="unknown index 'content', choose one of similar"):
        SOURCES["similar-to-recent"](PARTS, index="content")
    with pytest.raises(ValueError, match="last is 0: at least 1 was wanted"):
        SOURCES["similar-to-recent"](PARTS, last=0)


def test_fewer_neighbours_of_each_item_are_the_best_of_each():
    lean = SOURCES["similar-to-recent"](PARTS, last=3, each=4)
    asked = [query([(0, 1), (3, 1)]), query([(5, 2)])]
    found = lean(asked, 9)
    for line, last in enumerate([[0, 3], [5]]):
        near = {int(row) for item in last for row in np.argsort(-COSINES[item])[:4] if COSINES[item, row] > 0}
        filled = found.filled[line]
        assert set(found.rows[line][filled].tolist()) == near
        assert np.allclose(
            found.scores[line][filled], np.sort(COSINES[sorted(near)][:, last].max(axis=1))[::-1], atol=1e-6
        )
    alone = lean(asked[:1], 9)
    assert np.array_equal(alone.rows[0], found.rows[0])
    with pytest.raises(ValueError, match="each is -1: at least 1 was wanted, or 0 for as many as are wanted of all"):
        SOURCES["similar-to-recent"](PARTS, each=-1)
