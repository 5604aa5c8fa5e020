"""What a release and a state store know of a user, as the query that answers them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from xxhash import xxh3_64_intdigest

from recsys.arrays import Float32, Int32, Int64
from recsys.folding import Fold
from recsys.retrieval import RECENT, Query
from recsys.stores import UserState, UserStateStore
from recsys.vocabulary import Vocabulary, load_mapped

if TYPE_CHECKING:
    from recsys.interactions import Interactions

CHUNK = 4096
"""Users handled at once where all of them are walked through."""


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
    """Everybody a release was trained on: what the state store holds after a publish, and answers from without it.

    ``vectors``: float32 (users, d), each folded in from the whole history; None where the release learned no vectors.
    ``recent``: how many items a state keeps for folding in and for item-item lists.
    """

    ids: Vocabulary
    vectors: Float32 | None
    history: History
    items: Vocabulary
    recent: int

    def states(self, rows: Sequence[int] | Int32) -> Iterator[UserState]:
        """The states of the users in ``rows``, as they were when the release was trained."""
        keys = self.items.row_keys
        for row, user in zip(rows, self.ids.ids(np.asarray(rows, np.int32)), strict=True):
            start, end = self.history.indptr[row], self.history.indptr[row + 1]
            part = slice(start, min(end, start + self.recent))
            seen = keys[self.history.rows[start:end]]
            yield UserState(
                user=user,
                vector=None if self.vectors is None else self.vectors[row],
                recent=seen[: self.recent],
                weights=self.history.weights[part],
                times=self.history.times[part],
                seen=seen,
            )

    def find(self, users: Sequence[str]) -> list[UserState | None]:
        """The states of users by id, None for whom the release does not know."""
        rows = self.ids.rows(users)
        known = iter(self.states(rows[rows >= 0]))
        return [next(known) if row >= 0 else None for row in rows]


async def write_states(store: UserStateStore, users: Users, release: str) -> int:
    """Write every user's state under ``release`` and seal it; how many were written."""
    written = 0
    everybody = np.arange(len(users.ids), dtype=np.int32)
    for start in range(0, len(everybody), CHUNK):
        written += await store.put(users.states(everybody[start : start + CHUNK]), release)
    await store.seal(release)
    return written


@dataclass(frozen=True, slots=True, eq=False)
class Resolver:
    """States and histories into queries of one release: ids end here, rows begin."""

    items: Vocabulary
    fold: Fold | None

    def known(self, user: str, state: UserState | None, now: datetime) -> Query:
        """The query of a named user: their vector, else one folded in from recent items, else none."""
        # The same list all day, to whoever asks for it and however; another one tomorrow.
        seed = xxh3_64_intdigest(f"{now:%Y-%m-%d} {user}".encode())
        if state is None:
            return Query(now=now, user=user, seed=seed)
        seen = self.items.rows_of_keys(state.seen)
        recent = self.items.rows_of_keys(state.recent)
        known = recent >= 0
        query = Query(
            now=now,
            user=user,
            seen=seen[seen >= 0],
            recent=recent[known],
            weights=state.weights[known],
            times=state.times[known],
            interests=state.interests,
            seed=seed,
        )
        if self.fold is None:
            return query
        if state.vector is not None and state.vector.shape == self.fold.items.shape[1:]:
            return replace(query, vector=state.vector)
        return self._folded(query)

    def anonymous(
        self, history: Sequence[str], weights: Float32, now: datetime, interests: tuple[str, ...] = ()
    ) -> Query:
        """The query of a visitor of whom a history, newest first, is known; unknown items do not count."""
        rows = self.items.rows(history)
        known = rows >= 0
        seen, recent = np.unique(rows[known]), rows[known]
        query = Query(now=now, seen=seen, recent=recent, weights=weights[known], level=RECENT, interests=interests)
        return self._folded(query)

    def _folded(self, query: Query) -> Query:
        if self.fold is None or not (query.weights > 0).any():
            return query
        vector = self.fold.fold(np.array([0, len(query.recent)]), query.recent, query.weights)[0]
        return replace(query, vector=vector, level=RECENT)


def fold_all(history: History, fold: Fold) -> Float32:
    """The vector of every user of a history, float32 (q, d), folded in from all of their items."""
    return fold.fold(history.indptr, history.rows, history.weights)
