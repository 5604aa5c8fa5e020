"""The speed layer as a process of its own: ``recsys stream``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, start_http_server
from threadpoolctl import threadpool_limits

import index
from api.live import Live
from index.growing import Growing
from recsys.errors import LogError, StoreError
from recsys.logs import EventLog, open_log
from recsys.logs.archive import Archive
from recsys.logs.records import Record
from recsys.releases import ReleaseStore
from recsys.settings import Settings
from recsys.speed import GROUP, Counted, SpeedLayer, rebuild
from recsys.stores import Store, open_store
from recsys.stores.embedded import EmbeddedServer

log = logging.getLogger(__name__)

GAUGES = {
    "length": "Records that the log holds",
    "lag": "Records that the speed layer was not given yet",
    "pending": "Records that it was given and has not acknowledged",
    "dead": "Records that were put aside",
    "oldest_pending": "Seconds since the record was given that waits longest for its acknowledgement",
    "records": "Records that this worker applied",
    "events": "Events that were new, of this worker",
    "repeated": "Events that had been applied before, of this worker",
    "unknown": "Events of items that the release does not know, of this worker",
    "buried": "Records that this worker put aside",
}
LOOK_SECONDS = 1.0
"""How often the log is asked how far the group has come."""


def reader_name() -> str:
    """A name that no other worker has."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


async def stream(settings: Settings, *, announce: Callable[[str], None], metrics_port: int | None = None) -> Counted:
    """Apply what the log holds until SIGINT or SIGTERM, and finish the batch at hand; what was done.

    ``announce`` is told once the first batch may be read. ``metrics_port``: where Prometheus finds the gauges, on
    127.0.0.1; None: nowhere.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # What is folded is small: more threads are of no use, and one gives the same bits everywhere.
    with threadpool_limits(1), _reachable(settings) as reachable:
        async with _opened(reachable) as (store, events_log):
            live = Live(ReleaseStore(settings.releases.folder), index.load, Growing.of)
            await live.follow()
            await _quietly(live.catch_up(store))
            layer = SpeedLayer(events_log, store, lambda: live.current, settings, reader_name())
            watch = settings.serve.watch_seconds
            looks = [
                asyncio.create_task(_every(watch, live.follow)),
                asyncio.create_task(_every(watch, lambda: live.catch_up(store))),
            ]
            if metrics_port is not None:
                looks.append(asyncio.create_task(_measured(events_log, layer, metrics_port)))
            announce(live.current.id if live.current else "no release yet")
            await layer.run(stop)
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


async def _measured(events_log: EventLog, layer: SpeedLayer, port: int) -> None:
    """Serve gauges to Prometheus, and keep them up to date."""
    registry = CollectorRegistry()
    gauges = {name: Gauge(f"recsys_stream_{name}", said, registry=registry) for name, said in GAUGES.items()}
    server, _ = start_http_server(port, "127.0.0.1", registry)
    try:
        while True:
            with contextlib.suppress(LogError):
                told = {**asdict(await events_log.status(GROUP)), **asdict(layer.counted)}
                for name, gauge in gauges.items():
                    gauge.set(told[name])
            await asyncio.sleep(LOOK_SECONDS)
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
