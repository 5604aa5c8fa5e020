"""The engine that answers, replaced whole when the pointer moves."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

import numpy as np

from api.metrics import METRICS
from recsys.assembly import Engine, LoadIndex, assemble
from recsys.errors import RecsysError
from recsys.releases import ReleaseStore
from recsys.retrieval import Query

log = logging.getLogger(__name__)

RETRY_SECONDS = 10.0
"""How long a release that could not be loaded is left alone, unless the pointer moves before."""


class Live:
    """One engine at a time. A request reads :attr:`current` once and keeps what it got.

    A release is verified, loaded and warmed beside the one that answers, then put in its place by one assignment;
    one that cannot be loaded is named in :attr:`refused` and changes nothing.
    """

    def __init__(self, releases: ReleaseStore, load_index: LoadIndex) -> None:
        self._releases = releases
        self._load_index = load_index
        self._refused_at = 0.0
        self.current: Engine | None = None
        self.refused: tuple[str, str] | None = None
        """(id, why) of the release that the pointer names but that could not be loaded."""
        self.filled: str | None = None
        """The release whose user states the store is known to hold; until then the release's own answer."""

    async def follow(self) -> bool:
        """Look at the pointer once and load what it names; whether the engine was replaced."""
        try:
            wanted = self._releases.current_id()
        except (OSError, UnicodeDecodeError) as error:
            log.warning("the release pointer cannot be read, %s goes on serving: %s", self._id, error)
            return False
        if wanted is None or wanted == self._id:
            return False
        if self.refused and self.refused[0] == wanted and time.monotonic() < self._refused_at + RETRY_SECONDS:
            return False
        try:
            engine, created = await asyncio.to_thread(self._load, wanted)
        except RecsysError as error:
            self.refused, self._refused_at = (wanted, str(error)), time.monotonic()
            METRICS.refused_releases.inc()
            log.error("%s goes on serving: %s", self._id or "nothing", error)  # noqa: TRY400  the sentence says it all
            return False
        self.current, self.refused = engine, None
        METRICS.loaded_releases.inc()
        METRICS.release_created.set(created)
        log.info("serving release %s", engine.id)
        return True

    @property
    def _id(self) -> str | None:
        return self.current.id if self.current else None

    def _load(self, wanted: str) -> tuple[Engine, float]:
        release = self._releases.verify(wanted)
        engine = assemble(release, self._load_index)
        # The first search touches pages and starts threads: no request should wait for that.
        now = datetime.now(UTC)
        some = np.arange(min(len(engine.users.ids), 4), dtype=np.int32)
        queries = [engine.resolver.known(state.user, state, now) for state in engine.users.states(some)]
        for recommender in engine.recommenders.values():
            recommender.recommend([*queries, Query(now=now)], 10)
        return engine, release.manifest.created.timestamp()
