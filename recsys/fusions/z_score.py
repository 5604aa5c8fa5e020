"""Fusion by weighted scores, once each source's are put on one scale for each query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Float32
from recsys.candidates import EMPTY, Candidates
from recsys.fusions.scored import check_named, check_weights, scored
from recsys.retrieval import Parts, Query, Source

POOL = 200


@dataclass(frozen=True, slots=True, eq=False)
class ZScore:
    """Σ weight · z over the sources, z being a source's scores over the query's whole union, centred and scaled to one.

    A source with nothing to say of a query counts for nothing there.

    Laws: a source's scale and zero do not matter, nor does the order of the sources; one source alone keeps its order.
    """

    weights: Mapping[str, float]
    pool: int = POOL

    @classmethod
    def of(cls, parts: Parts, weights: Mapping[str, float], pool: int = POOL) -> ZScore:  # noqa: ARG003
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
            total += np.float32(self.weights[name]) * standardized(said)
        return Candidates(union.rows, np.where(union.filled, total, EMPTY), union.signals)


def standardized(said: Float32) -> Float32:
    """Scores of each query, float32 (q, n), centred and scaled to one over those that are not nan; 0 for the others.

    Scores that are all alike, but for rounding, say nothing: 0.
    """
    known = ~np.isnan(said)
    values = np.where(known, said, 0).astype(np.float64)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    centred = np.where(known, values - values.sum(axis=1, keepdims=True) / count, 0)
    spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    flat = spread <= 1e-6 * np.abs(values).max(axis=1, initial=0, keepdims=True)
    standard: Float32 = np.divide(centred, spread, out=np.zeros_like(centred), where=~flat).astype(np.float32)
    return standard
