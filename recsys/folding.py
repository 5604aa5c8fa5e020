"""A user's vector from their items, in closed form, in the space that the items already have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from recsys.arrays import Float32, Int32, Int64
from recsys.settings import Section


class FoldRule(Section):
    """The least squares that a model's users solve: what folding in must share with training.

    An observed pair weighs ``alpha`` · weight and wants 1; every pair weighs ``unobserved`` and wants 0, the
    observed ones among them unless ``exclusive``; a user of n items is drawn to zero by
    ``regularization`` · (n + ``unobserved`` · items)^``frequency_exponent``.
    """

    alpha: float = Field(gt=0)
    regularization: float = Field(ge=0)
    unobserved: float = Field(default=1.0, gt=0)
    frequency_exponent: float = Field(default=0.0, ge=0)
    exclusive: bool = True

    def ridge(self, items_taken: int, items: int) -> float:
        """What draws a user of so many items to zero."""
        return self.regularization * float((items_taken + self.unobserved * items) ** self.frequency_exponent)


@dataclass(frozen=True, slots=True, eq=False)
class FoldIn:
    """The user half of implicit-feedback least squares, for item vectors that stay as they are.

    x = (α₀ YᵀY + Yᵤᵀ (Cᵤ - e) Yᵤ + λᵤI)⁻¹ Yᵤᵀ cᵤ, with c = ``alpha`` · weight of each item and e = α₀ where the
    rule is exclusive, else 0. ``items``: float32 (n, d), Y. ``gram``: float32 (d, d), YᵀY. Exclusive with α₀ = 1 it
    is equation 4 of Hu, Koren & Volinsky (2008), otherwise that of Rendle et al. (2022).

    Laws: the order of the items does not matter; an item given twice is an item with the sum of its weights;
    no items, or weights of 0, is the zero vector.
    """

    items: Float32
    gram: Float32
    rule: FoldRule

    @classmethod
    def of(cls, items: Float32, rule: FoldRule) -> FoldIn:
        """Fold-in against ``items``, float32 (n, d), whose Gram matrix is computed here."""
        return cls(items, items.T @ items, rule)

    def fold(self, indptr: Int64, rows: Int32, weights: Float32) -> Float32:
        """Vectors of q users, float32 (q, d).

        User u's items are ``rows[indptr[u]:indptr[u + 1]]``, int32, with ``weights`` alike; weights of 0 or
        less are left out.
        """
        users, (n, d) = len(indptr) - 1, self.items.shape
        vectors = np.zeros((users, d), np.float32)
        base = self.gram * np.float32(self.rule.unobserved)
        counted_already = self.rule.unobserved if self.rule.exclusive else 0.0
        diagonal = np.eye(d, dtype=np.float32)
        for user in range(users):
            part = slice(indptr[user], indptr[user + 1])
            positive = weights[part] > 0
            if not positive.any():
                continue
            distinct, at = np.unique(rows[part][positive], return_inverse=True)
            confidence = np.bincount(at, self.rule.alpha * weights[part][positive]).astype(np.float32)
            y = self.items[distinct]
            ridge = np.float32(self.rule.ridge(len(distinct), n))
            left = base + (y.T * (confidence - np.float32(counted_already))) @ y + ridge * diagonal
            vectors[user] = np.linalg.solve(left, confidence @ y)
        return vectors
