"""No more than a few items of one artist, author or brand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Bool, Int64
from recsys.candidates import Candidates
from recsys.retrieval import Parts, Query


@dataclass(frozen=True, slots=True, eq=False)
class Capped:
    """Empty the slots of items whose group has had ``at_most`` better ones.

    Groups are the values of a column of the catalogue; an item with several belongs to each, and goes if any is full.
    Laws: what stays are the best of each group; an item without a group stays.

    ``starts``: int64 (n + 1,), ``groups``: int64; item i's groups are ``groups[starts[i]:starts[i + 1]]``.
    """

    starts: Int64
    groups: Int64
    at_most: int

    @classmethod
    def of(cls, parts: Parts, column: str, at_most: int = 2) -> Capped:
        """``column``: of texts or of lists of texts."""
        if at_most < 1:
            raise ValueError(f"at_most is {at_most}: at least 1 was wanted")
        if parts.catalogue is None:
            raise ValueError(f"column {column!r} is asked for, and there is no catalogue")
        starts, groups = parts.catalogue.memberships(column)
        return cls(starts, groups, at_most)

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:  # noqa: ARG002
        """The candidates, best first, without what is too much."""
        found = candidates.top(candidates.shape[1])
        if not len(self.groups):
            return found
        # Items that came after the catalogue was grouped have no group.
        grouped = (found.rows >= 0) & (found.rows < len(self.starts) - 1)
        known = np.where(grouped, found.rows, 0)
        starts = self.starts[known]
        ends = np.where(grouped, self.starts[known + 1], starts)
        if (ends - starts).max(initial=0) <= 1:
            return found.keep(self._one(starts, ends))
        kept = np.ones(found.shape, bool)
        for line in range(len(kept)):
            kept[line] = self._several(starts[line], ends[line])
        return found.keep(kept)

    def _one(self, starts: Int64, ends: Int64) -> Bool:
        """Which items of lists stay, bool (q, n), where each has one group or none."""
        has = ends > starts
        places = np.arange(starts.shape[1])
        # Group and place in one number, so that a group's items stand together, best first.
        codes = np.where(has, self.groups[np.minimum(starts, len(self.groups) - 1)], -1) << 32 | places
        codes.sort(axis=1)
        groups, order = codes >> 32, codes & 0xFFFFFFFF
        # Too many have stood before one whose group is that of the one so many places before it.
        later, before = groups[:, self.at_most :], groups[:, : -self.at_most]
        full = np.zeros(codes.shape, bool)
        full[:, self.at_most :] = (later == before) & (later >= 0)
        kept = np.ones(codes.shape, bool)
        np.put_along_axis(kept, order, ~full, axis=1)
        return kept

    def _several(self, starts: Int64, ends: Int64) -> np.ndarray:
        counts: Counter[int] = Counter()
        kept = np.ones(len(starts), bool)
        for place, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            groups = self.groups[start:end].tolist()
            if any(counts[group] >= self.at_most for group in groups):
                kept[place] = False
            else:
                counts.update(groups)
        return kept
