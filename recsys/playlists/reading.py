"""A user's list as it is served: which edition, from when, from Redis or from the edition's files."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from recsys.barred import Barred
from recsys.errors import PlaylistError, StoreError
from recsys.playlists.delivery import Shelf
from recsys.playlists.editions import Edition, EditionStore, served, week_of
from recsys.playlists.weeks import Week

KEPT = 8
"""Editions that a reader keeps open."""


class NoPlaylist(PlaylistError):
    """There is no list for that user and week; says why."""


@dataclass(frozen=True, slots=True)
class Playlist:
    """A list as it was made. ``items``: item, score, source and reason of each, in their order."""

    edition: str
    week: str
    release: str
    level: str
    available_from: datetime
    items: list[tuple[str, float, str, str | None]]
    from_files: bool


class Reader:
    """Published editions, followed by a look at the pointer at each request: what is undone is gone at once.

    ``barred``: who was erased; nobody is given a list that was made before that.
    """

    def __init__(self, store: EditionStore, shelf: Shelf | None, barred: Barred | None = None) -> None:
        self._store, self._shelf, self._barred = store, shelf, barred
        self._seen: tuple[int, int, int] | None = None
        self._served: list[tuple[Week, str]] = []
        self._open: dict[str, Edition] = {}

    async def find(self, user: str, week: str | None, now: datetime) -> Playlist:
        """The list of a week, or of an edition; without one, of the newest week that has begun where the user lives.

        NoPlaylist says why there is none.
        """
        edition, place = self._edition(user, week, now)
        if self._barred is not None and self._barred.times([user])[0] >= edition.manifest.plan.cut_off.timestamp():
            raise NoPlaylist(f"user {user!r} was erased since edition {edition.id} was made")
        opens = datetime.fromtimestamp(int(edition.opens[place]), UTC)
        rows: Any = None
        from_files = True
        if self._shelf is not None:
            try:
                stored = await self._shelf.get(edition.id, user)
            except StoreError:
                stored = None
            if stored is not None:
                rows, from_files = json.loads(stored), False
        if rows is None:
            rows = await asyncio.to_thread(_read, edition, user)
        return Playlist(
            edition.id, str(edition.week), rows["release"], rows["level"], opens, rows["items"], from_files
        )  # fmt: skip

    def _edition(self, user: str, week: str | None, now: datetime) -> tuple[Edition, int]:
        there = self._published()
        if not there:
            raise NoPlaylist("no playlists are published yet")
        wanted = there if week is None else [pair for pair in there if week in {str(pair[0]), pair[1]}]
        if not wanted:
            week_of(str(week))
            named = ", ".join(id_ for _, id_ in there[:5])
            raise NoPlaylist(f"no edition of {week} is published: there are {named}")
        early = None
        for _, id_ in wanted:
            edition = self._opened(id_)
            place = int(edition.users.rows([user])[0])
            if place >= 0:
                if edition.opens[place] <= now.timestamp():
                    return edition, place
                early = early or (id_, datetime.fromtimestamp(int(edition.opens[place]), UTC))
        if early:
            raise NoPlaylist(f"the list of {early[0]} may be heard from {early[1].isoformat()}")
        raise NoPlaylist(f"user {user!r} has no list in {', '.join(id_ for _, id_ in wanted[:5])}")

    def _published(self) -> list[tuple[Week, str]]:
        """Week and edition, the newest first."""
        try:
            found = os.stat(self._store.pointer)  # noqa: PTH116  no object for each request
        except FileNotFoundError:
            return []
        mark = found.st_ino, found.st_mtime_ns, found.st_size
        if mark != self._seen:
            self._served = sorted(served(self._store.published()).items(), reverse=True)
            self._seen = mark
        return self._served

    def _opened(self, edition: str) -> Edition:
        if edition not in self._open:
            while len(self._open) >= KEPT:
                self._open.pop(next(iter(self._open)))
            self._open[edition] = self._store.get(edition)
        return self._open[edition]


def _read(edition: Edition, user: str) -> dict[str, Any]:
    rows = edition.read(user) or []
    return {
        "release": edition.manifest.plan.release,
        "level": rows[0]["level"] if rows else "none",
        "items": [(row["item"], row["score"], row["source"], row["reason"]) for row in rows],
    }
