"""A user's vector from their items, in closed form, in the space that the items already have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.arrays import Float32, Int32, Int64, ranges


@dataclass(frozen=True, slots=True, eq=False)
class FoldIn:
    """The user half of implicit-feedback least squares, for item vectors that stay as they are.

    x = (YᵀY + Yᵤᵀ (Cᵤ - I) Yᵤ + λI)⁻¹ Yᵤᵀ cᵤ, with confidence c = ``alpha`` · weight of each item.
    ``items``: float32 (n, d), Y. ``gram``: float32 (d, d), YᵀY. Hu, Koren & Volinsky (2008), equation 4.

    Laws: the order of the items does not matter; an item given twice is an item with the sum of its weights;
    no items, or weights of 0, is the zero vector.
    """

    items: Float32
    gram: Float32
    regularization: float
    alpha: float

    @classmethod
    def of(cls, items: Float32, regularization: float, alpha: float) -> FoldIn:
        """Fold-in against ``items``, float32 (n, d), whose Gram matrix is computed here."""
        return cls(items, items.T @ items, regularization, alpha)

    def fold(self, indptr: Int64, rows: Int32, weights: Float32) -> Float32:
        """Vectors of q users, float32 (q, d).

        User u's items are ``rows[indptr[u]:indptr[u + 1]]``, int32, with ``weights`` alike; weights of 0 or
        less are left out.
        """
        users, d = len(indptr) - 1, len(self.gram)
        vectors = np.zeros((users, d), np.float32)
        base = self.gram + np.float32(self.regularization) * np.eye(d, dtype=np.float32)
        for user in range(users):
            part = slice(indptr[user], indptr[user + 1])
            positive = weights[part] > 0
            if not positive.any():
                continue
            distinct, at = np.unique(rows[part][positive], return_inverse=True)
            confidence = np.bincount(at, self.alpha * weights[part][positive]).astype(np.float32)
            y = self.items[distinct]
            left = base + (y.T * (confidence - 1)) @ y
            vectors[user] = np.linalg.solve(left, confidence @ y)
        return vectors


def newest(indptr: Int64, count: int) -> tuple[Int64, Int64]:
    """Which entries are among the first ``count`` of each ragged row, and the indptr of what is left.

    >>> newest(np.array([0, 3, 4]), 2)
    (array([0, 1, 3]), array([0, 2, 3]))
    """
    lengths = np.minimum(np.diff(indptr), count)
    return np.repeat(indptr[:-1], lengths) + ranges(lengths), np.concatenate([[0], np.cumsum(lengths)])
