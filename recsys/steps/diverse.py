"""Lists whose items are not all alike: maximal marginal relevance, Carbonell & Goldstein (1998)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from recsys.arrays import Float32, at_hand
from recsys.candidates import Candidates, along
from recsys.errors import unknown_choice
from recsys.kernels.vectors import diverse
from recsys.retrieval import SIMILAR_INDEX, Parts, Query


@dataclass(frozen=True, slots=True, eq=False)
class Diverse:
    """Take the items one by one, each time the one of largest (1 - weight) · relevance - weight · likeness.

    Relevance is 1 for the best of a list's ``depth`` candidates and falls to 0 with the place; likeness is the largest
    cosine with anything taken before, at least 0. The first ``length`` places are chosen so, the others follow as they
    stood. Relevance goes by place since scores of different surfaces share no scale.
    Laws: the same items; the best stays first; a weight of 0 changes nothing; a zero vector is like none.

    ``vectors``: float32 (n, d), of length one or zero.
    """

    optional: ClassVar[str] = "diversity"

    vectors: Float32
    weight: float
    length: int
    depth: int

    @classmethod
    def of(
        cls, parts: Parts, weight: float = 0.3, length: int = 20, depth: int = 100, vectors: str = SIMILAR_INDEX
    ) -> Diverse:
        """``weight``: of unlikeness, from 0 to 1. ``vectors`` names the release's unit vectors."""
        if not 0 <= weight <= 1:
            raise ValueError(f"weight is {weight}: it must lie between 0 and 1")
        if not 1 <= length <= depth:
            raise ValueError(f"length is {length} and depth {depth}: 1 ≤ length ≤ depth was wanted")
        if vectors not in parts.vectors:
            raise ValueError(unknown_choice("vectors", vectors, parts.vectors))
        return cls(parts.vectors[vectors], weight, length, depth)

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:  # noqa: ARG002
        """The candidates, best first, the first places chosen anew."""
        found = candidates.top(candidates.shape[1])
        depth = min(self.depth, found.shape[1])
        if not self.weight or depth < 3:
            return found
        vectors, rows = at_hand(self.vectors, found.rows)
        order = diverse(vectors, rows, _relevance(self.weight, depth), self.weight, self.length)
        # The scores stay, the best for the first.
        signals = {name: along(signal, order) for name, signal in found.signals.items()}
        return Candidates(along(found.rows, order), found.scores, signals)


@lru_cache(maxsize=64)
def _relevance(weight: float, depth: int) -> Float32:
    """What each of the first ``depth`` places is worth, float32 (depth,): from 1 - ``weight`` down to nothing."""
    return np.linspace(1 - weight, 0, depth, dtype=np.float32)
