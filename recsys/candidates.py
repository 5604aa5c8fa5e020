"""The one value that flows from sources through steps to an answer.

A ranked answer, a source's proposal and a batch of a thousand users are all :class:`Candidates`, so online
and offline run the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from recsys.arrays import Bool, Float32, Int32, Int64
from recsys.kernels import candidates as kernels
from recsys.masks import Mask

NONE = np.int32(-1)
EMPTY = np.float32(-np.inf)


NO_SIGNALS: Mapping[str, Float32] = MappingProxyType({})


def _no_signals() -> Mapping[str, Float32]:
    return NO_SIGNALS


PROPENSITY = "propensity"
"""The one signal that no source gave: how probable it was that the item would be among those that are shown."""
RANK_CONSTANT = 60
"""Cormack, Clarke & Büttcher (2009) fuse with 1 / (60 + rank)."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Items proposed for q queries, n slots each.

    ``rows``: int32 (q, n), the item's row, -1 where the slot is empty. ``scores``: float32 (q, n), higher is
    better, -inf where empty. ``signals``: name of a source → float32 (q, n), what it said of the item, nan
    where it did not propose it.

    Laws: an item stands at most once in a query's slots; only :meth:`top` and :meth:`reordered` sort.
    """

    rows: Int32
    scores: Float32
    signals: Mapping[str, Float32] = field(default_factory=_no_signals)

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or self.rows.shape != self.scores.shape:
            raise ValueError(f"rows are {self.rows.shape} and scores {self.scores.shape}: both must be (q, n)")
        for name, signal in self.signals.items():
            if signal.shape != self.rows.shape:
                raise ValueError(f"signal {name!r} is {signal.shape} and rows are {self.rows.shape}: they must match")

    @classmethod
    def empty(cls, queries: int, slots: int = 0) -> Candidates:
        """Empty slots for each of ``queries``."""
        return cls(np.full((queries, slots), NONE), np.full((queries, slots), EMPTY))

    @property
    def shape(self) -> tuple[int, int]:
        """(q, n)."""
        return self.rows.shape[0], self.rows.shape[1]

    @property
    def filled(self) -> Bool:
        """Which slots hold an item, bool (q, n)."""
        return self.rows >= 0

    def part(self, queries: slice = slice(None), slots: slice = slice(None)) -> Candidates:
        """Some of the queries and some of their slots."""
        signals = {name: signal[queries, slots] for name, signal in self.signals.items()}
        return Candidates(self.rows[queries, slots], self.scores[queries, slots], signals)

    def keep(self, mask: Bool) -> Candidates:
        """Empty the slots where ``mask``, bool (q, n), is False."""
        return Candidates(
            np.where(mask, self.rows, NONE),
            np.where(mask, self.scores, EMPTY),
            {name: np.where(mask, signal, np.float32(np.nan)) for name, signal in self.signals.items()},
        )

    def top(self, k: int) -> Candidates:
        """The k best of each query, best first, in exactly k slots; equal scores keep their order.

        >>> Candidates(np.array([[4, 7, 9]], np.int32), np.array([[1, 3, 2]], np.float32)).top(2).rows
        array([[7, 9]], dtype=int32)
        """
        if k < 0:
            raise ValueError(f"k is {k}: it must not be negative")
        found = kernels.top(np.ascontiguousarray(self.rows), np.ascontiguousarray(self.scores), k)
        if found is None:
            return self if k == self.shape[1] else self.part(slots=slice(0, k))
        rows, scores, order = found
        signals = {name: along(signal, order) for name, signal in self.signals.items()}
        if signals and (missing := k - order.shape[1]):
            nothing = np.full((len(rows), missing), np.nan, np.float32)
            signals = {name: np.concatenate([signal, nothing], axis=1) for name, signal in signals.items()}
        return Candidates(rows, scores, signals)

    def reordered(self, order: Int64) -> Candidates:
        """The slots in the order ``order``, int64 (q, n), with the same scores: the best goes to the first.

        >>> Candidates(np.array([[4, 7]], np.int32), np.array([[3, 1]], np.float32)).reordered(np.array([[1, 0]])).rows
        array([[7, 4]], dtype=int32)
        """
        return Candidates(
            along(self.rows, order),
            -np.sort(-self.scores, axis=1),
            {name: along(signal, order) for name, signal in self.signals.items()},
        )


class Unwanted(NamedTuple):
    """What a query must not be answered: ``rows``, int32 (m,) each, and all that any of the ``masks`` does not hold."""

    rows: tuple[Int32, ...] = ()
    masks: tuple[Mask, ...] = ()


def along(values: np.ndarray, order: Int64) -> np.ndarray:
    """``values``, (q, n), of the slots ``order``, int64 (q, m): numpy's ``take_along_axis``, in a third of its time.

    >>> along(np.array([[3, 1, 2]]), np.array([[2, 0]]))
    array([[2, 3]])
    """
    if len(values) == 1:
        alone: np.ndarray = values[0][order[0]][None]
        return alone
    found: np.ndarray = values.ravel()[order + values.shape[1] * np.arange(len(values))[:, None]]
    return found


def reciprocal_ranks(candidates: Candidates) -> Float32:
    """1 / (60 + rank) of each slot by its score, float32 (q, n); 0 where empty."""
    rows, scores = np.ascontiguousarray(candidates.rows), np.ascontiguousarray(candidates.scores)
    return kernels.reciprocal(rows, scores, RANK_CONSTANT)


def fuse(proposals: Mapping[str, Candidates], shares: Mapping[str, Float32] | None = None) -> Candidates:
    """One list from several sources, by reciprocal rank: their scores share no scale, their ranks do.

    Each item stands once, scored by the sum of 1 / (60 + rank) over the sources that proposed it, with what
    each said of it as a signal under the source's name. Cormack, Clarke & Büttcher (2009). ``shares``: what stands in
    place of 1 / (60 + rank), float32 (q, n) for each source.
    Laws: the order of the sources changes scores only by float rounding; fusing one source keeps its order.
    """
    if not proposals:
        raise ValueError("nothing to fuse: give at least one source's candidates")
    parts = list(proposals.values())
    if len({part.shape[0] for part in parts}) > 1:
        raise ValueError(f"sources answered for {[part.shape[0] for part in parts]} queries: q must match")
    given = [reciprocal_ranks(part) for part in parts] if shares is None else [shares[name] for name in proposals]
    ends = np.cumsum([part.shape[1] for part in parts], dtype=np.int32)
    rows, scores, signals = kernels.fused(
        _together([part.rows for part in parts]), _together(given), _together([part.scores for part in parts]), ends
    )
    return Candidates(rows, scores, dict(zip(proposals, signals, strict=True)))


def blend(
    proposals: Mapping[str, Candidates], unwanted: Sequence[Unwanted], pool: int | None, most: int | None = None
) -> Candidates:
    """The best of what :func:`fuse` makes of each source's ``pool`` best that are wanted, best first, all at once.

    ``unwanted``: of each query. ``pool``: all of them if None; ``most``: slots, as many as proposals if None.
    Law: it is what is left after emptying the slots of what is unwanted, ``top`` of each source, fusion, and ``top``.
    """
    parts = [(np.ascontiguousarray(part.rows), np.ascontiguousarray(part.scores)) for part in proposals.values()]
    every = sum([rows.shape[1] for rows, _ in parts])
    slots = most if most is not None else every if pool is None else pool * len(parts)
    said = [(rows, [(mask.bits, mask.items) for mask in masks] if masks else ()) for rows, masks in unwanted]
    rows, scores, signals = kernels.blended(parts, said, every if pool is None else pool, slots, RANK_CONSTANT)
    return Candidates(rows, scores, dict(zip(proposals, signals, strict=True)))


def _together(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Slots of several sources behind each other, a query's in one piece."""
    return np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1))


def fill(first: Candidates, rest: Candidates, k: int) -> Candidates:
    """``first``'s k best, and where they do not suffice ``rest``'s best behind them.

    ``rest`` holds the next rung of a ladder: its items follow in their own order, scored by the position they
    get, 1 / (60 + position), and never above an item before them. Result: exactly k slots.
    """
    upper, lower = first.top(k), rest.top(rest.shape[1])
    lacking = k - upper.filled.sum(axis=1)
    if not lacking.any() or not lower.shape[1]:
        return upper
    repeated = np.zeros(lower.shape, bool)
    for query in np.flatnonzero(lacking):
        repeated[query] = np.isin(lower.rows[query], upper.rows[query])
    lower = lower.keep(~repeated & (lacking[:, None] > 0))
    both = beside([upper, lower])
    # The filled slots of both, in their order: a stable sort by "is it empty" moves nothing else.
    order = np.argsort(~both.filled, axis=1, kind="stable")[:, :k]
    rows = along(both.rows, order)
    from_rest = order >= k
    by_position = (1.0 / (RANK_CONSTANT + 1 + np.arange(order.shape[1]))).astype(np.float32)
    scores = np.where(from_rest, by_position, along(both.scores, order))
    scores = np.where(rows >= 0, np.minimum.accumulate(scores, axis=1), EMPTY)
    signals = {name: along(signal, order) for name, signal in both.signals.items()}
    return Candidates(rows, scores, signals)


def beside(parts: Sequence[Candidates]) -> Candidates:
    """The slots of all parts of the same q queries, side by side, with the union of their signals."""
    names = dict.fromkeys(name for part in parts for name in part.signals)
    return Candidates(
        np.concatenate([part.rows for part in parts], axis=1),
        np.concatenate([part.scores for part in parts], axis=1),
        {
            name: np.concatenate(
                [part.signals.get(name, np.full(part.shape, np.nan, np.float32)) for part in parts], axis=1
            )
            for name in names
        },
    )
