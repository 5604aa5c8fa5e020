"""Items that stand at places that somebody fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Int32, Int64
from recsys.candidates import Candidates
from recsys.retrieval import Parts, Query


@dataclass(frozen=True, slots=True, eq=False)
class Pinned:
    """Move items to their places, those among the candidates; the others keep their order around them.

    A step never invents an item: the source ``pinned`` proposes them, and what is seen, deleted, not allowed or unknown
    was taken out of that as out of every proposal. So it is left out here too, and its place goes to the next one. A
    place beyond the list is its end.
    Laws: the same items and the same scores.

    ``rows``: int32 (m,), and ``places``: int64 (m,), from 0, ascending.
    """

    rows: Int32
    places: Int64

    @classmethod
    def of(cls, parts: Parts, items: Sequence[str], places: Sequence[int] = ()) -> Pinned:
        """``items``: ids. ``places``: from 1, one for each; the first ones if empty."""
        rows = parts.named(items)
        wanted = np.array(places or range(1, len(items) + 1), np.int64)
        if len(wanted) != len(items) or len(np.unique(wanted)) < len(wanted) or (wanted < 1).any():
            raise ValueError(f"places are {list(places)}: {len(items)} different ones from 1 on were wanted")
        order = np.argsort(wanted)
        return cls(rows[order], wanted[order] - 1)

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:  # noqa: ARG002  all alike
        """The candidates, best first but for those that are pinned."""
        found = candidates.top(candidates.shape[1])
        order = np.tile(np.arange(found.shape[1]), (found.shape[0], 1))
        for line in np.flatnonzero(np.isin(found.rows, self.rows[self.rows >= 0]).any(axis=1)):
            at = {row: place for place, row in enumerate(found.rows[line].tolist()) if row >= 0}
            pinned = [
                (place, at[row])
                for place, row in zip(self.places.tolist(), self.rows.tolist(), strict=True)
                if row in at
            ]
            rest = [place for place in at.values() if place not in {slot for _, slot in pinned}]
            for place, slot in pinned:
                rest.insert(place, slot)
            order[line, : len(rest)] = rest
        return found.reordered(order)
