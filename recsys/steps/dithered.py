"""A little disorder: who comes back sees other things, and deeper ones get a chance. Dunning & Friedman (2014)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recsys.candidates import Candidates
from recsys.retrieval import Parts, Query


@dataclass(frozen=True, slots=True)
class Dithered:
    """Sort by ln(place) + N(0, ln ε): the first places hardly move, those further down move far.

    The noise comes from the query's ``seed``, so the same request is answered the same again.
    Laws: the same items; an epsilon of 1 changes nothing; a batch equals its queries one by one.
    """

    optional: ClassVar[str] = "exploration"

    epsilon: float

    @classmethod
    def of(cls, parts: Parts, epsilon: float = 1.5) -> Dithered:  # noqa: ARG003  every step is built from the parts
        """``epsilon``: from 1, no noise; 1.5 to 2 is usual."""
        if not 1 <= epsilon < np.inf:
            raise ValueError(f"epsilon is {epsilon}: at least 1 was wanted")
        return cls(epsilon)

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:
        """The candidates, best first, then shuffled a little."""
        found = candidates.top(candidates.shape[1])
        if self.epsilon == 1 or not found.shape[1]:
            return found
        noise = [np.random.default_rng(query.seed).standard_normal(found.shape[1]) for query in queries]
        places = np.log(np.arange(1, found.shape[1] + 1)) + np.log(self.epsilon) * np.array(noise)
        return found.reordered(np.argsort(np.where(found.filled, places, np.inf), axis=1, kind="stable"))
