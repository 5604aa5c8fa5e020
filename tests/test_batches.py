"""Many queries at once: to the byte what whole lines of scores give, however few are kept."""

import threading

import numpy as np
import pytest

from index import batches
from recsys.topk import best

D = 16


def drawn(items, queries=300):
    """Of 64ths, whose products are exact however they are added up."""
    rng = np.random.default_rng(0)
    return tuple((rng.normal(size=(many, D)) * 64).round().astype(np.float32) / 64 for many in (queries, items))


def same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def whole(monkeypatch):
    """How many queries had whole lines scored for them."""
    asked = []

    def counted(queries, *others):
        asked.append(len(queries))
        return original(queries, *others)

    original = batches._whole
    monkeypatch.setattr(batches, "_whole", counted)
    return asked


@pytest.mark.parametrize("k", [1, 10, 100])
@pytest.mark.parametrize("items", [12_000, 768 * 16 + 1])
def test_it_is_what_whole_lines_give(whole, items, k):
    queries, vectors = drawn(items)
    found = batches.nearest(queries, vectors, k)
    assert sum(whole) < 10, "nearly all were found in tiles"
    same(found, best(queries @ vectors.T, k))


def test_a_batch_is_cut_anyhow(monkeypatch):
    queries, vectors = drawn(9000)
    found = batches.nearest(queries, vectors, 20)
    monkeypatch.setattr(batches, "LINES", 75)
    same(batches.nearest(queries, vectors, 20), found)
    same([part[:90] for part in found], batches.nearest(queries[:90], vectors, 20))


def test_equal_scores_come_by_row_however_many(whole):
    queries, vectors = drawn(9000, queries=128)
    vectors[:] = np.round(vectors[np.arange(9000) % 40])
    same(batches.nearest(np.round(queries), vectors, 50), best(np.round(queries) @ vectors.T, 50))
    vectors[:] = 0
    assert (batches.nearest(queries, vectors, 7)[0] == np.arange(7)).all()
    assert sum(whole) >= 128, "no bound tells equal ones apart"


def test_the_best_may_stand_where_the_sample_looks_or_does_not(whole):
    queries, vectors = np.ones((64, D), np.float32), np.zeros((9000, D), np.float32)
    rows = np.arange(9000, dtype=np.float32)
    vectors[:, 0] = rows
    same(batches.nearest(queries, vectors, 30), best(queries @ vectors.T, 30))
    # A sample that holds all of the best, and one that holds none.
    places = np.arange(0, 9000 - 31, 32) + np.random.default_rng(0).integers(0, 32, 281)
    for sign in (1, -1):
        vectors[:, 0] = sign * np.isin(np.arange(9000), places) * 10_000 + rows
        same(batches.nearest(queries, vectors, 30), best(queries @ vectors.T, 30))
    assert whole, "too few, or too many, are above the bound"


def test_scores_that_are_no_numbers_are_scored_whole():
    queries, vectors = drawn(9000, queries=70)
    vectors[:, :2] = np.float32([1e15, 1e15])
    queries[3, :2] = np.float32([3e38, -3e38])
    with np.errstate(all="ignore"):
        same(batches.nearest(queries, vectors, 10), best(queries @ vectors.T, 10))


@pytest.mark.parametrize("queries", [3, 100])
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_only_what_is_allowed_is_answered(queries, share):
    asked, vectors = drawn(20_000, queries)
    among = np.flatnonzero(np.random.default_rng(1).random(20_000) < share).astype(np.int32)
    rows, scores = batches.nearest(asked, vectors, 15, among)
    wanted_rows, wanted_scores = best(asked @ vectors[among].T, 15)
    np.testing.assert_array_equal(rows, among[wanted_rows])
    np.testing.assert_allclose(scores, wanted_scores, rtol=1e-5)


def test_blas_has_its_threads_again_after_searches_at_once():
    queries, vectors = drawn(9000)
    before = [each["num_threads"] for each in batches._blas().info()]
    wanted, found = batches.nearest(queries, vectors, 20), []
    threads = [threading.Thread(target=lambda: found.append(batches.nearest(queries, vectors, 20))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each["num_threads"] for each in batches._blas().info()] == before
    assert len(found) == 4
    for each in found:
        same(each, wanted)


def test_numpy_has_its_buffer_again():
    before = np.getbufsize()
    batches.nearest(*drawn(9000), 20)
    assert np.getbufsize() == before
