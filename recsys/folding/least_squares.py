"""The user half of implicit-feedback least squares, in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from pydantic import Field

from recsys.arrays import Float32, Float64, Int32, Int64
from recsys.folding import check_replaced
from recsys.sections import Section

BLOCK = 2**21
"""Numbers of item vectors gathered at once while many users are folded in: 16 MiB of float64."""


class LeastSquaresRule(Section):
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

    def ridge(self, items_taken: Int64, items: int) -> Float64:
        """What draws users of so many items to zero, float64 (q,)."""
        effort = np.asarray(items_taken + self.unobserved * items, np.float64)
        ridge: Float64 = self.regularization * effort**self.frequency_exponent
        return ridge


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """The user half of implicit-feedback least squares, for item vectors that stay as they are.

    x = (α₀ YᵀY + Yᵤᵀ (Cᵤ - e) Yᵤ + λᵤI)⁻¹ Yᵤᵀ cᵤ, with c = ``alpha`` · weight of each item and e = α₀ where the
    rule is exclusive, else 0. ``items``: float32 (n, d), Y. ``gram``: float32 (d, d), YᵀY. Exclusive with α₀ = 1 it
    is equation 4 of Hu, Koren & Volinsky (2008), otherwise that of Rendle et al. (2022).

    In the basis in which YᵀY is diagonal, all but the user's few items is diagonal too, so a user of m items costs a
    system of m equations (Woodbury's identity) where m < d, and of d equations where it is not.

    Laws: the order of the items does not matter; an item given twice is an item with the sum of its weights;
    no items, or weights of 0, is the zero vector.
    """

    kind: ClassVar[str] = "least-squares"
    Rule: ClassVar[type[LeastSquaresRule]] = LeastSquaresRule
    ARRAYS: ClassVar[tuple[str, ...]] = ("gram",)

    items: Float32
    gram: Float32
    rule: LeastSquaresRule

    @classmethod
    def of(cls, items: Float32, rule: LeastSquaresRule, arrays: Mapping[str, np.ndarray] | None = None) -> LeastSquares:
        """Fold-in against ``items``, float32 (n, d); their Gram matrix is computed here unless given."""
        return cls(items, items.T @ items if arrays is None else arrays["gram"], rule)

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The Gram matrix."""
        return {"gram": self.gram}

    def per_item(self) -> Mapping[str, Float32]:
        """The item vectors, which users are solved against."""
        return {"items": self.items}

    def replaced(self, vectors: Mapping[str, Float32]) -> LeastSquares:
        """As :class:`recsys.folding.Fold` says; the Gram matrix stays: nobody left a new item aside."""
        other = LeastSquares(check_replaced(self, vectors)["items"], self.gram, self.rule)
        # Of wide vectors the axes take seconds, and an item may be put at any time.
        other.__dict__["_axes"] = self._axes
        return other

    @cached_property
    def _axes(self) -> tuple[Float64, Float64]:
        """Eigenvalues and eigenvectors of α₀ YᵀY, float64 (d,) and (d, d)."""
        values, vectors = np.linalg.eigh(np.asarray(self.gram, np.float64) * self.rule.unobserved)
        return np.maximum(values, 0), vectors

    def fold(self, indptr: Int64, rows: Int32, weights: Float32) -> Float32:
        """Vectors of q users, float32 (q, d), as :class:`recsys.folding.Fold` says; the order of items is free."""
        users, d = len(indptr) - 1, self.items.shape[1]
        if users == 1:
            return self._one(rows[indptr[0] : indptr[1]], weights[indptr[0] : indptr[1]])[None]
        vectors = np.zeros((users, d), np.float32)
        owner, item, weight = _distinct(indptr, rows, weights, len(self.items))
        # Each item is turned into the basis of the axes once, however many users have it.
        named, place = np.unique(item, return_inverse=True)
        turned = self.items[named].astype(np.float64) @ self._axes[1]
        counts = np.bincount(owner, minlength=users)
        starts = np.cumsum(counts) - counts
        # Users of alike many items together, so that one block holds a rectangle with little padding.
        order = np.argsort(counts, kind="stable")
        order = order[counts[order] > 0]
        at = 0
        while at < len(order):
            most = max(1, BLOCK // (int(counts[order[at]]) * d))
            block = order[at : at + most]
            # A block whose last user has many more items than its first would be mostly padding.
            block = block[counts[block] <= 2 * counts[block[0]] + 8]
            vectors[block] = self._solved(block, starts, counts, turned, place, weight)
            at += len(block)
        return vectors

    def _one(self, rows: Int32, weights: Float32) -> Float32:
        """The vector of one user, float32 (d,): a system of d equations without the gathering that pays for many."""
        order = rows.argsort(kind="stable")
        rows, weight = rows[order], weights[order].astype(np.float64)
        if (weight <= 0).any():
            rows, weight = rows[weight > 0], weight[weight > 0]
        if not len(rows):
            return np.zeros(self.items.shape[1], np.float32)
        if (again := rows[1:] == rows[:-1]).any():
            starts = np.flatnonzero(np.concatenate([[True], ~again]))
            rows, weight = rows[starts], np.add.reduceat(weight, starts)
        y = self.items[rows].astype(np.float64)
        confidence = self.rule.alpha * weight
        curvature = confidence - self.rule.unobserved if self.rule.exclusive else confidence
        left, target = self._left + (y.T * curvature) @ y, confidence @ y
        left.ravel()[:: len(left) + 1] += self.rule.ridge(np.array([len(rows)]), len(self.items))
        return np.asarray(np.linalg.solve(left, target), np.float32)

    @cached_property
    def _left(self) -> Float64:
        """α₀ YᵀY, float64 (d, d)."""
        return np.asarray(self.gram, np.float64) * self.rule.unobserved

    def explain(self, history: Int32, weights: Float32, rows: Int32) -> Float64:
        """As :class:`recsys.folding.Explains` says: y A⁻¹ c yᵢ of each item i, Hu, Koren & Volinsky (2008), section 5.

        Without an item of positive contribution the score falls, if as much as the item itself is thought to be wanted
        is less than 1 and nothing else changes, as the ridge does where it goes by how much a user took.
        """
        confidence = self.rule.alpha * np.maximum(np.asarray(weights, np.float64), 0)
        taken = self.items[history].astype(np.float64)
        _, distinct, total = _distinct(np.array([0, len(history)]), history, weights, len(self.items))
        if not len(distinct):
            return np.zeros((len(rows), len(history)))
        y = self.items[distinct].astype(np.float64)
        curvature = self.rule.alpha * total - (self.rule.unobserved if self.rule.exclusive else 0.0)
        left = self.rule.unobserved * np.asarray(self.gram, np.float64) + (y.T * curvature) @ y
        left[np.diag_indices_from(left)] += self.rule.ridge(np.array([len(distinct)]), len(self.items))
        told: Float64 = self.items[rows].astype(np.float64) @ np.linalg.solve(left, (taken * confidence[:, None]).T)
        return told

    def _solved(
        self, users: Int64, starts: Int64, counts: Int64, turned: Float64, place: Int64, weight: Float64
    ) -> Float64:
        """The vectors of a block of users, float64 (b, d), whose items are lines ``place`` of ``turned``."""
        values, axes = self._axes
        m, d = int(counts[users].max()), len(values)
        places = starts[users][:, None] + np.arange(m)
        real = np.arange(m) < counts[users][:, None]
        at = np.where(real, places, 0)
        confidence = np.where(real, self.rule.alpha * weight[at], 0.0)  # (b, m)
        curvature = confidence - np.where(real & self.rule.exclusive, self.rule.unobserved, 0.0)
        y = turned[place[at]]  # (b, m, d)
        base = values + self.rule.ridge(counts[users], len(self.items))[:, None]  # (b, d), a diagonal
        target = np.einsum("bm,bmd->bd", confidence, y)
        if m < d and (curvature >= 0).all() and (base > 1e-12 * base.max()).all():
            scaled = y * np.sqrt(curvature)[:, :, None]
            thin = scaled / base[:, None, :]
            small = np.matmul(scaled, thin.transpose(0, 2, 1)) + np.eye(m)
            free = target / base
            inner = np.linalg.solve(small, np.einsum("bmd,bd->bm", scaled, free)[:, :, None])
            solved = free - np.einsum("bmd,bm->bd", thin, inner[:, :, 0])
        else:
            left = np.matmul(y.transpose(0, 2, 1) * curvature[:, None, :], y)
            left[:, np.arange(d), np.arange(d)] += base
            solved = np.linalg.solve(left, target[:, :, None])[:, :, 0]
        vectors: Float64 = solved @ axes.T
        return vectors


def _distinct(indptr: Int64, rows: Int32, weights: Float32, n: int) -> tuple[Int64, Int32, Float64]:
    """Each user's items once, ascending, with the sum of their weights, those of weight 0 or less left out."""
    owner = np.repeat(np.arange(len(indptr) - 1, dtype=np.int64), np.diff(indptr))
    positive = weights > 0
    pairs, at = np.unique(owner[positive] * n + rows[positive], return_inverse=True)
    total = np.asarray(np.bincount(at, weights[positive], len(pairs)), np.float64)
    return pairs // n, (pairs % n).astype(np.int32), total
