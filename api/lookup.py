"""What requests are answered with: the engine, the store, and what these know of what a request names."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import reduce
from operator import and_
from typing import cast

from fastapi import Request

from api.live import Live
from api.problems import Problem
from api.writing import Impressions, Writer
from recsys.assembly import Engine
from recsys.errors import StoreError, unknown_choice
from recsys.filters import parse
from recsys.masks import Mask
from recsys.pipeline import Recommender
from recsys.stores import Store, UserState

USER_STATE = "user-state"
"""What ``degraded`` says while the state store does not answer."""


def live_of(request: Request) -> Live:
    """What the app was created with."""
    return cast("Live", request.app.state.live)


def store_of(request: Request) -> Store:
    """The store that the app opened."""
    return cast("Store", request.app.state.store)


def writer_of(request: Request) -> Writer:
    """What writes to the log that the app opened."""
    return cast("Writer", request.app.state.writer)


def impressions_of(request: Request) -> Impressions:
    """Where it is noted what answers showed."""
    return cast("Impressions", request.app.state.impressions)


def key_of(request: Request) -> bytes:
    """What cursors are signed with."""
    return cast("bytes", request.app.state.cursor_key)


def engine_of(request: Request) -> Engine:
    """The engine that answers this request: read once, kept until the answer is made. 503 before there is one."""
    live = live_of(request)
    if live.current is None:
        why = live.refused[1] if live.refused else "no release is promoted: run `recsys train`"
        raise Problem(503, f"nothing can be answered yet: {why}", {"Retry-After": "1"})
    return live.current


async def engine_with(request: Request, items: list[str]) -> Engine:
    """The engine that answers, after a look for changes if there are items that it does not know.

    Whoever has just put one may ask another worker about it.
    """
    engine = engine_of(request)
    if engine.holds(*items):
        return engine
    with suppress(StoreError):
        await live_of(request).catch_up(store_of(request))
    return engine_of(request)


def surface_of(engine: Engine, name: str) -> Recommender:
    """The pipeline of that name; 404 with those that there are."""
    if name not in engine.recommenders:
        raise Problem(404, unknown_choice("surface", name, engine.recommenders))
    return engine.recommenders[name]


async def states_of(
    request: Request, engine: Engine, users: Sequence[str], *, shown: bool
) -> tuple[Sequence[UserState | None], list[str]]:
    """What users did since, in one round trip; nothing while the store does not answer: the release knows the rest.

    ``shown``: with what was put before them.
    """
    try:
        return await store_of(request).get(users, engine.id, shown=shown), []
    except StoreError:
        return [None] * len(users), [USER_STATE]


def check_there(engine: Engine, item: str) -> None:
    """404 for an item that cannot be answered from."""
    if engine.items.rows([item])[0] < 0:
        raise Problem(404, f"release {engine.id} does not know item {item!r}: ids are those of the event log")
    if not engine.holds(item):
        raise Problem(404, f"item {item!r} was deleted: PUT it to have it again")


def allowed_of(engine: Engine, filters: list[str] | None) -> Mask | None:
    """The items that fulfil every filter, None without any; 422 for what is no filter of this catalogue."""
    try:
        return reduce(and_, (engine.allowed(parse(text)) for text in filters)) if filters else None
    except ValueError as error:
        raise Problem(422, f"filter: {error}") from error
