"""A Redis or Valkey server that is asked with a deadline: whatever goes wrong is a StoreError, and in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisError

from recsys.errors import StoreError
from recsys.stores.line import Line

# How long a server is left alone after it failed to answer, in seconds.
REST = 0.25
# How long one batch of a bulk job may take, in seconds; nobody is waiting for a page.
BULK_TIMEOUT = 30.0
# How long a change that somebody makes may take.
WRITE_TIMEOUT = 2.0


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


class Server:
    """What answers behind ``client``, which gives bytes and does not time out by itself; ``line`` asks it fastest.

    ``timeout``: seconds that what a request waits for may take, connecting included. ``address``: how errors call it.
    """

    def __init__(self, client: Redis, address: str, timeout: float, breaker: Breaker) -> None:
        self.client, self.address, self.timeout, self._breaker = client, address, timeout, breaker
        self.line = Line(client.connection_pool, timeout)

    async def ask(self, command: Sequence[bytes]) -> Any:
        """What the server answers to a command that a request waits for; not asked while it rests."""
        if not self._breaker.allows():
            raise StoreError(f"{self.address} did not answer a moment ago and is given {REST:g} s to come back")
        try:
            stored = await self.line.ask(command)
        except (OSError, RedisError) as error:
            meant = self._meant(error, self.timeout)
            if isinstance(meant, UnreachableError):
                self._breaker.failed()
            raise meant from error
        self._breaker.succeeded()
        return stored

    async def answer(self, command: Any, timeout: float) -> Any:  # noqa: ASYNC109  the deadline is part of the message
        """What the server answers within ``timeout`` seconds, everything that can go wrong as a StoreError."""
        try:
            async with asyncio.timeout(timeout):
                return await command
        except (OSError, RedisError) as error:
            raise self._meant(error, timeout) from error

    def _meant(self, error: OSError | RedisError, timeout: float) -> StoreError:
        """What went wrong, and what to do about it."""
        if isinstance(error, TimeoutError):
            return UnreachableError(
                f"{self.address} did not answer within {1000 * timeout:g} ms: see that the server is not overloaded,"
                " or raise state.timeout_ms"
            )
        if isinstance(error, RedisConnectionError | OSError):
            return UnreachableError(
                f"{self.address} cannot be reached ({error}): start the server, or correct state.url"
            )
        if isinstance(error, OutOfMemoryError):
            return StoreError(
                f"{self.address} has no room: give it more memory (maxmemory), or take old releases or other keys out"
            )
        return StoreError(
            f"{self.address} refused ({str(error)[:200]!r}): see the server's log and the rights of its user"
        )


class UnreachableError(StoreError):
    """The server could not be reached or did not answer in time: reason to let it rest."""
