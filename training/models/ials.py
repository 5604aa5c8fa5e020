"""iALS as it was meant: an unobserved weight and a regularisation that grows with frequency.

Rendle, Krichene, Zhang & Koren, "Revisiting the Performance of iALS on Item Recommendation Benchmarks" (2022).
Solved by conjugate gradients from a warm start, Takács, Pilászy & Tikk (2011), see :mod:`training.solvers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from recsys.arrays import Float32
from recsys.folding.least_squares import LeastSquares, LeastSquaresRule
from recsys.interactions import Interactions
from training.devices import fastest_device
from training.models import VECTORS, Choice, Family, Learned, Model, Progress, Range, Served, matrix_to_learn, silent
from training.solvers import SOLVERS, Half


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
    device: Literal["auto", "cpu", "cuda", "torch"] = "auto"
    """Where it is solved: `cuda` on a GPU through torch, `cpu` in compiled code, `torch` on the processor through
    torch, slowly; `auto` is the GPU where there is one."""
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
        items = self.items(matrix_to_learn(data), rng, threads=threads, progress=progress)
        return Learned.of_fold(LeastSquares.of(items, self.rule()))

    def items(
        self, by_user: sp.csr_matrix, rng: np.random.Generator, *, threads: int, progress: Progress = silent
    ) -> Float32:
        """The items' vectors, float32 (items, d), for CSR weights (users, items)."""
        by_item = by_user.T.tocsr()
        scale = self.deviation / np.sqrt(self.factors)
        users = np.zeros((by_user.shape[0], self.factors), np.float32)
        items: Float32 = rng.normal(0, scale, (by_user.shape[1], self.factors)).astype(np.float32)
        solver = SOLVERS[self.solver()]
        for_users, for_items = self._half(by_user), self._half(by_item)
        for iteration in range(self.iterations):
            solver.improve(for_users, users, items, self.conjugate_steps, threads)
            solver.improve(for_items, items, users, self.conjugate_steps, threads)
            progress((iteration + 1) / self.iterations)
        return items

    def _half(self, matrix: sp.csr_matrix) -> Half:
        ridge = self.rule().ridge(np.diff(matrix.indptr), matrix.shape[1])
        return Half.of(matrix, ridge.astype(np.float32), self.unobserved, self.alpha)

    def solver(self) -> str:
        """The name of the solver that ``device`` comes to on this machine."""
        return fastest_device() if self.device == "auto" else self.device
