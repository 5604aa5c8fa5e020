"""Truncated SVD of the degree-normalised matrix, and with it the vectors of the ideal low-pass graph filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from pydantic import Field
from threadpoolctl import threadpool_limits

from recsys.arrays import Float32
from recsys.folding.linear import Linear, LinearRule
from recsys.interactions import Interactions
from training.models import VECTORS, Choice, Family, Learned, Model, Progress, Range, Served, matrix_to_learn, silent

MORE = 16
"""Dimensions that are decomposed beside those that are kept: the last ones are the least exact."""


class Svd(Model):
    """The user's row of weights through the d strongest directions of U S Vᵀ ≈ Dᵤ^-a R Dᵢ^-b.

    Scores r Dᵢ^-b V S^p Vᵀ Dᵢ^c: an item puts Dᵢ^-b V S^(p/2) into the user's vector, whose inner product with
    Dᵢ^c V S^(p/2) is taken. D are the sums of weights of a user and of an item.

    With p = 0, a = b = c = ½ it is the ideal low-pass filter of GF-CF on the item graph, Shen et al. (2021), as
    vectors of width d; with all of them 0 it is PureSVD, Cremonesi, Koren & Turrin (2010).
    Decomposed by subspace iteration from a random start, Halko, Martinsson & Tropp (2011).
    """

    family: ClassVar[Family] = "vector"
    serves: ClassVar[frozenset[Served]] = VECTORS
    space: ClassVar[Mapping[str, Range | Choice]] = {
        "factors": Range(8, 256, log=True),
        "user_exponent": Range(0.0, 1.0),
        "item_exponent": Range(0.0, 1.0),
        "popularity_exponent": Range(0.0, 1.0),
        "power": Range(0.0, 2.0),
    }

    factors: int = Field(default=32, ge=1, le=2048)
    """d, the width of a vector; no more than there are users or items are used, the rest is 0."""
    user_exponent: float = Field(default=0.5, ge=0, le=2)
    """a: how much less an event of somebody with many counts."""
    item_exponent: float = Field(default=0.25, ge=0, le=2)
    """b: how much less an event of a popular item counts."""
    popularity_exponent: float = Field(default=0.25, ge=0, le=2)
    """c: how much popularity an answer gets back."""
    power: float = Field(default=0.0, ge=0)
    """p: how much stronger directions count; 0 lets the d strongest through alike."""
    iterations: int = Field(default=8, ge=1)
    """Multiplications with the matrix and its transpose."""

    def fit(
        self, data: Interactions, rng: np.random.Generator, *, threads: int, progress: Progress = silent
    ) -> Learned:
        """Decompose in float32. TrainingError for data without a positive event."""
        matrix = matrix_to_learn(data)
        of_users, of_items = (np.asarray(matrix.sum(axis=axis), np.float64).ravel() for axis in (1, 0))
        normal = sp.diags_array(_power(of_users, -self.user_exponent)) @ matrix
        normal = (normal @ sp.diags_array(_power(of_items, -self.item_exponent))).tocsr()
        with threadpool_limits(threads or None, "blas"):
            values, right = strongest(normal, self.factors, self.iterations, rng, progress)
        spectrum = np.where(values > 0, (values / values[0]) ** (self.power / 2), 0)
        directions = np.zeros((len(of_items), self.factors), np.float32)
        directions[:, : len(values)] = right * spectrum
        items = directions * _power(of_items, self.popularity_exponent)[:, None]
        inputs = directions * _power(of_items, -self.item_exponent)[:, None]
        return Learned.of_fold(Linear.of(items, LinearRule(), {"inputs": inputs}))


def strongest(
    matrix: sp.csr_matrix, factors: int, iterations: int, rng: np.random.Generator, progress: Progress = silent
) -> tuple[Float32, Float32]:
    """The largest singular values, float32 (d,), falling, and their right vectors, float32 (items, d).

    d is ``factors``, or the smaller side of the matrix if that is less. A value that is 0 but for rounding is 0.
    """
    width = min(factors + MORE, *matrix.shape)
    back = matrix.T.tocsr()
    basis, _ = np.linalg.qr(rng.standard_normal((matrix.shape[1], width), dtype=np.float32))
    for iteration in range(iterations):
        basis, _ = np.linalg.qr(back @ (matrix @ basis))
        progress((iteration + 1) / iterations)
    _, values, turn = np.linalg.svd(matrix @ basis, full_matrices=False)
    values = np.where(values > 1e-5 * values[0], values, 0)
    kept = min(factors, width)
    return values[:kept], np.ascontiguousarray((basis @ turn.T)[:, :kept])


def _power(degrees: np.ndarray, exponent: float) -> Float32:
    """Each degree to a power, float32, 0 where the degree is."""
    raised: Float32 = np.power(degrees, exponent, out=np.zeros_like(degrees), where=degrees > 0).astype(np.float32)
    return raised
