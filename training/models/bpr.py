"""Bayesian personalised ranking, Rendle et al. (2009), as `implicit` solves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from implicit.cpu.bpr import BayesianPersonalizedRanking
from pydantic import Field

from recsys.folding.linear import Linear, LinearRule
from recsys.interactions import Interactions
from training.models import VECTORS, Choice, Family, Learned, Model, Progress, Range, Served, matrix_to_learn, silent


class Bpr(Model):
    """Vectors under which an item that the user took scores above one that they did not.

    Maximises Σ ln σ(x_uᵀ(yᵢ - yⱼ) + bᵢ - bⱼ) - λ (|x|² + |y|² + b²) over drawn users u, their items i and others j.
    An item vector is (y, b), a user's (x, 1), so the inner product is the score.

    A user is folded in as the mean of their items' y. On ml-100k, judged inside the training period, that ranks better
    (NDCG@10 of warm users .162) than least squares over the same items (.152 at its best λ) and than the solver's own
    x, which follow the training items too closely (.136).
    """

    family: ClassVar[Family] = "vector"
    serves: ClassVar[frozenset[Served]] = VECTORS
    space: ClassVar[Mapping[str, Range | Choice]] = {
        "learning_rate": Range(0.002, 0.2, log=True),
        "regularization": Range(0.0005, 0.2, log=True),
        "iterations": Range(30, 300),
    }

    factors: int = Field(default=64, ge=1, le=2047)
    """d, the width of a vector but for its bias."""
    learning_rate: float = Field(default=0.02, gt=0)
    """Length of a step of stochastic gradient ascent."""
    regularization: float = Field(default=0.02, ge=0)
    """λ."""
    iterations: int = Field(default=100, ge=1)
    """Passes over as many drawn pairs as there are."""

    def fit(
        self, data: Interactions, rng: np.random.Generator, *, threads: int, progress: Progress = silent
    ) -> Learned:
        """Climb. Several threads write into the same vectors, so only one gives the same bits again.

        TrainingError for data without a positive event.
        """
        matrix = matrix_to_learn(data)
        solver = BayesianPersonalizedRanking(
            factors=self.factors,
            learning_rate=self.learning_rate,
            regularization=self.regularization,
            iterations=self.iterations,
            num_threads=threads,
            random_state=int(rng.integers(2**31)),
        )
        solver.fit(
            matrix,
            show_progress=False,
            callback=lambda iteration, *_: progress((iteration + 1) / self.iterations),
        )
        items = np.asarray(solver.item_factors, np.float32)
        taken = np.diff(matrix.tocsc().indptr) > 0
        # The solver starts from noise, and leaves it where nobody took the item.
        items[~taken] = 0
        items[~taken, -1] = items[taken, -1].min()
        inputs = items.copy()
        inputs[:, -1] = 1
        return Learned.of_fold(Linear.of(items, LinearRule(length_exponent=1), {"inputs": inputs}))
