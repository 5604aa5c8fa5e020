"""A random walk of three steps, held back where it would only end at what is popular."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from recsys.interactions import Interactions
from recsys.item_lists import lists_of
from training.models import LISTS, Choice, Family, Learned, Model, Progress, Range, Served, matrix_to_learn, silent
from training.neighbours import degrees, scaled, strongest_products
from training.threads import compiled_threads


class Rp3beta(Model):
    """From an item to one of its users to one of their items: Σ_u p(u | j)^α p(i | u)^α / (users of i)^β.

    Paudel, Christoffel, Newell & Bernstein (2017). A user's own first step is their history.
    """

    family: ClassVar[Family] = "item-item"
    serves: ClassVar[frozenset[Served]] = LISTS
    space: ClassVar[Mapping[str, Range | Choice]] = {
        "alpha": Range(0.3, 1.5),
        "beta": Range(0.0, 0.9),
        "neighbours": Range(50, 400),
    }

    neighbours: int = Field(default=200, ge=1)
    """How many are kept of each item."""
    alpha: float = Field(default=0.6, gt=0)
    """α, the power of each transition probability."""
    beta: float = Field(default=0.3, ge=0)
    """β, how much popularity is held back."""

    def fit(
        self,
        data: Interactions,
        rng: np.random.Generator,  # noqa: ARG002  the walk is summed, not drawn
        *,
        threads: int,
        progress: Progress = silent,
    ) -> Learned:
        """Sum all walks of an item. TrainingError for data without a positive event."""
        matrix = matrix_to_learn(data)
        of_users, of_items = (np.asarray(matrix.sum(axis=axis), np.float64).ravel() for axis in (1, 0))
        lifted = matrix.power(self.alpha).tocsr()
        with compiled_threads(threads):
            to_users = scaled(lifted, items=np.maximum(of_items, 1e-12) ** -self.alpha)
            to_items = scaled(lifted, users=np.maximum(of_users, 1e-12) ** -self.alpha)
            held_back = degrees(matrix)[1] ** -self.beta
            rows, weights = strongest_products(to_users, to_items, self.neighbours, target=held_back)
        progress(1.0)
        return Learned.of_lists("rp3beta", lists_of(rows, weights))
