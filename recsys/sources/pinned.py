"""Items that somebody named, for everybody: what the step ``pinned`` puts at its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from recsys.arrays import Int32
from recsys.candidates import Candidates
from recsys.masks import Mask
from recsys.retrieval import Parts, Query
from recsys.sources.popular import by_place, first


@dataclass(frozen=True, slots=True, eq=False)
class Pinned:
    """The named items in their order, each as far as the release knows it and it may be answered.

    ``rows``: int32 (m,). ``available``: which items may be answered at all; None for every one.
    """

    personal: ClassVar[bool] = False

    rows: Int32
    available: Mask | None

    @classmethod
    def of(cls, parts: Parts, items: Sequence[str]) -> Pinned:
        """``items``: ids; one that the release does not know is left out."""
        rows = parts.named(items)
        return cls(rows[rows >= 0], parts.available)

    def __call__(self, queries: Sequence[Query], k: int) -> Candidates:
        """The first k of them that each query allows, scored by 1 / place."""
        return by_place([first(self.rows, k, self.available, query.allowed) for query in queries], k)
