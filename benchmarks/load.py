"""Requests as a crowd sends them, from a process of their own: ``python -m benchmarks.load URL PATHS …``.

Open: requests leave at random moments that do not wait for answers, and each is timed from the moment at which it was
to leave. A server that stalls is so charged with all who came meanwhile, which clients that wait for answers hide.
Closed: so many clients, each asking again as soon as it is answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import uvloop

WARM_UP = 200
"""Requests sent before anything is timed."""
TIMEOUT = 5.0
EARLY = 0.0005
"""Seconds before a request is to leave when the clock says so: sleep ends 0.3 ms late, which is no server's doing."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came back: ``seconds`` from when each request was to leave, and how many were no list."""

    seconds: list[float]
    errors: int
    took: float


async def open_loop(session: aiohttp.ClientSession, paths: list[str], rate: float, seconds: float) -> Seen:
    """``rate`` requests a second on average, at moments as independent people choose them."""
    rng = np.random.default_rng(0)
    gaps = rng.exponential(1 / rate, int(rate * seconds))
    moments = time.perf_counter() + 0.05 + np.cumsum(gaps)
    times: list[float] = []
    errors = 0

    async def ask(path: str, moment: float) -> None:
        nonlocal errors
        # What the clock may be late by is waited for by looking at the time over and over, and no longer, since who
        # answers needs the processors.
        while time.perf_counter() < moment:  # noqa: ASYNC110  a moment sets no event
            await asyncio.sleep(0)
        good = await _asked(session, path)
        times.append(time.perf_counter() - moment)
        errors += not good

    loop, asking, over = asyncio.get_running_loop(), list[asyncio.Task[None]](), asyncio.Event()

    def leave(path: str, moment: float) -> None:
        asking.append(loop.create_task(ask(path, moment)))
        if len(asking) == len(moments):
            over.set()

    def clock() -> None:
        # The event loop counts milliseconds, a thread's sleep is ten times finer. It is one thread from first to last:
        # to hand each moment to one costs as much as the request, and just when that is to leave.
        for place, moment in enumerate(moments.tolist()):
            if (left := moment - time.perf_counter() - EARLY) > 0:
                time.sleep(left)
            loop.call_soon_threadsafe(leave, paths[place % len(paths)], moment)

    await asyncio.gather(asyncio.to_thread(clock), over.wait())
    await asyncio.gather(*asking)
    return Seen(times, errors, time.perf_counter() - float(moments[0]))


async def closed_loop(session: aiohttp.ClientSession, paths: list[str], clients: int, seconds: float) -> Seen:
    """``clients`` that ask one request after the other."""
    times: list[float] = []
    errors = 0
    start = time.perf_counter()

    async def client(first: int) -> None:
        nonlocal errors
        place = first
        while time.perf_counter() - start < seconds:
            asked = time.perf_counter()
            errors += not await _asked(session, paths[place % len(paths)])
            times.append(time.perf_counter() - asked)
            place += clients

    await asyncio.gather(*(client(first) for first in range(clients)))
    return Seen(times, errors, time.perf_counter() - start)


async def _asked(session: aiohttp.ClientSession, path: str) -> bool:
    try:
        async with session.get(path) as answer:
            await answer.read()
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def _run(url: str, paths: list[str], how: str, amount: float, seconds: float) -> Seen:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, timeout=timeout, connector=connector) as session:
        for path in paths[:WARM_UP]:
            await _asked(session, path)
        if how == "open":
            return await open_loop(session, paths, amount, seconds)
        return await closed_loop(session, paths, int(amount), seconds)


def summary(seen: Seen) -> dict[str, Any]:
    """Counts, rate and percentiles in milliseconds."""
    p50, p90, p99 = (round(float(np.percentile(seen.seconds, share)) * 1000, 3) for share in (50, 90, 99))
    return {
        "requests": len(seen.seconds),
        "errors": seen.errors,
        "rps": round(len(seen.seconds) / seen.took, 1),
        "p50_ms": p50,
        "p90_ms": p90,
        "p99_ms": p99,
    }


def main(url: str, paths: str, how: str, amount: str, seconds: str) -> None:
    """Print what came back as JSON, with every time, in the order of the answers."""
    found = uvloop.run(_run(url, json.loads(Path(paths).read_bytes()), how, float(amount), float(seconds)))
    sys.stdout.write(json.dumps({**summary(found), "ms": [round(1000 * took, 3) for took in found.seconds]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
