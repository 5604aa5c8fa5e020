"""One connection to a Redis or Valkey server that all requests of a process ask at once.

A pool takes a connection out, sends, waits and puts it back, in 80 µs of a request's time; here a question is written
behind the others, and the answers come in the order of the questions: 20 µs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, OutOfMemoryError, RedisError, ResponseError

MOST = 10_000
"""Questions that wait for their answers."""
ERRORS: dict[str, type[RedisError]] = {
    # of a server that has no data to answer from yet
    "LOADING": RedisConnectionError,
    "MASTERDOWN": RedisConnectionError,
    "OOM": OutOfMemoryError,
}
"""What an answer that is an error means, by its first word; any other is a ResponseError."""


class Line:
    """Asks over a connection of the pool's kind that is made when it is first needed.

    The library connects, with password, database and TLS; then the connection is this one's alone. Who gives up waiting
    takes it down if nothing at all has come since they asked, as when the other machine is gone. ``timeout``: seconds
    that :meth:`ask` waits; for ever without.
    """

    def __init__(self, pool: ConnectionPool, timeout: float | None = None) -> None:
        self._pool, self._timeout, self._connecting = pool, timeout, asyncio.Lock()
        self._wire: _Wire | None = None

    async def ask(self, command: Sequence[bytes]) -> Any:
        """The answer to one command, within the time, connecting included; TimeoutError after it.

        The library's errors: of the connection, or of what the server refuses.
        """
        end = None if self._timeout is None else asyncio.get_running_loop().time() + self._timeout
        return (await self.ask_all((command,), end=end))[0]

    async def ask_all(
        self, commands: Sequence[Sequence[bytes]], *, again: bool = True, end: float | None = None
    ) -> list[Any]:
        """The answers to commands that are sent at once, 1 to :data:`MOST`; errors as of :meth:`ask`.

        ``again``: whether they are asked once more if the connection is lost meanwhile: not what must be done once.
        ``end``: until when, by the clock of the loop; for ever without.
        """
        if (wire := self._wire) is not None and not wire.closed:
            try:
                return await wire.ask(commands, end)
            except RedisConnectionError:
                if not again:
                    raise
                # it has been closed since its last use, perhaps
        async with asyncio.timeout_at(end):
            return await (await self._connected()).ask(commands)

    def close(self) -> None:
        """Hang up."""
        if self._wire is not None:
            self._wire.hang_up()

    async def _connected(self) -> _Wire:
        async with self._connecting:
            if self._wire is None or self._wire.closed:
                connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
                try:
                    await connection.connect()
                    self._wire = _Wire(connection)
                except BaseException:
                    await connection.disconnect(nowait=True)
                    raise
            return self._wire


class _Wire(asyncio.Protocol):
    """What is sent and heard on a connection that the library has made."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._reader = hiredis.Reader()
        # Errors are results too: nobody is left to hear of those behind the first.
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._heard, self.closed = 0, False
        # Until when somebody waits, in the order in which they asked, and what had been heard then: one watch over all,
        # for a timer of each one's own takes 11 µs of a request.
        self._ends: deque[tuple[float, asyncio.Future[Any], int]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        # What the library reads with makes a task wait for each answer; a protocol is told of it.
        library: Any = connection
        self._writer, library._writer, library._reader = library._writer, None, None  # noqa: SLF001
        self._transport: asyncio.Transport = self._writer.transport
        self._transport.set_protocol(self)

    async def ask(self, commands: Sequence[Sequence[bytes]], end: float | None = None) -> list[Any]:
        """The answers to commands, which come in their order; the first error among them is raised.

        ``end``: when TimeoutError is, by the clock of the loop; who asks later waits longer.
        """
        if self.closed or len(self._waiting) + len(commands) > MOST:
            raise RedisConnectionError("the connection is closed" if self.closed else "too many wait for an answer")
        loop, heard = asyncio.get_running_loop(), self._heard
        answers = [loop.create_future() for _ in commands]
        self._waiting.extend(answers)
        self._transport.write(b"".join([hiredis.pack_command(cast("Any", tuple(command))) for command in commands]))
        if end is not None:
            self._ends.append((end, answers[-1], heard))
            if self._watch is None:
                self._watch = loop.call_at(end, self._look)
        try:
            await answers[-1]
        except asyncio.CancelledError:
            self._given_up(heard)
            raise
        found = [answer.result() for answer in answers]
        for each in found:
            if isinstance(each, RedisError):
                raise each
        return found

    def hang_up(self) -> None:
        """Close the connection."""
        self._close(RedisConnectionError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        """Give the answers that are whole to those who wait."""
        self._reader.feed(data)
        try:
            while self._waiting and (answer := self._reader.gets()) is not False:
                self._heard += 1
                waiting = self._waiting.popleft()
                if waiting.done():
                    continue  # whoever asked has given up
                if isinstance(answer, hiredis.ReplyError):
                    answer = ERRORS.get(str(answer).partition(" ")[0], ResponseError)(str(answer))
                waiting.set_result(answer)
        except hiredis.ProtocolError as error:
            self._close(InvalidResponse(str(error)))

    def connection_lost(self, error: Exception | None) -> None:
        """Tell those who wait."""
        self._close(RedisConnectionError("the server closed the connection" if error is None else str(error)))

    def _look(self) -> None:
        """Tell those whose time is over, and come again when the next one's is."""
        loop, self._watch = asyncio.get_running_loop(), None
        while self._ends:
            end, answer, heard = self._ends[0]
            if not answer.done():
                if end > loop.time():
                    self._watch = loop.call_at(end, self._look)
                    return
                answer.set_exception(TimeoutError())
                self._given_up(heard)
            self._ends.popleft()

    def _given_up(self, heard: int) -> None:
        """Somebody waits no longer who asked when so much had been heard."""
        if self._heard == heard:
            self._close(RedisConnectionError("nothing came over the connection for too long"))

    def _close(self, error: RedisError) -> None:
        self.closed = True
        # What could not be sent yet would keep it open.
        (self._transport.abort if self._transport.get_write_buffer_size() else self._transport.close)()
        waiting, self._waiting = self._waiting, deque()
        for each in waiting:
            if not each.done():
                each.set_result(error)
