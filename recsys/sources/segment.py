"""What is taken most lately in a part of the catalogue that somebody named: a country, a language, a category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recsys.arrays import Float32, Int32
from recsys.candidates import EMPTY, NONE, Candidates
from recsys.kernels.candidates import merged
from recsys.masks import Mask
from recsys.retrieval import NO_ROWS, Parts, Query
from recsys.sources.popular import first
from recsys.sources.trending import Categories, check_half_life


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """The items of the segment that a request names, else of those that the user's declared interests name.

    Each by how often it was taken, a time counting half after ``half_life`` days and so on; in a log without times just
    by how often. What nobody took is not proposed, and a query of no known segment gets empty slots. Upper and lower
    case are the same.

    ``columns``: name of a column → value, casefolded → its group; ``groups``: the items of each. ``counts``: float32
    (n,). ``available``: which items may be answered at all.
    """

    personal: ClassVar[bool] = False

    columns: Mapping[str, Mapping[str, int]]
    groups: Mapping[str, Categories]
    counts: Float32
    available: Mask | None

    @classmethod
    def of(cls, parts: Parts, columns: Sequence[str], half_life: float = 7.0) -> Segment:
        """``columns``: of texts or of lists of texts, whose values are segments. ``half_life``: in days."""
        check_half_life(half_life)
        if isinstance(columns, str) or not columns:
            raise ValueError(f"columns is {columns!r}: a list of names was wanted")
        if parts.recency is None or parts.catalogue is None:
            raise ValueError("segments need a catalogue to find them in, and histories to know what is taken")
        return cls(
            {column: parts.catalogue.values(column) for column in columns},
            {column: Categories.of(parts.catalogue, column, parts.recency, half_life) for column in columns},
            parts.recency.decayed(half_life),
            parts.available,
        )

    def __call__(self, queries: Sequence[Query], k: int) -> Candidates:
        """The k items that are taken most of the segments of each query."""
        rows = np.full((len(queries), k), NONE)
        scores = np.full((len(queries), k), EMPTY)
        for line, query in enumerate(queries):
            found = [self._first(column, group, query, k) for column, group in self._named(query)]
            if found:
                some = np.concatenate(found)
                rows[line], scores[line] = merged(some, self.counts[some], k)
        return Candidates(rows, scores)

    def _named(self, query: Query) -> list[tuple[str, int]]:
        """The groups that a query is of, with their columns; those of the interests where it says nothing itself."""
        said = [query.segment] if query.segment else [(c, word) for c in self.columns for word in query.interests]
        known = [(column, self.columns.get(column, {}).get(value.casefold())) for column, value in said]
        return [(column, group) for column, group in known if group is not None]

    def _first(self, column: str, group: int, query: Query, k: int) -> Int32:
        there = self.groups[column]
        if group + 1 >= len(there.bounds):  # nobody took any of it
            return NO_ROWS
        return first(there.members[slice(*there.bounds[group : group + 2])], k, self.available, query.allowed)
