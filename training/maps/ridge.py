"""A linear map, in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import scipy.linalg
from pydantic import Field
from threadpoolctl import threadpool_limits

from recsys.arrays import Float32, Float64
from recsys.content import ContentMap
from training.maps import Mapper, likeness, parted
from training.models import Progress, silent

TRIED = tuple(10 ** (place / 2) for place in range(-10, 1))
"""Values of λ that auto tries."""
HELD_OUT = 0.1
"""The share of the items that it judges them by."""


class Ridge(Mapper):
    """Weighted ridge regression of directions, Hoerl & Kennard (1970), around the weighted means of both sides."""

    regularization: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """λ, beside a mean squared length of at most 1; auto: by the cosine on a tenth of the items, held out."""

    def fit(
        self,
        content: Float32,
        directions: Mapping[str, Float32],
        weights: Float32,
        rng: np.random.Generator,
        *,
        threads: int,
        progress: Progress = silent,
    ) -> ContentMap:
        """Choose λ if need be, then solve for all items."""
        spaces = {name: array.shape[1] for name, array in directions.items()}
        wanted = np.hstack(list(directions.values()))
        with threadpool_limits(threads or None, "blas"):
            strength = self.regularization
            if strength == "auto":
                rows, held = parted(len(content), HELD_OUT, rng)
                equations = _Equations(content[rows], wanted[rows], weights[rows])
                judged = {name: array[held] for name, array in directions.items()}
                likenesses = []
                for place, tried in enumerate(TRIED):
                    net = ContentMap((equations.solved(tried),), spaces)
                    likenesses.append(likeness(net, content[held], judged, weights[held]))
                    progress(0.8 * (place + 1) / len(TRIED))
                strength = TRIED[int(np.argmax(likenesses))]
            layer = _Equations(content, wanted, weights).solved(strength)
        progress(1.0)
        return ContentMap((layer,), spaces)


class _Equations:
    """(XᵀWX + λI) B = XᵀWY with X and Y less their means and weights that add up to one.

    Where there are fewer items than numbers in a content vector, the smaller system of the items is solved.
    """

    def __init__(self, content: Float32, wanted: Float32, weights: Float32) -> None:
        shares = np.asarray(weights, np.float64) / weights.sum(dtype=np.float64)
        self._content_mean: Float64 = shares @ content
        self._wanted_mean: Float64 = shares @ wanted
        self._x = (content - self._content_mean) * np.sqrt(shares)[:, None]
        self._y = (wanted - self._wanted_mean) * np.sqrt(shares)[:, None]
        self._dual = len(content) < content.shape[1]
        self._left = self._x @ self._x.T if self._dual else self._x.T @ self._x
        self._right = self._y if self._dual else self._x.T @ self._y

    def solved(self, strength: float) -> tuple[Float32, Float32]:
        """The layer for one λ."""
        left = self._left.copy()
        left[np.diag_indices_from(left)] += strength
        solution = scipy.linalg.solve(left, self._right, assume_a="pos", overwrite_a=True)
        matrix = self._x.T @ solution if self._dual else solution
        shift = self._wanted_mean - self._content_mean @ matrix
        return matrix.astype(np.float32), shift.astype(np.float32)
