"""What an event costs: a real server, `recsys stream` and a real Redis, sent to and asked by another process."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import redis
from threadpoolctl import threadpool_limits

import index
from benchmarks.release import publish
from benchmarks.serving import served
from recsys.activity import nothing
from recsys.assembly import Engine, assemble
from recsys.folding.least_squares import LeastSquares, LeastSquaresRule
from recsys.logs import EventLog, open_log
from recsys.logs.records import Event
from recsys.releases import ReleaseStore
from recsys.settings import Settings, load_settings
from recsys.speed import GROUP
from recsys.states import limits_of, refresh
from recsys.stores import Store, UserState, open_store

SECONDS = 20.0
APPLIED = 50_000
"""Events that are waiting when `recsys stream` begins."""
RECENT, FOLDED, DIMENSIONS = 50, 200, 64
SAMPLE = 500
"""Users whose keys are weighed."""
CHUNK = 1000
PATIENCE = 300


def measure(
    *, items: int = 100_000, users: int = 100_000, dataset: str | None = None, seconds: float = SECONDS
) -> dict[str, Any]:
    """Publish a release, let events happen, look how soon lists change.

    ``items`` and ``users``: of a synthetic release of 64 dimensions; ``dataset``: a public one in its place. ``users``
    is also how many have done :data:`RECENT` things since when a new release takes them over.
    """
    with TemporaryDirectory() as name, redis_server(Path(name) / "redis") as (url, client):
        folder = Path(name)
        asked = publish(folder, dataset=dataset, items=items, users=users)
        os.environ["RECSYS_STATE_URL"] = url
        settings = load_settings(folder / "recsys.toml")
        engine = assemble(ReleaseStore(settings.releases.folder).current(), index.load)
        known = engine.items.ids(np.random.default_rng(0).permutation(len(engine.items))[:10_000].astype(np.int32))
        names = folder / "names.json"
        names.write_text(json.dumps({"users": asked, "items": known}))
        with threadpool_limits(1):
            document: dict[str, Any] = {
                "fold_in_ms": round(fold_in_ms(), 4),
                **asyncio.run(taken_over(settings, engine, users, client)),
            }
        cores = len(os.sched_getaffinity(0))
        for key, workers in (("applied_per_s", cores), ("applied_per_s_by_one", 1)):
            client.flushall()
            document[key] = round(applied_per_s(folder, settings, asked, known, workers), 1)
        client.flushall()
        with served(folder, workers=1) as (address, _, _):
            for how in ("single", "batch"):
                document[how] = _load(address, names, how, seconds / 2)
                client.flushall()
            with streaming(folder):
                document["event_to_list_ms"] = _load(address, names, "seen", seconds)
    return {
        "dataset": dataset or f"synthetic:{items}x64",
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": cores,
        "event_to_list_ms": document.pop("event_to_list_ms"),
        "single_per_s": document["single"]["per_s"],
        "batch_per_s": document["batch"]["per_s"],
        "errors": document.pop("single")["errors"] + document.pop("batch")["errors"],
        **document,
    }


def fold_in_ms() -> float:
    """The median time that one user of :data:`FOLDED` items takes."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 0.1, (100_000, DIMENSIONS)).astype(np.float32)
    fold = LeastSquares.of(vectors, LeastSquaresRule(alpha=2, regularization=20))
    times = []
    for _ in range(300):
        rows = rng.permutation(len(vectors))[:FOLDED].astype(np.int32)
        start = time.perf_counter()
        fold.fold(np.array([0, FOLDED]), rows, np.ones(FOLDED, np.float32))
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


async def taken_over(settings: Settings, engine: Engine, users: int, client: redis.Redis) -> dict[str, Any]:
    """How fast a release takes over users who did :data:`RECENT` things each, and what one of them takes of Redis."""
    limits = limits_of(settings)
    async with open_store(settings.state) as store:
        await _everybody(store, engine, users, shown=0)
        fresh = replace(engine, id=f"{engine.id}-2")
        start = time.perf_counter()
        folded = await refresh(store, fresh, store.users(), limits)
        took = time.perf_counter() - start
        some = [f"w{number}" for number in range(SAMPLE)]
        plain = _weighed(client, some, fresh.id)
        await store.forget(engine.id)
        await _everybody(store, engine, SAMPLE, shown=limits.shown)
        with_shown = _weighed(client, some, engine.id)
    return {
        "recompute_users": folded,
        "recompute_users_per_s": round(folded / took, 1),
        "redis_bytes_per_user": plain,
        "redis_bytes_per_user_with_impressions": with_shown,
    }


async def _everybody(store: Store, engine: Engine, users: int, shown: int) -> None:
    """Write states of users, each of :data:`RECENT` different items of the release, with a vector."""
    rng, names = np.random.default_rng(0), engine.items
    for start in range(0, users, CHUNK):
        states = []
        for number in range(start, min(start + CHUNK, users)):
            rows = rng.integers(0, len(names), RECENT + shown)
            keys = names.row_keys[rows]
            state = UserState(
                user=f"w{number}",
                vector=rng.normal(0, 0.1, DIMENSIONS).astype(np.float32),
                recent=keys[:RECENT],
                weights=rng.choice([1, 2, 0, -1], RECENT).astype(np.float32),
                times=np.sort(rng.integers(1_780_000_000, 1_790_000_000, RECENT))[::-1],
                seen=nothing("").seen,
                marks=rng.integers(1, 2**32, RECENT, np.uint32),
                shown=keys[RECENT:],
                shown_times=np.repeat(np.arange(shown // 20) + 1_790_000_000, 20),
                shown_marks=np.repeat(np.arange(shown // 20, dtype=np.uint32) + 1, 20),
            )
            states.append(state)
        await store.put(states, engine.id)


def _weighed(client: redis.Redis, users: list[str], release: str) -> float:
    """Bytes of all keys of a user, as Redis itself counts them, on average."""
    total = 0
    for user in users:
        for kind in ("s", "w", "i", f"v:{release}"):
            total += client.memory_usage(f"recsys:{kind}:{{u{user}}}", samples=0) or 0
    return round(total / len(users), 1)


def applied_per_s(folder: Path, settings: Settings, users: list[str], items: list[str], workers: int) -> float:
    """Events a second that so many of `recsys stream` apply, which find them waiting."""
    rng = np.random.default_rng(0)
    told = [
        Event(f"e{number}", 1_790_000_000 + number, users[who], items[what], "play")
        for number, (who, what) in enumerate(
            zip(rng.integers(0, len(users), APPLIED), rng.integers(0, len(items), APPLIED), strict=True)
        )
    ]

    async def waiting() -> None:
        async with open_log(settings) as log:
            for start in range(0, len(told), CHUNK):
                await log.append(told[start : start + CHUNK])
            await log.status(GROUP)

    async def applied() -> float:
        async with open_log(settings) as log:
            return await _until_applied(log)

    with ExitStack() as stack:
        streams = [stack.enter_context(streaming(folder)) for _ in range(workers)]
        # Held while the events come, so that all of them begin when all of these are there.
        for stream in streams:
            stream.send_signal(signal.SIGSTOP)
            stack.callback(stream.send_signal, signal.SIGCONT)
        asyncio.run(waiting())
        start = time.perf_counter()
        for stream in streams:
            stream.send_signal(signal.SIGCONT)
        return APPLIED / (asyncio.run(applied()) - start)


async def _until_applied(log: EventLog) -> float:
    """When nothing is left."""
    deadline = time.perf_counter() + PATIENCE
    while time.perf_counter() < deadline:
        found = await log.status(GROUP)
        if not found.lag + found.pending:
            return time.perf_counter()
        await asyncio.sleep(0.02)
    raise TimeoutError(f"{APPLIED:,} events were not applied within {PATIENCE} s")


@contextmanager
def streaming(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`recsys stream` from when it applies events to when it has ended."""
    command = [sys.executable, "-m", "recsys", "stream"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if "applying events" not in line:
                raise RuntimeError(f"the stream did not start: {line!r}")
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)


@contextmanager
def redis_server(folder: Path) -> Iterator[tuple[str, redis.Redis]]:
    """A redis-server of its own, whose append-only file is synced every second: its address and a client."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise FileNotFoundError("redis-server is not on the PATH: install it (`apt-get install redis-server`)")
    folder.mkdir()
    path = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(path), "--dir", str(folder), "--save", ""]
    durable = ["--appendonly", "yes", "--appendfsync", "everysec"]
    with subprocess.Popen([binary, *options, *durable], stdout=subprocess.DEVNULL) as process:
        client = redis.Redis(unix_socket_path=str(path))
        try:
            deadline = time.perf_counter() + 20
            while not path.exists() and time.perf_counter() < deadline:
                time.sleep(0.02)
            client.ping()
            yield f"unix://{path}", client
        finally:
            client.close()
            process.terminate()


def _load(url: str, names: Path, how: str, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.events_load", url, str(names), how, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + PATIENCE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
