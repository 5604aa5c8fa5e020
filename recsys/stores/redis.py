"""User states and changes of items in Redis, Valkey or anything else that speaks their protocol.

Keys, with the release percent-encoded and the user id as UTF-8, whatever it holds:

    recsys:s:{u<user>}              state, shared by all releases
    recsys:v:<release>:{u<user>}    vector
    recsys:i:{u<user>}              interests, shared by all releases
    recsys:sealed:<release>         mark: how many vectors there were when the release was sealed
    recsys:{items}:mark             <epoch>-<n>: the number of the last change, in a store that was empty at <epoch>
    recsys:{items}:changes          hash: item id → its last change
    recsys:{items}:order            sorted set: item id → the number of its last change

What stands in braces is the hash tag of Redis Cluster, which therefore keeps a user's keys together, and those of
items; the letter before a user is there because an empty tag would not count as one.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from recsys.errors import StoreError
from recsys.settings import State
from recsys.stores import ItemChange, ItemChanges, Store, UserState, codec, connection

# A batch of put: enough to hide the round trip, little enough to hold in memory and not to keep others waiting.
BATCH_STATES = 512
BATCH_BYTES = 4 * 2**20
SCAN_COUNT = 1000
# How long one batch of a bulk job may take, in seconds; nobody is waiting for a page.
BULK_TIMEOUT = 30.0
# How long a change that somebody makes may take.
WRITE_TIMEOUT = 2.0
# Items whose changes are read at once: one may be long.
BATCH_ITEMS = 100
REST = 0.25

ITEM_KEYS = ("recsys:{items}:mark", "recsys:{items}:changes", "recsys:{items}:order")
# One script, so that no reader sees a mark without its changes.
CHANGE = """
local mark = redis.call('GET', KEYS[1])
local epoch, count = ARGV[1], 0
if mark then epoch, count = string.match(mark, '^(%w+)-(%d+)$') end
for at = 3, #ARGV, 2 do
  if ARGV[2] == 'all' or redis.call('HEXISTS', KEYS[2], ARGV[at]) == 0 then
    count = count + 1
    redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
    redis.call('ZADD', KEYS[3], count, ARGV[at])
  end
end
redis.call('SET', KEYS[1], epoch .. '-' .. count)
"""


class Breaker:
    """Keeps requests from waiting for a server that has just failed to answer.

    After a failure nothing is let through for ``rest`` seconds, then one request, whose outcome decides.
    ``clock``: seconds, monotonic.

    >>> now = 0.0
    >>> breaker = Breaker(0.25, clock=lambda: now)
    >>> breaker.failed()
    >>> breaker.allows()
    False
    >>> now = 0.3
    >>> breaker.allows(), breaker.allows()
    (True, False)
    >>> breaker.succeeded()
    >>> breaker.allows()
    True
    """

    def __init__(self, rest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rest, self._clock = rest, clock
        self._closed_until: float | None = None

    def allows(self) -> bool:
        """Whether a request may try; True makes it the one that does if the rest is over."""
        if self._closed_until is None:
            return True
        if self._clock() < self._closed_until:
            return False
        # the probe may never report back (its request was cancelled), so the next one comes after another rest
        self.failed()
        return True

    def failed(self) -> None:
        """The server did not answer."""
        self._closed_until = self._clock() + self._rest

    def succeeded(self) -> None:
        """The server answered."""
        self._closed_until = None


class RedisStore:
    """User states behind ``client``, which gives bytes and does not time out by itself.

    ``timeout``: seconds that :meth:`get` may take, connecting included. ``address``: how errors call the server.
    """

    def __init__(self, client: Redis, address: str, timeout: float, breaker: Breaker) -> None:
        self._client, self._address, self._timeout, self._breaker = client, address, timeout, breaker

    async def get(self, users: Sequence[str], release: str) -> list[UserState | None]:
        """The states of ``users``, in their order, with vectors of ``release``: one MGET."""
        if not users:
            return []
        vector_key = _vector_keys(release)
        keys = [key(user) for user in users for key in (_state_key, vector_key, _interests_key)]
        stored = await self._soon(self._client.mget, keys)
        if not (
            isinstance(stored, list)
            and len(stored) == len(keys)
            and all(value is None or isinstance(value, bytes) for value in stored)
        ):
            raise StoreError(
                f"{self._address} answered MGET of {len(keys)} keys with {stored!r:.80}, not with as many values: see"
                " that it is a Redis or Valkey server"
            )
        return [
            None if state is None and named is None else codec.decode(user, state, vector, named)
            for user, state, vector, named in zip(users, stored[::3], stored[1::3], stored[2::3], strict=True)
        ]

    async def put(self, states: Iterable[UserState], release: str) -> int:
        """Write states and their vectors under ``release``, a bounded batch at a time; how many were written.

        Each user's state and vector are written in one command; a failure leaves the batches before it written.
        """
        vector_key = _vector_keys(release)
        written = 0
        for batch in _batches(_pair(state, vector_key) for state in states):
            pipeline = self._client.pipeline(transaction=False)
            for state_key, state_bytes, key, vector in batch:
                if vector is None:
                    pipeline.execute_command("SET", state_key, state_bytes)
                    pipeline.execute_command("UNLINK", key)
                else:
                    pipeline.execute_command("MSET", state_key, state_bytes, key, vector)
            await self._answer(pipeline.execute(), BULK_TIMEOUT)
            written += len(batch)
        return written

    async def declare(self, interests: Mapping[str, Sequence[str]]) -> None:
        """Keep what users name as their interests."""
        pipeline = self._client.pipeline(transaction=False)
        for user, named in interests.items():
            if named:
                pipeline.execute_command("SET", _interests_key(user), codec.encode_interests(named))
            else:
                pipeline.execute_command("UNLINK", _interests_key(user))
        await self._answer(pipeline.execute(), WRITE_TIMEOUT)

    async def seal(self, release: str) -> None:
        """Mark that the states of every user have been written for ``release``; counts its vectors."""
        count = 0
        async for keys in self._vectors(release):
            count += len(keys)
        await self._answer(self._client.set(_mark(release), count), BULK_TIMEOUT)

    async def sealed(self, release: str) -> bool:
        """Whether the mark of ``release`` is there; it goes with everything else when the server is emptied."""
        return bool(await self._answer(self._client.exists(_mark(release)), BULK_TIMEOUT))

    async def forget(self, release: str) -> int:
        """Remove the vectors and the mark of ``release``, the mark first; how many vectors were removed."""
        await self._answer(self._client.unlink(_mark(release)), BULK_TIMEOUT)
        removed = 0
        async for keys in self._vectors(release):
            # one command a key, so that it also works where keys lie on several machines
            pipeline = self._client.pipeline(transaction=False)
            for key in keys:
                pipeline.execute_command("UNLINK", key)
            removed += sum(await self._answer(pipeline.execute(), BULK_TIMEOUT))
        return removed

    async def change_items(self, changes: Sequence[ItemChange], *, only_missing: bool = False) -> None:
        """Keep changes in their order, a bounded batch at a time."""
        epoch = secrets.token_hex(8)
        pairs = ((_encoded(change.item_id), codec.encode_item(change.description)) for change in changes)
        for batch in _batches(pairs):
            arguments = [epoch, "missing" if only_missing else "all", *(part for pair in batch for part in pair)]
            await self._answer(self._client.eval(CHANGE, len(ITEM_KEYS), *ITEM_KEYS, *arguments), WRITE_TIMEOUT)

    async def item_changes(self, since: str = "") -> ItemChanges:
        """What changed after a mark; one GET where nothing did."""
        mark_key, changes_key, order_key = ITEM_KEYS
        stored = await self._soon(self._client.get, mark_key)
        mark = "" if stored is None else str(stored, "ascii", "replace")
        if mark == since:
            return ItemChanges(mark, (), whole=not mark)
        (epoch, _, count), (now, _, _) = since.rpartition("-"), mark.rpartition("-")
        whole = epoch != now
        lowest = "-inf" if whole else f"({count}"
        ids = await self._answer(self._client.zrange(order_key, lowest, "+inf", byscore=True), BULK_TIMEOUT)
        changes = []
        for start in range(0, len(ids), BATCH_ITEMS):
            some = ids[start : start + BATCH_ITEMS]
            found = await self._answer(self._client.hmget(changes_key, some), BULK_TIMEOUT)
            names = [str(id_, "utf-8", "surrogatepass") for id_ in some]
            changes += [
                ItemChange(name, codec.decode_item(name, value))
                for name, value in zip(names, found, strict=True)
                if value is not None
            ]
        return ItemChanges(mark, tuple(changes), whole)

    async def ping(self) -> None:
        """Return if the server answers in time, StoreError if not."""
        await self._answer(self._client.ping(), self._timeout)

    async def _vectors(self, release: str) -> AsyncIterator[list[bytes]]:
        """The keys of the vectors of ``release``, a batch at a time, without stopping the server."""
        pattern = _vector_prefix(release) + b"*"
        cursor = 0
        while True:
            scan = self._client.scan(cursor, match=pattern, count=SCAN_COUNT)
            cursor, keys = await self._answer(scan, BULK_TIMEOUT)
            if keys:
                yield keys
            if not cursor:
                return

    async def _soon(self, command: Callable[[Any], Any], argument: Any) -> Any:
        """What the server answers to what a request waits for; not asked while it rests."""
        if not self._breaker.allows():
            raise StoreError(f"{self._address} did not answer a moment ago and is given {REST:g} s to come back")
        try:
            stored = await self._answer(command(argument), self._timeout)
        except _UnreachableError:
            self._breaker.failed()
            raise
        self._breaker.succeeded()
        return stored

    async def _answer(self, command: Any, timeout: float) -> Any:  # noqa: ASYNC109  the deadline is part of the message
        """What the server answers within ``timeout`` seconds, everything that can go wrong as a StoreError."""
        try:
            async with asyncio.timeout(timeout):
                return await command
        except TimeoutError as error:
            raise _UnreachableError(
                f"{self._address} did not answer within {1000 * timeout:g} ms: see that the server is not overloaded,"
                " or raise state.timeout_ms"
            ) from error
        except (RedisConnectionError, OSError) as error:
            raise _UnreachableError(
                f"{self._address} cannot be reached ({error}): start the server, or correct state.url"
            ) from error
        except RedisError as error:
            raise StoreError(
                f"{self._address} refused ({str(error)[:200]!r}): see the server's log and the rights of its user"
            ) from error


class _UnreachableError(StoreError):
    """The server could not be reached or did not answer in time: reason to let it rest."""


@asynccontextmanager
async def opened(state: State) -> AsyncIterator[Store]:
    """The store at ``state.url``: ``redis://``, ``rediss://`` or ``unix://``.

    Nothing is connected before the first command. SettingsError for an address that cannot be understood.
    """
    if state.url is None:
        raise ValueError("state.url is None: that is the embedded store")
    address, client = connection.safe_address(state.url), connection.client(state.url, "state.url")
    try:
        yield RedisStore(client, address, state.timeout_ms / 1000, Breaker(REST))
    finally:
        await client.aclose()


def _encoded(user: str) -> bytes:
    return user.encode("utf-8", "surrogatepass")


def _state_key(user: str) -> bytes:
    return b"recsys:s:{u" + _encoded(user) + b"}"


def _interests_key(user: str) -> bytes:
    return b"recsys:i:{u" + _encoded(user) + b"}"


def _vector_prefix(release: str) -> bytes:
    # percent-encoding leaves neither a brace, which would move the hash tag, nor a wildcard of SCAN
    return f"recsys:v:{quote(release, safe='', errors='surrogatepass')}:{{u".encode()


def _vector_keys(release: str) -> Callable[[str], bytes]:
    prefix = _vector_prefix(release)
    return lambda user: prefix + _encoded(user) + b"}"


def _mark(release: str) -> bytes:
    return f"recsys:sealed:{quote(release, safe='', errors='surrogatepass')}".encode()


Pair = tuple[bytes, bytes, bytes, bytes | None]
P = TypeVar("P", bound=tuple[bytes | None, ...])


def _pair(state: UserState, vector_key: Callable[[str], bytes]) -> Pair:
    """Key and value of the state, key and value of the vector."""
    vector = None if state.vector is None else codec.encode_vector(state.user, state.vector)
    return _state_key(state.user), codec.encode_state(state), vector_key(state.user), vector


def _batches(pairs: Iterable[P]) -> Iterator[list[P]]:
    """``pairs`` in lists of at most BATCH_STATES, closed once they hold BATCH_BYTES."""
    batch: list[P] = []
    size = 0
    for pair in pairs:
        batch.append(pair)
        size += sum(len(part) for part in pair if part is not None)
        if len(batch) >= BATCH_STATES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
