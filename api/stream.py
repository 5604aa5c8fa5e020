"""The speed layer as a process: ``recsys stream``, and what ``recsys serve`` starts beside its workers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from threadpoolctl import threadpool_limits

import index
from api.live import Live
from api.metrics import STREAM, measure
from index.growing import Growing
from recsys.barred import Barred
from recsys.errors import LogError, StoreError
from recsys.logs import EventLog, open_log
from recsys.logs.archive import Archive
from recsys.logs.archiver import archive_log
from recsys.logs.records import Record
from recsys.releases import ReleaseStore
from recsys.settings import Settings
from recsys.speed import GROUP, Counted, SpeedLayer, rebuild
from recsys.stores import Store, open_store
from recsys.stores.embedded import EmbeddedServer

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often the log is asked how far the group has come."""
REST_SECONDS = 1.0
"""Before what went wrong is tried again."""
ARCHIVED_AT_ONCE = 2000
"""Few, since events are applied beside it."""

Told = Callable[[Mapping[str, float]], None]


def _reader_name() -> str:
    """A name that no other worker has."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


async def stream(settings: Settings, *, announce: Callable[[str], None], metrics_port: int | None = None) -> Counted:
    """Apply what the log holds until SIGINT or SIGTERM, and finish the batch at hand; what was done.

    ``announce`` is told the release once the first batch may be read. ``metrics_port``: where Prometheus finds the
    gauges, on 127.0.0.1; None: nowhere.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with _reachable(settings) as reachable, _gauges(metrics_port) as told:
        return await applied(reachable, stop, announce=announce, told=told)


async def applied(
    settings: Settings,
    stop: asyncio.Event,
    *,
    announce: Callable[[str], None] = lambda _: None,
    told: Told | None = None,
    archiving: bool = False,
) -> Counted:
    """Apply what the log holds until ``stop`` is set, and finish the batch at hand; what was done.

    ``told``: called with what there is to measure each :data:`LOOK_SECONDS`. ``archiving``: archive it as well.
    """
    # What is folded is small: more threads are of no use, and one gives the same bits everywhere.
    with threadpool_limits(1):
        async with _opened(settings) as (store, events_log):
            live = Live(ReleaseStore(settings.releases.folder), index.load, Growing.of)
            await live.follow()
            await _quietly(live.catch_up(store))
            reader = _reader_name()
            layer = SpeedLayer(events_log, store, lambda: live.current, settings, reader)
            watch = settings.serve.watch_seconds
            looks = [
                asyncio.create_task(_every(watch, live.follow)),
                asyncio.create_task(_every(watch, lambda: live.catch_up(store))),
            ]
            if told is not None:
                looks.append(asyncio.create_task(_every(LOOK_SECONDS, lambda: _measured(events_log, layer, told))))
            announce(live.current.id if live.current else "no release yet")
            jobs = [layer.run(stop)]
            if archiving:
                jobs.append(_archived(events_log, settings, reader, stop))
            await asyncio.gather(*jobs)
            for task in looks:
                task.cancel()
            await asyncio.gather(*looks, return_exceptions=True)
            return layer.counted


async def rebuilt(settings: Settings) -> Counted:
    """Make all states again from the archive and the log, in the space of the current release."""
    with threadpool_limits(1), _reachable(settings) as reachable:
        async with _opened(reachable) as (store, events_log):
            live = Live(ReleaseStore(settings.releases.folder), index.load, Growing.of)
            await live.follow()
            await live.catch_up(store)
            return await rebuild(_everything(settings, events_log), store, live.current, settings)


async def status(settings: Settings, *, seconds: float = 1.0, most: int = 10) -> dict[str, Any]:
    """How far the speed layer has come, how many records a second it applies, and the last that were put aside."""
    with _reachable(settings) as reachable:
        async with open_log(reachable) as events_log:
            before = await events_log.status(GROUP)
            await asyncio.sleep(seconds)
            now = await events_log.status(GROUP)
            done = [each.length - each.lag - each.pending for each in (before, now)]
            dead = [(entry, reason) async for entry, reason in events_log.dead(GROUP)][-most:]
            letters = [
                {
                    "position": entry.position,
                    "record": entry.stored.decode("utf-8", "replace") if entry.record is None else asdict(entry.record),
                    "reason": reason,
                }
                for entry, reason in dead
            ]
            # The log is trimmed now and then, which is no going back.
            return {**asdict(now), "per_second": max(0.0, (done[1] - done[0]) / seconds), "dead_letters": letters}


async def _everything(settings: Settings, events_log: EventLog) -> AsyncIterator[Record]:
    """The archive, then the log, then what was archived, and perhaps trimmed, meanwhile: twice is as once."""
    archive = Archive(settings.log.archive)
    before = archive.files()
    for record in archive.records():
        yield record
    async for entry in events_log.replay():
        if entry.record is not None:
            yield entry.record
    for record in archive.records(without=before):
        yield record


@contextlib.contextmanager
def _reachable(settings: Settings) -> Iterator[Settings]:
    """The settings with the address of the store: the one that was configured, or that of the embedded server."""
    if settings.state.url is not None:
        yield settings
        return
    with EmbeddedServer(settings.state) as server:
        yield settings.model_copy(update={"state": server.state})


@contextlib.asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Store, EventLog]]:
    async with open_store(settings.state) as store, open_log(settings) as events_log:
        yield store, events_log


async def _archived(events_log: EventLog, settings: Settings, reader: str, stop: asyncio.Event) -> None:
    """Archive until it is to stop; what goes wrong once is tried again."""
    archive, claim = Archive(settings.log.archive, Barred(settings.log.erased)), settings.log.claim_seconds
    while not stop.is_set():
        try:
            await archive_log(events_log, archive, reader, claim, once=False, most=ARCHIVED_AT_ONCE, stopping=stop)
        except Exception:
            log.exception("the archiver begins again in %g s", REST_SECONDS)
            await asyncio.sleep(REST_SECONDS)


async def _measured(events_log: EventLog, layer: SpeedLayer, told: Told) -> None:
    with contextlib.suppress(LogError):
        told({**asdict(await events_log.status(GROUP)), **asdict(layer.counted)})


@contextlib.contextmanager
def _gauges(port: int | None) -> Iterator[Told | None]:
    """What is to be told what is measured, which Prometheus finds at this port as long as the context lasts."""
    if port is None:
        yield None
        return
    registry = CollectorRegistry()
    for gauge in STREAM.values():
        registry.register(gauge)
    server, _ = start_http_server(port, "127.0.0.1", registry)
    try:
        yield measure
    finally:
        server.shutdown()


async def _every(seconds: float, act: Callable[[], Awaitable[object]]) -> None:
    while True:
        await _quietly(act())
        await asyncio.sleep(seconds)


async def _quietly(action: Awaitable[object]) -> None:
    """What goes wrong once is tried again."""
    try:
        await action
    except StoreError:
        pass
    except Exception:
        log.exception("the release or its items could not be looked at")
