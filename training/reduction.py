"""The sum of several linear models as one of d dimensions, the best there is for the histories at hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from recsys.arrays import Float32, Float64

BLOCK = 2**13
"""Users whose vectors are held at once."""
ALMOST_ZERO = 1e-6
"""The share of the largest eigenvalue below which one is rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A linear model: Σ w · ``inputs`` over a history, times ``items``; both float32 (n, d), ``weight`` in the sum.

    Weights compare scores of the same size: each part's are divided by the mean length of users' vectors and by that
    of items' first.
    """

    inputs: Float32
    items: Float32
    weight: float


def reduced(histories: sp.csr_matrix, parts: Sequence[Part], d: int) -> tuple[Float32, Float32]:
    """Inputs and items of width ``d``, float32 (n, d), for the sum of the parts' scores.

    ``histories``: float32 CSR (users, n). Of all models of rank d it has the least squared error of the scores of these
    histories, each scaled so that its vector has length 1; it has none where the scores have no more than d
    dimensions.

    With side by side inputs E and items V, VᵀV = Q S Qᵀ and L = Q S^½, the scores x V ᵀ are (x L) (V Q S^-½)ᵀ, whose
    right side is orthonormal: so those of x L along its d strongest directions are the nearest, Eckart & Young (1936).
    """
    inputs = np.hstack([part.inputs * np.float32(_scale(histories, part)) for part in parts])
    items = np.hstack([part.items for part in parts])
    values, axes = np.linalg.eigh((items.T @ items).astype(np.float64))
    real = values > ALMOST_ZERO * values[-1]
    roots, axes = np.sqrt(values[real]), axes[:, real]
    left, right = axes * roots, axes / roots
    spread: Float64 = np.zeros((inputs.shape[1], inputs.shape[1]))
    for vectors in _users(histories, inputs):
        long = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-9))
        spread += long.T @ long
    _, turn = np.linalg.eigh(left.T @ spread @ left)
    strongest = turn[:, ::-1][:, :d]
    return _padded(inputs @ (left @ strongest).astype(np.float32), d), _padded(
        items @ (right @ strongest).astype(np.float32), d
    )


def _users(histories: sp.csr_matrix, inputs: Float32) -> Iterator[Float32]:
    """The vectors of some users after the other, float32 (b, d)."""
    for low in range(0, histories.shape[0], BLOCK):
        yield histories[low : low + BLOCK] @ inputs


def _scale(histories: sp.csr_matrix, part: Part) -> float:
    """What the part's inputs are multiplied with, 0 where it says nothing."""
    total = sum(float(np.linalg.norm(vectors, axis=1).sum()) for vectors in _users(histories, part.inputs))
    size = total / histories.shape[0] * float(np.linalg.norm(part.items, axis=1).mean())
    return part.weight / size if size > 0 else 0.0


def _padded(vectors: Float32, d: int) -> Float32:
    """With zeros up to width d."""
    return np.pad(vectors, ((0, 0), (0, d - vectors.shape[1])))
