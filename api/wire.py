"""HTTP as uvicorn speaks it, but that an answer is sent in one piece, and some are made before the app is asked."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

if TYPE_CHECKING:
    from api.direct import Ahead

AHEAD = "ahead"
"""What an app's lifespan calls, in the state that it yields, what answers before the app does."""


class Whole(HttpToolsProtocol):
    """A connection on which an answer that is there at once is one piece: who asked wakes once, not twice.

    What the app's :class:`~api.direct.Ahead` takes does not go through the app: its layers, each of which is called for
    the request and for both parts of its answer, take as long as a round trip to the store.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Speak over it."""
        super().connection_made(cast("asyncio.Transport", Together(transport)))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        ahead: Ahead | None = self.app_state.get(AHEAD)
        if ahead is None or cycle.waiting_for_100_continue or not ahead.takes(cast("Any", cycle.scope)):
            super()._start_asgi_task(cycle, app)
            return

        async def first(scope: Any, receive: Any, send: Any) -> None:
            start = time.perf_counter()
            response = await ahead(scope, receive)
            if response is None:
                await app(scope, receive, send)
                return
            whole = await self._written(cycle, response)
            if not whole:
                await response(scope, receive, send)
            ahead.sent(scope, response, time.perf_counter() - start)
            if whole and response.background is not None:
                await response.background()

        super()._start_asgi_task(cycle, first)

    async def _written(self, cycle: RequestResponseCycle, response: Response) -> bool:
        """Send an answer; False where it is none of a length that is known."""
        headers = [*self.server_state.default_headers, *response.raw_headers]
        if not any(name == b"content-length" for name, _ in response.raw_headers):
            return False
        if not cycle.keep_alive:
            headers.append((b"connection", b"close"))
        head = b"".join([STATUS_LINE[response.status_code], *[b"%b: %b\r\n" % header for header in headers], b"\r\n"])
        if not head.count(b"\r") == head.count(b"\n") == len(headers) + 2:
            raise ValueError("a header must be one line")
        if self.flow.write_paused and not cycle.disconnected:
            await self.flow.drain()
        cycle.response_started = True
        if not cycle.disconnected:
            cast("Together", self.transport).write_whole(head + response.body)
            cycle.response_complete = True
            cycle.message_event.set()
            if not cycle.keep_alive:
                self.transport.close()
            cycle.on_response()
        return True


class Together:
    """``transport``, but that the head of an answer waits for what is written next, in the same turn of the loop.

    Laws: the same bytes in the same order; none waits longer than until the loop's next turn, nor when it is closed.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._loop, self._head = transport, asyncio.get_running_loop(), b""

    def write(self, data: bytes) -> None:
        """Send, or keep it if it is a head."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/"):
            self._head = data
            self._loop.call_soon(self._send_head)
            return
        self._transport.write(data)

    def write_whole(self, data: bytes) -> None:
        """Send what nothing comes behind."""
        self._send_head()
        self._transport.write(data)

    def close(self) -> None:
        """Close the connection once everything was sent."""
        self._send_head()
        self._transport.close()

    def _send_head(self) -> None:
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():
            self._transport.write(head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
