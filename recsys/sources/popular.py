"""What most people take: the last rung of every ladder, since it knows the whole catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import ClassVar

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

    personal: ClassVar[bool] = False

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
        lists = {id(query.allowed): first(self.order, k, self.allowed, query.allowed) for query in queries}
        if len(lists) == 1:
            (rows,) = lists.values()
            shape = (len(queries), len(rows))
            return Candidates(np.broadcast_to(rows, shape), np.broadcast_to(self.popularity[rows], shape))
        table = np.full((len(queries), max(map(len, lists.values()))), NONE)
        for line, query in enumerate(queries):
            rows = lists[id(query.allowed)]
            table[line, : len(rows)] = rows
        return Candidates(table, np.where(table >= 0, self.popularity[table], EMPTY))


def first(order: Int32, k: int, *allowed: Mask | None) -> Int32:
    """The first k rows of ``order`` that every mask holds, int32 (≤ k,); None allows all."""
    masks = [mask for mask in allowed if mask is not None]
    if not masks:
        return order[:k]
    held = reduce(and_, masks)
    # As far down as it takes: few are missing, and a million rows need not be looked at for twenty.
    reach = k
    while True:
        rows = order[:reach]
        kept = rows[held.holds(rows)]
        if len(kept) >= min(k, held.count) or reach >= len(order):
            return kept[:k]
        reach *= 2


def by_place(lists: Sequence[Int32], k: int) -> Candidates:
    """One list of rows, best first, int32 (≤ k,), for each query, scored by 1 / place, in k slots."""
    rows = np.full((len(lists), k), NONE)
    for line, found in enumerate(lists):
        rows[line, : len(found)] = found
    return Candidates(rows, np.where(rows >= 0, (1 / np.arange(1, k + 1)).astype(np.float32), EMPTY))
