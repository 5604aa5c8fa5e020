"""Answers in one piece: the same bytes as uvicorn's own connection sends, in fewer writes."""

import asyncio
import socket
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse

from api.wire import Together, Whole

ASKED = {
    "at once": b"GET /whole HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a head alone": b"HEAD /whole HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "piece by piece": b"GET /pieces HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "nothing": b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "two after each other": b"GET /whole HTTP/1.1\r\nHost: x\r\n\r\nGET /pieces HTTP/1.1\r\nHost: x\r\n"
    b"Connection: close\r\n\r\n",
    "nonsense": b"nonsense\r\n\r\n",
}


def app() -> FastAPI:
    made = FastAPI()

    @made.api_route("/whole", methods=["GET", "HEAD"])
    async def whole() -> Response:
        return Response(b"HTTP/1.1 is what it begins with too")

    @made.get("/pieces")
    async def pieces() -> StreamingResponse:
        async def some() -> Iterator[bytes]:
            for piece in (b"HTTP/", b"1.1 ", b"200"):
                yield piece
                await asyncio.sleep(0.01)

        return StreamingResponse(some())

    @made.get("/nothing")
    async def nothing() -> Response:
        return Response(status_code=204)

    return made


async def answers(**options: object) -> dict[str, bytes]:
    """What comes over a connection for each of ASKED, up to its end."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        server = uvicorn.Server(uvicorn.Config(app(), log_level="critical", date_header=False, **options))
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.01)
        found = {}
        for name, said in ASKED.items():
            reader, writer = await asyncio.open_connection(*bound.getsockname())
            writer.write(said)
            found[name] = await reader.read()
            writer.close()
        server.should_exit = True
        await serving
        return found


def test_the_same_bytes_come_as_over_a_connection_of_uvicorns_own():
    plain, ours = asyncio.run(answers()), asyncio.run(answers(http=Whole))
    assert ours == plain
    assert ours["at once"].endswith(b"HTTP/1.1 is what it begins with too")


class Recorded:
    """Where bytes would go."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


@pytest.mark.parametrize(
    ("story", "writes"),
    [
        (lambda wire: [wire.write(b"HTTP/1.1 200\r\n\r\n"), wire.write(b"body")], [b"HTTP/1.1 200\r\n\r\nbody"]),
        (lambda wire: [wire.write(b"HTTP/1.1 200\r\n\r\n")], [b"HTTP/1.1 200\r\n\r\n"]),
        (lambda wire: [wire.write(b"HTTP/1.1 204\r\n\r\n"), wire.close()], [b"HTTP/1.1 204\r\n\r\n"]),
        (lambda wire: [wire.write(b"HTTP/1.1 204\r\n\r\n"), wire.abort()], []),
        (lambda wire: [wire.write(b"body"), wire.write(b"more")], [b"body", b"more"]),
    ],
)
def test_a_head_waits_for_what_comes_next_and_no_longer_than_a_turn(story, writes):
    async def told() -> list[bytes]:
        recorded = Recorded()
        story(Together(recorded))
        await asyncio.sleep(0)
        return recorded.writes

    assert asyncio.run(told()) == writes
