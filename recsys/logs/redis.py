"""A log as a stream of Redis or Valkey.

Keys, of one hash tag, so that Redis Cluster keeps them together:

    recsys:{log}:events          stream: field r, an encoded record
    recsys:{log}:dead:<group>    stream: fields p r n w, position, record, deliveries and reason of what was put aside

What is acknowledged is as safe as the server's append-only file. With ``appendfsync always`` nothing of it is lost.
With ``everysec`` the server answers before the file is written while it waits for the disk, which it bears for two
seconds: so much may be lost when it is killed, or the machine fails. Without an append-only file it is in memory only.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisError

from recsys.errors import LogError, LogFull, SettingsError, StoreError
from recsys.logs import Entry, EventLog, Status, entry_of
from recsys.logs.records import Record, encode, mentions
from recsys.settings import Settings
from recsys.stores import connection, embedded
from recsys.stores.line import Line

EVENTS = b"recsys:{log}:events"
DEAD = b"recsys:{log}:dead:"
FIELD = b"r"
# Entries that are read, acknowledged or taken out at once.
PAGE = 1000
# Of so many that wait longest it is told how long they wait.
OLDEST = 10_000
# Seconds that one answer may take; a reader that waits for records is given these beside.
TIMEOUT = 5.0
MISSING = re.compile("NOGROUP|no such key")

T = TypeVar("T")


class RedisLog:
    """The stream behind ``client``, which gives bytes and does not time out by itself.

    The client is the log's own: a reader that waits holds a connection, which no request may miss. ``address``: how
    errors call the server.
    """

    def __init__(self, client: Redis, address: str, claim_seconds: float) -> None:
        self._client, self._address, self._claim_seconds = client, address, claim_seconds
        self._line = Line(client.connection_pool)

    def close(self) -> None:
        """Hang up; the client is whoever's who made it."""
        self._line.close()

    async def append(self, records: Sequence[Record]) -> list[str]:
        """Add records in one transaction, which a server without room refuses as a whole."""
        if not records:
            return []
        added = [(b"XADD", EVENTS, b"*", FIELD, encode(record)) for record in records]
        if len(added) == 1:
            return [_text(position) for position in await self._answer(self._line.ask_all(added, again=False))]
        whole = [(b"MULTI",), *added, (b"EXEC",)]
        *_, positions = await self._answer(self._line.ask_all(whole, again=False))
        for position in positions:
            if isinstance(position, Exception):
                raise LogError(f"{self._address} refused ({str(position)[:200]!r}): see what its stream of events is")
        return [_text(position) for position in positions]

    async def read(self, group: str, reader: str, most: int, wait: float) -> list[Entry]:
        """What others left for too long, then what is new, and if there is neither, what comes meanwhile."""
        until = time.monotonic() + wait
        while True:
            found = await self._claim(group, reader, most)
            # a reader that waits looks in between for what others have left
            left = 0.0 if found else min(max(until - time.monotonic(), 0.0), self._claim_seconds)
            if len(found) < most:
                found += await self._fresh(group, reader, most - len(found), left)
            if found or time.monotonic() >= until:
                return found

    async def acknowledge(self, group: str, positions: Sequence[str]) -> None:
        """Strike positions from what the group was given."""
        for some in _pages(positions):
            await self._answer(self._client.xack(EVENTS, group.encode(), *some))

    async def bury(self, group: str, entry: Entry, reason: str) -> None:
        """Move an entry to the dead of its group, in one transaction."""
        stored = entry.stored if entry.record is None else encode(entry.record)
        pipeline = self._client.pipeline(transaction=True)
        pipeline.xadd(
            DEAD + group.encode(),
            {
                b"p": entry.position,
                FIELD: stored,
                b"n": entry.deliveries,
                b"w": reason.encode("utf-8", "surrogatepass"),
            },
        )
        pipeline.xack(EVENTS, group.encode(), entry.position)
        await self._answer(pipeline.execute())

    async def dead(self, group: str) -> AsyncIterator[tuple[Entry, str]]:
        """What the group put aside, oldest first."""
        async for _, told in self._pages_of(DEAD + group.encode()):
            entry = entry_of(_text(told[b"p"]), told[FIELD], int(told[b"n"]))
            yield entry, told[b"w"].decode("utf-8", "surrogatepass")

    async def replay(self) -> AsyncIterator[Entry]:
        """Everything in the stream, a page at a time."""
        async for position, told in self._pages_of(EVENTS):
            yield _entry(position, told)

    async def status(self, group: str) -> Status:
        """How far the group has come."""
        about = await self._about(group)
        pipeline = self._client.pipeline(transaction=False)
        pipeline.xinfo_stream(EVENTS)
        pipeline.xlen(DEAD + group.encode())
        stream, dead = await self._answer(pipeline.execute())
        length, lag = stream["length"], about["lag"]
        if lag is None or stream["max-deleted-entry-id"] != b"0-0":
            # entries were taken out of the middle, which the server's own count does not survive
            lag = len([place async for place, _ in self._pages_of(EVENTS, about["last-delivered-id"])])
        return Status(length, min(lag, length), about["pending"], dead, await self._oldest(group))

    async def trim(self, groups: Sequence[str]) -> int:
        """Cut off what stands before whatever any of the groups was not given, or has not acknowledged."""
        until: list[tuple[int, int]] = []
        for group in groups:
            about = await self._about(group)
            milliseconds, count = _place(about["last-delivered-id"])
            until.append((milliseconds, count + 1))
            if about["pending"]:
                summary = await self._answer(self._client.xpending(EVENTS, group.encode()))
                until += [_place(summary["min"])] if summary["min"] is not None else []
        if not until:
            return 0
        milliseconds, count = min(until)
        return int(await self._answer(self._client.xtrim(EVENTS, minid=f"{milliseconds}-{count}", approximate=False)))

    async def erase(self, user: str) -> int:
        """Look through the stream and the dead for records that mention ``user``, and take them out."""
        groups = [about["name"] for about in await self._groups()]
        gone = 0
        for key in (EVENTS, *(DEAD + group for group in groups)):
            found = [place async for place, told in self._pages_of(key) if mentions(told.get(FIELD, b""), user)]
            for some in _pages(found):
                pipeline = self._client.pipeline(transaction=True)
                pipeline.xdel(key, *some)
                if key == EVENTS:
                    for group in groups:
                        pipeline.xack(EVENTS, group, *some)
                gone += (await self._answer(pipeline.execute()))[0]
        return gone

    # Groups

    async def _claim(self, group: str, reader: str, most: int) -> list[Entry]:
        """What was given to somebody too long ago; it is given to ``reader`` by this."""
        patience = round(1000 * self._claim_seconds)
        names = (EVENTS, group.encode(), reader.encode())
        _, found, *_ = await self._in_group(group, lambda: self._client.xautoclaim(*names, patience, count=most))
        if not found:
            return []
        pipeline = self._client.pipeline(transaction=False)
        for position, _ in found:
            pipeline.xpending_range(EVENTS, group.encode(), position, position, 1)
        waiting = await self._answer(pipeline.execute())
        # one that was acknowledged meanwhile waits no more
        return [
            _entry(position, told, about[0]["times_delivered"])
            for (position, told), about in zip(found, waiting, strict=True)
            if about
        ]

    async def _fresh(self, group: str, reader: str, most: int, wait: float) -> list[Entry]:
        """What no reader of the group was given yet."""
        block = max(round(1000 * wait), 1) if wait > 0 else None
        new: dict[bytes | str | memoryview, int | bytes | str | memoryview] = {EVENTS: ">"}
        found = await self._in_group(
            group, lambda: self._client.xreadgroup(group, reader, new, count=most, block=block), TIMEOUT + wait
        )
        return [_entry(position, told) for _, entries in found or () for position, told in entries]

    async def _about(self, group: str) -> dict[str, Any]:
        """What the server says of a group, which exists from then on."""
        for _ in range(2):
            for about in await self._groups():
                if about["name"] == group.encode():
                    return about
            await self._create(group)
        raise LogError(f"{self._address} forgot the group {group!r} at once: see that nobody empties the server")

    async def _groups(self) -> list[dict[str, Any]]:
        try:
            return list(await self._answer(self._client.xinfo_groups(EVENTS)))
        except _MissingError:
            return []

    async def _create(self, group: str) -> None:
        """Make a group that begins with the oldest record, unless it is there."""
        try:
            await self._answer(self._client.xgroup_create(EVENTS, group.encode(), "0", mkstream=True))
        except _ThereError:
            return

    async def _in_group(self, group: str, command: Callable[[], Awaitable[Any]], timeout: float = TIMEOUT) -> Any:  # noqa: ASYNC109
        """What the server answers to ``command``, for which the group is made where it is missing."""
        try:
            return await self._answer(command(), timeout)
        except _MissingError:
            await self._create(group)
            return await self._answer(command(), timeout)

    async def _oldest(self, group: str) -> float:
        """Seconds since that one was given which waits longest, of those with the lowest positions."""
        longest, after, seen = 0, "-", 0
        while seen < OLDEST:
            some = await self._answer(self._client.xpending_range(EVENTS, group.encode(), after, "+", PAGE))
            longest = max([longest, *(about["time_since_delivered"] for about in some)])
            seen += len(some)
            if len(some) < PAGE:
                break
            after = "(" + _text(some[-1]["message_id"])
        return longest / 1000

    # The server

    async def _pages_of(self, key: bytes, after: bytes = b"0-0") -> AsyncIterator[tuple[bytes, dict[bytes, bytes]]]:
        """The entries of a stream behind ``after``, read a page at a time."""
        while page := await self._answer(self._client.xrange(key, b"(" + after, b"+", PAGE)):
            for position, told in page:
                yield position, told
            after = page[-1][0]

    async def _answer(self, command: Any, timeout: float = TIMEOUT) -> Any:  # noqa: ASYNC109  the deadline is part of the message
        """What the server answers within ``timeout`` seconds, everything that can go wrong as a LogError."""
        try:
            async with asyncio.timeout(timeout):
                return await command
        except TimeoutError as error:
            raise LogError(
                f"{self._address} did not answer within {timeout:g} s: see that the server is not overloaded"
            ) from error
        except OutOfMemoryError as error:
            raise LogFull(
                f"{self._address} has no memory for another record: archive and trim the log, or raise its maxmemory"
            ) from error
        except (RedisConnectionError, OSError) as error:
            raise LogError(
                f"{self._address} cannot be reached ({error}): start the server, or correct log.url"
            ) from error
        except RedisError as error:
            text = str(error)
            kind = _MissingError if MISSING.search(text) else _ThereError if "BUSYGROUP" in text else LogError
            raise kind(
                f"{self._address} refused ({text[:200]!r}): see the server's log and the rights of its user"
            ) from error


class _MissingError(LogError):
    """There is no such stream or group."""


class _ThereError(LogError):
    """There is such a group already."""


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[EventLog]:
    """The stream on the server of ``log.url``; without one, on the server of the user states.

    SettingsError for an address that cannot be understood; the embedded server is started where that is used.
    """
    setting, url = ("log.url", settings.log.url) if settings.log.url else ("state.url", settings.state.url)
    if url is not None and url.startswith("memory:"):
        raise SettingsError("state.url memory:// can hold no log: say in log.url where it is, as in file:var/events")
    server = embedded.EmbeddedServer(settings.state) if url is None else None
    if server is not None:
        try:
            await asyncio.to_thread(server.start)
        except StoreError as error:
            raise LogError(str(error)) from error
        url = server.url
    try:
        client = connection.client(str(url), setting)
        log = RedisLog(client, connection.safe_address(str(url)), settings.log.claim_seconds)
        try:
            yield log
        finally:
            log.close()
            await client.aclose()
    finally:
        if server is not None:
            await asyncio.to_thread(server.stop)


# Values


def _entry(position: bytes, told: Mapping[bytes, bytes], deliveries: int = 1) -> Entry:
    stored = told.get(FIELD)
    if stored is None:
        return Entry(_text(position), None, repr(dict(told)).encode(), deliveries)
    return entry_of(_text(position), stored, deliveries)


def _text(position: bytes) -> str:
    return position.decode("ascii")


def _place(position: bytes) -> tuple[int, int]:
    milliseconds, _, count = position.partition(b"-")
    return int(milliseconds), int(count)


def _pages(parts: Sequence[T]) -> Iterator[Sequence[T]]:
    return (parts[start : start + PAGE] for start in range(0, len(parts), PAGE))
