"""How two towers go down the loss of :mod:`training.contrastive`: batches of users, negatives for each, Adam."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import scipy.sparse as sp

from recsys.arrays import Float32, Int64, ranges, unit
from training.contrastive import Batch, Towers, add_gradients

WARM_UP = 20
"""Steps in which the rate grows to what it is."""


@dataclass(frozen=True, slots=True)
class Descent:
    """How :func:`descend` goes: Adam's rate falls as half a cosine; see :class:`training.models.two_tower.TwoTower`."""

    epochs: int
    batch: int
    negatives: int
    rate: float
    temperature: float
    dropout: float
    user_exponent: float

    def steps(self, users: int) -> int:
        """How many in all, for so many users."""
        return self.epochs * -(-users // self.batch)

    def rate_at(self, step: int, steps: int) -> float:
        """Of step 1 to ``steps``."""
        return float(self.rate * min(1, step / WARM_UP) * 0.5 * (1 + np.cos(np.pi * step / (steps + 1))))


class Descending:
    """Towers on their way down; ``step`` takes one step, ``share`` says how much is done."""

    def __init__(self, matrix: sp.csr_matrix, start: Float32, how: Descent, rng: np.random.Generator) -> None:
        self._matrix, self._how, self._rng = matrix, how, rng
        self._sizes = np.diff(matrix.indptr).astype(np.int64)
        self._taught = np.flatnonzero(self._sizes > 1)
        degrees = np.maximum(np.bincount(matrix.indices, minlength=matrix.shape[1]), 1)
        items = unit(_with_directions(start, rng))
        inputs = items * degrees[:, None].astype(np.float32) ** np.float32(-0.5)
        self.towers = Towers(inputs / np.linalg.norm(inputs, axis=1).mean(), items)
        self._gradients = Towers(np.zeros_like(inputs), np.zeros_like(items))
        self._moments = [(np.zeros_like(tower), np.zeros_like(tower)) for tower in self.towers]
        self._done = 0
        self._order = self._taught[:0]

    @property
    def left(self) -> int:
        """Steps to go."""
        return self._how.steps(len(self._taught)) - self._done

    def step(self) -> None:
        """One step on the next users, each of which comes once an epoch."""
        how, steps = self._how, self._how.steps(len(self._taught))
        if not len(self._order):
            self._order = self._rng.permutation(self._taught)
        users, self._order = self._order[: how.batch], self._order[how.batch :]
        n = self._matrix.shape[1]
        drawn = np.sort(self._rng.choice(n, min(how.negatives, n), replace=False))
        add_gradients(self.towers, self._batch(users), drawn, how.temperature, self._gradients)
        self._done += 1
        rate, first, second = how.rate_at(self._done, steps), 1 / (1 - 0.9**self._done), 1 / (1 - 0.999**self._done)
        for tower, gradient, moments, sphere in zip(
            self.towers, self._gradients, self._moments, (False, True), strict=True
        ):
            _adam(tower, gradient, *moments, np.float32(rate), np.float32(first), np.float32(second), sphere)

    def _batch(self, users: Int64) -> Batch:
        sizes = self._sizes[users]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        places = np.repeat(self._matrix.indptr[users], sizes) + ranges(sizes)
        weights = self._matrix.data[places]
        kept = self._rng.random(len(places), dtype=np.float32) >= self._how.dropout
        wanted = weights * np.repeat(sizes**-self._how.user_exponent, sizes)
        puts = weights * np.repeat(sizes**-0.5, sizes) * kept
        return Batch(
            self._matrix.indices[places].astype(np.int32, copy=False),
            starts,
            puts.astype(np.float32),
            (wanted / wanted.sum()).astype(np.float32),
        )


def _with_directions(vectors: Float32, rng: np.random.Generator) -> Float32:
    """The same, with a random one for each that is 0."""
    none = np.abs(vectors).sum(axis=1, keepdims=True) == 0
    some: Float32 = np.where(none, rng.standard_normal(vectors.shape, np.float32), vectors)
    return some


@numba.njit(parallel=True, fastmath=True, cache=True, nogil=True)
def _adam(  # pragma: no cover  compiled
    tower: Float32,
    gradient: Float32,
    mean: Float32,
    square: Float32,
    rate: np.float32,
    first: np.float32,
    second: np.float32,
    sphere: bool,
) -> None:
    """One step of Kingma & Ba (2015), in place, and the gradient cleared; on a sphere only what turns counts."""
    for i in numba.prange(len(tower)):
        w, g, m, s = tower[i], gradient[i], mean[i], square[i]
        along = np.float32(0)
        if sphere:
            size = np.float32(1e-12)
            for a in range(len(w)):
                along += w[a] * g[a]
                size += w[a] * w[a]
            along /= size
        for a in range(len(w)):
            turn = g[a] - along * w[a]
            m[a] = np.float32(0.9) * m[a] + np.float32(0.1) * turn
            s[a] = np.float32(0.999) * s[a] + np.float32(0.001) * turn * turn
            w[a] -= rate * (m[a] * first) / (np.sqrt(s[a] * second) + np.float32(1e-8))
            g[a] = 0
