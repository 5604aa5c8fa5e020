"""How right and how fast an index is, measured against exact search when it is built."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from index import BACKENDS
from index.exact import Exact
from recsys.arrays import Float32
from recsys.candidates import Candidates
from recsys.errors import SettingsError, unknown_choice
from recsys.retrieval import VectorIndex

DEPTHS = (10, 100)
SAMPLE = 1000
"""Queries measured."""
AUTO_EXACT = 50_000
"""Up to so many items `auto` searches exactly: under half a millisecond a query at d = 64."""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What was measured of one index.

    ``recall``: depth → mean share of the exact top-``depth`` that was found, on sampled user vectors.
    ``query_ms``: of one query at the largest depth, on the machine that built it. ``bytes``: of its own files.
    """

    backend: str
    options: dict[str, Any]
    items: int
    dimensions: int
    queries: int
    recall: dict[int, float]
    build_s: float
    query_ms: float
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        """For the manifest: JSON has text keys."""
        return {**asdict(self), "recall": {str(depth): share for depth, share in self.recall.items()}}


def recall_against_exact(vectors: Float32, queries: Float32, found: Candidates) -> float:
    """Mean share of each query's exact best items that were found, over q queries with n slots each.

    ``vectors``: float32 (n, d); ``queries``: float32 (q, d). What was found is scored anew from the vectors, so an
    index cannot flatter itself. Equal scores have no order: an item is right if its score reaches the last one of
    the exact list, less a float rounding of 1e-5 of the best score.
    """
    k = min(found.shape[1], len(vectors))
    exact = Exact.build(vectors).search(queries, k)
    rows = np.sort(found.rows, axis=1)
    repeated = np.concatenate([np.zeros((len(rows), 1), bool), rows[:, 1:] == rows[:, :-1]], axis=1)
    scores = np.einsum("qnd,qd->qn", vectors[rows], queries)
    reach = exact.scores[:, -1] - 1e-5 * np.abs(exact.scores).max(axis=1)
    right = ((rows >= 0) & ~repeated & (scores >= reach[:, None])).sum(axis=1)
    return float((np.minimum(right, k) / k).mean())


def build(
    vectors: Float32, queries: Float32, *, rng: np.random.Generator, backend: str = "auto", **options: object
) -> tuple[VectorIndex, IndexReport]:
    """Build an index over item vectors, float32 (n, d), and measure it on user vectors, float32 (q, d).

    ``auto`` is exact search up to 50,000 items and HNSW beyond. SettingsError for a backend or an option that
    does not exist.
    """
    if backend == "auto":
        backend = "exact" if len(vectors) <= AUTO_EXACT else "faiss-hnsw"
    if backend not in BACKENDS:
        raise SettingsError(f"[index]: {unknown_choice('index backend', backend, ['auto', *BACKENDS])}")
    start = time.perf_counter()
    try:
        index = BACKENDS[backend].build(vectors, **options)
    except TypeError as error:
        raise SettingsError(f"[index]: {backend} cannot be built with {options}: {error}") from error
    built = time.perf_counter() - start
    asking = queries[np.any(queries != 0, axis=1)]
    sample = asking[rng.permutation(len(asking))[:SAMPLE]]
    measurable = bool(len(sample)) and bool(len(vectors))
    recall = {
        depth: recall_against_exact(vectors, sample, index.search(sample, min(depth, len(vectors))))
        if measurable
        else 1.0
        for depth in DEPTHS
    }
    took = _single_query_seconds(index, sample[:100], min(DEPTHS[-1], len(vectors))) if measurable else 0.0
    with TemporaryDirectory() as folder:
        index.save(Path(folder))
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    return index, IndexReport(
        backend, dict(options), *index.shape, len(sample), recall, round(built, 3), round(took * 1000, 4), size
    )


def _single_query_seconds(index: VectorIndex, queries: Float32, k: int) -> float:
    start = time.perf_counter()
    for query in queries:
        index.search(query[None], k)
    return (time.perf_counter() - start) / len(queries)
