"""Fusion by weighted scores, once each source's are put on one scale for each query."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recsys.arrays import Float32
from recsys.fusions.scored import POOL, Weighted
from recsys.retrieval import Parts


def z_score(parts: Parts, weights: Mapping[str, float], pool: int = POOL) -> Weighted:  # noqa: ARG001
    """Σ weight · z over the sources, z being a source's scores over the query's whole union, centred and scaled to one.

    Laws: a source's scale and zero do not matter, nor does the order of the sources; one source alone keeps its order.
    """
    return Weighted.of(weights, pool, standardized)


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
