"""Inner products of vectors whose lengths vary 30 times: what each backend does about them, and what one tries first.

Users' vectors ask for their 100 best, at 100,000 items and at 1,000,000. What takes minutes to build at 1,000,000 is
left to ``make large``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import annoy
import faiss
import numpy as np
import pytest
import voyager

from benchmarks.vectors import synthetic
from index import BACKENDS
from index.measuring import Truth
from recsys.candidates import Candidates

USERS = 200
MILLION = 1_000_000
LARGE = pytest.param(MILLION, marks=(pytest.mark.large, pytest.mark.timeout(1800)))

Answer = Callable[[np.ndarray], np.ndarray]


@lru_cache(maxsize=1)
def truth_of(n):
    """Clusters of 16 dimensions, the longest vector exactly 30 times the shortest, and what users should find."""
    items, users = synthetic(f"{n}x16")
    norms = np.linalg.norm(items, axis=1)
    items *= (norms ** (np.log(30) / np.log(norms.max() / norms.min()) - 1))[:, None]
    return Truth.of(items, np.ascontiguousarray(users[:USERS]))


def graph_by_inner_product(vectors, width) -> Answer:
    """HNSW grown by inner product, the vectors as they come."""
    graph = faiss.IndexHNSWFlat(vectors.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = 40
    graph.add(vectors)
    return lambda queries: graph.search(queries, 100, params=faiss.SearchParametersHNSW(efSearch=width))[1]


def cells_by_inner_product(vectors, probes) -> Answer:
    """Cells as the library's factory makes them: a vector goes where its product is largest, to the long centres."""
    cells = 2 ** round(np.log2(4 * np.sqrt(len(vectors))))
    lists = faiss.index_factory(vectors.shape[1], f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
    lists.cp.niter = 8
    lists.train(np.ascontiguousarray(vectors[:: max(1, len(vectors) // (50 * cells))]))
    lists.add(vectors)
    return lambda queries: lists.search(queries, 100, params=faiss.SearchParametersIVF(nprobe=probes))[1]


def graph_in_order_of_rows(vectors, width) -> Answer:
    """Voyager's inner-product space, whose lift is measured against the longest so far, without the longest first."""
    graph = voyager.Index(voyager.Space.InnerProduct, vectors.shape[1], M=16, ef_construction=40)
    graph.add_items(vectors, ids=np.arange(len(vectors)))
    return lambda queries: graph.query(queries, 100, num_threads=1, query_ef=width)[0].astype(np.int64)


def trees_by_dot(vectors, nodes) -> Answer:
    """Annoy's own ``dot``."""
    forest = annoy.AnnoyIndex(vectors.shape[1], "dot")
    forest.set_seed(1)
    for row, vector in enumerate(vectors):
        forest.add_item(row, vector)
    forest.build(10)
    return lambda queries: np.array([forest.get_nns_by_vector(query, 100, 100 * nodes) for query in queries])


@dataclass(frozen=True)
class Case:
    """A backend and the option that says how far it searches, with its value at 100,000 and at 1,000,000.

    ``floor``: the least recall@100 there; ``naive``: the build that stays below it, searched as far.
    """

    backend: str
    width: str
    values: tuple[int, int]
    floor: float
    naive: Callable[[np.ndarray, int], Answer]
    options: dict[str, Any] = field(default_factory=dict)

    def value(self, n):
        return self.values[n == MILLION]

    def __str__(self):
        return " ".join([self.backend, *map(str, self.options.values())])


CELLS = tuple(
    Case("faiss-ivf", "probes", (128, 256), 0.94, cells_by_inner_product, {"storage": storage, "refine": 20})
    for storage in ("flat", "sq8", "pq")
)
OTHERS = (
    Case("faiss-hnsw", "search_width", (400, 400), 0.99, graph_by_inner_product, {"build_width": 40}),
    Case("voyager", "search_width", (400, 400), 0.99, graph_in_order_of_rows, {"build_width": 40}),
    Case("annoy", "search_nodes", (200, 800), 0.98, trees_by_dot, {"trees": 10}),
)


def recall(truth, rows):
    return truth.recall(Candidates(rows.astype(np.int32), np.zeros(rows.shape, np.float32)), 100)


def test_every_backend_that_can_miss_something_is_here():
    assert {case.backend for case in (*CELLS, *OTHERS)} == set(BACKENDS) - {"exact", "sharded"}


@pytest.mark.parametrize("case", CELLS, ids=str)
@pytest.mark.parametrize("n", [100_000, MILLION])
def test_cells_find_what_is_largest(n, case):
    holds(truth_of(n), case)


@pytest.mark.parametrize("case", OTHERS, ids=str)
@pytest.mark.parametrize("n", [100_000, LARGE])
def test_graphs_and_trees_find_what_is_largest(n, case):
    holds(truth_of(n), case)


def holds(truth, case):
    n = len(truth.vectors)
    norms = np.linalg.norm(truth.vectors, axis=1)
    assert norms.max() / norms.min() == pytest.approx(30, rel=1e-4)
    index = BACKENDS[case.backend].build(truth.vectors, **case.options, **{case.width: case.value(n)})
    found = truth.recall(index.search(truth.queries, 100), 100)
    assert found >= case.floor


@pytest.mark.parametrize("case", [CELLS[0], *OTHERS], ids=lambda case: case.naive.__name__)
@pytest.mark.parametrize("n", [100_000, LARGE])
def test_what_one_tries_first_finds_less(n, case):
    truth = truth_of(n)
    found = recall(truth, case.naive(truth.vectors, case.value(n))(truth.queries))
    assert found < case.floor - 0.02


def test_shards_find_as_much_as_the_whole():
    truth = truth_of(100_000)
    options = {"storage": "flat", "probes": 128}
    sharded = BACKENDS["sharded"].build(truth.vectors, of="faiss-ivf", shards=2, options=options)
    assert truth.recall(sharded.search(truth.queries, 100), 100) >= 0.94


def test_exact_search_is_what_double_precision_finds():
    truth = truth_of(100_000)
    scores = truth.queries[:50].astype(np.float64) @ truth.vectors.T.astype(np.float64)
    found = BACKENDS["exact"].build(truth.vectors).search(truth.queries[:50], 100)
    best = -np.sort(-scores, axis=1)[:, :100]
    assert np.allclose(np.take_along_axis(scores, found.rows.astype(np.int64), axis=1), best, rtol=1e-5, atol=1e-5)
