"""Shares of a list that are promised: of what is fresh, of what few know, and of each of the user's tastes.

One step and not three: what one of them moved the next would move back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Bool, Int64
from recsys.candidates import Candidates
from recsys.errors import unknown_choice
from recsys.masks import Mask
from recsys.retrieval import SIMILAR_INDEX, Parts, Query
from recsys.segments import POPULARITY, item_segments
from recsys.steps.boosted import check_share, places
from recsys.tastes import Tastes


@dataclass(frozen=True, slots=True, eq=False)
class Portioned:
    """Choose the first ``length`` places so that shares hold, the best candidates first.

    At least ``fresh`` of the places go to the newest items, at least ``tail`` to items of the less popular kind, and at
    most ``taste`` to any one of the tastes of a user who has several. Candidates are taken from the best on; one is
    passed over if its taste is full, or if the places that are left are needed for what was promised. Where the
    candidates do not hold enough, the best of the others follow.
    Laws: the same items; shares of 0, 0 and 1 change nothing; a list that keeps the shares stays as it is.

    ``new`` and ``rare``: the items that count as such.
    """

    new: Mask
    rare: Mask
    tastes: Tastes
    shares: tuple[float, float, float]
    length: int

    @classmethod
    def of(
        cls,
        parts: Parts,
        fresh: float = 0.1,
        tail: float = 0.2,
        taste: float = 0.7,
        length: int = 30,
        newest: float = 0.1,
        column: str = "",
        tastes: int = 3,
        apart: float = 0.5,
        vectors: str = SIMILAR_INDEX,
    ) -> Portioned:
        """``newest``: share of the catalogue that is fresh, by ``column`` or by when items were first taken.

        ``tastes``, ``apart``: as the source multi-interest has them. ``vectors`` names the release's unit vectors.
        """
        for share in (fresh, tail, taste, newest):
            check_share(share, length)
        if vectors not in parts.vectors:
            raise ValueError(unknown_choice("vectors", vectors, parts.vectors))
        order = parts.newest_first(column) if fresh else np.zeros(0, np.int32)
        if not column and parts.recency is not None and not np.ptp(parts.recency.times).any():
            # A log without times says of no item that it is newer than another.
            order = order[:0]
        kinds = item_segments(parts.popularity.astype(np.int64))
        return cls(
            Mask.of_rows(order[: places(newest, parts.items)], parts.items),
            Mask.of(kinds >= POPULARITY.index("tail")),
            Tastes(parts.vectors[vectors], tastes, apart),
            (fresh, tail, taste),
            length,
        )

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:
        """The candidates, best first, the first places chosen anew."""
        found = candidates.top(candidates.shape[1])
        filled = found.filled
        if found.shape[1] < 2 or not filled.any():
            return found
        fresh, tail, taste = self.shares
        length = np.minimum(filled.sum(axis=1), self.length)
        new, rare = self.new.holds(found.rows), self.rare.holds(found.rows)
        belongs, several = self.tastes.of(queries, found.rows)
        most = np.where(several, np.floor(taste * length + 1e-9), length)
        state = _Places(filled, new, rare, belongs, length.copy(), most)
        state.take(*(_needed(share, length, kind) for share, kind in ((fresh, new), (tail, rare))))
        # What was promised cannot be had: the best of the others, within the tastes as long as that goes.
        nothing = np.zeros(len(length), np.int64)
        state.take(nothing, nothing)
        state.most = np.where(several, length, most)
        state.take(nothing, nothing)
        return found.reordered(np.argsort(~state.chosen, axis=1, kind="stable"))


def _needed(share: float, length: Int64, kind: Bool) -> Int64:
    """Places that are promised to a kind, as far as the candidates hold any, (q,)."""
    promised = np.array([math.ceil(share * int(some) - 1e-9) for some in length])
    needed: Int64 = np.minimum(promised, kind.sum(axis=1))
    return needed


class _Places:
    """The places of q lists while they are filled."""

    def __init__(self, filled: Bool, new: Bool, rare: Bool, belongs: Int64, left: Int64, most: np.ndarray) -> None:
        self.filled, self.new, self.rare, self.belongs = filled, new, rare, belongs
        self.left, self.most = left, most
        self.counts = np.zeros((len(filled), int(belongs.max(initial=0)) + 1), np.int64)
        self.chosen = np.zeros(filled.shape, bool)

    def take(self, new: Int64, rare: Int64) -> None:
        """Go through the candidates once, keeping places for so many that are new and so many that are rare, (q,)."""
        lines = np.arange(len(self.left))
        for place in range(self.filled.shape[1]):
            if not self.left.any():
                return
            is_new, is_rare, taste = self.new[:, place], self.rare[:, place], self.belongs[:, place]
            tasted = taste >= 0
            room = ~tasted | (self.counts[lines, np.maximum(taste, 0)] < self.most)
            promised = np.maximum(new - is_new, 0) + np.maximum(rare - is_rare, 0)
            wanted = (is_new & (new > 0)) | (is_rare & (rare > 0)) | (self.left - 1 >= promised)
            taken = self.filled[:, place] & ~self.chosen[:, place] & (self.left > 0) & room & wanted
            self.chosen[:, place] |= taken
            self.left = self.left - taken
            new, rare = np.maximum(new - (taken & is_new), 0), np.maximum(rare - (taken & is_rare), 0)
            self.counts[lines[taken & tasted], taste[taken & tasted]] += 1
