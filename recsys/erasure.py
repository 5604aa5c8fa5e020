"""A user forgotten: everywhere that this program keeps something of them, with a receipt of what was found."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from recsys.barred import Barred
from recsys.logs import EventLog
from recsys.logs.archive import Archive
from recsys.redaction import redact
from recsys.releases import ReleaseStore
from recsys.stores import UserStateStore

SETTLE = 1.0
"""Seconds after which it is looked again: what a reader of the log had in hand is written by then."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was removed, by where.

    ``removed``: records of ``log`` and ``archive``, ``releases`` that knew the user, ``lists``, what the store counts.
    ``ids``: how many names the user had: their own, and those under which they were anonymous before.
    """

    user: str
    time: datetime
    ids: int
    removed: Mapping[str, int]


class Lists(Protocol):
    """Lists that were made for users beforehand."""

    async def erase(self, user: str) -> int:
        """Take a user's lists away; how many. StoreError if that cannot be."""
        ...


@dataclass(frozen=True, slots=True)
class Eraser:
    """Where users stand, as far as this program knows. ``lists``: None where none can be."""

    log: EventLog
    store: UserStateStore
    archive: Archive
    releases: ReleaseStore
    barred: Barred
    lists: Lists | None = None
    settle: float = SETTLE

    async def erase(self, user: str) -> Receipt:
        """Forget a user, and those who were merged into them. Twice does no harm, and completes what failed.

        They are barred first: a training that runs meanwhile takes them out of what it publishes. LogError, StoreError
        or ReleaseError if something did not answer; then some of it is done.
        """
        now = datetime.now(UTC)
        users = await self._names(user)
        await asyncio.to_thread(self.barred.add, users, int(now.timestamp()))
        removed = Counter(await self._kept(users))
        removed["releases"] = await asyncio.to_thread(redact, self.releases, users)
        await asyncio.sleep(self.settle)
        removed.update(await self._kept(users))
        return Receipt(user, now, len(users), dict(removed))

    async def _names(self, user: str) -> list[str]:
        """The user, and everybody whose events count for them."""
        names, ask = [user], [user]
        while ask:
            stored = await self.store.load(ask, "")
            ask = [name for each in stored if each.state is not None for name in each.state.absorbed]
            ask = [name for name in dict.fromkeys(ask) if name not in names]
            names += ask
        return names

    async def _kept(self, users: list[str]) -> Counter[str]:
        """Erase from the log, the store and the archive, in the order in which one is made of the other."""
        found: Counter[str] = Counter()
        for user in users:
            found["log"] += await self.log.erase(user)
            found["archive"] += await asyncio.to_thread(self.archive.erase, user)
            if self.lists is not None:
                found["lists"] += await self.lists.erase(user)
        await self._unlink(users)
        found.update(await self.store.erase(users))
        return found

    async def _unlink(self, users: list[str]) -> None:
        """Have those for whom users' events count no longer say whose they are."""
        stored = await self.store.load(users, "")
        targets = {name for each in stored if each.state is not None for name in each.state.into} - {*users}
        while targets:
            names = sorted(targets)
            changes = []
            for each in await self.store.load(names, ""):
                if each.state is not None and not {*users}.isdisjoint(each.state.absorbed):
                    others = tuple(name for name in each.state.absorbed if name not in users)
                    changes.append((replace(each.state, absorbed=others), each.token))
            done = await self.store.swap(changes, "")
            targets = {state.user for (state, _), won in zip(changes, done, strict=True) if not won}
