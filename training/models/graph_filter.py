"""Filters on the graph of items that share users: their neighbours, and the smooth part of what is liked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numba
import numpy as np
from pydantic import Field

from recsys.arrays import Float32, Int32
from recsys.interactions import Interactions
from recsys.item_lists import lists_of
from training.models import LISTS, Choice, Family, Learned, Model, Progress, Range, Served, matrix_to_learn, silent
from training.models.svd import strongest
from training.neighbours import degrees, emit, push, scaled
from training.threads import compiled_threads

BLOCK = 512
"""Items whose full lines are held at once."""


class GraphFilter(Model):
    """Yᵀ Y + φ V Vᵀ for Y = Dᵤ^-a R Dᵢ^-b with its d strongest right singular vectors V, cut to the nearest.

    A history's item enters with Dᵢ^-e, an answer leaves with Dᵢ^c. With a = b = c = e = ½ it is GF-CF, Shen, Wu, Zhang,
    Shan, Zhang, Letaief & Li (2021). As vectors of width d its second part alone is `svd`.
    """

    family: ClassVar[Family] = "item-item"
    serves: ClassVar[frozenset[Served]] = LISTS
    space: ClassVar[Mapping[str, Range | Choice]] = {
        "low_pass": Range(0.0, 1.0),
        "user_exponent": Range(0.2, 0.8),
        "item_exponent": Range(0.2, 0.6),
        "in_exponent": Range(0.0, 0.6),
        "out_exponent": Range(0.2, 0.6),
    }

    neighbours: int = Field(default=200, ge=1)
    """How many are kept of each item."""
    low_pass: float = Field(default=0.3, ge=0)
    """φ, what the smooth part weighs against the neighbours."""
    factors: int = Field(default=256, ge=1, le=2048)
    """d, how many singular vectors count as smooth."""
    user_exponent: float = Field(default=0.5, ge=0, le=2)
    """a: how much less an event of somebody with many counts."""
    item_exponent: float = Field(default=0.5, ge=0, le=2)
    """b: how much less an event of a popular item counts."""
    in_exponent: float = Field(default=0.5, ge=0, le=2)
    """e: how much less a popular item of the history says."""
    out_exponent: float = Field(default=0.5, ge=0, le=2)
    """c: how much popularity an answer gets back."""
    iterations: int = Field(default=4, ge=1)
    """Multiplications with the matrix and its transpose, for the singular vectors."""

    def fit(
        self, data: Interactions, rng: np.random.Generator, *, threads: int, progress: Progress = silent
    ) -> Learned:
        """Filter block by block. TrainingError for data without a positive event."""
        matrix = matrix_to_learn(data)
        items_of, users_of = degrees(matrix)
        graph = scaled(matrix, items_of**-self.user_exponent, users_of**-self.item_exponent)
        back = graph.T.tocsr()
        items = matrix.shape[1]
        rows = np.empty((items, min(self.neighbours, items)), np.int32)
        weights = np.empty(rows.shape, np.float32)
        target, source = ((users_of**power).astype(np.float32) for power in (self.out_exponent, -self.in_exponent))
        with compiled_threads(threads) as workers:
            smooth = np.zeros((items, 0), np.float32)
            if self.low_pass:
                smooth = strongest(graph, self.factors, self.iterations, rng, lambda share: progress(share / 2))[1]
            mixed = np.ascontiguousarray((smooth * np.float32(self.low_pass)).T)
            for start in range(0, items, BLOCK):
                part = slice(start, start + BLOCK)
                _strongest_of_block(
                    smooth[part] @ mixed,
                    start,
                    back.indptr,
                    back.indices,
                    back.data,
                    graph.indptr,
                    graph.indices,
                    graph.data,
                    target,
                    source,
                    workers,
                    rows[part],
                    weights[part],
                )
                progress(0.5 + min(start + BLOCK, items) / items / 2)
        return Learned.of_lists("graph-filter", lists_of(rows, weights))


@numba.njit(parallel=True, fastmath=True, cache=True, nogil=True)
def _strongest_of_block(  # pragma: no cover  compiled
    block: Float32,
    start: int,
    back_ptr: Int32,
    back_users: Int32,
    back_values: Float32,
    ptr: Int32,
    columns: Int32,
    values: Float32,
    target: Float32,
    source: Float32,
    workers: int,
    rows: Int32,
    weights: Float32,
) -> None:
    """Add Yᵀ Y to the lines of ``block``, which hold the smooth part, and keep the strongest of each."""
    for worker in numba.prange(workers):
        # One set of buffers a worker; every workers-th line is its own.
        keys = np.empty(rows.shape[1], np.float32)
        ids = np.empty(rows.shape[1], np.int32)
        for line in range(worker, block.shape[0], workers):
            j = start + line
            for a in range(back_ptr[j], back_ptr[j + 1]):
                user, factor = back_users[a], back_values[a]
                for b in range(ptr[user], ptr[user + 1]):
                    block[line, columns[b]] += factor * values[b]
            size = 0
            for i in range(block.shape[1]):
                score = block[line, i] * target[i] * source[j]
                if i != j and score > 0:
                    size = push(keys, ids, size, score, i)
            emit(keys, ids, size, rows[line], weights[line])
