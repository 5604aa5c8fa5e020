"""Every item predicted from all others by ridge regression, in closed form; for catalogues up to some 20,000 items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numba
import numpy as np
from pydantic import Field
from scipy.linalg import lapack

from recsys.arrays import Float32, Int32
from recsys.errors import TrainingError
from recsys.interactions import Interactions
from recsys.item_lists import lists_of
from training.models import LISTS, Choice, Family, Learned, Model, Progress, Range, Served, matrix_to_learn, silent
from training.neighbours import degrees, emit, gram_of, push, scaled
from training.threads import compiled_threads


class Ease(Model):
    """B = I - P · diag(P)⁻¹ with P = (Rᵀ R + λ Dᵢ^ν)⁻¹, an autoencoder whose diagonal is zero. Steck (2019).

    Pruned to the largest weights of each item of a history. Memory is 4 bytes · items², time grows with items³.
    """

    family: ClassVar[Family] = "item-item"
    serves: ClassVar[frozenset[Served]] = LISTS
    space: ClassVar[Mapping[str, Range | Choice]] = {
        "regularization": Range(1, 2000, log=True),
        "user_exponent": Range(0.0, 0.6),
        "in_exponent": Range(0.0, 0.5),
        "out_exponent": Range(0.0, 0.5),
    }

    regularization: float = Field(default=200.0, gt=0)
    """λ."""
    frequency_exponent: float = Field(default=0.0, ge=0, le=2)
    """ν: 0 regularises every item alike, 1 by its number of users."""
    user_exponent: float = Field(default=0.0, ge=0, le=2)
    """How much less a user with many items counts in the regression."""
    in_exponent: float = Field(default=0.0, ge=-2, le=2)
    """How much less a popular item of the history says."""
    out_exponent: float = Field(default=0.0, ge=-2, le=2)
    """How much popularity an answer gets on top."""
    neighbours: int = Field(default=200, ge=1)
    """How many weights are kept of each item."""
    most_items: int = Field(default=20_000, ge=1)
    """Larger catalogues are refused: 20,000 items take 1.6 GB."""

    def fit(
        self,
        data: Interactions,
        rng: np.random.Generator,  # noqa: ARG002  nothing is left to chance
        *,
        threads: int,
        progress: Progress = silent,
    ) -> Learned:
        """Invert the Gram matrix in place. TrainingError for data without a positive event, or for too many items."""
        matrix = matrix_to_learn(data)
        items = matrix.shape[1]
        if items > self.most_items:
            raise TrainingError(
                f"ease inverts a matrix of {items:,} × {items:,}, and most_items is {self.most_items:,}: use slim, "
                "or raise most_items if there is the memory"
            )
        items_of, users_of = degrees(matrix)
        with compiled_threads(threads) as workers:
            weighted = scaled(matrix, items_of ** -(self.user_exponent / 2))
            gram = gram_of(weighted)
            at = np.arange(items)
            gram[at, at] += (self.regularization * users_of**self.frequency_exponent).astype(np.float32)
            progress(0.2)
            # Symmetric, so the transpose is the Fortran-ordered array that LAPACK works on in place.
            factor, failed = lapack.spotrf(gram.T, lower=1, overwrite_a=1, clean=0)
            if failed:
                raise TrainingError("the Gram matrix cannot be inverted in float32: raise regularization")
            inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
            progress(0.8)
            rows = np.empty((items, min(self.neighbours, items)), np.int32)
            weights = np.empty(rows.shape, np.float32)
            source, target = (users_of**-self.in_exponent, users_of**self.out_exponent)
            _prune(inverse.T, source.astype(np.float32), target.astype(np.float32), workers, rows, weights)
        progress(1.0)
        return Learned.of_lists("ease", lists_of(rows, weights))


@numba.njit(parallel=True, fastmath=True, cache=True, nogil=True)
def _prune(  # pragma: no cover  compiled
    inverse: Float32, source: Float32, target: Float32, workers: int, rows: Int32, weights: Float32
) -> None:
    """The weights j → i, -P_ji / P_ii scaled, of largest size; only the triangle i ≥ j of ``inverse`` is filled."""
    items = inverse.shape[0]
    for worker in numba.prange(workers):
        keys = np.empty(rows.shape[1], np.float32)
        ids = np.empty(rows.shape[1], np.int32)
        for j in range(worker, items, workers):
            size = 0
            for i in range(items):
                entry = inverse[j, i] if i >= j else inverse[i, j]
                weight = -entry / inverse[i, i] * target[i] * source[j]
                if i != j and weight != 0:
                    size = push(keys, ids, size, abs(weight), i)
            emit(keys, ids, size, rows[j], weights[j])
            for slot in range(size):
                i = rows[j, slot]
                entry = inverse[j, i] if i >= j else inverse[i, j]
                weights[j, slot] = -entry / inverse[i, i] * target[i] * source[j]
