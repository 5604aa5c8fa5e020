"""Items that somebody named, for everybody: what the step ``pinned`` puts at its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Int32
from recsys.candidates import EMPTY, Candidates
from recsys.masks import Mask
from recsys.retrieval import Parts, Query


@dataclass(frozen=True, slots=True, eq=False)
class Pinned:
    """The named items in their order, each as far as the release knows it and it may be answered.

    ``rows``: int32 (m,). ``available``: which items may be answered at all; None for every one.
    """

    rows: Int32
    available: Mask | None

    @classmethod
    def of(cls, parts: Parts, items: Sequence[str]) -> Pinned:
        """``items``: ids; one that the release does not know is left out."""
        rows = parts.named(items)
        return cls(rows[rows >= 0], parts.available)

    def __call__(self, queries: Sequence[Query], k: int) -> Candidates:
        """The first k of them for each query, less those that it does not allow."""
        rows = np.tile(self.rows[:k], (len(queries), 1))
        kept = np.ones(rows.shape, bool) if self.available is None else self.available.holds(rows)
        for line, query in enumerate(queries):
            if query.allowed is not None:
                kept[line] &= query.allowed.holds(rows[line])
        scores = (1 / (1 + np.arange(rows.shape[1]))).astype(np.float32)
        return Candidates(rows, np.where(rows >= 0, scores, EMPTY)).keep(kept)
