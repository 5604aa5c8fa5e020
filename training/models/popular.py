"""Popularity: the baseline that every model has to beat, and the last rung of the ladder."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from recsys.arrays import Float32
from recsys.interactions import Interactions
from training.models import SCORES, Family, Learned, Model, Progress, Served, silent


class Popular(Model):
    """How many users consumed each item, liked or not."""

    family: ClassVar[Family] = "baseline"
    serves: ClassVar[frozenset[Served]] = SCORES

    def fit(
        self,
        data: Interactions,
        rng: np.random.Generator,  # noqa: ARG002  counting needs no chance
        *,
        threads: int,  # noqa: ARG002
        progress: Progress = silent,
    ) -> Learned:
        """Count each user once for each item."""
        scores = popularity_of(data)
        progress(1.0)
        return Learned.of_scores(scores)


def popularity_of(data: Interactions) -> Float32:
    """How many users consumed each item, float32 (items,)."""
    return np.bincount(data.seen().indices, minlength=len(data.items)).astype(np.float32)
