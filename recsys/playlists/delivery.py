"""Lists of an edition in Redis, written before the pointer moves, and who is told when it has.

A list is at ``recsys:p:<edition>:{u<user>}``, JSON that :mod:`recsys.playlists.reading` reads. It expires: the files of
the edition stay, and answer where Redis does not.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from json.encoder import encode_basestring

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.errors import StoreError
from recsys.playlists.editions import Edition, EditionStore
from recsys.playlists.plan import Arrow, arrow
from recsys.sections import Playlists, State
from recsys.stores import connection
from recsys.stores.server import BULK_TIMEOUT, REST, Breaker, Server

BATCH = 1000
"""Lists of one round trip."""
COLUMNS = ["user", "position", "item", "score", "source", "reason", "level", "release"]
HOOK_SECONDS = 60
DAY = 86400


@dataclass(frozen=True, slots=True)
class Delivered:
    """How many lists were written to Redis, in how many seconds, and what went wrong after that."""

    lists: int
    seconds: float
    said: tuple[str, ...]


class Shelf:
    """The lists of editions on a server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def get(self, edition: str, user: str) -> bytes | None:
        """What was put of a user's list; StoreError if the server does not answer in time."""
        found = await self._server.ask((b"GET", key_of(edition, user)))
        return found if isinstance(found, bytes) else None

    async def put(self, edition: str, lists: Iterator[tuple[str, bytes]], seconds: int) -> int:
        """Write lists in batches; how many. StoreError if the server does not take them."""
        written, expiry = 0, str(seconds).encode()
        before: asyncio.Task[int] | None = None
        while some := list(islice(lists, BATCH)):
            commands = [(b"SET", key_of(edition, user), value, b"EX", expiry) for user, value in some]
            # The server works on one batch while the next is put together.
            written += 0 if before is None else await before
            before = asyncio.create_task(self._sent(commands))
            await asyncio.sleep(0)
        return written + (0 if before is None else await before)

    async def erase(self, user: str) -> int:
        """Take a user's lists away, of all editions; how many. StoreError if the server does not answer."""
        escaped = re.sub(rb"([*?\[\]\\^-])", rb"\\\1", user.encode("utf-8", "surrogatepass"))
        removed = cursor = 0
        while True:
            scan = self._server.client.scan(cursor, match=b"recsys:p:*:{u%b}" % escaped, count=BATCH)
            cursor, keys = await self._server.answer(scan, BULK_TIMEOUT)
            for key in keys:
                removed += await self._server.answer(self._server.client.unlink(key), BULK_TIMEOUT)
            if not cursor:
                return removed

    async def _sent(self, commands: Sequence[Sequence[bytes]]) -> int:
        return len(await self._server.answer(self._server.line.ask_all(commands), BULK_TIMEOUT))


@asynccontextmanager
async def opened_shelf(state: State) -> AsyncIterator[Shelf | None]:
    """The lists at ``state.url``; None for ``memory://``, where no other process could have put any."""
    if state.url is None or state.url.startswith("memory:"):
        yield None
        return
    client = connection.client(state.url, "state.url")
    server = Server(client, connection.safe_address(state.url), state.timeout_ms / 1000, Breaker(REST))
    try:
        yield Shelf(server)
    finally:
        server.line.close()
        await client.aclose()


def key_of(edition: str, user: str) -> bytes:
    """Where a list stands."""
    return b"recsys:p:%b:{u%b}" % (edition.encode(), user.encode("utf-8", "surrogatepass"))


def publish(
    store: EditionStore, edition: str, settings: Playlists, state: State | None, *, now: datetime, force: bool = False
) -> Delivered:
    """Load an edition into Redis, point to it, tell the hooks.

    ``state``: None where there is no Redis to load. EditionRefused, or StoreError: then nothing was published. A hook
    that fails takes nothing back: it is said.
    """
    found = store.verify(edition)
    store.check(found, force=force)
    start = time.perf_counter()
    try:
        lists = 0 if state is None else asyncio.run(_loaded(found, settings, state))
    except StoreError as error:
        raise StoreError(
            f"{error}. Nothing was published, readers keep what they have; `recsys playlists publish {edition}` again "
            "when it is back"
        ) from error
    seconds = time.perf_counter() - start
    store.publish(found, now=now, force=force)
    return Delivered(lists, seconds if lists else 0.0, tuple(_told(found, settings)))


async def _loaded(edition: Edition, settings: Playlists, state: State) -> int:
    async with opened_shelf(state) as shelf:
        if shelf is None:
            return 0
        parts = range(edition.manifest.plan.parts)
        return sum([await shelf.put(edition.id, values(edition, part), settings.expire_days * DAY) for part in parts])


def values(edition: Edition, part: int) -> Iterator[tuple[str, bytes]]:
    """Users of a part and their lists as they are put, empty ones left out; made by column, not by list."""
    table = edition.table(part, COLUMNS).unify_dictionaries().combine_chunks()
    if not table.num_rows:
        return
    positions = np.asarray(table.column("position").to_numpy())
    firsts = np.flatnonzero(positions == 1)
    ends = np.concatenate([firsts, [len(positions)]]).astype(np.int32)
    score: Arrow = table.column("score").cast(pa.string()).combine_chunks()
    row: Arrow = pc.binary_join_element_wise(
        "[", *_between(_quoted(table, "item"), score, _quoted(table, "source"), _quoted(table, "reason")), "]", ""
    )
    lists: Arrow = pc.binary_join(pa.ListArray.from_arrays(arrow(ends), row), ",")
    heads = table.take(arrow(firsts))
    begin: Arrow = pc.binary_join_element_wise(
        '{"release":', _quoted(heads, "release"), ',"level":', _quoted(heads, "level"), ',"items":[', ""
    )
    whole: Arrow = pc.binary_join_element_wise(begin, lists, "]}", "").cast(pa.binary())
    yield from zip(heads.column("user").to_pylist(), whole.to_pylist(), strict=True)


def _between(*columns: Arrow) -> list[Arrow]:
    found: list[Arrow] = []
    for column in columns:
        found += [column, ","]
    return found[:-1]


def _quoted(table: pa.Table, column: str) -> Arrow:
    """A column of texts as JSON, each different one written once."""
    values: Arrow = table.column(column).combine_chunks()
    coded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    quoted = [encode_basestring(text) for text in coded.dictionary.to_pylist()]
    return pa.array(quoted, pa.string()).take(coded.indices).fill_null("null")


def _told(edition: Edition, settings: Playlists) -> Iterator[str]:
    if settings.command:
        try:
            subprocess.run(  # noqa: S603  what the owner configured
                [*shlex.split(settings.command), edition.id], check=True, timeout=HOOK_SECONDS
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            yield f"the edition is published, but playlists.command failed: {error}"
    if settings.webhook:
        measured = edition.manifest.quality.measured
        body = {"edition": edition.id, "release": edition.manifest.plan.release, "lists": measured["users"]}
        request = urllib.request.Request(  # noqa: S310  what the owner configured
            settings.webhook, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=HOOK_SECONDS):  # noqa: S310
                pass
        except (OSError, ValueError, urllib.error.URLError) as error:
            yield f"the edition is published, but playlists.webhook was not told: {error}"
