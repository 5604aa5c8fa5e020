"""Fusion by the scores themselves, for sources whose scales are known: models of one release, weighed together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.candidates import EMPTY, Candidates
from recsys.fusions.scored import check_named, check_weights, scored
from recsys.fusions.z_score import POOL
from recsys.retrieval import Parts, Query, Source


@dataclass(frozen=True, slots=True, eq=False)
class WeightedSum:
    """Σ weight · score over the sources; one with nothing to say of a query counts for nothing there.

    Unlike a z-score it keeps how sure a source is: item lists add up over a history, so they say more of somebody with
    a long one, while a user's vector of length one does not.

    Laws: the order of the sources does not matter; one source alone keeps its order.
    """

    weights: Mapping[str, float]
    pool: int = POOL

    @classmethod
    def of(cls, parts: Parts, weights: Mapping[str, float], pool: int = POOL) -> WeightedSum:  # noqa: ARG003
        """``weights``: name of a source → its weight, not negative; ``pool``: items wanted of each source."""
        return cls(check_weights(weights, pool), pool)

    def __call__(
        self, queries: Sequence[Query], proposals: Mapping[str, Candidates], sources: Mapping[str, Source]
    ) -> Candidates:
        """Each item once. ValueError for a source without a weight."""
        check_named(proposals, self.weights)
        union, scores = scored(queries, proposals, sources)
        total = np.zeros(union.shape, np.float32)
        for name, said in scores.items():
            total += np.float32(self.weights[name]) * np.nan_to_num(said, nan=0.0)
        return Candidates(union.rows, np.where(union.filled, total, EMPTY), union.signals)
