"""Skip-gram with negative sampling over histories: item2vec, Barkan & Koenigstein (2016)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numba
import numpy as np
from pydantic import Field

from recsys.arrays import Float32, Int32, Int64
from recsys.folding.linear import Linear, LinearRule
from recsys.interactions import Interactions
from training.models import VECTORS, Choice, Family, Learned, Model, Progress, Range, Served, matrix_to_learn, silent
from training.threads import compiled_threads

TABLE = 2**20
"""Entries that negatives are drawn from, at least; more where there are many items."""


class Item2Vec(Model):
    """Vectors under which an item stands near what the same people took, as word2vec puts words beside their company.

    Maximises ln σ(uᵢᵀvⱼ) + Σ ln σ(-uᵢᵀvₙ) over items i, others j of the same history, and negatives n drawn from q.
    At the maximum uᵢᵀvⱼ + ln q(j) is, but for a constant, the log of the chance of j beside i, Levy & Goldberg (2014).
    So an item's vector is (v, popularity · ln q), and what it puts into a user's is (u, 1), of which the mean over the
    user's items is taken.

    An event's weight counts for nothing but being above 0.
    """

    family: ClassVar[Family] = "vector"
    serves: ClassVar[frozenset[Served]] = VECTORS
    space: ClassVar[Mapping[str, Range | Choice]] = {
        "window": Choice((2, 5, 10, 50, 0)),
        "negatives": Range(2, 20),
        "negative_exponent": Range(-0.5, 1.0),
        "popularity": Range(0.0, 1.5),
        "learning_rate": Range(0.005, 0.2, log=True),
        "epochs": Range(5, 60),
    }

    factors: int = Field(default=64, ge=1, le=2047)
    """d, the width of a vector but for its popularity."""
    window: int = Field(default=0, ge=0)
    """How far away, before or after, the other item may be; 0: anywhere in the history."""
    contexts: int = Field(default=5, ge=1)
    """How many others are drawn for each item in each epoch."""
    negatives: int = Field(default=5, ge=1)
    """How many items are drawn against each of them."""
    negative_exponent: float = Field(default=0.75, ge=-2, le=2)
    """Negatives are drawn by how often an item was taken, to this power: 0 alike, below it the rare ones first."""
    popularity: float = Field(default=0.5, ge=0)
    """How much ln q counts: 1 ranks by the chance of an item, 0 by how much the history raises it."""
    learning_rate: float = Field(default=0.05, gt=0)
    """Length of the first step of stochastic gradient ascent; it falls to nothing along a line."""
    epochs: int = Field(default=20, ge=1)
    """Passes over the events."""

    def fit(
        self, data: Interactions, rng: np.random.Generator, *, threads: int, progress: Progress = silent
    ) -> Learned:
        """Climb. Several threads write into the same vectors, so only one gives the same bits again.

        TrainingError for data without a positive event.
        """
        matrix_to_learn(data)
        taught = np.flatnonzero(data.weight > 0)
        order = taught[np.argsort(data.user[taught], kind="stable")]
        user, item = data.user[order], data.item[order]
        counts = np.bincount(item, minlength=len(data.items))
        drawn_by = _shares(counts, self.negative_exponent)
        known = (counts > 0)[:, None]
        inputs = np.where(known, (rng.random((len(counts), self.factors)) - 0.5) / self.factors, 0).astype(np.float32)
        outputs = np.zeros_like(inputs)
        log = Histories(
            item, np.searchsorted(user, user, "left"), np.searchsorted(user, user, "right"), _table(drawn_by)
        )
        draws = (self.window, self.contexts, self.negatives)
        with compiled_threads(threads, blas=1) as blocks:
            for epoch in range(self.epochs):
                seeds = rng.integers(1, 2**63, blocks, dtype=np.uint64)
                places = rng.permutation(len(item))
                rates = self.learning_rate * (1 - np.array([epoch, epoch + 1]) / self.epochs)
                _climb(log, places, inputs, outputs, draws, rates.astype(np.float32), seeds)
                progress((epoch + 1) / self.epochs)
        chance = np.log(np.maximum(drawn_by, drawn_by[drawn_by > 0].min())).astype(np.float32)
        items = np.hstack([outputs, self.popularity * chance[:, None]], dtype=np.float32)
        puts = np.hstack([inputs, np.ones((len(counts), 1), np.float32)])
        return Learned.of_fold(Linear.of(items, LinearRule(length_exponent=1), {"inputs": puts}))


class Histories(NamedTuple):
    """Events by user, each user's in order, and what negatives are drawn from.

    ``item``: int32 (n,). ``starts``, ``ends``: int64 (n,), where the history of each event begins and ends.
    ``table``: int32, items as often as they are to be drawn.
    """

    item: Int32
    starts: Int64
    ends: Int64
    table: Int32


def _shares(counts: np.ndarray, exponent: float) -> np.ndarray:
    """Counts to a power, summing to 1; 0 where the count is."""
    raised = np.power(counts, exponent, out=np.zeros(len(counts)), where=counts > 0)
    return np.asarray(raised / raised.sum())


def _table(shares: np.ndarray) -> Int32:
    """Items as often as their shares say, in a table long enough for the rare ones."""
    size = max(TABLE, 16 * len(shares))
    known = np.flatnonzero(shares)
    places = np.searchsorted(np.cumsum(shares[known]), (np.arange(size) + 0.5) / size)
    return known[np.minimum(places, len(known) - 1)].astype(np.int32)


@numba.njit(cache=True, nogil=True, inline="always")
def _next(state: np.uint64) -> np.uint64:  # pragma: no cover  compiled
    """The state after this one: xorshift, Marsaglia (2003)."""
    state ^= state << np.uint64(13)
    state ^= state >> np.uint64(7)
    state ^= state << np.uint64(17)
    return state


@numba.njit(cache=True, nogil=True, inline="always")
def _below(bound: int, state: np.uint64) -> np.int64:  # pragma: no cover  compiled
    """A whole number from 0 to ``bound`` - 1; the low bits of the state are its worst."""
    return np.int64((state >> np.uint64(11)) % np.uint64(bound))


@numba.njit(fastmath=True, cache=True, nogil=True, inline="always")
def _improve(  # pragma: no cover  compiled
    u: Float32, v: Float32, wanted: np.float32, rate: np.float32, change: Float32
) -> None:
    """One step for v, and into ``change`` the one for u, towards σ(uᵀv) = ``wanted``."""
    score = np.float32(0)
    for a in range(len(u)):
        score += u[a] * v[a]
    gradient = rate * (wanted - np.float32(1) / (np.float32(1) + np.exp(-score)))
    for a in range(len(u)):
        change[a] += gradient * v[a]
        v[a] += gradient * u[a]


@numba.njit(parallel=True, fastmath=True, cache=True, nogil=True)
def _climb(  # pragma: no cover  compiled
    log: Histories,
    places: Int64,
    inputs: Float32,
    outputs: Float32,
    draws: tuple[int, int, int],
    rates: Float32,
    seeds: np.ndarray,
) -> None:
    """One epoch, in place: each block of ``places`` on a thread of its own, without locks, Niu et al. (2011)."""
    window, contexts, negatives = draws
    n, blocks = len(places), len(seeds)
    for block in numba.prange(blocks):
        state = seeds[block]
        change = np.empty(inputs.shape[1], np.float32)
        first, last = block * n // blocks, (block + 1) * n // blocks
        for step in range(first, last):
            rate = rates[0] + (rates[1] - rates[0]) * np.float32(step - first) / np.float32(last - first)
            at = places[step]
            reach = window or n
            low, high = max(log.starts[at], at - reach), min(log.ends[at], at + reach + 1)
            u = inputs[log.item[at]]
            for _ in range(contexts if high - low > 1 else 0):
                state = _next(state)
                place = low + _below(high - low - 1, state)
                other = log.item[place + 1 if place >= at else place]
                change[:] = 0
                _improve(u, outputs[other], np.float32(1), rate, change)
                for _draw in range(negatives):
                    state = _next(state)
                    drawn = log.table[_below(len(log.table), state)]
                    if drawn != other:
                        _improve(u, outputs[drawn], np.float32(0), rate, change)
                for a in range(len(u)):
                    u[a] += change[a]
