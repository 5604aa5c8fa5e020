"""No more than a few items of one artist, author or brand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Bool, Int32, Int64
from recsys.candidates import Candidates
from recsys.kernels import candidates as kernels
from recsys.retrieval import Parts, Query


@dataclass(frozen=True, slots=True, eq=False)
class Capped:
    """Empty the slots of items whose group has had ``at_most`` better ones.

    Groups are the values of a column of the catalogue; an item with several belongs to each, and goes if any is full.
    Laws: what stays are the best of each group; an item without a group stays.

    ``alone``: int32 (n,), the group of each item, -1 for none, where none has several; else None, and item i's are
    ``groups[starts[i]:starts[i + 1]]``, int64, with ``starts``: int64 (n + 1,).
    """

    starts: Int64
    groups: Int64
    alone: Int32 | None
    at_most: int

    @classmethod
    def of(cls, parts: Parts, column: str, at_most: int = 2) -> Capped:
        """``column``: of texts or of lists of texts."""
        if at_most < 1:
            raise ValueError(f"at_most is {at_most}: at least 1 was wanted")
        if parts.catalogue is None:
            raise ValueError(f"column {column!r} is asked for, and there is no catalogue")
        starts, groups = parts.catalogue.memberships(column)
        counts, alone = np.diff(starts), None
        if counts.max(initial=0) <= 1:
            # One look for each candidate in place of three, each in another corner of memory.
            alone = np.full(len(counts), -1, np.int32)
            alone[counts > 0] = groups
        return cls(starts, groups, alone, at_most)

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:  # noqa: ARG002
        """The candidates, best first, without what is too much."""
        found = candidates.top(candidates.shape[1])
        if not len(self.groups):
            return found
        if self.alone is not None:
            stays = kernels.capped(np.ascontiguousarray(found.rows), self.alone, self.at_most)
            return found if stays is None else found.keep(stays)
        # Items that came after the catalogue was grouped have no group.
        grouped = (found.rows >= 0) & (found.rows < len(self.starts) - 1)
        known = np.where(grouped, found.rows, 0)
        kept = np.empty(found.shape, bool)
        starts = self.starts[known]
        ends = np.where(grouped, self.starts[known + 1], starts)
        for line in range(len(kept)):
            kept[line] = self._several(starts[line], ends[line])
        return found.keep(kept)

    def _several(self, starts: Int64, ends: Int64) -> Bool:
        counts: Counter[int] = Counter()
        kept = np.ones(len(starts), bool)
        for place, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            groups = self.groups[start:end].tolist()
            if any(counts[group] >= self.at_most for group in groups):
                kept[place] = False
            else:
                counts.update(groups)
        return kept
