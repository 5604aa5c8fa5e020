"""Fusion by the scores themselves, for sources whose scales are known: models of one release, weighed together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recsys.arrays import Float32
from recsys.fusions.scored import POOL, Weighted
from recsys.retrieval import Parts


def weighted_sum(parts: Parts, weights: Mapping[str, float], pool: int = POOL) -> Weighted:  # noqa: ARG001
    """Σ weight · score over the sources; one with nothing to say of a query counts for nothing there.

    Unlike a z-score it keeps how sure a source is: item lists add up over a history, so they say more of somebody with
    a long one, while a user's vector of length one does not.

    Laws: the order of the sources does not matter; one source alone keeps its order.
    """
    return Weighted.of(weights, pool, as_they_are)


def as_they_are(said: Float32) -> Float32:
    """The scores, 0 where there is none."""
    return np.nan_to_num(said, nan=0.0)
