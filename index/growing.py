"""An index that takes new items, other vectors for old ones, and lets go of items, between two builds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from index.exact import Exact
from index.remembering import Remembering
from recsys.arrays import Float32, Int32, patched
from recsys.candidates import NONE, Candidates, beside
from recsys.masks import Mask
from recsys.retrieval import SearchIndex, check_mask, check_queries, check_vectors

FEW = 50
"""So many built items that may not be answered are fetched in vain; with more of them the search is masked."""


@dataclass(frozen=True, eq=False)
class Growing:
    """A built index, beside it an exact one over what came since, and a mask over what went.

    Values: every change gives another ``Growing`` and costs no search its consistency; whoever holds the current one
    assigns it. Rows go on: the first new item is row n. ``rows``: int32 (m,), ascending, whose vectors ``side`` has,
    new items and built ones that got another. ``kept``: the items that may be answered.
    """

    built: SearchIndex
    side: Exact
    rows: Int32
    kept: Mask

    @classmethod
    def of(cls, built: SearchIndex) -> Growing:
        """Nothing new, nothing gone."""
        n, d = built.shape
        return cls(built, Exact.build(np.zeros((0, d), np.float32)), np.zeros(0, np.int32), Mask.of(np.ones(n, bool)))

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
        n = self.kept.items
        return self.put(np.arange(n, n + len(vectors), dtype=np.int32), vectors)

    def put(self, rows: Int32, vectors: Float32) -> Growing:
        """With these vectors, float32 (m, d), at m different rows: new ones behind the last, others in place of theirs.

        All of them may be answered from now on. ValueError unless d matches and new rows go on one by one.
        """
        vectors = check_vectors(vectors)
        n, d = self.shape
        if vectors.shape[1] != d:
            raise ValueError(f"new vectors are {vectors.shape} but the index is {self.shape}: d must match")
        rows = np.asarray(rows, np.int32)
        new = np.sort(rows[rows >= n])
        if len(rows) != len(vectors) or not np.array_equal(new, np.arange(n, n + len(new))):
            raise ValueError(
                f"{len(vectors)} vectors came for {len(rows)} rows, the new ones {new.tolist()[:5]}: new rows go on "
                f"from {n}, one by one"
            )
        all_rows, last = np.unique(np.concatenate([rows, self.rows]), return_index=True)
        side = Exact.build(np.concatenate([vectors, self.side.vectors])[last])
        return replace(self, side=side, rows=all_rows, kept=self.kept.grown(len(new))).restore(rows.tolist())

    def remove(self, rows: Iterable[int]) -> Growing:
        """Without some items, which are not answered any more. ValueError for a row that is not there."""
        return replace(self, kept=self.kept & ~Mask.of_rows(rows, self.kept.items))

    def restore(self, rows: Iterable[int]) -> Growing:
        """With items that were removed before, as they were. ValueError for a row that is not there."""
        return replace(self, kept=self.kept | Mask.of_rows(rows, self.kept.items))

    def search(self, queries: Float32, k: int, allowed: Mask | None = None) -> Candidates:
        """The k best of what was built and what came since, without what went."""
        queries = check_queries(queries, self.shape, k)
        if allowed is not None:
            # What may not be answered in general may not be answered here either.
            return replace(self, kept=self.kept & check_mask(allowed, self.kept.items)).search(queries, k)
        inside = self._inside
        lost = inside.items - inside.count
        if lost > FEW:
            found = self.built.search(queries, k, inside)
        elif lost:
            found = self.built.search(queries, k + lost)
            found = found.keep(inside.holds(found.rows)).top(k)
        else:
            found = self.built.search(queries, k)
        return self._with_late(found, queries, k) if len(self.rows) else found

    def remembered(self, rows: Int32, k: int) -> Candidates | None:
        """What the built index remembers of its items, with what came since and without what went.

        None where it remembers nothing, and for items that came or got another vector since.
        """
        known = self._remembering
        if known is None or (len(self.rows) and np.isin(rows, self.rows).any()):
            return None
        found = known.remembered(rows, k)
        if found is None:
            return None
        inside = self._inside
        if inside.count < inside.items:
            found = found.keep(inside.holds(found.rows)).top(k)
        return self._with_late(found, known.vectors[rows], k) if len(self.rows) else found

    def _with_late(self, found: Candidates, queries: Float32, k: int) -> Candidates:
        late = self.side.search(queries, k, self._beside)
        late = Candidates(np.where(late.rows >= 0, self.rows[np.maximum(late.rows, 0)], NONE), late.scores)
        return beside([found, late]).top(k)

    @cached_property
    def _remembering(self) -> Remembering | None:
        return self.built if isinstance(self.built, Remembering) else None

    @cached_property
    def _inside(self) -> Mask:
        """The built items that are answered by the built index."""
        n = self.built.shape[0]
        if self.kept.count == self.kept.items == n and not len(self.rows):
            return self.kept
        return self.kept.part(0, n) & ~Mask.of_rows(self.rows[self.rows < n], n)

    @cached_property
    def _beside(self) -> Mask | None:
        """The places of ``side`` that may be answered; None for all."""
        kept = self.kept.holds(self.rows)
        return None if kept.all() else Mask.of(kept)

    def folded(self, vectors: Float32) -> tuple[Float32, Int32]:
        """What a rebuild takes: the vectors that are left, float32 (m, d), and the row that each had, int32 (m,).

        ``vectors``: what the built index was built from.
        """
        if vectors.shape != self.built.shape:
            raise ValueError(f"vectors are {vectors.shape} but the index is {self.built.shape}: they must match")
        rows = self.kept.rows
        return patched(vectors, self.rows, self.side.vectors)[rows], rows
