"""Routes that read their parameters in one step, against FastAPI's own over the same function."""

import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import parse_qsl

import httpx
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI, Header, HTTPException, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json
from starlette.background import BackgroundTask

from api.direct import Ahead, Direct, _pairs
from api.metrics import METRICS
from api.problems import Waiting
from api.wire import AHEAD, Whole

ROUTES = {"/plain": {}, "/direct": {"route_class": Direct}}


def app():
    app = FastAPI()
    for prefix, options in ROUTES.items():
        router = APIRouter(prefix=prefix, **options)

        @router.get("/lists/{name:path}")
        async def lists(
            request: Request,
            name: Annotated[str, Path(min_length=2)],
            user_id: Annotated[str, Query(min_length=1, max_length=3)],
            k: Annotated[int, Query(ge=1, le=50)] = 20,
            filter_: Annotated[list[Annotated[str, Query(max_length=3)]] | None, Query(alias="filter")] = None,
            explain: Annotated[bool, Query()] = False,
        ) -> Response:
            assert request.path_params == {"name": name}
            return Response(to_json([name, user_id, k, filter_, explain]), media_type="application/json")

        @router.get("/said")
        async def said(k: int, x_name: Annotated[str, Header()] = "") -> dict[str, Any]:
            return {"k": k, "name": x_name}

        app.include_router(router)
    return app


APP = app()


@pytest.fixture(scope="module")
def client():
    with TestClient(APP) as client:
        yield client


def answers(client, path, query):
    found = []
    for prefix in ROUTES:
        answer = client.get(f"{prefix}{path}", params=query)
        found.append((answer.status_code, answer.text))
    return found


NAMES = st.sampled_from(["user_id", "k", "filter", "filter_", "explain", "name", "other"])
VALUES = st.sampled_from(["", "u", "abc", "long text", "0", "7", "51", "7.0", "true", "no", "é&=", "+ "])


@given(name=st.sampled_from(["ab", "a", "a/b c"]), query=st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_it_answers_as_the_plain_route_does(client, name, query):
    plain, direct = answers(client, f"/lists/{name}", [("user_id", "u"), *query])
    assert direct == plain
    plain, direct = answers(client, f"/lists/{name}", query)
    assert direct == plain


@given(st.text(st.sampled_from("a=&%+2;?é"), max_size=12))
def test_a_query_is_read_as_the_library_reads_it(query):
    assert _pairs(query) == parse_qsl(query, keep_blank_values=True)


def test_it_reads_in_one_step_what_it_can_and_leaves_the_rest_to_the_plain_route(client):
    handlers = {route.path: route.get_route_handler().__qualname__ for route in _routes(Direct)}
    assert "Direct" in handlers["/direct/lists/{name:path}"]
    assert "Direct" not in handlers["/direct/said"]
    plain, direct = answers(client, "/said", {"k": "3"})
    assert direct == plain == (200, '{"k":3,"name":""}')


def test_what_is_wrong_is_said_of_each_parameter(client):
    plain, direct = answers(client, "/lists/a", {"k": "0", "explain": "perhaps"})
    assert direct == plain
    assert direct[0] == 422
    assert [word in direct[1] for word in ("user_id", '"k"', "explain", "name")] == [True] * 4


class Served:
    """An app over a connection of our own, answered ahead or not; ``told``: what went through the app."""

    def __init__(self, *, ahead: bool, most: int = 10) -> None:
        self.told: list[str] = []
        self.waiting = Waiting(most)
        router = APIRouter(route_class=Direct)

        @router.get("/twice")
        @router.post("/twice")
        async def twice(request: Request, k: Annotated[int, Query(ge=0, le=50)] = 20) -> Response:
            if k == 7:
                raise HTTPException(404, "seven")
            if k == 8:
                raise RuntimeError("eight")
            if k == 9:
                return Response(status_code=204)
            if k == 10:
                return StreamingResponse(iter(["a", "b"]))
            if k == 11:
                return Response("eleven", headers={"x-said": "two\nlines"})
            return Response(f"{request.method} {2 * k} {request.app.title}", background=BackgroundTask(self._done, k))

        @router.get("/lists/{name}")
        async def lists(name: str) -> Response:
            return Response(name)

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
            yield {AHEAD: Ahead(app, router.routes, self.waiting)} if ahead else {}

        app = FastAPI(lifespan=lifespan)
        app.include_router(router)

        @app.middleware("http")
        async def tell(request: Request, call_next: Any) -> Response:
            self.told.append(f"{request.method} {request.url.path}?{request.url.query}")
            return await call_next(request)

        self.done: list[int] = []
        self.app = app

    async def _done(self, k: int) -> None:
        self.done.append(k)

    def __enter__(self) -> httpx.Client:
        self._bound = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(self.app, log_level="critical", date_header=False, http=Whole)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._bound]})
        self._thread.start()
        host, port = self._bound.getsockname()
        self._client = httpx.Client(base_url=f"http://{host}:{port}")
        while not self._server.started:
            time.sleep(0.01)
        return self._client

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._server.should_exit = True
        self._thread.join()
        self._bound.close()


@pytest.fixture(scope="module")
def pair():
    """One app as it is, and one whose routes are answered ahead."""
    with Served(ahead=False) as plain, Served(ahead=True) as ahead:
        yield plain, ahead


@given(
    method=st.sampled_from(["GET", "POST", "HEAD"]),
    path=st.sampled_from(["/twice", "/twice/", "/lists/a", "/none"]),
    query=st.lists(
        st.tuples(st.just("k"), st.sampled_from(["0", "7", "8", "9", "10", "50", "51", "x", ""])), max_size=2
    ),
    body=st.sampled_from([b"", b"some"]),
    close=st.booleans(),
)
def test_what_is_answered_ahead_is_what_the_app_answers(pair, method, path, query, body, close):
    headers = {"connection": "close"} if close else {}
    plain, ahead = (client.request(method, path, params=query, content=body, headers=headers) for client in pair)
    found = [(each.status_code, each.text, sorted(each.headers.items())) for each in (plain, ahead)]
    for place in (0, 1):  # a redirection names its own server
        found[place] = (*found[place][:2], [(name, v) for name, v in found[place][2] if name != "location"])
    assert found[1] == found[0]


def test_only_what_is_in_order_is_answered_ahead_and_counted_like_the_rest():
    served = Served(ahead=True, most=1)
    counter = METRICS.requests.labels("/twice", "200")
    before = counter._value.get()
    with served as client:
        assert client.get("/twice", params={"k": 4}).text == "GET 8 FastAPI"
        assert client.get("/twice", params={"k": 5}).text == "GET 10 FastAPI"
        assert (served.told, served.done) == ([], [4, 5])
        assert counter._value.get() - before == 2
        assert client.get("/twice", params={"k": 11}).status_code == 500, "a header is one line"
        assert client.get("/twice", params={"k": -1}).status_code == 422
        assert client.request("GET", "/twice", params={"k": 3}, content=b"body").text == "GET 6 FastAPI"
        with served.waiting:  # as many as may be
            assert client.get("/twice", params={"k": 6}).text == "GET 12 FastAPI"
    assert served.told == ["GET /twice?k=-1", "GET /twice?k=3", "GET /twice?k=6"]


def _routes(kind):
    router = APIRouter(prefix="/direct", route_class=kind)

    @router.get("/lists/{name:path}")
    async def lists(name: str) -> Response:
        return Response(name)

    @router.get("/said")
    async def said(k: int) -> dict[str, int]:
        return {"k": k}

    return router.routes
