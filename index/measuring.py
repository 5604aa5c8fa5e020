"""How right and how fast an index is: recall against exact search, one query at a time, bytes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from index.exact import Exact
from recsys.arrays import Float32
from recsys.candidates import Candidates
from recsys.retrieval import VectorIndex

DEPTHS = (10, 100)
TIMED = 200
"""Queries that are timed, one at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What exact search finds for ``queries``, float32 (q, d), over ``vectors``, float32 (n, d), asked once.

    ``reach``: depth → float32 (q,), the score that an item of the right answer has at least.
    """

    vectors: Float32
    queries: Float32
    reach: dict[int, Float32]

    @classmethod
    def of(cls, vectors: Float32, queries: Float32, depths: tuple[int, ...] = DEPTHS) -> Truth:
        """Search exactly, to the largest depth."""
        exact = Exact.build(vectors).search(queries, min(max(depths), len(vectors)))
        # A float rounding of 1e-5 of the best score is no error.
        slack = 1e-5 * np.abs(exact.scores).max(axis=1, initial=0)
        places = {depth: min(depth, len(vectors)) - 1 for depth in depths}
        return cls(vectors, queries, {depth: exact.scores[:, place] - slack for depth, place in places.items()})

    def recall(self, found: Candidates, depth: int) -> float:
        """Mean share of each query's exact ``depth`` best items that were found in as many slots.

        What was found is scored anew from the vectors, so an index cannot flatter itself. Equal scores have no order:
        an item is right if its score reaches the last one of the exact list.
        """
        k = min(depth, len(self.vectors))
        rows = np.sort(found.rows[:, :k], axis=1)
        repeated = np.concatenate([np.zeros((len(rows), 1), bool), rows[:, 1:] == rows[:, :-1]], axis=1)
        scores = np.matmul(self.vectors[rows], self.queries[:, :, None])[:, :, 0]
        right = ((rows >= 0) & ~repeated & (scores >= self.reach[depth][:, None])).sum(axis=1)
        return float((np.minimum(right, k) / k).mean())


def recall_against_exact(vectors: Float32, queries: Float32, found: Candidates) -> float:
    """Mean share of each query's exact best items that were found, over q queries with n slots each."""
    depth = found.shape[1]
    return Truth.of(vectors, queries, (depth,)).recall(found, depth)


def query_milliseconds(index: VectorIndex, queries: Float32, k: int) -> tuple[float, float]:
    """Median and 99th percentile of one query at a time."""
    times = []
    for query in queries[:TIMED]:
        start = time.perf_counter()
        index.search(query[None], k)
        times.append(time.perf_counter() - start)
    p50, p99 = np.percentile(times, (50, 99)) * 1000
    return round(float(p50), 4), round(float(p99), 4)


def file_bytes(index: VectorIndex) -> int:
    """Bytes of the index's own files."""
    with TemporaryDirectory() as folder:
        index.save(Path(folder))
        return sum(file.stat().st_size for file in Path(folder).iterdir())


def resident_bytes(index: Any, files: int) -> int:
    """What searching needs in memory: the files, and the release's vectors if the backend walks over them."""
    n, d = index.shape
    # A backend that says nothing of itself is taken to keep what it needs in its files.
    walks = getattr(index, "traits", None) is not None and index.traits.walks
    return files + (4 * n * d if walks else 0)
