"""What most people take: the last rung of every ladder, since it knows the whole catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Float32, Int32
from recsys.candidates import EMPTY, NONE, Candidates
from recsys.masks import Mask
from recsys.retrieval import Parts, Query, by_popularity


@dataclass(frozen=True, slots=True, eq=False)
class Popular:
    """The same items for everybody, most popular first; equally popular ones by row, new ones last.

    ``order``: int32 (n,), all rows. ``allowed``: which of them may be answered; None for all.
    """

    order: Int32
    popularity: Float32
    allowed: Mask | None = None

    @classmethod
    def of(cls, parts: Parts) -> Popular:
        """Rank the whole catalogue once."""
        order = by_popularity(parts.popularity) if parts.order is None else parts.order
        return cls(order, parts.popularity, parts.available)

    def __call__(self, queries: Sequence[Query], k: int) -> Candidates:
        """The k most popular items."""
        lists = {id(query.allowed): self._first(k, query.allowed) for query in queries}
        if len(lists) == 1:
            (rows,) = lists.values()
            shape = (len(queries), len(rows))
            return Candidates(np.broadcast_to(rows, shape), np.broadcast_to(self.popularity[rows], shape))
        table = np.full((len(queries), max(map(len, lists.values()))), NONE)
        for line, query in enumerate(queries):
            rows = lists[id(query.allowed)]
            table[line, : len(rows)] = rows
        return Candidates(table, np.where(table >= 0, self.popularity[table], EMPTY))

    def _first(self, k: int, wanted: Mask | None) -> Int32:
        """The first k items that may be answered and are wanted."""
        allowed = self.allowed if wanted is None else wanted if self.allowed is None else wanted & self.allowed
        if allowed is None:
            return self.order[:k]
        # As far down as it takes: few are missing, and a million rows need not be looked at for twenty.
        reach = k
        while True:
            rows = self.order[:reach]
            kept = rows[allowed.holds(rows)]
            if len(kept) >= min(k, allowed.count) or reach >= len(self.order):
                return kept[:k]
            reach *= 2
