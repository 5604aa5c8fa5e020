"""What all backends share: what one says of itself, and how a search goes on under a mask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from index.batches import nearest
from recsys.arrays import Float32
from recsys.candidates import Candidates
from recsys.masks import Mask
from recsys.retrieval import check_mask, check_queries, pad

SUBSET = 20_000
"""Up to so many allowed items are all scored: two milliseconds at d = 64, and exact."""
SPARE = 1.3
"""How many more items than expected an over-fetch asks for, against the luck of the draw."""
FURTHER = 8.0
"""How far a query that found too few looks before everything is scored for it."""

Found = tuple[np.ndarray, Float32]
"""Rows, integers (q, k), -1 where nothing was found, and their inner products, float32 (q, k), best first."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a backend is like.

    ``mapped``: a worker maps its files and shares their pages; else it reads them into memory of its own. ``adds``: its
    library takes new items (a release's index never changes, :mod:`index.growing` does). ``filters``: it skips items
    that are not allowed while it searches; else more are fetched than are asked for. ``walks``: a search reads all over
    the release's vectors, so they belong to what it needs in memory; else it reads the few that it scores. ``crashes``:
    its library may end the process on a damaged file. ``memory``: its own files, for each vector.
    Search is safe under threads in every backend.
    """

    mapped: bool
    adds: bool
    filters: bool
    walks: bool
    crashes: bool
    memory: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How a search is done: ``whole``, ``nothing``, ``subset``, ``inside`` or ``over-fetch``.

    ``selectivity``: share of items allowed. ``depth``: items asked of the backend. Where a query finds fewer items
    than there are, ``inside`` and ``over-fetch`` go on to ``subset`` for it.
    """

    name: Literal["whole", "nothing", "subset", "inside", "over-fetch"]
    selectivity: float
    depth: int


class Searcher(ABC):
    """An index over ``vectors``, float32 (n, d), that can be searched under a mask; a backend adds ``find``."""

    __slots__ = ()

    backend: ClassVar[str]
    traits: ClassVar[Traits]
    vectors: Float32

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return self.vectors.shape[0], self.vectors.shape[1]

    @abstractmethod
    def find(self, queries: Float32, k: int, reach: float = 1.0, allowed: Mask | None = None) -> Found:
        """The k best for checked queries, of k ≤ n, looking ``reach`` times as far as usual.

        ``allowed`` is only given to a backend that filters.
        """

    def search(self, queries: Float32, k: int, allowed: Mask | None = None) -> Candidates:
        """The k items of largest inner product with each query, among those allowed."""
        queries = check_queries(queries, self.shape, k)
        if allowed is not None:
            return pad(*self._under(queries, k, check_mask(allowed, len(self.vectors))), k)
        best = min(k, len(self.vectors))
        if not best or not len(queries):
            return Candidates.empty(len(queries), k)
        rows, scores = self.find(queries, best)
        # What is missing stands last, so the last column says whether anything is.
        if min(rows[:, -1].tolist()) < 0:
            rows, scores = self._complete(queries, rows, scores)
        return Candidates(rows.astype(np.int32, copy=False), scores) if best == k else pad(rows, scores, k)

    def plan(self, k: int, allowed: Mask | None = None) -> Plan:
        """What :meth:`search` does for k items under a mask: by how many items it allows."""
        n = len(self.vectors)
        if allowed is None or allowed.count == n:
            return Plan("whole", 1.0, min(k, n))
        share = allowed.count / n
        if not allowed.count:
            return Plan("nothing", 0.0, 0)
        depth = int(SPARE * k / share) + 10
        if allowed.count <= SUBSET or (not self.traits.filters and 10 * depth > n):
            return Plan("subset", share, allowed.count)
        if self.traits.filters:
            return Plan("inside", share, min(k, allowed.count))
        return Plan("over-fetch", share, depth)

    def _under(self, queries: Float32, k: int, allowed: Mask) -> Found:
        plan, best = self.plan(k, allowed), min(k, allowed.count)
        if not best or not len(queries):
            return Candidates.empty(len(queries), best).rows, Candidates.empty(len(queries), best).scores
        if plan.name == "subset":
            return over_subset(self.vectors, queries, best, allowed)
        if plan.name == "over-fetch":
            rows, scores = _first_allowed(*self.find(queries, plan.depth), allowed, best)
        else:
            inside = allowed if plan.name == "inside" else None
            rows, scores = self.find(queries, best, plan.selectivity**-0.5, inside)
        if np.count_nonzero(rows[:, -1] < 0):
            rows, scores = self._complete(queries, rows, scores, allowed)
        return rows, scores

    def _complete(self, queries: Float32, rows: np.ndarray, scores: Float32, allowed: Mask | None = None) -> Found:
        """Queries that found too few look further, and those for which that is not enough are searched exactly."""
        k = rows.shape[1]
        rows, scores = rows.copy(), scores.copy()
        if allowed is None:
            lacking = np.flatnonzero(rows[:, -1] < 0)
            rows[lacking], scores[lacking] = self.find(queries[lacking], k, FURTHER)
        lacking = np.flatnonzero(rows[:, -1] < 0)
        if len(lacking):
            every = allowed or Mask.of(np.ones(len(self.vectors), bool))
            rows[lacking], scores[lacking] = over_subset(self.vectors, queries[lacking], k, every)
        return rows, scores


def over_subset(vectors: Float32, queries: Float32, k: int, allowed: Mask) -> Found:
    """The k best of the allowed items by scoring them all, k ≤ their number; equal scores come in the order of rows."""
    return nearest(queries, vectors, k, allowed.rows)


def _first_allowed(rows: np.ndarray, scores: Float32, allowed: Mask, k: int) -> Found:
    held = allowed.holds(rows)
    order = np.argsort(~held, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(held, order, axis=1)
    return (
        np.where(kept, np.take_along_axis(rows, order, axis=1), -1),
        np.where(kept, np.take_along_axis(scores, order, axis=1), np.float32(-np.inf)),
    )


def at_least(lowest: int, **options: Any) -> None:
    """ValueError that names every option below ``lowest``."""
    if low := {name: value for name, value in options.items() if value < lowest}:
        said = ", ".join(f"{name}={value}" for name, value in low.items())
        raise ValueError(f"{said}: at least {lowest} was wanted")
