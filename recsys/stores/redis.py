"""User states and changes of items in Redis, Valkey or anything else that speaks their protocol.

Keys of users, with the release percent-encoded and the user id as UTF-8, whatever it holds; those of items are in
:mod:`recsys.stores.redis_items`:

    recsys:s:{u<user>}              state, shared by all releases
    recsys:w:{u<user>}              what was put before the user, shared by all releases
    recsys:v:<release>:{u<user>}    vector
    recsys:i:{u<user>}              interests, shared by all releases
    recsys:active                   sorted set: user id → when it was last swapped, unix seconds
    recsys:sealed:<release>         mark: how many vectors there were when the release was sealed

What stands in braces is the hash tag of Redis Cluster, which therefore keeps a user's keys together, and those of
items; the letter before a user is there because an empty tag would not count as one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from recsys.errors import StoreError
from recsys.sections import State
from recsys.stores import Store, Stored, UserState, codec, connection
from recsys.stores.redis_items import COUNTS, RedisItems, batches, decoded, encoded
from recsys.stores.server import BULK_TIMEOUT, REST, WRITE_TIMEOUT, Breaker, Server

SCAN_COUNT = 1000
ACTIVE = "recsys:active"
ACTIVE_SECONDS = 86_400
# One user whole or not at all, and only over what was read: state and impressions, then the vector.
SWAP = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] or (redis.call('GET', KEYS[2]) or '') ~= ARGV[2] then return 0 end
for at = 1, 3 do
  if ARGV[at + 2] == '' then redis.call('UNLINK', KEYS[at]) else redis.call('SET', KEYS[at], ARGV[at + 2]) end
end
return 1
"""
# Interests of version 2 begin with a head of 8 bytes and the stamp. Such a stamp is of hexadecimal digits.
DECLARE = """
local before = redis.call('GET', KEYS[1])
if before and string.byte(before, 3) == 2 and string.sub(before, 9, 32) >= string.sub(ARGV[1], 9, 32) then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""
SWAP_DIGEST = hashlib.sha1(SWAP.encode(), usedforsecurity=False).hexdigest()


class RedisStore(RedisItems):
    """User states on ``server`` beside its items."""

    async def get(self, users: Sequence[str], release: str, *, shown: bool = True) -> list[UserState | None]:
        """The states of ``users``, in their order, with vectors of ``release``: one MGET."""
        if not users:
            return []
        keys = _keys(users, release, shown=shown)
        stored = self._checked(await self._server.ask((b"MGET", *keys)), len(users), len(keys))
        return [codec.decode(user, *values) for user, values in zip(users, stored, strict=True)]

    async def load(self, users: Sequence[str], release: str) -> list[Stored]:
        """As :meth:`get`, each with the bytes of state and impressions as its token; patient."""
        found: list[Stored] = []
        for start in range(0, len(users), SCAN_COUNT):
            some = users[start : start + SCAN_COUNT]
            answer = await self._server.answer(self._server.client.mget(_keys(some, release)), BULK_TIMEOUT)
            for user, values in zip(some, self._checked(answer, len(some), len(_PARTS) * len(some)), strict=True):
                found.append(Stored(codec.decode(user, *values), (values[0] or b"", values[3] or b"")))
        return found

    def _checked(self, stored: Any, users: int, keys: int) -> list[tuple[bytes | None, ...]]:
        """What MGET gave of each of so many users, by so many keys; StoreError if it is not that."""
        if not (isinstance(stored, list) and len(stored) == keys and {*map(type, stored)} <= _STORED):
            raise StoreError(
                f"{self._server.address} answered MGET of {keys} keys with {stored!r:.80}, not with as"
                " many values: see that it is a Redis or Valkey server"
            )
        if users == 1:
            return [tuple(stored)]
        each = keys // users
        return list(zip(*(stored[part::each] for part in range(each)), strict=True))

    async def put(self, states: Iterable[UserState], release: str) -> int:
        """Write states and their vectors under ``release``, a bounded batch at a time; how many were written.

        What is written of a user is written in one command; a failure leaves the batches before it written.
        """
        vector_key = _vector_keys(release)
        written = 0
        for batch in batches(_parts(state, vector_key) for state in states):
            pipeline = self._server.client.pipeline(transaction=False)
            for parts in batch:
                pairs = list(zip(parts[::2], parts[1::2], strict=True))
                pipeline.execute_command("MSET", *(part for pair in pairs if pair[1] for part in pair))
                if gone := [key for key, value in pairs if not value]:
                    pipeline.execute_command("UNLINK", *gone)
            await self._server.answer(pipeline.execute(), BULK_TIMEOUT)
            written += len(batch)
        return written

    async def swap(self, changes: Sequence[tuple[UserState, Any]], release: str) -> list[bool]:
        """Write each state by one script, if what is stored is still what its token says; a round trip for a batch."""
        vector_key = _vector_keys(release)
        done: list[bool] = []
        for start in range(0, len(changes), SCAN_COUNT):
            some = changes[start : start + SCAN_COUNT]
            pipeline = self._server.client.pipeline(transaction=False)
            now = time.time()
            # First, so that whoever was written is sure to be there; and the script, which a restart forgets.
            pipeline.zadd(ACTIVE, {encoded(state.user): now for state, _ in some})
            pipeline.script_load(SWAP)
            for state, token in some:
                written = codec.written(state)
                keys = (_state_key(state.user), _shown_key(state.user), vector_key(state.user))
                values = (b"" if written.empty else written.state, written.shown, written.vector or b"")
                pipeline.evalsha(SWAP_DIGEST, 3, *keys, *token, *values)
            pipeline.zremrangebyscore(ACTIVE, "-inf", now - ACTIVE_SECONDS)
            done += map(bool, (await self._server.answer(pipeline.execute(), BULK_TIMEOUT))[2:-1])
        return done

    async def erase(self, users: Sequence[str]) -> Mapping[str, int]:
        """Take away every key of users; what was found."""
        named = {"states": _state_key, "impressions": _shown_key, "interests": _interests_key}
        counts = {"states": 0, "impressions": 0, "vectors": 0, "interests": 0, "active": 0}
        for user in users:
            for name, key in named.items():
                counts[name] += await self._server.answer(self._server.client.unlink(key(user)), BULK_TIMEOUT)
            async for keys in self._scanned(b"recsys:v:*:{u" + _escaped(encoded(user)) + b"}"):
                counts["vectors"] += await self._unlink(keys)
            counts["active"] += await self._server.answer(self._server.client.zrem(ACTIVE, encoded(user)), BULK_TIMEOUT)
        return counts

    async def active(self, since: float) -> list[str]:
        """The users that were swapped since a time."""
        command = self._server.client.zrange(ACTIVE, f"{since:.6f}", "+inf", byscore=True)
        return [decoded(user) for user in await self._server.answer(command, BULK_TIMEOUT)]

    async def users(self) -> AsyncIterator[list[str]]:
        """The ids of all users that have a state, without stopping the server."""
        before, after = len(_state_key("")) - 1, 1
        async for keys in self._scanned(_STATE + b"*"):
            yield [decoded(key[before:-after]) for key in keys]

    async def wipe(self) -> int:
        """Take away all states, impressions, vectors and counts; how many states there were."""
        count = 0
        for pattern in (b"recsys:s:{u*", b"recsys:w:{u*", b"recsys:v:*", b"recsys:sealed:*", COUNTS + b"*"):
            async for keys in self._scanned(pattern):
                gone = await self._unlink(keys)
                count += gone if pattern.startswith(b"recsys:s:") else 0
        await self._server.answer(self._server.client.unlink(ACTIVE), BULK_TIMEOUT)
        return count

    async def declare(self, interests: Mapping[str, Sequence[str]], stamp: str = "") -> None:
        """Keep what users name as their interests; also nothing, under a stamp, lest what was said before come back."""
        pipeline = self._server.client.pipeline(transaction=False)
        for user, named in interests.items():
            value = codec.encode_interests(named, stamp)
            if stamp:
                pipeline.eval(DECLARE, 1, _interests_key(user), value)
            elif named:
                pipeline.execute_command("SET", _interests_key(user), value)
            else:
                pipeline.execute_command("UNLINK", _interests_key(user))
        await self._server.answer(pipeline.execute(), WRITE_TIMEOUT)

    async def seal(self, release: str) -> None:
        """Mark that everybody has a vector under ``release``; counts its vectors."""
        count = 0
        async for keys in self._vectors(release):
            count += len(keys)
        await self._server.answer(self._server.client.set(_mark(release), count), BULK_TIMEOUT)

    async def sealed(self, release: str) -> bool:
        """Whether the mark of ``release`` is there; it goes with everything else when the server is emptied."""
        return bool(await self._server.answer(self._server.client.exists(_mark(release)), BULK_TIMEOUT))

    async def forget(self, release: str) -> int:
        """Remove the vectors and the mark of ``release``, the mark first; how many vectors were removed."""
        await self._server.answer(self._server.client.unlink(_mark(release)), BULK_TIMEOUT)
        removed = 0
        async for keys in self._vectors(release):
            removed += await self._unlink(keys)
        return removed

    async def ping(self) -> None:
        """Return if the server answers in time, StoreError if not."""
        await self._server.answer(self._server.client.ping(), self._server.timeout)

    def _vectors(self, release: str) -> AsyncIterator[list[bytes]]:
        """The keys of the vectors of ``release``, a batch at a time."""
        return self._scanned(_vector_prefix(release) + b"*")

    async def _scanned(self, pattern: bytes) -> AsyncIterator[list[bytes]]:
        """The keys of a pattern, a batch at a time, without stopping the server."""
        cursor = 0
        while True:
            scan = self._server.client.scan(cursor, match=pattern, count=SCAN_COUNT)
            cursor, keys = await self._server.answer(scan, BULK_TIMEOUT)
            if keys:
                yield keys
            if not cursor:
                return

    async def _unlink(self, keys: Sequence[bytes]) -> int:
        """Remove keys; how many there were."""
        # one command a key, so that it also works where keys lie on several machines
        pipeline = self._server.client.pipeline(transaction=False)
        for key in keys:
            pipeline.execute_command("UNLINK", key)
        return sum(await self._server.answer(pipeline.execute(), BULK_TIMEOUT))


@asynccontextmanager
async def opened(state: State) -> AsyncIterator[Store]:
    """The store at ``state.url``: ``redis://``, ``rediss://`` or ``unix://``.

    Nothing is connected before the first command. SettingsError for an address that cannot be understood.
    """
    if state.url is None:
        raise ValueError("state.url is None: that is the embedded store")
    client = connection.client(state.url, "state.url")
    server = Server(client, connection.safe_address(state.url), state.timeout_ms / 1000, Breaker(REST))
    try:
        yield RedisStore(server)
    finally:
        server.line.close()
        await client.aclose()


_STATE, _SHOWN, _INTERESTS = b"recsys:s:{u", b"recsys:w:{u", b"recsys:i:{u"


def _state_key(user: str) -> bytes:
    return _STATE + encoded(user) + b"}"


def _shown_key(user: str) -> bytes:
    return _SHOWN + encoded(user) + b"}"


def _interests_key(user: str) -> bytes:
    return _INTERESTS + encoded(user) + b"}"


@lru_cache(maxsize=16)
def _vector_prefix(release: str) -> bytes:
    # percent-encoding leaves neither a brace, which would move the hash tag, nor a wildcard of SCAN
    return f"recsys:v:{quote(release, safe='', errors='surrogatepass')}:{{u".encode()


def _vector_keys(release: str) -> Callable[[str], bytes]:
    prefix = _vector_prefix(release)
    return lambda user: prefix + encoded(user) + b"}"


def _mark(release: str) -> bytes:
    return f"recsys:sealed:{quote(release, safe='', errors='surrogatepass')}".encode()


_PARTS = ("state", "vector", "interests", "shown")
_STORED = frozenset({bytes, type(None)})


def _keys(users: Sequence[str], release: str, *, shown: bool = True) -> list[bytes]:
    """The keys of all parts of users, or of all but the last, one user after the other."""
    vectors = _vector_prefix(release)
    keys: list[bytes] = []
    for user in users:
        tag = encoded(user) + b"}"
        keys += (_STATE + tag, vectors + tag, _INTERESTS + tag)
        if shown:
            keys.append(_SHOWN + tag)
    return keys


def _parts(state: UserState, vector_key: Callable[[str], bytes]) -> tuple[bytes | None, ...]:
    """Key and value of the state, of its vector and of what was shown; no value for what is not there."""
    found = codec.written(state)
    user = state.user
    return _state_key(user), found.state, vector_key(user), found.vector, _shown_key(user), found.shown


def _escaped(pattern: bytes) -> bytes:
    """A text that SCAN takes literally."""
    return b"".join(b"\\" + bytes([byte]) if byte in b"*?[]^\\" else bytes([byte]) for byte in pattern)
