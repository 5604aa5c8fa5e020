"""What is like the lists of the weeks before comes later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Float32
from recsys.candidates import Candidates
from recsys.errors import unknown_choice
from recsys.retrieval import SIMILAR_INDEX, Parts, Query
from recsys.steps.excluding import without


@dataclass(frozen=True, slots=True, eq=False)
class Unrepeated:
    """Empty the slots of items that the query excludes, and lower the scores of items that are like those.

    A weekly playlist excludes what the user's lists of the last weeks held. Of a score ``1 - weight · likeness`` is
    left, likeness being the largest cosine with anything excluded, at least 0; a score below 0 falls by as much of its
    size. Laws: no score rises; a weight of 0 lowers none; a zero vector is like none.

    ``vectors``: float32 (n, d), of length one or zero.
    """

    vectors: Float32
    weight: float

    @classmethod
    def of(cls, parts: Parts, weight: float = 0.2, vectors: str = SIMILAR_INDEX) -> Unrepeated:
        """``weight``: of likeness, from 0 to 1. ``vectors`` names the release's unit vectors."""
        if not 0 <= weight <= 1:
            raise ValueError(f"weight is {weight}: it must lie between 0 and 1")
        if vectors not in parts.vectors:
            raise ValueError(unknown_choice("vectors", vectors, parts.vectors))
        return cls(parts.vectors[vectors], weight)

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:
        """The candidates with what is left of their scores."""
        found = without(candidates, [query.excluded for query in queries])
        if not self.weight or not found.shape[1] or not any(len(query.excluded) for query in queries):
            return found
        like = np.zeros(found.shape, np.float32)
        for line, query in enumerate(queries):
            if len(query.excluded):
                products = self.vectors[np.maximum(found.rows[line], 0)] @ self.vectors[query.excluded].T
                like[line] = products.max(axis=1)
        sizes = np.abs(np.where(found.filled, found.scores, 0))
        scores = found.scores - np.float32(self.weight) * np.maximum(like, 0) * sizes
        return Candidates(found.rows, scores, found.signals)
