"""The endpoints."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache, reduce
from operator import and_
from types import MappingProxyType
from typing import Any, cast

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from api.live import Live
from api.metrics import METRICS, exposition
from api.problems import NOT_FOUND, PROBLEMS, Problem
from api.schemas import (
    Alive,
    Answer,
    CurrentRelease,
    Excluded,
    Filters,
    HistoryEntry,
    ItemId,
    K,
    Ready,
    RecommendRequest,
    SimilarAnswer,
    UserId,
)
from recsys.arrays import Float32, Int32
from recsys.assembly import HOME, SIMILAR, Engine
from recsys.candidates import RANK_CONSTANT
from recsys.errors import StoreError, unknown_choice
from recsys.filters import parse
from recsys.masks import Mask
from recsys.pipeline import Answer as Ranked
from recsys.retrieval import ITEMS_INDEX, Query
from recsys.stores import Store, UserState

log = logging.getLogger(__name__)
router = APIRouter(responses=PROBLEMS)

USER_STATE = "user-state"
"""What ``degraded`` says while the state store does not answer."""
ONCE = np.ones(1, np.float32)
"""The weight of the one item that others should be like."""
NEVER_KEPT = {"Cache-Control": "no-store"}
"""For lists that the next event may change."""
NOTHING_BEFORE: Mapping[str, float] = MappingProxyType({})
"""The stages of an answer that asked nobody."""


@router.get("/recommend", response_model=Answer)
async def recommend(
    request: Request, user_id: UserId, k: K = 20, filter_: Filters = None, exclude: Excluded = None
) -> Response:
    """The k best unseen items for a user: known, new or never heard of."""
    engine = engine_of(request)
    unwanted = [item for some in exclude or () for item in some.split(",")]
    allowed = _allowed(engine, filter_)
    start = time.perf_counter()
    state, degraded = await state_of(request, engine, user_id)
    waited = time.perf_counter() - start
    query = engine.resolver.known(user_id, state, datetime.now(UTC))
    query = replace(query, allowed=allowed, excluded=_known(engine, unwanted))
    ranked = engine.recommenders[HOME].recommend([query], k)
    return _answer(engine, query, ranked, HOME, {"user_id": user_id}, degraded, NEVER_KEPT, {"state": waited})


@router.post("/recommend", response_model=Answer)
async def recommend_anonymous(request: Request, body: RecommendRequest) -> Response:
    """The k best items for a visitor of whom only a history is known; nothing is stored."""
    engine = engine_of(request)
    weights = _weights(engine, body.history)
    history = [entry.item_id for entry in body.history]
    allowed = _allowed(engine, None if body.filter is None else [body.filter])
    query = engine.resolver.anonymous(history, weights, datetime.now(UTC), tuple(body.interests))
    query = replace(query, allowed=allowed, excluded=_known(engine, body.exclude))
    ranked = engine.recommenders[HOME].recommend([query], body.k)
    return _answer(engine, query, ranked, HOME, {"user_id": None}, [], NEVER_KEPT)


@router.get("/items/{item_id:path}/similar", response_model=SimilarAnswer, responses=NOT_FOUND)
async def similar(request: Request, item_id: ItemId, k: K = 20, filter_: Filters = None) -> Response:
    """The k items most like one item: by who took them, and the fewer did, by their content."""
    engine = await engine_with(request, [item_id])
    check_there(engine, item_id)
    row = engine.items.rows([item_id])
    allowed = _allowed(engine, filter_)
    if unchanged := _unchanged(request, engine):
        return unchanged
    vector = None if engine.directions is None else engine.directions[row[0]]
    query = Query(
        now=datetime.now(UTC), vector=vector, level=SIMILAR, recent=row, weights=ONCE, seen=row, allowed=allowed
    )
    ranked = engine.recommenders[SIMILAR].recommend([query], k)
    return _answer(engine, query, ranked, SIMILAR, {"item_id": item_id}, [], _kept(engine))


@router.get("/popular", response_model=Answer)
async def popular(request: Request, k: K = 20, filter_: Filters = None) -> Response:
    """The k most popular items, the same for everybody."""
    engine = engine_of(request)
    allowed = _allowed(engine, filter_)
    if unchanged := _unchanged(request, engine):
        return unchanged
    query = Query(now=datetime.now(UTC), allowed=allowed)
    ranked = engine.recommenders[HOME].recommend([query], k)
    return _answer(engine, query, ranked, HOME, {"user_id": None}, [], _kept(engine))


@router.get("/releases/current", response_model=CurrentRelease)
async def current_release(request: Request) -> Response:
    """The release that answers, and why a newer one does not, if one could not be loaded."""
    engine, refused = engine_of(request), live_of(request).refused
    found = CurrentRelease(
        release=engine.id,
        users=len(engine.users.ids),
        items=len(engine.items),
        dimensions=engine.indexes[ITEMS_INDEX].shape[1] if engine.indexes else 0,
        indexes={name: index.backend for name, index in engine.indexes.items()},
        surfaces=sorted(engine.surfaces),
        added=len(engine.items) - len(engine.users.items),
        deleted=len(engine.parts.gone),
        refused=refused[1] if refused else None,
    )
    return Response(to_json(found), headers=NEVER_KEPT, media_type="application/json")


@router.get("/healthz")
async def healthz() -> Alive:
    """The process is alive."""
    return Alive(status="ok")


@router.get("/readyz")
async def readyz(request: Request) -> Ready:
    """A release is loaded, so requests can be answered; a lost state store only degrades them."""
    engine = engine_of(request)
    degraded = []
    try:
        await store_of(request).ping()
    except StoreError:
        degraded.append(USER_STATE)
    return Ready(status="ok", release=engine.id, degraded=degraded)


@router.get("/metrics", response_class=Response)
async def metrics() -> Response:
    """Counters and histograms for Prometheus."""
    text, media_type = exposition()
    return Response(text, headers=NEVER_KEPT, media_type=media_type)


def live_of(request: Request) -> Live:
    """What the app was created with."""
    return cast("Live", request.app.state.live)


def store_of(request: Request) -> Store:
    """The store that the app opened."""
    return cast("Store", request.app.state.store)


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


async def state_of(request: Request, engine: Engine, user: str) -> tuple[UserState | None, list[str]]:
    """What is remembered of a user.

    While the store does not answer, or has not been filled for this release yet, what the release learned of them.
    """
    try:
        (state,) = await store_of(request).get([user], engine.id)
    except StoreError:
        return engine.users.find([user])[0], [USER_STATE]
    if (state is None or state.empty) and live_of(request).filled != engine.id:
        (learned,) = engine.users.find([user])
        if learned is not None:
            return replace(learned, interests=() if state is None else state.interests), []
    return state, []


def check_there(engine: Engine, item: str) -> None:
    """404 for an item that cannot be answered from."""
    if engine.items.rows([item])[0] < 0:
        raise Problem(404, f"release {engine.id} does not know item {item!r}: ids are those of the event log")
    if not engine.holds(item):
        raise Problem(404, f"item {item!r} was deleted: PUT it to have it again")


def _allowed(engine: Engine, filters: list[str] | None) -> Mask | None:
    """The items that fulfil every filter, None without any; 422 for what is no filter of this catalogue."""
    try:
        return reduce(and_, (engine.allowed(parse(text)) for text in filters)) if filters else None
    except ValueError as error:
        raise Problem(422, f"filter: {error}") from error


def _known(engine: Engine, items: list[str]) -> Int32:
    """Rows of the items that there are, int32: what is not there need not be excluded."""
    rows = engine.items.rows(items)
    return np.unique(rows[rows >= 0])


def _weights(engine: Engine, history: list[HistoryEntry]) -> Float32:
    kinds = engine.card.kinds
    for place, entry in enumerate(history):
        if entry.event not in kinds:
            raise Problem(422, f"body.history.{place}.event: {unknown_choice('kind of event', entry.event, kinds)}")
    values = [kinds[entry.event].weigh(np.array([entry.value]))[0] for entry in history]
    return np.array(values, np.float32)


def _answer(
    engine: Engine,
    query: Query,
    ranked: Ranked,
    surface: str,
    subject: dict[str, str | None],
    degraded: list[str],
    headers: dict[str, str],
    before: Mapping[str, float] = NOTHING_BEFORE,
) -> Response:
    # A plain dictionary: building and checking models costs more than the search.
    found = ranked.candidates
    count = int(found.filled[0].sum())
    ids = engine.items.ids(found.rows[0, :count])
    # Never the model's own: inner products would give the vectors away to whoever asks often enough.
    scores, sources = [1 / (RANK_CONSTANT + rank) for rank in range(1, count + 1)], ranked.sources(0)
    parts = [*degraded, *ranked.degraded]
    content: dict[str, Any] = {
        **subject,
        "surface": surface,
        "release": engine.id,
        "level": ranked.levels[0],
        "degraded": parts,
        "items": [
            {"item_id": ids[place], "rank": place + 1, "score": round(scores[place], 6), "sources": sources[place]}
            for place in range(count)
        ],
        "reason": None if count == found.shape[1] else _reason(engine, query, count),
        "request_id": secrets.token_hex(8),
    }
    METRICS.levels.labels(surface, ranked.levels[0]).inc()
    for part in parts:
        METRICS.degraded.labels(part).inc()
    # A list made without some part must not outlive the failure.
    headers = {**(NEVER_KEPT if parts else headers), "Server-Timing": _timed(surface, {**before, **ranked.seconds})}
    return Response(to_json(content), headers=headers, media_type="application/json")


def _timed(surface: str, seconds: Mapping[str, float]) -> str:
    """The stages of an answer as the Server-Timing header has them, in milliseconds; counted as well."""
    for stage, took in seconds.items():
        METRICS.stages.labels(surface, stage).observe(took)
    return ", ".join(f"{_token(stage)};dur={1000 * took:.3f}" for stage, took in seconds.items())


@lru_cache(maxsize=256)
def _token(stage: str) -> str:
    """A stage's name in the characters that a header's token may have."""
    return re.sub(r"[^\w.-]", "-", stage, flags=re.ASCII)


def _reason(engine: Engine, query: Query, count: int) -> str:
    """Why only ``count`` items came."""
    items = len(engine.items) - len(engine.parts.gone)
    left = f"{count:,} of {items:,} items are left"
    asked = "" if query.allowed is None else f": {query.allowed.count:,} fulfil the filter"
    return f"{left}{asked}, without what was seen or is excluded"


def _kept(engine: Engine) -> dict[str, str]:
    """For lists that depend on nobody: keep them, but ask whether release and items are still the same."""
    return {"Cache-Control": "no-cache", "ETag": f'"{engine.tag}"'}


def _unchanged(request: Request, engine: Engine) -> Response | None:
    tags = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return Response(status_code=304, headers=_kept(engine)) if f'"{engine.tag}"' in tags else None
