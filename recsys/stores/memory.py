"""User states in this process: for tests and trials, gone when it ends and not shared between workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from recsys.settings import State
from recsys.stores import UserState, UserStateStore, codec


class MemoryStore:
    """States as the bytes that the other stores keep, so that what comes out is a read-only copy here too."""

    def __init__(self) -> None:
        self._states: dict[str, bytes] = {}
        self._vectors: dict[str, dict[str, bytes]] = {}
        self._sealed: set[str] = set()

    async def get(self, users: Sequence[str], release: str) -> list[UserState | None]:
        """The states of ``users``, in their order, with vectors of ``release``."""
        vectors = self._vectors.get(release, {})
        return [
            codec.decode(user, self._states[user], vectors.get(user)) if user in self._states else None
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

    async def ping(self) -> None:
        """Return: this store always answers."""


@asynccontextmanager
async def opened(state: State) -> AsyncIterator[UserStateStore]:  # noqa: ARG001  every opener is given the section
    """An empty store that lasts as long as the context."""
    yield MemoryStore()
