"""A sampled softmax over cosines and its gradients, written out: what trains the two towers of `two-tower`.

Compiled code and BLAS. No two threads add into the same number, so how many there are does not change what is learned,
but for the order in which BLAS adds.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from recsys.arrays import Float32, Int32, Int64

TINY = np.float32(1e-12)


class Towers(NamedTuple):
    """``inputs``: float32 (n, d), summed over a history; ``items``: float32 (n, d), of which the direction counts."""

    inputs: Float32
    items: Float32


class Batch(NamedTuple):
    """Some users: what they are known by and what they should be given.

    User r's are ``items[starts[r]:starts[r + 1]]``, int32 (m,). ``puts``: float32 (m,), what the inputs of each are
    multiplied with, 0 where it is dropped. ``wanted``: float32 (m,), what each counts as a target.
    """

    items: Int32
    starts: Int64
    puts: Float32
    wanted: Float32


def add_gradients(towers: Towers, batch: Batch, drawn: Int64, temperature: float, gradients: Towers) -> float:
    """The loss of a batch, whose gradients are added into ``gradients``.

    The loss is -Σ w ln(e⁺ / (e⁺ + n/|N| Σ e⁻)), with e = exp(score / τ), e⁺ of a wanted item and e⁻ of the items
    ``drawn``, int64 (|N|,) ascending, but for the user's own. The score is (x - p_i) · v / (|x| |v|): x is the sum of
    all that the user's items put into it, and p_i the part of item i, which is left out where i is what is wanted;
    otherwise the best answer would be what is known already.
    The gradient by v is that of cosines but for its part along v, which :mod:`training.descent` leaves out.
    """
    inputs, items = towers
    inverse = np.float32(1 / temperature)
    users = np.empty((len(batch.starts) - 1, items.shape[1]), np.float32)
    norms, totals, push = (np.empty(len(users), np.float32) for _ in range(3))
    _pool(batch, inputs, users, norms)
    lengths = np.sqrt(np.einsum("nd,nd->n", items, items)) + TINY
    against = items[drawn] / lengths[drawn, None]
    scores = users @ against.T
    slots = np.full(len(items), -1, np.int32)
    slots[drawn] = np.arange(len(drawn))
    _exponentials(scores, inverse, batch, slots, totals)
    totals *= np.float32(len(items) / len(drawn))
    of_users, radial, losses = np.zeros_like(users), np.empty_like(norms), np.empty_like(norms)
    pull = np.empty(len(batch.items), np.float32)
    _pull(batch, towers, lengths, users, norms, totals, inverse, of_users, pull, push, radial, losses)
    scores *= push[:, None] * np.float32(len(items) / len(drawn))
    of_users += scores @ against
    gradients.items[drawn] += (scores.T @ users) / lengths[drawn, None]
    # A score is a cosine but for the part left out, so it does not change with the length of x.
    of_users -= (np.einsum("bd,bd->b", of_users, users) - radial)[:, None] * users
    of_users /= norms[:, None]
    _scatter(batch, towers, users, norms, of_users, pull, gradients, numba.get_num_threads())
    return float(losses.sum())


@numba.njit(parallel=True, fastmath=True, cache=True, nogil=True)
def _pool(batch: Batch, inputs: Float32, users: Float32, norms: Float32) -> None:  # pragma: no cover  compiled
    """Sums over histories, brought to length 1, and the length that they had."""
    for r in numba.prange(len(users)):
        x = users[r]
        x[:] = 0
        for at in range(batch.starts[r], batch.starts[r + 1]):
            if batch.puts[at] > 0:
                y = inputs[batch.items[at]]
                for a in range(len(x)):
                    x[a] += batch.puts[at] * y[a]
        size = np.float32(1e-12)
        for a in range(len(x)):
            size += x[a] * x[a]
        norms[r] = np.sqrt(size)
        for a in range(len(x)):
            x[a] /= norms[r]


@numba.njit(fastmath=True, inline="always")
def _exp(x: np.float32) -> np.float32:  # pragma: no cover  compiled
    """e^x for x ≤ 0, at least e^-64, as (e^(x/64))^64, which compiles to vector instructions."""
    z = max(x, np.float32(-64)) * np.float32(1 / 64)
    y = np.float32(1 / 24) + z * (np.float32(1 / 120) + z * np.float32(1 / 720))
    y = np.float32(1) + z * (np.float32(1) + z * (np.float32(1 / 2) + z * (np.float32(1 / 6) + z * y)))
    y *= y
    y *= y
    y *= y
    y *= y
    y *= y
    y *= y
    return y


@numba.njit(parallel=True, fastmath=True, cache=True, nogil=True)
def _exponentials(  # pragma: no cover  compiled
    scores: Float32, inverse: np.float32, batch: Batch, slots: Int32, totals: Float32
) -> None:
    """Cosines become exp((cosine - 1) / τ), those of a user's own items nearly 0; and the sum of each line."""
    for r in numba.prange(len(scores)):
        line = scores[r]
        for at in range(batch.starts[r], batch.starts[r + 1]):
            if slots[batch.items[at]] >= 0:
                line[slots[batch.items[at]]] = -1e3
        total = np.float32(0)
        for j in range(len(line)):
            line[j] = _exp((line[j] - np.float32(1)) * inverse)
            total += line[j]
        totals[r] = total


@numba.njit(parallel=True, fastmath=True, cache=True, nogil=True)
def _pull(  # pragma: no cover  compiled
    batch: Batch,
    towers: Towers,
    lengths: Float32,
    users: Float32,
    norms: Float32,
    totals: Float32,
    inverse: np.float32,
    of_users: Float32,
    pull: Float32,
    push: Float32,
    radial: Float32,
    losses: Float32,
) -> None:
    """The wanted items' share: what each pulls by, what the others are pushed by, and what of it has no direction."""
    for r in numba.prange(len(users)):
        u, g = users[r], of_users[r]
        push[r], radial[r], losses[r] = 0, 0, 0
        for at in range(batch.starts[r], batch.starts[r + 1]):
            y, z = towers.items[batch.items[at]], towers.inputs[batch.items[at]]
            whole, own = np.float32(0), np.float32(0)
            for a in range(len(u)):
                whole += u[a] * y[a]
                own += z[a] * y[a]
            own *= batch.puts[at] / norms[r]
            scaled = ((whole - own) / lengths[batch.items[at]] - np.float32(1)) * inverse
            mass = np.exp(min(max(scaled, np.float32(-64)), np.float32(64)))
            pull[at] = -batch.wanted[at] * totals[r] / (mass + totals[r]) * inverse / lengths[batch.items[at]]
            push[r] += batch.wanted[at] / (mass + totals[r]) * inverse
            radial[r] += pull[at] * own
            losses[r] += batch.wanted[at] * np.log1p(totals[r] / mass)
            for a in range(len(u)):
                g[a] += pull[at] * y[a]


@numba.njit(parallel=True, fastmath=True, cache=True, nogil=True)
def _scatter(  # pragma: no cover  compiled
    batch: Batch,
    towers: Towers,
    users: Float32,
    norms: Float32,
    of_users: Float32,
    pull: Float32,
    gradients: Towers,
    blocks: int,
) -> None:
    """From users' gradients to those of the vectors behind them; each thread has some dimensions to itself."""
    d = users.shape[1]
    for block in numba.prange(blocks):
        low, high = block * d // blocks, (block + 1) * d // blocks
        for r in range(len(users)):
            u, g = users[r], of_users[r]
            for at in range(batch.starts[r], batch.starts[r + 1]):
                i = batch.items[at]
                y, z = towers.items[i], towers.inputs[i]
                of_y, of_z = gradients.items[i], gradients.inputs[i]
                put, force = batch.puts[at], pull[at]
                own = put / norms[r]
                for a in range(low, high):
                    of_y[a] += force * (u[a] - own * z[a])
                    of_z[a] += put * g[a] - force * own * y[a]
