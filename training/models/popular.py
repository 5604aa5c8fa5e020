"""Popularity: the baseline that every model has to beat, and the last rung of the ladder."""

from __future__ import annotations

import numpy as np

from recsys.interactions import Interactions
from recsys.settings import Section
from training.models import ItemScores, Progress, silent


class Popular(Section):
    """How many users consumed each item, liked or not."""

    def fit(
        self,
        data: Interactions,
        rng: np.random.Generator,  # noqa: ARG002  counting needs no chance
        *,
        threads: int,  # noqa: ARG002
        progress: Progress = silent,
    ) -> ItemScores:
        """Count each user once for each item."""
        counts = np.bincount(data.seen().indices, minlength=len(data.items))
        progress(1.0)
        return ItemScores(counts.astype(np.float32))
