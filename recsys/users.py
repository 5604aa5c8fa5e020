"""What a release and a state store know of a user, as the query that answers them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from xxhash import xxh3_64_intdigest

from recsys.arrays import Bool, Float32, Int32, Int64, UInt64, at_hand
from recsys.folding import Fold
from recsys.kernels.vocabulary import news
from recsys.mapping import load_mapped
from recsys.retrieval import NO_TIMES, PERSONAL, RECENT, Query
from recsys.stores import UserState
from recsys.vocabulary import Vocabulary

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

    def of_row(self, user: int) -> History:
        """That of one user, see :meth:`of_rows`."""
        start, stop = (int(self.indptr[user]), int(self.indptr[user + 1])) if user >= 0 else (0, 0)
        own = slice(start, stop)
        return History(np.array([0, stop - start]), self.rows[own], self.weights[own], self.times[own])

    def of_rows(self, users: Sequence[int] | Int32 | Int64) -> History:
        """That of some users, by their rows; who has the row -1 did nothing."""
        users = np.asarray(users)
        if len(users) == 1:
            return self.of_row(int(users[0]))
        starts = self.indptr[users]
        counts = np.where(users < 0, 0, self.indptr[users + 1] - starts)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        at = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], counts)
        return History(indptr, self.rows[at], self.weights[at], self.times[at])

    def with_events(self, owner: Int64, rows: Int32, weights: Float32, times: Int64) -> tuple[History, Bool]:
        """With what happened since; and whose of it has weight, bool (q,).

        ``owner``: int64 (m,), the user of each event, of an item in ``rows``, in any order. An event no later than what
        is known of user and item is one that is known: it counts once.
        """
        users = len(self.indptr) - 1
        if not len(rows):
            return self, np.zeros(users, bool)
        whose = np.arange(users).repeat(self.indptr[1:] - self.indptr[:-1])
        width = 1 + max(int(rows.max()), int(self.rows.max(initial=0)))
        told, before = owner * width + rows, whose * width + self.rows
        # A pair of user and item is a number; those of events, each once.
        pairs = np.sort(told)
        pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])]
        place, at = pairs.searchsorted(told), pairs.searchsorted(before)
        at[at == len(pairs)] = 0
        both = (pairs[at] == before).nonzero()[0]
        at = at[both]
        known = np.full(len(pairs), np.iinfo(np.int64).min)
        known[at] = self.times[both]
        worth = np.where(times > known[place], np.maximum(weights, 0), 0)
        taught = np.bincount(owner, worth > 0, users) > 0
        worth = np.bincount(place, worth, len(pairs))
        worth[at] += self.weights[both]
        last = known.copy()
        np.maximum.at(last, place, times)
        moved = (last > known).nonzero()[0]
        moved = moved[np.lexsort((-last[moved], pairs[moved] // width))]
        stays = np.ones(len(self.rows), bool)
        stays[both[(last > known)[at]]] = False
        whose = np.concatenate([pairs[moved] // width, whose[stays]])
        last = np.concatenate([last[moved], self.times[stays]])
        order = whose.argsort(kind="stable")
        if ((last[order][1:] > last[order][:-1]) & (whose[order][1:] == whose[order][:-1])).any():
            # What is late stands between what is known.
            order = np.lexsort((-last, whose))
        history = History(
            np.concatenate([[0], np.bincount(whose, minlength=users).cumsum()]),
            np.concatenate([(pairs[moved] % width).astype(np.int32), self.rows[stays]])[order],
            np.concatenate([worth[moved].astype(np.float32), self.weights[stays]])[order],
            last[order],
        )
        return history, taught

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
            taken = slice(self.history.indptr[row], self.history.indptr[row + 1])
            recent = slice(taken.start, min(taken.stop, taken.start + self.recent))
            seen = keys[self.history.rows[taken]]
            yield UserState(
                user=user,
                vector=None if self.vectors is None else self.vectors[row],
                recent=seen[: self.recent],
                weights=self.history.weights[recent],
                times=self.history.times[recent],
                seen=seen,
            )

    def find(self, users: Sequence[str]) -> list[UserState | None]:
        """What the release knows of users by id, None for whom it does not know."""
        rows = self.ids.rows(users)
        known = iter(self.states(rows[rows >= 0]))
        return [next(known) if row >= 0 else None for row in rows]


@dataclass(frozen=True, slots=True, eq=False)
class Resolver:
    """What a release learned of users and what a store knows of them since, as queries: ids end here, rows begin."""

    items: Vocabulary
    fold: Fold | None
    users: Users

    def known(self, user: str, state: UserState | None, now: datetime) -> Query:
        """The query of a named user: by what the release knows of them and by their state, as far as it is newer."""
        return self._query(user, self.users.ids.row(user), state, now)

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
        alone = np.array([0, len(recent)])
        return replace(query, vector=self.folded(History(alone, recent, query.weights, NO_TIMES))[0])

    def taken(self, users: Sequence[str], states: Sequence[UserState | None]) -> tuple[History, Bool]:
        """Everything that q users took, by the release and by their states; and of whom these have something of weight.

        Both as :meth:`History.with_events` gives them.
        """
        return self._taken(self.users.ids.rows(users), states)

    def folded(self, history: History) -> list[Float32 | None]:
        """The vector of each user of a history, float32 (d,), by everything in it; None where none were learned.

        One by one: a vector comes out the same to the bit, whoever else is there.
        """
        if self.fold is None:
            return [None] * (len(history.indptr) - 1)
        parts = [slice(*bounds) for bounds in pairwise(history.indptr.tolist())]
        alone = [np.array([0, part.stop - part.start]) for part in parts]
        return [
            self.fold.fold(indptr, history.rows[part], history.weights[part])[0]
            for indptr, part in zip(alone, parts, strict=True)
        ]

    def _taken(self, rows: Int32, states: Sequence[UserState | None]) -> tuple[History, Bool]:
        base = self.users.history.of_rows(rows)
        owners = [owner for owner, state in enumerate(states) if state is not None and len(state.recent)]
        if not owners:
            return base, np.zeros(len(rows), bool)
        some = [state for state in states if state is not None and len(state.recent)]
        keys, weights, times = (
            np.concatenate([getattr(state, name) for state in some]) for name in ("recent", "weights", "times")
        )
        owner = np.repeat(owners, [len(state.recent) for state in some])
        items = self.items.rows_of_keys(keys)
        known = items >= 0
        return base.with_events(owner[known], items[known], weights[known], times[known])

    def _with_news(self, base: History, state: UserState, new: Int64) -> tuple[History, bool]:
        """What one user took, with the events of theirs that are not known yet; whether any of these has weight."""
        items, weights, times = self.items.rows_of_keys(state.recent[new]), state.weights[new], state.times[new]
        known = items >= 0
        owner = np.zeros(np.count_nonzero(known), np.int64)
        taken, taught = base.with_events(owner, items[known], weights[known], times[known])
        return taken, bool(taught[0])

    def _query(self, user: str, row: int, state: UserState | None, now: datetime) -> Query:
        taken, taught = self.users.history.of_row(row), False
        said: dict[str, Any] = {}
        if state is not None:
            # What is known already is not looked for in the whole catalogue.
            keys, rows = at_hand(self.items.row_keys, taken.rows)
            new, others = news(keys, rows, taken.times, state.recent, state.times, state.seen)
            if new is not None:
                taken, taught = self._with_news(taken, state, new)
            said = self._said(taken, state, others)
        recent = slice(self.users.recent)
        return Query(
            now=now,
            user=user,
            vector=self._vector(row, taken, taught, state),
            recent=taken.rows[recent],
            weights=taken.weights[recent],
            times=taken.times[recent],
            # The same list all day, to whoever asks for it and however; another one tomorrow.
            seed=xxh3_64_intdigest(f"{now.date().isoformat()} {user}".encode("utf-8", "surrogatepass")),
            level=PERSONAL if row >= 0 else RECENT,
            **{"seen": taken.rows, **said},
        )

    def _vector(self, row: int, taken: History, taught: bool, state: UserState | None) -> Float32 | None:
        """The vector by everything that was taken: learned, folded in before, or folded in now."""
        if self.fold is None or not (taught or row >= 0):
            return None
        if not taught and self.users.vectors is not None:
            learned: Float32 = self.users.vectors[row]
            return learned
        if state is not None and state.vector is not None and state.vector.shape == self.fold.items.shape[1:]:
            return state.vector
        # Nobody has folded this very state into this release's space yet: the same, a little later.
        return self.folded(taken)[0]

    def _said(self, taken: History, state: UserState, others: Int64 | None) -> dict[str, Any]:
        """What a state tells besides what was taken, by the names of a query; everything that was taken is seen too.

        ``others``: places of what was seen and not taken.
        """
        said: dict[str, Any] = {"interests": state.interests}
        if others is not None:
            said["seen"] = np.unique(np.concatenate([taken.rows, self._rows(state.seen[others])]))
        if len(dismissed := state.dismissed):
            said["dismissed"] = self._rows(dismissed)
        if len(state.shown):
            rows = self.items.rows_of_keys(state.shown)
            said |= {"shown": rows[rows >= 0], "shown_times": state.shown_times[rows >= 0]}
        return said

    def _rows(self, keys: UInt64) -> Int32:
        rows = self.items.rows_of_keys(keys)
        return rows[rows >= 0]


def fold_all(history: History, fold: Fold) -> Float32:
    """The vector of every user of a history, float32 (q, d), folded in from all of their items."""
    return fold.fold(history.indptr, history.rows, history.weights)
