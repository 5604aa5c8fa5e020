"""User states in this process: for tests and trials, gone when it ends and not shared between workers."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from recsys.settings import State
from recsys.stores import ItemChange, ItemChanges, Store, UserState, codec


class MemoryStore:
    """States as the bytes that the other stores keep, so that what comes out is a read-only copy here too."""

    def __init__(self) -> None:
        self._states: dict[str, bytes] = {}
        self._vectors: dict[str, dict[str, bytes]] = {}
        self._interests: dict[str, bytes] = {}
        self._sealed: set[str] = set()
        self._items: dict[str, tuple[int, bytes]] = {}
        self._epoch, self._count = secrets.token_hex(8), 0

    async def get(self, users: Sequence[str], release: str) -> list[UserState | None]:
        """The states of ``users``, in their order, with vectors of ``release``."""
        vectors = self._vectors.get(release, {})
        return [
            codec.decode(user, self._states.get(user), vectors.get(user), self._interests.get(user))
            if user in self._states or user in self._interests
            else None
            for user in users
        ]

    async def put(self, states: Iterable[UserState], release: str) -> int:
        """Write states and their vectors under ``release``; how many were written."""
        vectors = self._vectors.setdefault(release, {})
        written = 0
        for state in states:
            vector = None if state.vector is None else codec.encode_vector(state.user, state.vector)
            self._states[state.user] = codec.encode_state(state)
            if vector is None:
                vectors.pop(state.user, None)
            else:
                vectors[state.user] = vector
            written += 1
        return written

    async def declare(self, interests: Mapping[str, Sequence[str]]) -> None:
        """Keep what users name as their interests."""
        for user, named in interests.items():
            if named:
                self._interests[user] = codec.encode_interests(named)
            else:
                self._interests.pop(user, None)

    async def seal(self, release: str) -> None:
        """Mark that the states of every user have been written for ``release``."""
        self._sealed.add(release)

    async def sealed(self, release: str) -> bool:
        """Whether :meth:`seal` was called for ``release``."""
        return release in self._sealed

    async def forget(self, release: str) -> int:
        """Remove the vectors and the mark of ``release``; how many vectors were removed."""
        self._sealed.discard(release)
        return len(self._vectors.pop(release, {}))

    async def change_items(self, changes: Sequence[ItemChange], *, only_missing: bool = False) -> None:
        """Keep changes in their order."""
        for change in changes:
            if not (only_missing and change.item_id in self._items):
                self._count += 1
                self._items[change.item_id] = self._count, codec.encode_item(change.description)

    async def item_changes(self, since: str = "") -> ItemChanges:
        """What changed after a mark."""
        epoch, _, count = since.rpartition("-")
        whole = epoch != self._epoch
        after = 0 if whole else int(count)
        later = sorted((at, item_id) for item_id, (at, _) in self._items.items() if at > after)
        changes = (ItemChange(item_id, codec.decode_item(item_id, self._items[item_id][1])) for _, item_id in later)
        mark = f"{self._epoch}-{self._count}" if self._count else ""
        return ItemChanges(mark, tuple(changes), whole)

    async def ping(self) -> None:
        """Return: this store always answers."""


@asynccontextmanager
async def opened(state: State) -> AsyncIterator[Store]:  # noqa: ARG001  every opener is given the section
    """An empty store that lasts as long as the context."""
    yield MemoryStore()
