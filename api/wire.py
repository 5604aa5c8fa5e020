"""HTTP as uvicorn speaks it, but that an answer's head and the beginning of its body are sent together."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Whole(HttpToolsProtocol):
    """A connection on which an answer that is there at once is one piece: who asked wakes once, not twice."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Speak over it."""
        super().connection_made(cast("asyncio.Transport", Together(transport)))


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
