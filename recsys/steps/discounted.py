"""What was shown and left alone comes later: impression discounting, Li, Lakshmanan, Tiwari & Shah (2014)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from recsys.arrays import Float64, Int32
from recsys.candidates import EMPTY, Candidates
from recsys.errors import unknown_choice
from recsys.retrieval import Parts, Query

DAY = 86400

Curve = Callable[[Float64], Float64]
"""From 1 at 0 down towards 0."""

CURVES: Mapping[str, Curve] = MappingProxyType(
    {
        "exponential": lambda x: np.exp(-x),
        "inverse": lambda x: 1 / (1 + x),
        "linear": lambda x: np.maximum(1 - x, 0),
        "quadratic": lambda x: np.maximum(1 - x, 0) ** 2,
    }
)
"""The paper's four families, each with its one free constant in x, so that what was never shown keeps all."""


@dataclass(frozen=True, slots=True)
class Discounted:
    """Lower the score of an item by how often and how lately it was shown to the user.

    After n times, the last of them t days ago, 1 - (1 - count(n · rate)) · time(t · recovery) of the score is left, as
    the paper multiplies it; a score below 0 falls by as much of its size. Curves: :data:`CURVES`.
    Laws: the same items; no score rises; once more never makes it better, a day more never worse; a rate of 0 changes
    nothing, nor does anything for a query of which nobody counts; without times every item was shown just now.
    """

    reads_shown: ClassVar[bool] = True
    rate: float
    recovery: float
    count: Curve
    time: Curve

    @classmethod
    def of(
        cls,
        parts: Parts,  # noqa: ARG003  every step is built from the parts
        rate: float = 0.2,
        curve: str = "exponential",
        recovery: float = 0.1,
        recovery_curve: str = "exponential",
    ) -> Discounted:
        """``rate``: for each time it was shown. ``recovery``: for each day since the last; 0, never forgotten."""
        for name, value in (("rate", rate), ("recovery", recovery)):
            if not 0 <= value < np.inf:
                raise ValueError(f"{name} is {value}: at least 0 was wanted")
        for name in (curve, recovery_curve):
            if name not in CURVES:
                raise ValueError(unknown_choice("curve", name, CURVES))
        return cls(rate, recovery, CURVES[curve], CURVES[recovery_curve])

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:
        """The candidates with what is left of their scores."""
        left = np.ones(candidates.shape)
        for line, query in enumerate(queries):
            if query.shown is not None and len(query.shown) and candidates.shape[1]:
                rows, kept = self._kept(query.shown, query)
                at = np.minimum(np.searchsorted(rows, candidates.rows[line]), len(rows) - 1)
                left[line] = np.where(rows[at] == candidates.rows[line], kept[at], 1)
        sizes = np.abs(np.where(candidates.filled, candidates.scores, 0))
        scores = np.where(candidates.filled, candidates.scores - (1 - left) * sizes, EMPTY)
        return Candidates(candidates.rows, scores.astype(np.float32), candidates.signals)

    def _kept(self, shown: Int32, query: Query) -> tuple[Int32, Float64]:
        """The different rows that were shown, ascending, and what is left of their scores, float64 (m,)."""
        rows, places, counts = np.unique(shown, return_inverse=True, return_counts=True)
        days: Float64 = np.zeros(len(rows))
        if len(query.shown_times):
            last = np.full(len(rows), np.iinfo(np.int64).min)
            np.maximum.at(last, places, query.shown_times)
            days = (np.maximum(query.now.timestamp() - last, 0) / DAY).astype(np.float64)
        return rows, 1 - (1 - self.count(self.rate * counts.astype(np.float64))) * self.time(self.recovery * days)
