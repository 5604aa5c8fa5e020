"""What a release and a state store know of a user, as the query that answers them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from xxhash import xxh3_64_intdigest

from recsys.arrays import Float32, Int32, Int64, UInt64
from recsys.folding import Fold
from recsys.retrieval import NO_ROWS, NO_TIMES, NO_WEIGHTS, PERSONAL, RECENT, Query
from recsys.stores import UserState
from recsys.vocabulary import Vocabulary, load_mapped

if TYPE_CHECKING:
    from recsys.interactions import Interactions


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The distinct items of q users, newest first.

    User u's are the entries ``indptr[u]:indptr[u + 1]``; ``indptr``: int64 (q + 1,). ``rows``: int32, item rows;
    ``weights``: float32, what the user's events with the item teach, added up; ``times``: int64, unix seconds
    of the last one.
    """

    FILES = ("indptr", "rows", "weights", "times")

    indptr: Int64
    rows: Int32
    weights: Float32
    times: Int64

    @classmethod
    def of(cls, data: Interactions) -> History:
        """The history of every user of the vocabulary, in its order."""
        pairs = data.user.astype(np.int64) * len(data.items) + data.item
        # Events come in the order of time, so the last of a pair is its newest.
        distinct, last, at = np.unique(pairs[::-1], return_index=True, return_inverse=True)
        last = len(pairs) - 1 - last
        weights = np.bincount(at, data.weight[::-1], len(distinct)).astype(np.float32)
        user = data.user[last]
        order = np.lexsort((-last, user))
        indptr = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=len(data.users)))])
        return cls(indptr, data.item[last[order]], weights[order], data.time[last[order]])

    def of_row(self, row: int) -> Taken:
        """What one user took."""
        part = slice(self.indptr[row], self.indptr[row + 1])
        return Taken(self.rows[part], self.weights[part], self.times[part])

    def save(self, folder: Path) -> None:
        """Write the four arrays into ``folder``."""
        for name in self.FILES:
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> History:
        """Map what :meth:`save` wrote."""
        return cls(*(load_mapped(folder / f"{name}.npy") for name in cls.FILES))


@dataclass(frozen=True, slots=True, eq=False)
class Users:
    """Everybody a release was trained on: the store holds only what they did since, or what the release lacks.

    ``vectors``: float32 (users, d), each folded in from the whole history; None where the release learned no vectors.
    ``recent``: how many of a user's newest items requests are answered from.
    """

    ids: Vocabulary
    vectors: Float32 | None
    history: History
    items: Vocabulary
    recent: int

    def states(self, rows: Sequence[int] | Int32) -> Iterator[UserState]:
        """What the release knows of the users in ``rows``, as a store would hold it."""
        keys = self.items.row_keys
        for row, user in zip(rows, self.ids.ids(np.asarray(rows, np.int32)), strict=True):
            taken = self.history.of_row(int(row))
            seen = keys[taken.rows]
            yield UserState(
                user=user,
                vector=None if self.vectors is None else self.vectors[row],
                recent=seen[: self.recent],
                weights=taken.weights[: self.recent],
                times=taken.times[: self.recent],
                seen=seen,
            )

    def find(self, users: Sequence[str]) -> list[UserState | None]:
        """What the release knows of users by id, None for whom it does not know."""
        rows = self.ids.rows(users)
        known = iter(self.states(rows[rows >= 0]))
        return [next(known) if row >= 0 else None for row in rows]


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """The distinct items of one user, newest first: ``rows`` int32, ``weights`` float32, ``times`` int64, all (s,).

    ``taught``: whether something of weight is among them that the release does not know of.
    """

    rows: Int32
    weights: Float32
    times: Int64
    taught: bool = False

    def with_events(self, rows: Int32, weights: Float32, times: Int64) -> Taken:
        """With what happened since, m events of items that the release knows, in any order.

        An event no later than what the release knows of user and item is one that it was trained on: it counts once.
        """
        if len(self.rows):
            order = np.argsort(self.rows)
            known = self.rows[order]
            at = np.minimum(known.searchsorted(rows), len(known) - 1)
            fresh = (known[at] != rows) | (times > self.times[order[at]])
            if not fresh.any():
                return self
            rows, weights, times = rows[fresh], weights[fresh], times[fresh]
        elif not len(rows):
            return self
        items, place = np.unique(rows, return_inverse=True)
        told = np.maximum(weights, 0)
        worth = np.asarray(np.bincount(place, told, len(items)), np.float64)
        last = np.full(len(items), np.iinfo(np.int64).min)
        np.maximum.at(last, place, times)
        at = np.minimum(items.searchsorted(self.rows), len(items) - 1)
        moved = items[at] == self.rows
        worth[at[moved]] += self.weights[moved]
        stays = ~moved
        all_times = np.concatenate([last, self.times[stays]])
        order = np.argsort(-all_times, kind="stable")
        return Taken(
            np.concatenate([items, self.rows[stays]])[order].astype(np.int32, copy=False),
            np.concatenate([worth.astype(np.float32), self.weights[stays]])[order],
            all_times[order],
            taught=self.taught or bool((told > 0).any()),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Resolver:
    """What a release learned of users and what a store knows of them since, as queries: ids end here, rows begin."""

    items: Vocabulary
    fold: Fold | None
    users: Users

    def known(self, user: str, state: UserState | None, now: datetime) -> Query:
        """The query of a named user: by what the release knows of them and by their state, as far as it is newer."""
        return self._query(user, int(self.users.ids.rows([user])[0]), state, now)

    def learned(self, row: int, now: datetime) -> Query:
        """The query of the user in a row by what the release knows of them alone."""
        (user,) = self.users.ids.ids(np.array([row], np.int32))
        return self._query(user, row, None, now)

    def anonymous(
        self, history: Sequence[str], weights: Float32, now: datetime, interests: tuple[str, ...] = ()
    ) -> Query:
        """The query of a visitor of whom a history, newest first, is known; unknown items do not count."""
        rows = self.items.rows(history)
        known = rows >= 0
        seen, recent = np.unique(rows[known]), rows[known]
        query = Query(now=now, seen=seen, recent=recent, weights=weights[known], level=RECENT, interests=interests)
        if not (query.weights > 0).any():
            return query
        return replace(query, vector=self.folded([Taken(recent, query.weights, NO_TIMES)])[0])

    def taken(self, user: str, state: UserState | None) -> Taken:
        """Everything that a user took, by the release and by their state."""
        return self._taken(int(self.users.ids.rows([user])[0]), state)

    def folded(self, taken: Sequence[Taken]) -> Sequence[Float32 | None]:
        """The vectors of q users, each float32 (d,), by everything they took; of none where no vectors were learned."""
        if self.fold is None:
            return [None] * len(taken)
        indptr = np.concatenate([[0], np.cumsum([len(each.rows) for each in taken])]).astype(np.int64)
        rows = np.concatenate([NO_ROWS, *(each.rows for each in taken)])
        return list(self.fold.fold(indptr, rows, np.concatenate([NO_WEIGHTS, *(each.weights for each in taken)])))

    def _taken(self, row: int, state: UserState | None) -> Taken:
        base = NOTHING if row < 0 else self.users.history.of_row(row)
        if state is None or not len(state.recent):
            return base
        rows = self.items.rows_of_keys(state.recent)
        known = rows >= 0
        return base.with_events(rows[known], state.weights[known], state.times[known])

    def _query(self, user: str, row: int, state: UserState | None, now: datetime) -> Query:
        taken = self._taken(row, state)
        recent = slice(self.users.recent)
        query = Query(
            now=now,
            user=user,
            seen=taken.rows,
            recent=taken.rows[recent],
            weights=taken.weights[recent],
            times=taken.times[recent],
            # The same list all day, to whoever asks for it and however; another one tomorrow.
            seed=xxh3_64_intdigest(f"{now:%Y-%m-%d} {user}".encode("utf-8", "surrogatepass")),
            level=PERSONAL if row >= 0 else RECENT,
        )
        if state is not None:
            query = self._with_state(query, state)
        if self.fold is None or not (taken.taught or row >= 0):
            return query
        if not taken.taught and self.users.vectors is not None:
            return replace(query, vector=self.users.vectors[row])
        if state is not None and state.vector is not None and state.vector.shape == self.fold.items.shape[1:]:
            return replace(query, vector=state.vector)
        # Nobody has folded this very state into this release's space yet: the same, a little later.
        return replace(query, vector=self.folded([taken])[0])

    def _with_state(self, query: Query, state: UserState) -> Query:
        """With what a state tells besides what was taken."""
        # Everything that was taken is seen, by the state's recent items too.
        seen = query.seen
        if len(state.seen):
            seen = np.unique(np.concatenate([seen, self._rows(state.seen)]))
        shown, times = None, NO_TIMES
        if len(state.shown):
            rows = self.items.rows_of_keys(state.shown)
            shown, times = rows[rows >= 0], state.shown_times[rows >= 0]
        return replace(
            query,
            interests=state.interests,
            seen=seen,
            dismissed=self._rows(state.dismissed),
            shown=shown,
            shown_times=times,
        )

    def _rows(self, keys: UInt64) -> Int32:
        rows = self.items.rows_of_keys(keys)
        return rows[rows >= 0]


NOTHING = Taken(NO_ROWS, NO_WEIGHTS, NO_TIMES)
"""What somebody took of whom the release knows nothing."""


def fold_all(history: History, fold: Fold) -> Float32:
    """The vector of every user of a history, float32 (q, d), folded in from all of their items."""
    return fold.fold(history.indptr, history.rows, history.weights)
