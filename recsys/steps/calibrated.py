"""Lists that hold each category as much as the user does: Steck (2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recsys.arrays import Float32, Float64, Int32, Int64, ranges
from recsys.candidates import Candidates
from recsys.retrieval import Parts, Query

SMOOTHING = 0.01
"""Of the user's mix that the list's is smoothed with, as the paper has it."""
MOST = 1000
"""Categories; a column of more of them names things, not kinds of things."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """Take the items one by one, each time the one of largest (1 - weight) · relevance - weight · divergence.

    Divergence is Kullback and Leibler's, in nats, of the list with the item from the mix of the user's recent items;
    relevance is 1 for the best of ``depth`` candidates and falls to 0 with the place, and adds up over the list. The
    first ``length`` places are chosen so, the others follow as they stood.
    Laws: the same items; a weight of 0 changes nothing, nor does anything for a query of whose recent items no category
    is known; an item without categories changes no mix.

    Item i's categories are ``groups[starts[i]:starts[i + 1]]``, of ``count``; it belongs to each alike.
    """

    optional: ClassVar[str] = "diversity"

    starts: Int64
    groups: Int64
    count: int
    weight: float
    length: int
    depth: int

    @classmethod
    def of(cls, parts: Parts, column: str, weight: float = 0.5, length: int = 20, depth: int = 100) -> Calibrated:
        """``column``: of texts or of lists of texts, the categories. ``weight``: of the mix, from 0 to 1."""
        if not 0 <= weight <= 1:
            raise ValueError(f"weight is {weight}: it must lie between 0 and 1")
        if not 1 <= length <= depth:
            raise ValueError(f"length is {length} and depth {depth}: 1 ≤ length ≤ depth was wanted")
        if parts.catalogue is None:
            raise ValueError(f"column {column!r} is asked for, and there is no catalogue")
        starts, groups = parts.catalogue.memberships(column)
        count = int(groups.max(initial=-1)) + 1
        if count > MOST:
            raise ValueError(f"column {column!r} has {count:,} different values: at most {MOST:,} are categories")
        return cls(starts, groups, count, weight, length, depth)

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:
        """The candidates, best first, the first places chosen anew."""
        found = candidates.top(candidates.shape[1])
        depth = min(self.depth, found.shape[1])
        if not self.weight or depth < 2:
            return found
        order = np.tile(np.arange(found.shape[1]), (found.shape[0], 1))
        for line, query in enumerate(queries):
            taste = self._mix(query.recent, query.weights)
            if taste is not None:
                filled = int(found.filled[line, :depth].sum())
                order[line, :filled] = self._chosen(self.shares(found.rows[line, :filled]), taste)
        return found.reordered(order)

    def shares(self, rows: Int32) -> Float64:
        """Each item's share of each category, float64 (m, count); zeros for one without, or that came later."""
        shares = np.zeros((len(rows), self.count))
        known = rows < len(self.starts) - 1
        lengths = np.diff(self.starts)[rows[known]]
        at = np.repeat(np.flatnonzero(known), lengths)
        inside = np.repeat(self.starts[rows[known]], lengths) + ranges(lengths)
        shares[at, self.groups[inside]] = 1 / np.repeat(lengths, lengths)
        return shares

    def _mix(self, rows: Int32, weights: Float32) -> Float64 | None:
        """What share of what a user took falls to each category, float64 (count,); None where none is known."""
        amounts = np.maximum(weights, 0) @ self.shares(rows)
        total = amounts.sum()
        return amounts / total if total > 0 else None

    def _chosen(self, shares: Float64, taste: Float64) -> Int64:
        """Places of m candidates, best first, in the order in which they are taken."""
        relevance = (1 - self.weight) * np.linspace(1, 0, len(shares))
        liked = taste > 0
        taste, shares = taste[liked], np.column_stack([shares[:, liked], shares.sum(axis=1)])
        held = np.zeros(shares.shape[1])
        left = np.arange(len(shares))
        taken = []
        for _ in range(min(self.length, len(shares))):
            # Of the list with each of those left: its mix, and how far that is from the taste.
            with_it = held + shares[left]
            mix = with_it[:, :-1] / np.maximum(with_it[:, -1:], 1e-12)
            divergence = (taste * np.log(taste / ((1 - SMOOTHING) * mix + SMOOTHING * taste))).sum(axis=1)
            best = int((relevance[left] - self.weight * divergence).argmax())
            taken.append(left[best])
            held = with_it[best]
            left = np.delete(left, best)
        return np.concatenate([np.array(taken, np.int64), left])
