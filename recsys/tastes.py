"""The tastes of many users at once: clusters of what they took last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Bool, Float32, Int32, Int64
from recsys.retrieval import Query

ROUNDS = 5
"""Of moving centres to their members."""
CHUNK = 128
"""Users whose items' vectors are gathered at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Tastes:
    """Spherical k-means over the ``last`` recent items that say something, of each query by itself.

    It begins with the newest item, then takes, again and again, whatever is farthest from all taken, until that is no
    farther than ``apart`` or there are ``most``: Gonzalez (1985). Nothing is left to chance. ``vectors``: float32
    (n, d), of length one or zero; an item whose vector is zero says nothing.
    """

    vectors: Float32
    most: int = 3
    apart: float = 0.5
    last: int = 50

    def of(self, queries: Sequence[Query], rows: Int32) -> tuple[Int64, Bool]:
        """The taste that each of ``rows``, int32 (q, n), is nearest to, int64 (q, n), and who has several, bool (q,).

        -1 for an empty slot, an item whose vector is zero, and all of somebody who has no taste.
        """
        belongs = np.full(rows.shape, -1, np.int64)
        several = np.zeros(len(queries), bool)
        for start in range(0, len(queries), CHUNK):
            part = slice(start, start + CHUNK)
            centres, there = self._centres(queries[part])
            if not there.any():
                continue
            items = np.asarray(self.vectors[np.maximum(rows[part], 0)])
            likeness = np.matmul(items, centres.transpose(0, 2, 1))
            nearest = np.where(there[:, None], likeness, -np.inf).argmax(axis=2)
            known = (rows[part] >= 0) & items.any(axis=2) & there.any(axis=1, keepdims=True)
            belongs[part] = np.where(known, nearest, -1)
            several[part] = there.sum(axis=1) > 1
        return belongs, several

    def _centres(self, queries: Sequence[Query]) -> tuple[Float32, Bool]:
        """Centres, float32 (q, most, d), and which of them there are, bool (q, most)."""
        told = [query.recent[query.weights > 0][: self.last] for query in queries]
        longest = max(map(len, told), default=0)
        there = np.zeros((len(queries), self.most), bool)
        if not longest or not self.most:
            return np.zeros((len(queries), self.most, self.vectors.shape[1]), np.float32), there
        rows = np.full((len(queries), longest), -1, np.int32)
        for line, some in enumerate(told):
            rows[line, : len(some)] = some
        vectors: Float32 = np.where(rows[:, :, None] >= 0, self.vectors[np.maximum(rows, 0)], np.float32(0))
        known: Bool = np.asarray(vectors.any(axis=2), bool)
        lines = np.arange(len(rows))
        centres = np.zeros((len(rows), self.most, vectors.shape[2]), np.float32)
        centres[:, 0] = vectors[lines, known.argmax(axis=1)]
        there[:, 0] = known.any(axis=1)
        nearest = np.full(rows.shape, -np.inf, np.float32)
        for one in range(1, self.most):
            nearest = np.maximum(nearest, np.matmul(vectors, centres[:, one - 1, :, None])[:, :, 0])
            farthest = np.where(known, nearest, np.inf).argmin(axis=1)
            there[:, one] = there[:, one - 1] & (np.where(known, nearest, np.inf)[lines, farthest] < self.apart)
            centres[:, one] = np.where(there[:, one, None], vectors[lines, farthest], 0)
        for _ in range(ROUNDS):
            likeness = np.where(there[:, None], np.matmul(vectors, centres.transpose(0, 2, 1)), -np.inf)
            members = (likeness.argmax(axis=2)[:, :, None] == np.arange(self.most)) & known[:, :, None]
            sums = np.matmul(members.transpose(0, 2, 1).astype(np.float32), vectors)
            lengths = np.linalg.norm(sums, axis=2, keepdims=True)
            # Members that cancel out have no middle: the centre stays where it was.
            centres = np.where(lengths > 1e-6, sums / np.maximum(lengths, 1e-6), centres)
        return centres, there
