"""What is taken now: counts of which the old ones fade."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from recsys.errors import TrainingError
from recsys.interactions import Interactions
from training.models import SCORES, Choice, Family, Learned, Model, Progress, Range, Served, matrix_to_learn, silent

DAY = 86_400


class Trending(Model):
    """Σ weight · 2^-(age / half-life) over an item's events, age counted from the newest event of the log.

    An exponentially decayed count, as in Cohen & Strauss (2006).
    """

    family: ClassVar[Family] = "baseline"
    serves: ClassVar[frozenset[Served]] = SCORES
    space: ClassVar[Mapping[str, Range | Choice]] = {"half_life_days": Range(0.1, 1000, log=True)}

    half_life_days: float = Field(default=14.0, gt=0)
    """After so many days an event counts half."""

    def fit(
        self,
        data: Interactions,
        rng: np.random.Generator,  # noqa: ARG002  counting needs no chance
        *,
        threads: int,  # noqa: ARG002
        progress: Progress = silent,
    ) -> Learned:
        """Count. TrainingError for a log without times, or without a positive event."""
        matrix_to_learn(data)
        if not data.timed:
            raise TrainingError(
                "trending needs to know when things were taken, but the log has no times: name the column that "
                "holds them as time under [data.event_columns], or choose the model popular"
            )
        age = (data.time.max() - data.time) / DAY
        counts = np.maximum(data.weight, 0) * np.exp2(-age / self.half_life_days)
        scores = np.bincount(data.item, counts, len(data.items)).astype(np.float32)
        progress(1.0)
        return Learned.of_scores(scores)
