"""What most people take: the last rung of every ladder, since it knows the whole catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Float32, Int32
from recsys.candidates import Candidates
from recsys.retrieval import Parts, Query


@dataclass(frozen=True, slots=True, eq=False)
class Popular:
    """The same items for everybody, most popular first; equally popular ones by row."""

    rows: Int32
    scores: Float32

    @classmethod
    def of(cls, parts: Parts) -> Popular:
        """Rank the whole catalogue once."""
        order = np.argsort(-parts.popularity, kind="stable").astype(np.int32)
        return cls(order, parts.popularity[order])

    def __call__(self, queries: Sequence[Query], k: int) -> Candidates:
        """The k most popular items."""
        shape = (len(queries), min(k, len(self.rows)))
        return Candidates(np.broadcast_to(self.rows[:k], shape), np.broadcast_to(self.scores[:k], shape))
