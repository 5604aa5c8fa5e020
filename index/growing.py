"""An index that takes new items and lets go of old ones between two builds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from index.exact import Exact
from index.merging import merge
from recsys.arrays import Float32, Int32
from recsys.candidates import Candidates
from recsys.masks import Mask
from recsys.retrieval import VectorIndex, check_mask, check_queries, check_vectors


@dataclass(frozen=True, slots=True, eq=False)
class Growing:
    """A built index, beside it an exact one over what came since, and a mask over what went.

    Values: adding and removing give another ``Growing`` and cost no search its consistency; whoever holds the current
    one assigns it. Rows go on: the first new item is row n. ``kept``: the items that may be answered.
    """

    built: VectorIndex
    side: Exact
    kept: Mask

    @classmethod
    def of(cls, built: VectorIndex) -> Growing:
        """Nothing new, nothing gone."""
        n, d = built.shape
        return cls(built, Exact.build(np.zeros((0, d), np.float32)), Mask.of(np.ones(n, bool)))

    @property
    def backend(self) -> str:
        """The built index's."""
        return self.built.backend

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d), new items and deleted ones among them."""
        return self.kept.items, self.built.shape[1]

    def add(self, vectors: Float32) -> Growing:
        """With new items, float32 (m, d), that are found from now on. ValueError unless d matches."""
        vectors = check_vectors(vectors)
        if vectors.shape[1] != self.shape[1]:
            raise ValueError(f"new vectors are {vectors.shape} but the index is {self.shape}: d must match")
        side = Exact.build(np.concatenate([self.side.vectors, vectors]))
        return replace(self, side=side, kept=self.kept.grown(len(vectors)))

    def remove(self, rows: Iterable[int]) -> Growing:
        """Without some items, which are not answered any more. ValueError for a row that is not there."""
        return replace(self, kept=self.kept & ~Mask.of_rows(rows, self.kept.items))

    def search(self, queries: Float32, k: int, allowed: Mask | None = None) -> Candidates:
        """The k best of what was built and what came since, without what went."""
        queries = check_queries(queries, self.shape, k)
        kept = self.kept if allowed is None else self.kept & check_mask(allowed, self.kept.items)
        n = self.built.shape[0]
        whole = kept.count == kept.items
        found = self.built.search(queries, k, None if whole else kept.part(0, n))
        if not len(self.side.vectors):
            return found
        late = self.side.search(queries, k, None if whole else kept.part(n, kept.items))
        return merge([(found, 0), (late, n)], k)

    def folded(self, vectors: Float32) -> tuple[Float32, Int32]:
        """What a rebuild takes: the vectors that are left, float32 (m, d), and the row that each had, int32 (m,).

        ``vectors``: what the built index was built from.
        """
        n = self.built.shape[0]
        if vectors.shape != self.built.shape:
            raise ValueError(f"vectors are {vectors.shape} but the index is {self.built.shape}: they must match")
        rows = self.kept.rows
        old, new = rows[rows < n], rows[rows >= n] - n
        return np.concatenate([vectors[old], self.side.vectors[new]]), rows
