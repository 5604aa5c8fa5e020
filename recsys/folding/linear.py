"""A user's vector as a weighted sum of vectors that their items have for the purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from recsys.arrays import Float32, Float64, Int32, Int64
from recsys.folding import check_replaced
from recsys.sections import Section

CHUNK = 2**16
"""Items whose vectors are gathered at once."""


class LinearRule(Section):
    """How a sum over a history is scaled."""

    length_exponent: float = Field(default=0.0, ge=0)
    """The sum is divided by (number of items)^this: 0 a sum, 1 a mean. It cannot change a ranking, only a blend."""
    unit: bool = False
    """The vector is scaled to length one; neither can this."""


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """x = |I|^-p Σ w · e over a user's items, or its direction: autoencoders of rank d and graph filters fold in so.

    ``items``: float32 (n, d), what the result is multiplied with. ``inputs``: float32 (n, d), e.

    Laws: the order of the items does not matter; an item given twice is an item with the sum of its weights, but for
    their number where that counts; no items, or weights of 0, is the zero vector.
    """

    kind: ClassVar[str] = "linear"
    Rule: ClassVar[type[LinearRule]] = LinearRule
    ARRAYS: ClassVar[tuple[str, ...]] = ("inputs",)

    items: Float32
    inputs: Float32
    rule: LinearRule

    @classmethod
    def of(cls, items: Float32, rule: LinearRule, arrays: Mapping[str, np.ndarray] | None = None) -> Linear:
        """``inputs`` are the item vectors themselves unless given."""
        return cls(items, items if arrays is None else arrays["inputs"], rule)

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The vectors that are summed."""
        return {"inputs": self.inputs}

    def per_item(self) -> Mapping[str, Float32]:
        """The item vectors, and those that are summed."""
        return {"items": self.items, "inputs": self.inputs}

    def replaced(self, vectors: Mapping[str, Float32]) -> Linear:
        """As :class:`recsys.folding.Fold` says."""
        return Linear(rule=self.rule, **check_replaced(self, vectors))

    def fold(self, indptr: Int64, rows: Int32, weights: Float32) -> Float32:
        """Vectors of q users, float32 (q, d), as :class:`recsys.folding.Fold` says; the order of items is free."""
        users = len(indptr) - 1
        counts = np.zeros(users, np.int64)
        vectors = np.zeros((users, self.items.shape[1]), np.float32)
        positive = np.maximum(weights, 0)
        start = 0
        while start < users:
            end = max(start + 1, int(np.searchsorted(indptr, indptr[start] + CHUNK, "right")) - 1)
            part = slice(indptr[start], indptr[end])
            taken = self.inputs[rows[part]] * positive[part, None]
            bounds = indptr[start:end] - indptr[start]
            some = np.diff(indptr[start : end + 1]) > 0
            if len(taken):
                vectors[start:end][some] = np.add.reduceat(taken, bounds[some], axis=0)
                counts[start:end][some] = np.add.reduceat((positive[part] > 0).astype(np.int64), bounds[some])
            start = end
        scale = np.maximum(counts, 1) ** -self.rule.length_exponent
        if self.rule.unit:
            lengths = np.linalg.norm(vectors, axis=1)
            scale = np.divide(1, lengths, out=np.zeros(users), where=lengths > 0)
        return vectors * scale[:, None].astype(np.float32)

    def explain(self, history: Int32, weights: Float32, rows: Int32) -> Float64:
        """As :class:`recsys.folding.Explains` says: the summands."""
        positive = np.maximum(np.asarray(weights, np.float64), 0)
        taken = self.inputs[history].astype(np.float64) * positive[:, None]
        scale = max(int((positive > 0).sum()), 1) ** -self.rule.length_exponent
        if self.rule.unit:
            length = float(np.linalg.norm(taken.sum(axis=0)))
            scale = 1 / length if length > 0 else 0.0
        told: Float64 = scale * self.items[rows].astype(np.float64) @ taken.T
        return told
