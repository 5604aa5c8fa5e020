"""The speed layer and the archiver inside a worker that answers, where ``stream.inside`` says so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict

from api.live import Live
from api.metrics import STREAM
from api.stream import LOOK_SECONDS, reader_name
from recsys.barred import Barred
from recsys.errors import LogError
from recsys.logs import EventLog
from recsys.logs.archive import Archive
from recsys.logs.archiver import archive_log
from recsys.settings import Settings
from recsys.speed import GROUP, SpeedLayer
from recsys.stores import Store

log = logging.getLogger(__name__)

CLOSE_SECONDS = 2.0
"""How long a worker that is to end finishes what it has in hand."""
REST_SECONDS = 1.0
ARCHIVED_AT_ONCE = 2000
"""Few, since requests are answered beside it."""


@asynccontextmanager
async def applying(events_log: EventLog, store: Store, live: Live, settings: Settings) -> AsyncIterator[None]:
    """While this lasts events are applied and archived by this worker, with others that do so."""
    if not settings.stream.inside:
        yield
        return
    stop, reader = asyncio.Event(), f"serve-{reader_name()}"
    layer = SpeedLayer(events_log, store, lambda: live.current, settings, reader)
    archive = Archive(settings.log.archive, Barred(settings.log.erased))

    async def archiving() -> None:
        claim = settings.log.claim_seconds
        await archive_log(events_log, archive, reader, claim, once=False, most=ARCHIVED_AT_ONCE, stopping=stop)

    jobs = {"the speed layer": lambda: layer.run(stop), "the archiver": archiving}
    working = [asyncio.create_task(_kept_at(name, job, stop)) for name, job in jobs.items()]
    looking = asyncio.create_task(_measured(events_log, layer))
    try:
        yield
    finally:
        stop.set()
        looking.cancel()
        with suppress(TimeoutError):
            # They finish the batch at hand; what they do not, another does.
            await asyncio.wait_for(asyncio.gather(*working), CLOSE_SECONDS)


async def _kept_at(name: str, job: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
    """Do a job until it is to stop; what goes wrong once is tried again."""
    while not stop.is_set():
        try:
            await job()
        except Exception:
            log.exception("%s begins again in %g s", name, REST_SECONDS)
            await asyncio.sleep(REST_SECONDS)


async def _measured(events_log: EventLog, layer: SpeedLayer) -> None:
    """Keep the gauges up to date."""
    while True:
        with suppress(LogError):
            for name, value in {**asdict(await events_log.status(GROUP)), **asdict(layer.counted)}.items():
                STREAM[name].set(value)
        await asyncio.sleep(LOOK_SECONDS)
