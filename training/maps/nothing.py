"""No map: content vectors are searched, and nothing is predicted from them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recsys.arrays import Float32
from recsys.content import ContentMap
from training.maps import Mapper
from training.models import Progress, silent


class Nothing(Mapper):
    """Items that nobody took lie nowhere; content serves its own sources alone."""

    def fit(
        self,
        content: Float32,
        directions: Mapping[str, Float32],
        weights: Float32,  # noqa: ARG002
        rng: np.random.Generator,  # noqa: ARG002
        *,
        threads: int,  # noqa: ARG002
        progress: Progress = silent,
    ) -> ContentMap:
        """A layer of zeros."""
        spaces = {name: array.shape[1] for name, array in directions.items()}
        width = sum(spaces.values())
        progress(1.0)
        return ContentMap(((np.zeros((content.shape[1], width), np.float32), np.zeros(width, np.float32)),), spaces)
