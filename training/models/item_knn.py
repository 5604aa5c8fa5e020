"""Items that the same users take: cosine, tf-idf or BM25 of the columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from recsys.interactions import Interactions
from recsys.item_lists import lists_of
from training.models import LISTS, Choice, Family, Learned, Model, Progress, Range, Served, matrix_to_learn, silent
from training.neighbours import degrees, scaled, strongest_products
from training.threads import compiled_threads


class ItemKnn(Model):
    """For each item its nearest by the users they share. Sarwar, Karypis, Konstan & Riedl (2001).

    `cosine`: of the columns as they are. `tf-idf`: of the columns in which the square root of a weight is multiplied
    by ln(items / (1 + items of the user)). `bm25`: the product of columns weighted as Robertson & Walker (1994) weigh
    terms, an item being a document and its users the terms.
    """

    family: ClassVar[Family] = "item-item"
    serves: ClassVar[frozenset[Served]] = LISTS
    space: ClassVar[Mapping[str, Range | Choice]] = {
        "weighting": Choice(("cosine", "tf-idf", "bm25")),
        "shrink": Range(0.1, 100, log=True),
        "neighbours": Range(50, 400),
    }

    neighbours: int = Field(default=200, ge=1)
    """How many are kept of each item."""
    weighting: Literal["cosine", "tf-idf", "bm25"] = "cosine"
    """How columns are compared."""
    shrink: float = Field(default=10.0, ge=0)
    """Added to the divisor of a cosine: what few users say counts less."""
    k1: float = Field(default=1.2, gt=0)
    """BM25's saturation."""
    b: float = Field(default=0.75, ge=0, le=1)
    """BM25's correction for popular items."""

    def fit(
        self,
        data: Interactions,
        rng: np.random.Generator,  # noqa: ARG002  nothing is left to chance
        *,
        threads: int,
        progress: Progress = silent,
    ) -> Learned:
        """Compare all columns that share a user. TrainingError for data without a positive event."""
        matrix = matrix_to_learn(data)
        with compiled_threads(threads):
            columns = self._weighted(matrix)
            norms = None
            if self.weighting != "bm25":
                squares = np.bincount(columns.indices, columns.data.astype(np.float64) ** 2, matrix.shape[1])
                norms = np.sqrt(np.where(squares > 0, squares, 1))
            rows, weights = strongest_products(columns, columns, self.neighbours, norms=norms, shrink=self.shrink)
        progress(1.0)
        return Learned.of_lists("item-knn", lists_of(rows, weights))

    def _weighted(self, matrix: sp.csr_matrix) -> sp.csr_matrix:
        items_of, users_of = degrees(matrix)
        if self.weighting == "cosine":
            return matrix
        if self.weighting == "tf-idf":
            rarity = np.maximum(np.log(matrix.shape[1] / (1 + items_of)), 0)
            # Where every user has nearly every item nobody is rare, and all count alike.
            return scaled(matrix.sqrt().tocsr(), rarity if rarity.any() else None)
        length = users_of / users_of.mean()
        lasting = self.k1 * (1 - self.b + self.b * length[matrix.indices])
        saturated = matrix.copy()
        saturated.data = (matrix.data * (self.k1 + 1) / (lasting + matrix.data)).astype(np.float32)
        return scaled(saturated, np.log1p(matrix.shape[1] / items_of))
