"""Routes that read their parameters in one step, against FastAPI's own over the same function."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, FastAPI, Header, HTTPException, Path, Query, Request, Response
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from api.direct import Ahead, Direct

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


@pytest.fixture(scope="module")
def pair():
    """One app as it is, and one whose routes are answered ahead; both say which routes were looked for."""
    apps = []
    for ahead in (False, True):
        app, router = FastAPI(), APIRouter(route_class=Direct)

        @router.get("/twice")
        @router.post("/twice")
        async def twice(request: Request, k: Annotated[int, Query(ge=0, le=50)] = 20) -> Response:
            if k == 7:
                raise HTTPException(404, "seven")
            if k == 8:
                raise RuntimeError("eight")
            return Response(f"{request.method} {2 * k} {request.app.title}")

        @router.get("/lists/{name}")
        async def lists(name: str) -> Response:
            return Response(name)

        app.include_router(router)
        if ahead:
            app.add_middleware(Ahead, routes=router.routes)
        apps.append(TestClient(app, raise_server_exceptions=False))
    return apps


@given(
    method=st.sampled_from(["GET", "POST", "HEAD"]),
    path=st.sampled_from(["/twice", "/twice/", "/lists/a", "/none"]),
    query=st.lists(st.tuples(st.just("k"), st.sampled_from(["0", "7", "8", "50", "51", "x", ""])), max_size=2),
)
def test_what_is_answered_ahead_is_what_the_app_answers(pair, method, path, query):
    plain, ahead = (client.request(method, path, params=query, follow_redirects=False) for client in pair)
    assert (ahead.status_code, ahead.text, ahead.headers) == (plain.status_code, plain.text, plain.headers)


def test_only_what_is_in_order_is_answered_ahead():
    told = []
    router = APIRouter(route_class=Direct)

    @router.get("/half")
    async def half(k: Annotated[int, Query(ge=0)]) -> Response:
        return Response(str(k // 2))

    async def app(scope, receive, send):
        told.append(scope["query_string"])
        await Response("the app")(scope, receive, send)

    client = TestClient(Ahead(app, router.routes))
    assert [client.get("/half", params={"k": k}).text for k in (8, -1)] == ["4", "the app"]
    assert told == [b"k=-1"]


def _routes(kind):
    router = APIRouter(prefix="/direct", route_class=kind)

    @router.get("/lists/{name:path}")
    async def lists(name: str) -> Response:
        return Response(name)

    @router.get("/said")
    async def said(k: int) -> dict[str, int]:
        return {"k": k}

    return router.routes
