"""The engine that answers, replaced whole when the pointer moves or an item changes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import numpy as np

from api.memory import settle
from api.metrics import METRICS
from recsys.amending import Description, Grow
from recsys.assembly import Engine, LoadIndex, assemble
from recsys.errors import RecsysError
from recsys.releases import ReleaseStore
from recsys.retrieval import Query
from recsys.stores import Counts, ItemChange, ItemChangeStore
from recsys.trends import Trends

log = logging.getLogger(__name__)

NOTHING = object()
RETRY_SECONDS = 10.0
"""How long a release that could not be loaded is left alone, unless the pointer moves before."""


class Live:
    """One engine at a time. A request reads :attr:`current` once and keeps what it got.

    A release is verified, loaded and warmed beside the one that answers, then put in its place by one assignment;
    one that cannot be loaded is named in :attr:`refused` and changes nothing. Items that changed are placed in its
    space by its own encoder before it answers: what is kept of them is what was said, never a vector.
    """

    def __init__(self, releases: ReleaseStore, load_index: LoadIndex, grow: Grow) -> None:
        self._releases = releases
        self._load_index = load_index
        self._grow = grow
        self._amending = asyncio.Lock()
        self._changes: Mapping[str, Description | None] = {}
        self._mark = ""
        self._shares: tuple[str, Mapping[str, float]] = "", {}
        self._refused_at = 0.0
        self._edition: tuple[int, int] | None = None
        self.current: Engine | None = None
        self.refused: tuple[str, str] | None = None
        """(id, why) of the release that the pointer names but that could not be loaded."""

    async def follow(self) -> bool:
        """Look at the pointer once and load what it names; whether the engine was replaced."""
        try:
            wanted = self._releases.current_id()
        except (OSError, UnicodeDecodeError) as error:
            log.warning("the release pointer cannot be read, %s goes on serving: %s", self._id, error)
            return False
        if wanted is None:
            return False
        # Users may have been erased from the very release that answers; one that is gone goes on answering.
        edition = self._releases.edition(wanted)
        if wanted == self._id and edition in {self._edition, None}:
            return False
        if self.refused and self.refused[0] == wanted and time.monotonic() < self._refused_at + RETRY_SECONDS:
            return False
        try:
            placed, mark = self._changes, self._mark
            engine, created = await asyncio.to_thread(self._load, wanted, placed, mark)
        except RecsysError as error:
            self.refused, self._refused_at = (wanted, str(error)), time.monotonic()
            METRICS.refused_releases.inc()
            log.error("%s goes on serving: %s", self._id or "nothing", error)  # noqa: TRY400  the sentence says it all
            return False
        async with self._amending:
            if self._mark != mark:
                # What changed while the release was being loaded.
                later = {id_: about for id_, about in self._changes.items() if placed.get(id_, NOTHING) is not about}
                engine = await asyncio.to_thread(engine.amended, later, self._mark)
            self.current, self.refused, self._edition = engine, None, edition
        METRICS.loaded_releases.inc()
        METRICS.release_created.set(created)
        log.info("serving release %s", engine.id)
        await asyncio.to_thread(settle)
        return True

    async def catch_up(self, store: ItemChangeStore) -> None:
        """Apply what changed of items since the last look; StoreError if the store does not answer.

        A store that has come back empty is given what this process knows, but for what others have put there since.
        """
        async with self._amending:
            found = await store.item_changes(self._mark)
            if found.whole and self._changes:
                await store.change_items([ItemChange(*change) for change in self._changes.items()], only_missing=True)
                log.warning("the store had lost the changes of items: %d written back", len(self._changes))
                found = await store.item_changes()
            if found.mark == self._mark:
                return
            changes = {change.item_id: change.description for change in found.changes}
            if self.current is not None:
                self.current = await asyncio.to_thread(self.current.amended, changes, found.mark)
            self._changes, self._mark = {**self._changes, **changes}, found.mark

    async def look_at_trends(self, counts: Counts, trends: Trends, now: float) -> None:
        """Let what trends follow what is taken; StoreError if the store does not answer."""
        found = await trends.largest(counts, now)
        total = sum(found.values())
        # All fade alike: while nothing is taken, shares stay.
        shares = {item: round(amount / total, 6) for item, amount in found.items()}
        async with self._amending:
            engine = self.current
            if engine is None or not found or (engine.id, shares) == self._shares:
                return
            self.current = await asyncio.to_thread(engine.moved, found, int(now))
            self._shares = engine.id, shares

    def deleted(self, items: Iterable[str]) -> set[str]:
        """Those of these items that were deleted, whichever release knew them."""
        return {item for item in items if self._changes.get(item, NOTHING) is None}

    @property
    def _id(self) -> str | None:
        return self.current.id if self.current else None

    def _load(self, wanted: str, changes: Mapping[str, Description | None], mark: str) -> tuple[Engine, float]:
        release = self._releases.verify(wanted)
        engine = assemble(release, self._load_index, self._grow)
        if changes:
            engine = engine.amended(changes, mark)
        # The first search touches pages and starts threads, the first text opens tables: no request should wait.
        now = datetime.now(UTC)
        some = np.arange(min(len(engine.users.ids), 4), dtype=np.int32)
        queries = [engine.resolver.learned(row, now) for row in some.tolist()]
        for recommender in engine.recommenders.values():
            # Twice: the first time takes longer than any other, and a budget goes by what its parts are known to take.
            for _ in range(1 if recommender.budget is None else 2):
                recommender.recommend([*queries, Query(now=now)], 10)
        engine.understands(("",))
        return engine, release.manifest.created.timestamp()
