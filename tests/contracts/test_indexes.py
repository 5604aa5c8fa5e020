"""The contract of index backends, against every one of the table."""

import numpy as np
import pytest

from index import BACKENDS, load, measuring, report
from index.exact import Exact
from index.faiss_ivf import FaissIvf
from index.remembering import Remembering
from recsys.candidates import Candidates
from recsys.errors import SettingsError
from recsys.masks import Mask
from recsys.testing.indexes import VectorIndexContract


class TestIndexes(VectorIndexContract):
    @pytest.fixture(params=sorted(BACKENDS))
    def backend(self, request):
        return BACKENDS[request.param]


class Stored:
    """Cells of one storage, as a backend of its own."""

    def __init__(self, storage):
        self.storage, self.load = storage, FaissIvf.load

    def build(self, vectors):
        return FaissIvf.build(vectors, storage=self.storage, refine=20)


class TestStorages(VectorIndexContract):
    @pytest.fixture(params=["flat", "pq"])
    def backend(self, request):
        return Stored(request.param)


class Remembered:
    """An index that knows the neighbours of its items, as a backend of its own."""

    def __init__(self, backend):
        self.backend = backend

    def build(self, vectors):
        return Remembering.of(BACKENDS[self.backend].build(vectors), vectors, 5)

    def load(self, folder, vectors):
        return load(self.backend, folder, vectors)


class TestRemembering(VectorIndexContract):
    @pytest.fixture(params=["exact", "faiss-ivf"])
    def backend(self, request):
        return Remembered(request.param)

    def test_what_is_remembered_is_what_is_found(self, backend, tmp_path):
        vectors, rows = self.vectors(), np.array([3, 250, 3], np.int32)
        backend.build(vectors).save(tmp_path)
        index = backend.load(tmp_path, vectors)
        for k in (1, 5):
            known, found = index.remembered(rows, k), index.search(vectors[rows], 5).top(k)
            assert np.array_equal(known.rows, found.rows)
            assert np.allclose(known.scores, found.scores, rtol=1e-5)
        assert index.remembered(rows, 6) is None
        assert index.remembered(rows[:0], 5).shape == (0, 5)
        few = backend.build(self.vectors(3))
        assert few.remembered(rows[:1] * 0, 5).filled.tolist() == [[True] * 3 + [False] * 2]
        assert few.remembered(rows[:1] * 0, 5).scores[0, 3:].tolist() == [-np.inf] * 2


@pytest.mark.parametrize("storage", ["flat", "sq8", "pq"])
def test_more_cells_than_there_are_may_be_asked_for(storage):
    vectors, queries = VectorIndexContract().vectors(3000), VectorIndexContract().vectors(50, seed=1)
    index = FaissIvf.build(vectors, storage=storage, cells=64, refine=20)
    truth = measuring.Truth.of(vectors, queries)
    every, more = (truth.recall(index.at(probes).search(queries, 100), 100) for probes in (64, 65))
    assert more == every > 0.99
    masked = Mask.of(np.arange(3000) % 2 == 0)
    best = Exact.build(vectors).search(queries, 100, masked).rows
    found = index.at(60).find(queries, 100, 2.0, masked)[0]
    assert np.mean([np.isin(a, b).mean() for a, b in zip(best, found, strict=True)]) > 0.98


def test_exact_search_in_blocks_equals_search_at_once(monkeypatch):
    vectors = VectorIndexContract().vectors()
    whole = Exact.build(vectors).search(vectors, 10)
    monkeypatch.setattr("index.batches.BLOCK_BYTES", 4 * 300 * 7)
    assert np.array_equal(Exact.build(vectors).search(vectors, 10).rows, whole.rows)


def test_recall_counts_distinct_items_by_their_true_scores():
    vectors = np.array([[4.0], [3.0], [2.0], [2.0]], np.float32)
    query = np.ones((1, 1), np.float32)

    def recall(rows):
        flattering = np.full((1, len(rows)), 99, np.float32)
        return measuring.recall_against_exact(vectors, query, Candidates(np.array([rows], np.int32), flattering))

    assert recall([0, 1, 2]) == 1
    assert recall([0, 1, 3]) == 1, "equal scores have no order"
    assert recall([0, 0, 0]) == pytest.approx(1 / 3)
    assert recall([0, 1, -1]) == pytest.approx(2 / 3)
    assert recall([3, 2, -1]) == pytest.approx(2 / 3)


def test_auto_searches_small_catalogues_exactly():
    vectors = VectorIndexContract().vectors()
    index, measured = report.build(vectors, vectors, rng=np.random.default_rng(0))
    assert index.backend == measured.backend == "exact"
    assert measured.recall == {10: 1.0, 100: 1.0}


def test_a_poor_index_is_measured_to_be_poor():
    vectors = VectorIndexContract().vectors(3000, 16)
    index, measured = report.build(
        vectors, vectors[:200], rng=np.random.default_rng(0), backend="faiss-ivf", cells=8, probes=1
    )
    assert index.shape == (3000, 16)
    assert measured.recall[100] < 0.9
    assert measured.bytes > 3000 * 16


def test_an_unknown_backend_or_option_is_refused_with_the_choices():
    vectors, rng = np.ones((2, 2), np.float32), np.random.default_rng(0)
    with pytest.raises(
        SettingsError, match="unknown index backend 'hsnw', choose one of annoy, auto, exact, faiss-hnsw, faiss-ivf, "
    ):
        report.build(vectors, vectors, rng=rng, backend="hsnw")
    with pytest.raises(SettingsError, match="remembered = -1: a number of neighbours was wanted, 0 for none"):
        report.build(vectors, vectors, rng=rng, remembered=-1)
    with pytest.raises(SettingsError, match=r"exact cannot be built with \{'leaves': 3\}"):
        report.build(vectors, vectors, rng=rng, backend="exact", leaves=3)
