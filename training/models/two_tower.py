"""A contrastive two-tower model whose user tower is a sum over the history, so that it folds in at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from recsys.arrays import unit
from recsys.folding.linear import Linear, LinearRule
from recsys.interactions import Interactions
from training.descent import Descending, Descent
from training.models import VECTORS, Choice, Family, Learned, Model, Progress, Range, Served, matrix_to_learn, silent
from training.models.ials import Ials
from training.reduction import Part, reduced
from training.threads import compiled_threads

SHARE_OF_ALS = 0.2
"""Of the progress."""


class TwoTower(Model):
    """Two towers: Σ w · e over a user's items on one side, a vector v of each item on the other.

    1. Item vectors of iALS, whose events weigh n_user^-``als_user_exponent`` n_item^-``als_item_exponent``.
    2. From their directions, e and v are learned by a softmax over cosines against items drawn for each batch, in which
       a wanted item does not explain itself. v then gets length n_item^``popularity``. This ``runs`` times.
    3. Their scores and the linear ones of the ALS vectors, e = v n_item^-½, are added up and brought back to d
       dimensions.

    Cosines and many negatives are SimpleX's, Mao et al. (2021), and the temperature's part in them is that of
    Wu et al., "On the Effectiveness of Sampled Softmax Loss for Item Recommendation" (2022); here users have no vectors
    of their own to learn. To predict all of a history from what dropout leaves of it is Mult-VAE's view, Liang et al.
    (2018); here both layers are linear and start from ALS.
    """

    family: ClassVar[Family] = "vector"
    serves: ClassVar[frozenset[Served]] = VECTORS
    space: ClassVar[Mapping[str, Range | Choice]] = {
        "epochs": Range(4, 40, log=True),
        "learning_rate": Range(0.0005, 0.01, log=True),
        "temperature": Range(0.05, 0.2, log=True),
        "dropout": Range(0.1, 0.8),
        "user_exponent": Range(0.0, 0.6),
        "popularity": Range(0.0, 0.15),
        "als_weight": Range(0.0, 3.0),
        "als_popularity": Range(-0.2, 0.1),
        "als_regularization": Range(5, 100, log=True),
    }

    factors: int = Field(default=64, ge=1, le=2048)
    """d, the width of a vector."""
    epochs: int = Field(default=16, ge=1)
    """Passes over the users."""
    batch: int = Field(default=256, ge=1)
    """Users in a step."""
    negatives: int = Field(default=2048, ge=1)
    """Items drawn for each step, any as likely as another, against which all of its users are taught."""
    learning_rate: float = Field(default=0.0015, gt=0)
    """Adam's, which falls to 0 as half a cosine."""
    temperature: float = Field(default=0.09, gt=0)
    """τ, what cosines are divided by: the less, the more the likeliest negatives count."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """The share of a history that is left out of the user's vector in a step; all of it is wanted."""
    user_exponent: float = Field(default=0.3, ge=0, le=2)
    """How much less each item of a user with many counts."""
    popularity: float = Field(default=0.07, ge=-2, le=2)
    """How much popularity an answer gets back."""
    runs: int = Field(default=1, ge=1)
    """Times that towers are learned, with other negatives, dropout and order each time; their scores are added."""
    als_weight: float = Field(default=0.4, ge=0)
    """What the linear ALS scores weigh beside the learned ones, both of the same mean size."""
    als_popularity: float = Field(default=0.0, ge=-2, le=2)
    """The same as ``popularity`` for the ALS vectors."""
    als_alpha: float = Field(default=40.0, gt=0)
    """What an event weighs on average against a pair without one."""
    als_regularization: float = Field(default=30.0, ge=0)
    """λ, on every ALS vector alike."""
    als_iterations: int = Field(default=8, ge=1)
    """Sweeps over users and items."""
    als_user_exponent: float = Field(default=0.25, ge=0, le=2)
    """How much less an event of somebody with many counts for ALS."""
    als_item_exponent: float = Field(default=0.25, ge=0, le=2)
    """How much less an event of a popular item counts for ALS."""

    def fit(
        self, data: Interactions, rng: np.random.Generator, *, threads: int, progress: Progress = silent
    ) -> Learned:
        """Factorise, climb, add up. TrainingError for data without a positive event."""
        matrix = matrix_to_learn(data)
        degrees = np.maximum(np.bincount(matrix.indices, minlength=matrix.shape[1]), 1).astype(np.float32)[:, None]
        als = self._als().items(
            weighed(matrix, self.als_user_exponent, self.als_item_exponent),
            rng,
            threads=threads,
            progress=lambda share: progress(SHARE_OF_ALS * share),
        )
        parts = [Part(als * degrees**-0.5, als * degrees**self.als_popularity, self.als_weight)]
        with compiled_threads(threads):
            for run in range(self.runs):
                descending = Descending(matrix, als, self._descent(), rng)
                steps = descending.left
                for step in range(steps):
                    descending.step()
                    done = (run + (step + 1) / steps) / self.runs
                    progress(SHARE_OF_ALS + (0.99 - SHARE_OF_ALS) * done)
                inputs, items = descending.towers
                parts.append(Part(inputs, unit(items) * degrees**self.popularity, 1 / self.runs))
            inputs, items = reduced(matrix, parts, self.factors)
        progress(1)
        return Learned.of_fold(Linear.of(items, LinearRule(unit=True), {"inputs": inputs}))

    def _als(self) -> Ials:
        return Ials(
            factors=self.factors,
            alpha=self.als_alpha,
            regularization=self.als_regularization,
            unobserved=1.0,
            frequency_exponent=0.0,
            iterations=self.als_iterations,
        )

    def _descent(self) -> Descent:
        return Descent(
            epochs=self.epochs,
            batch=self.batch,
            negatives=self.negatives,
            rate=self.learning_rate,
            temperature=self.temperature,
            dropout=self.dropout,
            user_exponent=self.user_exponent,
        )


def weighed(matrix: sp.csr_matrix, user_exponent: float, item_exponent: float) -> sp.csr_matrix:
    """CSR (users, items) with each weight divided by powers of how many its user and its item have.

    Their mean stays what it was.
    """
    of_users = np.diff(matrix.indptr)
    of_items = np.bincount(matrix.indices, minlength=matrix.shape[1])
    factors = np.repeat(of_users, of_users) ** -float(user_exponent) * of_items[matrix.indices] ** -float(item_exponent)
    weights = matrix.data * factors
    weights *= matrix.data.mean() / weights.mean()
    return sp.csr_matrix((weights.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)
