"""Item lists, and the source that adds them up."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.item_lists import ItemLists, lists_of
from recsys.masks import Mask
from recsys.retrieval import Parts, Query, Scorer
from recsys.sources.item_item import ItemItem

NOW = datetime(2026, 11, 23, tzinfo=UTC)
N = 12
RNG = np.random.default_rng(0)
DENSE = np.where(RNG.random((N, N)) < 0.4, RNG.normal(size=(N, N)), 0).astype(np.float32)


def listed(dense):
    """Every non-zero of each line, in as many slots as the longest has."""
    width = int((dense != 0).sum(axis=1).max())
    rows = np.argsort(dense == 0, axis=1, kind="stable")[:, :width].astype(np.int32)
    weights = np.take_along_axis(dense, rows, axis=1)
    return lists_of(np.where(weights != 0, rows, -1), weights)


LISTS = listed(DENSE)
SOURCE = ItemItem(LISTS)


def query(recent, weights=None, seen=()):
    weights = np.ones(len(recent)) if weights is None else weights
    return Query(
        now=NOW, recent=np.array(recent, np.int32), weights=np.array(weights, np.float32), seen=np.array(seen, np.int32)
    )


HISTORIES = st.lists(
    st.lists(st.tuples(st.integers(0, N - 1), st.floats(-1, 3, width=32)), max_size=6), min_size=1, max_size=5
)


@given(HISTORIES)
def test_scores_are_the_history_times_the_matrix(histories):
    taken = [np.array([row for row, _ in history], np.int32) for history in histories]
    weights = [np.array([weight for _, weight in history], np.float32) for history in histories]
    wanted = np.zeros((len(histories), N), np.float64)
    for line, history in enumerate(histories):
        for row, weight in history:
            wanted[line] += max(weight, 0) * DENSE[row]
    assert LISTS.scores(taken, weights) == pytest.approx(wanted, abs=1e-4)


@given(HISTORIES, st.integers(1, 2 * N))
def test_the_source_proposes_the_best_sums_above_zero_and_a_batch_is_one_by_one(histories, k):
    queries = [query([row for row, _ in history], [weight for _, weight in history]) for history in histories]
    found = SOURCE(queries, k)
    assert isinstance(SOURCE, Scorer)
    for line, asked in enumerate(queries):
        sums = LISTS.scores([asked.recent], [asked.weights])[0]
        wanted = [row for row in np.argsort(-sums, kind="stable").tolist() if sums[row] > 0][:k]
        rows = found.rows[line]
        assert rows[rows >= 0].tolist() == wanted
        assert SOURCE([asked], k).rows[0].tolist() == rows.tolist()
        assert found.scores[line][: len(wanted)].tolist() == sums[wanted].tolist()


def test_what_was_not_proposed_is_scored_and_an_empty_slot_or_history_is_nan():
    rows = np.array([[0, 5, -1], [3, 1, 2]], np.int32)
    scores = SOURCE.score([query([2, 4]), query([])], rows)
    assert scores[0, :2] == pytest.approx((DENSE[2] + DENSE[4])[[0, 5]], abs=1e-6)
    assert np.isnan(scores[0, 2])
    assert np.isnan(scores[1]).all()


def test_lists_survive_their_files_and_foreign_rows_are_refused(tmp_path):
    LISTS.save(tmp_path / "a")
    again = ItemLists.load(tmp_path / "a")
    assert np.array_equal(again.rows, LISTS.rows)
    assert np.array_equal(again.weights, LISTS.weights)
    ItemLists(np.array([[0], [2]], np.int32), np.ones((2, 1), np.float32)).save(tmp_path / "b")
    with pytest.raises(ValueError, match="lists of 2 items name rows 0 to 2"):
        ItemLists.load(tmp_path / "b")


def test_slots_that_say_nothing_are_emptied_and_cut_off():
    rows = np.array([[1, 2, 0], [0, 2, -1]], np.int32)
    lists = lists_of(rows, np.array([[1, 0, 0], [2, np.nan, 5]], np.float32))
    assert lists.rows.tolist() == [[1], [0]]
    assert lists.weights.tolist() == [[1], [2]]
    nothing = lists_of(rows, np.zeros((2, 3), np.float32))
    assert nothing.rows.tolist() == [[-1], [-1]]


def test_shapes_must_agree_and_a_name_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"rows are \(2, 3\) and weights \(2, 2\)"):
        ItemLists(np.zeros((2, 3), np.int32), np.zeros((2, 2), np.float32))
    parts = Parts(N, {}, np.zeros(N, np.float32), lists={"slim": LISTS})
    with pytest.raises(ValueError, match="unknown item lists 'knn', choose one of slim"):
        ItemItem.of(parts, "knn")


@given(HISTORIES, st.sets(st.integers(0, N - 1)), st.sampled_from([None, *([0, 2, 5], list(range(9)))]))
def test_a_large_catalogue_is_not_added_up_whole_and_answers_the_same(histories, gone, allowed):
    mask = None if allowed is None else Mask.of_rows(allowed, N)
    asked = [
        replace(query([row for row, _ in history], [weight for _, weight in history]), allowed=mask)
        for history in histories
    ]
    source = ItemItem(LISTS, np.array(sorted(gone), np.int32))
    rows = np.tile(np.arange(-1, N, dtype=np.int32), (len(asked), 1))
    with pytest.MonkeyPatch.context() as patch:
        found = {}
        for limit in (0, 500):
            patch.setattr("recsys.sources.item_item.SPARSE", limit)
            found[limit] = source(asked, 8), source.score(asked, rows)
    (sparse, sparse_said), (dense, dense_said) = found.values()
    assert np.array_equal(sparse.rows, dense.rows)
    assert np.allclose(sparse.scores, dense.scores, rtol=1e-5)
    if mask is None:
        assert np.allclose(sparse_said, dense_said, rtol=1e-5, equal_nan=True)
