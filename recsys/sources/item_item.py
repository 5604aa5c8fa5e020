"""Items that go with what the user has taken lately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recsys.arrays import Float32, Int32
from recsys.candidates import EMPTY, NONE, Candidates
from recsys.errors import unknown_choice
from recsys.item_lists import ItemLists
from recsys.kernels import candidates as kernels
from recsys.retrieval import NO_ROWS, Parts, Query
from recsys.topk import best

BLOCK = 2**22
"""Scores held at once."""
SPARSE = 500
"""Lists shorter than this part of the catalogue are added up without a score for every item."""


@dataclass(frozen=True, slots=True, eq=False)
class ItemItem:
    """The lists of a query's recent items, added up by their weights; nothing for a query without any.

    ``gone``: int32 (m,), rows that may not be answered.
    """

    lists: ItemLists
    gone: Int32 = field(default_factory=lambda: NO_ROWS)

    @classmethod
    def of(cls, parts: Parts, lists: str) -> ItemItem:
        """``lists`` names one of the release's item lists."""
        if lists not in parts.lists:
            raise ValueError(unknown_choice("item lists", lists, parts.lists))
        return cls(parts.lists[lists], parts.gone)

    def __call__(self, queries: Sequence[Query], k: int) -> Candidates:
        """The k items of the largest sums above 0, best first; equal ones by row."""
        if self._sparse and queries:
            found = [self._touched(query, k) for query in queries]
            return Candidates(np.array([items for items, _ in found]), np.array([totals for _, totals in found]))
        rows = np.full((len(queries), k), NONE)
        scores = np.full((len(queries), k), EMPTY)
        for start, part in self._blocks(queries):
            block = slice(start, start + len(part))
            rows[block], scores[block] = best(self._totals(part), k, above=0)
        return Candidates(rows, scores)

    def score(self, queries: Sequence[Query], rows: Int32) -> Float32:
        """The sums of items, int32 (q, n); nan in empty slots and for a query without recent items."""
        scores = np.full(rows.shape, np.nan, np.float32)
        if self._sparse:
            for line, query in enumerate(queries):
                if np.count_nonzero(query.weights > 0):
                    scores[line] = np.where(rows[line] >= 0, self._of(query, rows[line]), np.float32(np.nan))
            return scores
        for start, part in self._blocks(queries):
            named = rows[start : start + len(part)]
            said = np.take_along_axis(self._totals(part), np.maximum(named, 0), axis=1)
            known = np.array([[(query.weights > 0).any()] for query in part])
            scores[start : start + len(part)] = np.where((named >= 0) & known, said, np.float32(np.nan))
        return scores

    @property
    def _sparse(self) -> bool:
        return bool(len(self.lists) > SPARSE * self.lists.rows.shape[1])

    def _of(self, query: Query, rows: Int32) -> Float32:
        """The sums of some items, 0 for those that were deleted or that no list names."""
        items, totals = self.lists.touched(query.recent, query.weights)
        if not len(items):
            return np.zeros(len(rows), np.float32)
        order = items.argsort()
        items, totals = items[order], totals[order]
        at = np.minimum(np.searchsorted(items, rows), len(items) - 1)
        named = (items[at] == rows) & ~np.isin(rows, self.gone)
        return np.where(named, totals[at], np.float32(0))

    def _touched(self, query: Query, k: int) -> tuple[Int32, Float32]:
        items, totals = self.lists.touched(query.recent, query.weights)
        if len(self.gone) or query.allowed is not None:
            kept = ~np.isin(items, self.gone)
            if query.allowed is not None:
                kept &= query.allowed.holds(items)
            items, totals = items[kept], totals[kept]
        return kernels.merged(items, totals, k)

    def _blocks(self, queries: Sequence[Query]) -> list[tuple[int, Sequence[Query]]]:
        size = max(1, BLOCK // max(1, len(self.lists)))
        return [(start, queries[start : start + size]) for start in range(0, len(queries), size)]

    def _totals(self, queries: Sequence[Query]) -> Float32:
        totals = self.lists.scores([query.recent for query in queries], [query.weights for query in queries])
        totals[:, self.gone] = 0
        for line, query in enumerate(queries):
            if query.allowed is not None:
                totals[line, (~query.allowed).rows] = 0
        return totals
