"""Places for what would not have been shown, drawn by lot, with the odds written down.

Whoever learns from clicks later must know how probable it was that an item was shown: Horvitz & Thompson (1952).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recsys.arrays import Bool, Float32, Int64
from recsys.candidates import PROPENSITY, Candidates
from recsys.retrieval import Parts, Query
from recsys.steps.boosted import check_share, places

LOT = 0x5107
"""Beside the query's seed, so that its other draws say nothing of this one."""


@dataclass(frozen=True, slots=True)
class Explored:
    """Give ``slots`` of the first ``length`` places to items drawn from further down.

    The best ``length - slots`` stay in their order. Of the others among the first ``depth`` candidates, or of those
    that ``source`` proposed, ``slots`` are drawn, each as probable as any, and put at places that are drawn too; all
    others follow as they stood. The signal ``propensity`` is the probability that an item is among the first
    ``length``: 1 for the best, slots / items in the draw for those. Where fewer can be drawn, the next best follow.
    Laws: the same items and the same scores; the propensities of a list add up to its first places; a share of 0 moves
    nothing; the same seed, the same list; a batch equals its queries one by one.
    """

    optional: ClassVar[str] = "exploration"

    slots: int
    length: int
    depth: int
    source: str

    @classmethod
    def of(
        cls,
        parts: Parts,  # noqa: ARG003  every step is built from the parts
        share: float = 0.1,
        length: int = 10,
        depth: int = 100,
        source: str = "",
    ) -> Explored:
        """``share``: of the first ``length``, rounded down. ``source``: what the surface calls it; any if empty."""
        check_share(share, length)
        if depth < length:
            raise ValueError(f"length is {length} and depth {depth}: 1 ≤ length ≤ depth was wanted")
        return cls(places(share, length), length, depth, source)

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:
        """The candidates, best first, some of those further down among the first."""
        found = candidates.top(candidates.shape[1])
        order = np.tile(np.arange(found.shape[1]), (found.shape[0], 1))
        propensity = np.full(found.shape, np.nan, np.float32)
        drawable = self._drawable(found)
        for line, query in enumerate(queries):
            filled = int(found.filled[line].sum())
            rng = np.random.default_rng((query.seed, LOT))
            order[line, :filled], propensity[line, :filled] = self._drawn(drawable[line, :filled], rng)
        signals = {**found.signals, PROPENSITY: propensity}
        return Candidates(found.rows, found.scores, signals).reordered(order)

    def _drawable(self, found: Candidates) -> Bool:
        """What may be drawn, bool (q, n)."""
        drawable = found.filled.copy()
        if self.source:
            said = found.signals.get(self.source)
            drawable &= False if said is None else ~np.isnan(said)
        drawable[:, : self.length - self.slots] = False
        drawable[:, self.depth :] = False
        return drawable

    def _drawn(self, drawable: Bool, rng: np.random.Generator) -> tuple[Int64, Float32]:
        """Of a list of m items, best first: their new order, int64 (m,), and propensities, float32 (m,)."""
        m = len(drawable)
        shown = min(self.length, m)
        lots = np.flatnonzero(drawable)
        count = min(self.slots, len(lots), shown)
        drawn = rng.choice(lots, count, replace=False)
        others = np.setdiff1d(np.arange(m), drawn)
        at = np.sort(rng.choice(shown, count, replace=False))
        order = np.empty(m, np.int64)
        order[at] = drawn
        order[np.setdiff1d(np.arange(m), at)] = others
        propensity = np.zeros(m, np.float32)
        certain = np.flatnonzero(~drawable)[: shown - count]
        propensity[certain] = 1
        if len(lots):
            propensity[lots] = (shown - len(certain)) / len(lots)
        return order, propensity
