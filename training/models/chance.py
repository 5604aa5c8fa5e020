"""Chance: the floor under every table of results."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from recsys.interactions import Interactions
from training.models import SCORES, Family, Learned, Model, Progress, Served, silent


class Random(Model):
    """Items in an order that is drawn once, by the seed of the run, and is the same for everybody."""

    family: ClassVar[Family] = "baseline"
    serves: ClassVar[frozenset[Served]] = SCORES

    def fit(
        self,
        data: Interactions,
        rng: np.random.Generator,
        *,
        threads: int,  # noqa: ARG002  one draw
        progress: Progress = silent,
    ) -> Learned:
        """Draw a score from 0 to 1 for each item."""
        scores = rng.random(len(data.items), dtype=np.float32)
        progress(1.0)
        return Learned.of_scores(scores)
