"""What came last, whoever took it or nobody."""

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
class Fresh:
    """The same items for everybody, newest first, scored by 1 / place.

    ``order``: int32 (m,), rows of which it is known when they came. ``available``: which items may be answered at all;
    None for every one.
    """

    personal: ClassVar[bool] = False

    order: Int32
    available: Mask | None

    @classmethod
    def of(cls, parts: Parts, column: str = "") -> Fresh:
        """``column``: of the catalogue, days, times or numbers such as years.

        Without one, items that were put since the release was made come first, then those that somebody took by the
        first time that they were taken; one that nobody took is left out.
        """
        return cls(parts.newest_first(column), parts.available)

    def __call__(self, queries: Sequence[Query], k: int) -> Candidates:
        """The k newest items that each query allows."""
        lists = {id(query.allowed): first(self.order, k, self.available, query.allowed) for query in queries}
        return by_place([lists[id(query.allowed)] for query in queries], k)
