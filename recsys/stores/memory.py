"""User states in this process: for tests and trials, gone when it ends and not shared between workers."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from recsys.sections import State
from recsys.stores import ItemChange, ItemChanges, Store, Stored, UserState, codec


class MemoryStore:
    """States as the bytes that the other stores keep, so that what comes out is a read-only copy here too."""

    def __init__(self) -> None:
        self._states: dict[str, bytes] = {}
        self._shown: dict[str, bytes] = {}
        self._vectors: dict[str, dict[str, bytes]] = {}
        self._interests: dict[str, tuple[str, bytes]] = {}
        self._active: dict[str, float] = {}
        self._sealed: set[str] = set()
        self._tallies: dict[str, tuple[float, dict[str, float]]] = {}
        self._items: dict[str, tuple[int, bytes]] = {}
        self._stamps: dict[str, str] = {}
        self._epoch, self._count = secrets.token_hex(8), 0

    async def get(self, users: Sequence[str], release: str, *, shown: bool = True) -> list[UserState | None]:
        """The states of ``users``, in their order, with vectors of ``release``."""
        vectors = self._vectors.get(release, {})
        return [
            codec.decode(
                user,
                self._states.get(user),
                vectors.get(user),
                self._interests[user][1] if user in self._interests else None,
                self._shown.get(user) if shown else None,
            )
            for user in users
        ]

    async def put(self, states: Iterable[UserState], release: str) -> int:
        """Write states and their vectors under ``release``; how many were written."""
        written = 0
        for state in states:
            self._write(codec.written(state), release, empty=False)
            written += 1
        return written

    async def load(self, users: Sequence[str], release: str) -> list[Stored]:
        """As :meth:`get`, each with what is stored as its token."""
        states = await self.get(users, release)
        return [Stored(state, self._token(user)) for user, state in zip(users, states, strict=True)]

    async def swap(self, changes: Sequence[tuple[UserState, Any]], release: str) -> list[bool]:
        """Write each state if what is stored is still what its token says."""
        done = []
        for state, token in changes:
            self._active[state.user] = time.time()
            done.append(token == self._token(state.user))
            if done[-1]:
                self._write(codec.written(state), release, empty=True)
        return done

    async def erase(self, users: Sequence[str]) -> Mapping[str, int]:
        """Take away everything of users; what was found."""
        kinds: dict[str, list[dict[str, Any]]] = {
            "states": [self._states],
            "impressions": [self._shown],
            "vectors": list(self._vectors.values()),
            "interests": [self._interests],
            "active": [self._active],
        }
        return {
            name: sum(part.pop(user, None) is not None for part in parts for user in users)
            for name, parts in kinds.items()
        }

    async def active(self, since: float) -> list[str]:
        """The users that were swapped since a time."""
        return [user for user, at in self._active.items() if at >= since]

    async def users(self) -> AsyncIterator[list[str]]:
        """The ids of all users that have a state."""
        yield list(self._states)

    async def wipe(self) -> int:
        """Take away all states, impressions, vectors and counts."""
        count = len(self._states)
        for part in (self._states, self._shown, self._vectors, self._active, self._tallies):
            part.clear()
        return count

    async def declare(self, interests: Mapping[str, Sequence[str]], stamp: str = "") -> None:
        """Keep what users name as their interests, and when."""
        for user, named in interests.items():
            if not stamp or user not in self._interests or self._interests[user][0] < stamp:
                self._interests[user] = stamp, codec.encode_interests(named, stamp)

    async def seal(self, release: str) -> None:
        """Mark that everybody has a vector under ``release``."""
        self._sealed.add(release)

    async def sealed(self, release: str) -> bool:
        """Whether :meth:`seal` was called for ``release``."""
        return release in self._sealed

    async def forget(self, release: str) -> int:
        """Remove the vectors and the mark of ``release``; how many vectors were removed."""
        self._sealed.discard(release)
        return len(self._vectors.pop(release, {}))

    async def change_items(self, changes: Sequence[ItemChange], *, only_missing: bool = False) -> None:
        """Keep changes in their order, but those that came too late."""
        for change in changes:
            if only_missing:
                late = change.item_id in self._items
            else:
                late = bool(change.stamp) and self._stamps.get(change.item_id, "") >= change.stamp
            if not late:
                self._count += 1
                self._items[change.item_id] = self._count, codec.encode_item(change.description)
                self._stamps[change.item_id] = change.stamp

    async def drop_items(self, changes: Sequence[ItemChange]) -> int:
        """Take away those that are still kept as they are here."""
        count = 0
        for change in changes:
            if self._items.get(change.item_id, (0, b""))[1] == codec.encode_item(change.description):
                del self._items[change.item_id]
                count += 1
        return count

    async def item_changes(self, since: str = "") -> ItemChanges:
        """What changed after a mark."""
        epoch, _, count = since.rpartition("-")
        whole = epoch != self._epoch
        after = 0 if whole else int(count)
        later = sorted((at, item_id) for item_id, (at, _) in self._items.items() if at > after)
        changes = (ItemChange(item_id, codec.decode_item(item_id, self._items[item_id][1])) for _, item_id in later)
        mark = f"{self._epoch}-{self._count}" if self._count else ""
        return ItemChanges(mark, tuple(changes), whole)

    async def count(self, tally: str, amounts: Mapping[str, float], seconds: int, most: int = 10_000) -> None:
        """Add amounts to those of a tally."""
        before = self._tallies.get(tally, (0.0, {}))[1] if await self.largest(tally, 1) else {}
        added = {**before, **{name: before.get(name, 0.0) + amount for name, amount in amounts.items()}}
        kept = sorted(added, key=lambda name: -added[name])[:most]
        self._tallies[tally] = time.time() + seconds, {name: added[name] for name in kept}

    async def largest(self, tally: str, most: int) -> dict[str, float]:
        """The largest amounts of a tally."""
        until, amounts = self._tallies.get(tally, (0.0, {}))
        found = sorted(amounts.items(), key=lambda pair: -pair[1])[:most] if time.time() < until else []
        return dict(found)

    async def ping(self) -> None:
        """Return: this store always answers."""

    def _token(self, user: str) -> tuple[bytes | None, bytes | None]:
        return self._states.get(user), self._shown.get(user)

    def _write(self, written: codec.Written, release: str, *, empty: bool) -> None:
        vectors = self._vectors.setdefault(release, {})
        state = None if empty and written.empty else written.state
        parts = ((self._states, state), (self._shown, written.shown or None), (vectors, written.vector))
        for held, value in parts:
            if value is None:
                held.pop(written.user, None)
            else:
                held[written.user] = value


@asynccontextmanager
async def opened(state: State) -> AsyncIterator[Store]:  # noqa: ARG001  every opener is given the section
    """An empty store that lasts as long as the context."""
    yield MemoryStore()
