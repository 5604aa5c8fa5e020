"""Who took what, for a map that is taught by lists and not by vectors alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.arrays import Bool, Float32, Int64, ranges, unit
from recsys.folding import Fold
from recsys.interactions import Interactions
from recsys.users import History

GIVEN = 0.5
"""The share of a history that makes the user's vector."""


@dataclass(frozen=True, slots=True, eq=False)
class Halves:
    """Users whose vectors are made of one part of their histories, and the items of the other part.

    ``vectors``: float32 (u, d), of length one. ``indptr``: int64 (u + 1,); user i's items are the entries
    ``indptr[i]:indptr[i + 1]`` of ``places``, int64, -1 where the map does not learn of one, and of ``given``, bool,
    whether it made the vector.
    """

    vectors: Float32
    indptr: Int64
    places: Int64
    given: Bool

    @property
    def users(self) -> int:
        """U."""
        return len(self.vectors)

    def taken(self, users: Int64) -> tuple[Int64, Int64]:
        """Places in ``users``, int64 (t,), and what these took of either half, int64 (t,), without the -1."""
        owner, entry = self._entries(users)
        known = self.places[entry] >= 0
        return owner[known], self.places[entry[known]]

    def wanted(self, users: Int64, among: Bool, most: int, rng: np.random.Generator) -> tuple[Int64, Int64]:
        """The same of the other half, ``among`` some items, bool (m,), and ``most`` of a user, any as likely."""
        owner, entry = self._entries(users)
        place = self.places[entry]
        left = np.flatnonzero(~self.given[entry] & (place >= 0) & among[place])
        left = left[np.lexsort((rng.random(len(left)), owner[left]))]
        turn = np.arange(len(left)) - np.searchsorted(owner[left], owner[left])
        left = left[turn < most]
        return owner[left], place[left]

    def _entries(self, users: Int64) -> tuple[Int64, Int64]:
        sizes = self.indptr[users + 1] - self.indptr[users]
        owner = np.repeat(np.arange(len(users)), sizes)
        return owner, np.repeat(self.indptr[users], sizes) + ranges(sizes)


@dataclass(frozen=True, slots=True, eq=False)
class Taste:
    """Histories, the way to make vectors of them, and of which items content is known.

    ``places``: int64 (n,), where each item stands among those that the map learns from, -1 where it does not.
    """

    fold: Fold
    history: History
    places: Int64

    @classmethod
    def of(cls, fold: Fold, data: Interactions, known: Bool) -> Taste:
        """``known``: bool (n,), the items that the map learns from."""
        places = np.where(known, np.cumsum(known) - 1, -1).astype(np.int64)
        return cls(fold, History.of(data), places)

    def among(self, rows: Int64) -> Taste:
        """The same for a map that learns from some of the items alone: ``rows``, int64 (k,), of those it had."""
        turns = np.full(int(self.places.max(initial=-1)) + 2, -1, np.int64)
        turns[rows] = np.arange(len(rows))
        # the last one is what -1 comes to
        return Taste(self.fold, self.history, turns[self.places])

    def halves(self, rng: np.random.Generator) -> Halves:
        """Histories parted at random; users of whom nothing is left to make a vector of are left out."""
        history = self.history
        given = (rng.random(len(history.rows)) < GIVEN) & (history.weights > 0)
        kept = np.concatenate([[0], np.cumsum(given)])
        vectors = self.fold.fold(kept[history.indptr], history.rows[given], history.weights[given])
        there = np.flatnonzero(vectors.any(axis=1))
        sizes = np.diff(history.indptr)[there]
        entries = np.repeat(history.indptr[there], sizes) + ranges(sizes)
        # what only marks an item as seen is neither wanted nor a negative
        marked = given[entries] | (history.weights[entries] <= 0)
        return Halves(
            unit(vectors[there]),
            np.concatenate([[0], np.cumsum(sizes)]),
            self.places[history.rows[entries]],
            marked,
        )
