"""iALS as it was meant: an unobserved weight and a regularisation that grows with frequency.

Rendle, Krichene, Zhang & Koren, "Revisiting the Performance of iALS on Item Recommendation Benchmarks" (2022).
Solved by conjugate gradients from a warm start, Takács, Pilászy & Tikk (2011), in compiled float32 on all cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numba
import numpy as np
import scipy.sparse as sp
from pydantic import Field
from threadpoolctl import threadpool_limits

from recsys.arrays import Float32, Int32, Int64
from recsys.folding.least_squares import LeastSquares, LeastSquaresRule
from recsys.interactions import Interactions
from training.models import VECTORS, Choice, Family, Learned, Model, Progress, Range, Served, matrix_to_learn, silent


class Ials(Model):
    """Users and items as d-dimensional vectors whose inner product estimates whether the user takes the item.

    Minimises Σ_observed alpha · weight · (xᵀy - 1)² + α₀ Σ_all (xᵀy)² + Σ λᵤ |x|² + Σ λᵢ |y|², with
    λᵤ = λ (nᵤ + α₀ · items)^ν for a user of nᵤ items, and for items alike.
    """

    family: ClassVar[Family] = "vector"
    serves: ClassVar[frozenset[Served]] = VECTORS
    space: ClassVar[Mapping[str, Range | Choice]] = {
        "regularization": Range(0.0001, 0.1, log=True),
        "unobserved": Range(0.01, 1, log=True),
        "frequency_exponent": Range(0.0, 1.0),
        "iterations": Range(6, 20),
    }

    factors: int = Field(default=64, ge=1, le=2048)
    """d, the width of a vector."""
    regularization: float = Field(default=0.003, ge=0)
    """λ."""
    unobserved: float = Field(default=0.1, gt=0)
    """α₀, what a pair without an event weighs against one of weight 1."""
    alpha: float = Field(default=1.0, gt=0)
    """What an event of weight 1 weighs."""
    frequency_exponent: float = Field(default=1.0, ge=0, le=2)
    """ν: 0 regularises every vector alike, 1 by how much there is to fit it to."""
    iterations: int = Field(default=16, ge=1)
    """Sweeps over users and items."""
    conjugate_steps: int = Field(default=3, ge=1)
    """Steps of conjugate gradients for each vector in each sweep."""
    deviation: float = Field(default=0.01, gt=0)
    """Standard deviation of an item's first vector, times 1/√d; small starts end a little higher on gowalla."""

    def rule(self) -> LeastSquaresRule:
        """How a user is folded in against the items."""
        return LeastSquaresRule(
            alpha=self.alpha,
            regularization=self.regularization,
            unobserved=self.unobserved,
            frequency_exponent=self.frequency_exponent,
            exclusive=False,
        )

    def fit(
        self, data: Interactions, rng: np.random.Generator, *, threads: int, progress: Progress = silent
    ) -> Learned:
        """Alternate between users and items. TrainingError for data without a positive event."""
        by_user = matrix_to_learn(data)
        by_item = by_user.T.tocsr()
        scale = self.deviation / np.sqrt(self.factors)
        users = np.zeros((by_user.shape[0], self.factors), np.float32)
        items = rng.normal(0, scale, (by_user.shape[1], self.factors)).astype(np.float32)
        cores = numba.get_num_threads()
        numba.set_num_threads(min(threads, cores) if threads else cores)
        try:
            with threadpool_limits(1, "blas"):
                for iteration in range(self.iterations):
                    self.sweep(by_user, users, items)
                    self.sweep(by_item, items, users)
                    progress((iteration + 1) / self.iterations)
        finally:
            numba.set_num_threads(cores)
        return Learned.of_fold(LeastSquares.of(items, self.rule()))

    def sweep(self, matrix: sp.csr_matrix, solved: Float32, fixed: Float32) -> None:
        """Improve ``solved``, float32 (n, d), in place against ``fixed``, float32 (m, d); CSR (n, m) of weights."""
        gram = (fixed.T @ fixed) * np.float32(self.unobserved)
        counts = np.diff(matrix.indptr)
        ridge = self.regularization * (counts + self.unobserved * matrix.shape[1]) ** self.frequency_exponent
        weights = matrix.data * np.float32(self.alpha)
        # The longest rows first, so that no thread is left with one at the end.
        order = np.argsort(-counts, kind="stable")
        _solve(
            matrix.indptr.astype(np.int64),
            matrix.indices,
            weights,
            order,
            gram,
            ridge.astype(np.float32),
            fixed,
            solved,
            self.conjugate_steps,
        )


@numba.njit(fastmath=True, cache=True, nogil=True, inline="always")
def _left_side(  # pragma: no cover  compiled
    gram: Float32,
    ridge: np.float32,
    fixed: Float32,
    indices: Int32,
    weights: Float32,
    x: Float32,
    target: np.float32,
    out: Float32,
) -> None:
    """Into ``out``: (gram + Σ w y yᵀ + ridge I) x - target · Σ w y, the left side, less the right if target is 1."""
    d = len(x)
    for a in range(d):
        total = np.float32(0)
        for b in range(d):
            total += gram[a, b] * x[b]
        out[a] = total + ridge * x[a]
    for at in range(len(indices)):
        y = fixed[indices[at]]
        score = np.float32(0)
        for a in range(d):
            score += y[a] * x[a]
        factor = weights[at] * (score - target)
        for a in range(d):
            out[a] += factor * y[a]


@numba.njit(fastmath=True, cache=True, nogil=True, inline="always")
def _dot(a: Float32, b: Float32) -> np.float32:  # pragma: no cover  compiled
    total = np.float32(0)
    for at in range(len(a)):
        total += a[at] * b[at]
    return total


@numba.njit(parallel=True, fastmath=True, cache=True, nogil=True)
def _solve(  # pragma: no cover  compiled
    indptr: Int64,
    indices: Int32,
    weights: Float32,
    order: Int64,
    gram: Float32,
    ridge: Float32,
    fixed: Float32,
    solved: Float32,
    steps: int,
) -> None:
    """Conjugate gradients on (gram + Σ w y yᵀ + ridge I) x = Σ w y, from where x is, one row a task."""
    for place in numba.prange(len(order)):
        row = order[place]
        taken, weigh = indices[indptr[row] : indptr[row + 1]], weights[indptr[row] : indptr[row + 1]]
        x = solved[row]
        if not len(taken):
            x[:] = 0
            continue
        product = np.empty_like(x)
        _left_side(gram, ridge[row], fixed, taken, weigh, x, np.float32(1), product)
        residual = -product
        direction = residual.copy()
        size = _dot(residual, residual)
        for _ in range(steps):
            if size < 1e-20:
                break
            _left_side(gram, ridge[row], fixed, taken, weigh, direction, np.float32(0), product)
            step = size / _dot(direction, product)
            x += step * direction
            residual -= step * product
            new = _dot(residual, residual)
            direction = residual + (new / size) * direction
            size = new
