"""Conjugate gradients in compiled float32 on all cores: one line a task, and no matrix of d × d but one."""

from __future__ import annotations

import numba
import numpy as np

from recsys.arrays import Float32, Int32, Int64
from training.solvers import Half
from training.threads import compiled_threads


class Compiled:
    """The solver as an object, since the table lists solvers and not their classes; it keeps nothing."""

    def improve(self, half: Half, solved: Float32, fixed: Float32, steps: int, threads: int) -> None:
        """See :class:`training.solvers.Solver`; the number of threads does not change a bit of the result."""
        with compiled_threads(threads, blas=1):
            gram = (fixed.T @ fixed) * np.float32(half.unobserved)
            _solve(half.indptr, half.indices, half.weights, half.longest_first, gram, half.ridge, fixed, solved, steps)


SOLVER = Compiled()


@numba.njit(fastmath=True, cache=True, nogil=True, inline="always")
def _left_side(  # pragma: no cover  compiled
    gram: Float32,
    ridge: np.float32,
    fixed: Float32,
    indices: Int32,
    weights: Float32,
    x: Float32,
    target: np.float32,
    out: Float32,
) -> None:
    """Into ``out``: (gram + Σ w y yᵀ + ridge I) x - target · Σ w y, the left side, less the right if target is 1."""
    d = len(x)
    for a in range(d):
        total = np.float32(0)
        for b in range(d):
            total += gram[a, b] * x[b]
        out[a] = total + ridge * x[a]
    for at in range(len(indices)):
        y = fixed[indices[at]]
        score = np.float32(0)
        for a in range(d):
            score += y[a] * x[a]
        factor = weights[at] * (score - target)
        for a in range(d):
            out[a] += factor * y[a]


@numba.njit(fastmath=True, cache=True, nogil=True, inline="always")
def _dot(a: Float32, b: Float32) -> np.float32:  # pragma: no cover  compiled
    total = np.float32(0)
    for at in range(len(a)):
        total += a[at] * b[at]
    return total


@numba.njit(parallel=True, fastmath=True, cache=True, nogil=True)
def _solve(  # pragma: no cover  compiled
    indptr: Int64,
    indices: Int32,
    weights: Float32,
    order: Int64,
    gram: Float32,
    ridge: Float32,
    fixed: Float32,
    solved: Float32,
    steps: int,
) -> None:
    """Conjugate gradients on (gram + Σ w y yᵀ + ridge I) x = Σ w y, from where x is, one row a task."""
    for place in numba.prange(len(order)):
        row = order[place]
        taken, weigh = indices[indptr[row] : indptr[row + 1]], weights[indptr[row] : indptr[row + 1]]
        x = solved[row]
        if not len(taken):
            x[:] = 0
            continue
        product = np.empty_like(x)
        _left_side(gram, ridge[row], fixed, taken, weigh, x, np.float32(1), product)
        residual = -product
        direction = residual.copy()
        size = _dot(residual, residual)
        for _ in range(steps):
            if size < 1e-20:
                break
            _left_side(gram, ridge[row], fixed, taken, weigh, direction, np.float32(0), product)
            step = size / _dot(direction, product)
            x += step * direction
            residual -= step * product
            new = _dot(residual, residual)
            direction = residual + (new / size) * direction
            size = new
