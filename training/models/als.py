"""Alternating least squares for implicit feedback, Hu, Koren & Volinsky (2008), as `implicit` solves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from pydantic import Field
from threadpoolctl import threadpool_limits

from recsys.folding.least_squares import LeastSquares, LeastSquaresRule
from recsys.interactions import Interactions
from training.models import VECTORS, Choice, Family, Learned, Model, Progress, Range, Served, matrix_to_learn, silent


class Als(Model):
    """Users and items as d-dimensional vectors whose inner product estimates whether the user takes the item.

    Minimises Σ c (p - xᵀy)² + λ (Σ|x|² + Σ|y|²) over all pairs, with preference p = 1 and confidence
    c = alpha · weight where there were events, p = 0 and c = 1 elsewhere.
    """

    family: ClassVar[Family] = "vector"
    serves: ClassVar[frozenset[Served]] = VECTORS
    space: ClassVar[Mapping[str, Range | Choice]] = {
        "regularization": Range(0.1, 100, log=True),
        "alpha": Range(0.5, 50, log=True),
        "iterations": Range(5, 20),
    }

    factors: int = Field(default=32, ge=1, le=2048)
    """d, the width of a vector."""
    regularization: float = Field(default=1.0, ge=0)
    """λ, on every vector alike."""
    alpha: float = Field(default=1.0, gt=0)
    """Confidence in an event of weight 1."""
    iterations: int = Field(default=15, ge=1)
    """Sweeps over users and items."""

    def fit(
        self, data: Interactions, rng: np.random.Generator, *, threads: int, progress: Progress = silent
    ) -> Learned:
        """Solve by conjugate gradients in float32. TrainingError for data without a positive event."""
        matrix = matrix_to_learn(data)
        # BLAS threads fight the solver's own: on gowalla they cost a factor of four.
        with threadpool_limits(1, "blas"):
            solver = AlternatingLeastSquares(
                factors=self.factors,
                regularization=self.regularization,
                alpha=self.alpha,
                iterations=self.iterations,
                num_threads=threads,
                random_state=int(rng.integers(2**31)),
            )
            solver.fit(
                matrix,
                show_progress=False,
                callback=lambda iteration, *_: progress((iteration + 1) / self.iterations),
            )
        rule = LeastSquaresRule(alpha=self.alpha, regularization=self.regularization)
        return Learned.of_fold(LeastSquares.of(np.asarray(solver.item_factors, np.float32), rule))
