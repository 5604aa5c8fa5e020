"""Events as a crowd sends them, from a process of their own: ``python -m benchmarks.events_load URL FILE HOW SECONDS``.

FILE: JSON with ``users`` and ``items`` to choose from. HOW: ``single`` events, each a request, or ``batch``es of 1,000,
by clients that send the next when the last is accepted; or ``seen``: how long it takes until the next list has changed,
while :data:`EVENTS` a second come from others, who ask for :data:`LISTS` a second.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

TOGETHER = 1000
CLIENTS = {"single": 32, "batch": 4}
EVENTS, LISTS = 200.0, 50.0
PROBES = 5.0
"""Users a second of whom it is measured."""
LOOK = 0.003
"""Seconds between two looks at a list."""
LATE = 10.0
"""Seconds after which a list that has not changed is given up."""


class Crowd:
    """Users of a server who do things at random."""

    def __init__(self, session: aiohttp.ClientSession, users: list[str], items: list[str]) -> None:
        self._session, self._users, self._items = session, users, items
        self._rng = np.random.default_rng(0)
        self.accepted, self.errors = 0, 0

    def event(self) -> dict[str, Any]:
        """Somebody plays something, now."""
        user, item = (names[int(self._rng.integers(len(names)))] for names in (self._users, self._items))
        return {"user_id": user, "item_id": item, "kind": "play"}

    async def post(self, body: Any) -> None:
        """Send an event or several."""
        async with self._session.post("/events", json=body) as answer:
            told = await answer.json()
            good = answer.status == 202
        self.accepted += told["accepted"] if good else 0
        self.errors += not good

    async def list_of(self, user: str) -> list[str]:
        """What somebody is recommended; asked again where there is no answer."""
        while True:
            async with self._session.get("/recommend", params={"user_id": user, "k": 20}) as answer:
                body = await answer.json()
                if answer.status == 200:
                    return [item["item_id"] for item in body["items"]]
            self.errors += 1
            await asyncio.sleep(LOOK)

    async def until_seen(self, user: str) -> float:
        """Seconds from when the play of a user's best item was accepted to a list without it."""
        first = (await self.list_of(user))[0]
        await self.post({"user_id": user, "item_id": first, "kind": "play"})
        accepted = time.perf_counter()
        while first in await self.list_of(user):
            if time.perf_counter() - accepted > LATE:
                raise TimeoutError(f"the list of {user} had not changed {LATE:g} s after the event was accepted")
            await asyncio.sleep(LOOK)
        return time.perf_counter() - accepted


async def at_rate(rate: float, seconds: float, act: Callable[[int], Awaitable[Any]]) -> list[Any]:
    """What ``act`` gives, begun at random moments, so many a second, whether or not those before have ended."""
    gaps = np.random.default_rng(1).exponential(1 / rate, int(rate * seconds))
    start, tasks = time.perf_counter(), []
    for number, moment in enumerate(np.cumsum(gaps).tolist()):
        await asyncio.sleep(max(start + moment - time.perf_counter(), 0))
        tasks.append(asyncio.ensure_future(act(number)))
    return list(await asyncio.gather(*tasks))


async def accepted(crowd: Crowd, how: str, seconds: float) -> dict[str, Any]:
    """How many events a second are accepted."""
    start = time.perf_counter()

    async def client() -> None:
        while time.perf_counter() - start < seconds:
            events = [crowd.event() for _ in range(TOGETHER)] if how == "batch" else crowd.event()
            await crowd.post(events)

    await asyncio.gather(*(client() for _ in range(CLIENTS[how])))
    return {"per_s": round(crowd.accepted / (time.perf_counter() - start), 1), "errors": crowd.errors}


async def seen(crowd: Crowd, users: list[str], seconds: float) -> dict[str, Any]:
    """How long it takes until the next list has changed, in milliseconds."""
    probes = int(PROBES * seconds)
    asked = users[probes:]
    told: tuple[list[Any], ...] = await asyncio.gather(
        at_rate(PROBES, seconds, lambda number: crowd.until_seen(users[number])),
        at_rate(EVENTS, seconds, lambda _: crowd.post(crowd.event())),
        at_rate(LISTS, seconds, lambda number: crowd.list_of(asked[number % len(asked)])),
    )
    times = told[0]
    p50, p95, p99 = (round(1000 * float(np.percentile(times, share)), 1) for share in (50, 95, 99))
    return {"p50": p50, "p95": p95, "p99": p99, "probes": len(times), "errors": crowd.errors}


async def _run(url: str, names: dict[str, list[str]], how: str, seconds: float) -> dict[str, Any]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        users, items = names["users"], names["items"]
        if how == "seen":
            # Those who are watched do nothing else.
            crowd = Crowd(session, users[int(PROBES * seconds) :], items)
            for user in users[-100:]:
                await crowd.list_of(user)
            return await seen(crowd, users, seconds)
        return await accepted(Crowd(session, users, items), how, seconds)


def main(url: str, file: str, how: str, seconds: str) -> None:
    """Print what was measured as JSON."""
    sys.stdout.write(json.dumps(asyncio.run(_run(url, json.loads(Path(file).read_bytes()), how, float(seconds)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
