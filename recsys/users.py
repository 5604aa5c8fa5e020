"""What a release and a state store know of a user, as the query that answers them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        if not len(rows):
            return self
        items = np.sort(rows)
        items = items[np.append(True, items[1:] != items[:-1])]
        place, at = items.searchsorted(rows), items.searchsorted(self.rows)
        at[at == len(items)] = 0
        both = np.flatnonzero(items[at] == self.rows)
        known = np.full(len(items), np.iinfo(np.int64).min)
        known[at[both]] = self.times[both]
        fresh = times > known[place]
        if not fresh.any():
            return self
        told = np.where(fresh, np.maximum(weights, 0), 0)
        worth = np.bincount(place, told, len(items))
        worth[at[both]] += self.weights[both]
        last, in_time = known.copy(), np.argsort(times, kind="stable")
        in_time = in_time[fresh[in_time]]
        last[place[in_time]] = times[in_time]
        moved = np.flatnonzero(last > known)
        moved = moved[np.argsort(-last[moved], kind="stable")]
        stays = np.ones(len(self.rows), bool)
        stays[both[last[at[both]] > known[at[both]]]] = False
        new_rows: Int32 = np.concatenate([items[moved], self.rows[stays]])
        new_weights: Float32 = np.concatenate([worth[moved].astype(np.float32), self.weights[stays]])
        new_times: Int64 = np.concatenate([last[moved], self.times[stays]])
        if len(self.times) and last[moved[-1]] < self.times[0]:
            # What is late stands between what is known.
            order = np.argsort(-new_times, kind="stable")
            new_rows, new_weights, new_times = new_rows[order], new_weights[order], new_times[order]
        return Taken(new_rows, new_weights, new_times, taught=self.taught or bool(told.any()))


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
        said: dict[str, Any] = {} if state is None else self._said(taken, state)
        return Query(
            now=now,
            user=user,
            vector=self._vector(row, taken, state),
            recent=taken.rows[recent],
            weights=taken.weights[recent],
            times=taken.times[recent],
            # The same list all day, to whoever asks for it and however; another one tomorrow.
            seed=xxh3_64_intdigest(f"{now:%Y-%m-%d} {user}".encode("utf-8", "surrogatepass")),
            level=PERSONAL if row >= 0 else RECENT,
            **{"seen": taken.rows, **said},
        )

    def _vector(self, row: int, taken: Taken, state: UserState | None) -> Float32 | None:
        """The vector by everything that was taken: learned, folded in before, or folded in now."""
        if self.fold is None or not (taken.taught or row >= 0):
            return None
        if not taken.taught and self.users.vectors is not None:
            learned: Float32 = self.users.vectors[row]
            return learned
        if state is not None and state.vector is not None and state.vector.shape == self.fold.items.shape[1:]:
            return state.vector
        # Nobody has folded this very state into this release's space yet: the same, a little later.
        return self.folded([taken])[0]

    def _said(self, taken: Taken, state: UserState) -> dict[str, Any]:
        """What a state tells besides what was taken, by the names of a query; everything that was taken is seen too."""
        said: dict[str, Any] = {"interests": state.interests}
        if len(state.seen):
            said["seen"] = np.unique(np.concatenate([taken.rows, self._rows(state.seen)]))
        if len(dismissed := state.dismissed):
            said["dismissed"] = self._rows(dismissed)
        if len(state.shown):
            rows = self.items.rows_of_keys(state.shown)
            said |= {"shown": rows[rows >= 0], "shown_times": state.shown_times[rows >= 0]}
        return said

    def _rows(self, keys: UInt64) -> Int32:
        rows = self.items.rows_of_keys(keys)
        return rows[rows >= 0]


NOTHING = Taken(NO_ROWS, NO_WEIGHTS, NO_TIMES)
"""What somebody took of whom the release knows nothing."""


def fold_all(history: History, fold: Fold) -> Float32:
    """The vector of every user of a history, float32 (q, d), folded in from all of their items."""
    return fold.fold(history.indptr, history.rows, history.weights)
