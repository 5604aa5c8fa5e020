"""The endpoints."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce
from operator import and_
from typing import cast

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from api.answers import NEVER_KEPT, answer, content_of, kept, timed, unchanged
from api.cursors import LIFE, MOST, Cursor, CursorExpired, CursorInvalid
from api.live import Live
from api.metrics import exposition
from api.problems import GONE, NOT_FOUND, PROBLEMS, Problem
from api.schemas import (
    MAX_BATCH,
    Alive,
    Answer,
    BatchAnswer,
    CurrentRelease,
    Excluded,
    Explain,
    Few,
    Filters,
    HistoryEntry,
    ItemId,
    K,
    Place,
    Ready,
    RecommendRequest,
    SimilarAnswer,
    SimilarRequest,
    SimilarToSeveral,
    SurfaceName,
    UserId,
)
from recsys.arrays import Float32, Int32
from recsys.assembly import HOME, SIMILAR, TRENDING, Engine
from recsys.candidates import Candidates
from recsys.errors import StoreError, unknown_choice
from recsys.filters import parse
from recsys.masks import Mask
from recsys.onboarding import representatives
from recsys.pipeline import Answer as Ranked
from recsys.pipeline import Recommender
from recsys.retrieval import ITEMS_INDEX, NO_ROWS, Query, by_popularity
from recsys.stores import Store, UserState

log = logging.getLogger(__name__)
router = APIRouter(responses=PROBLEMS)

ONBOARDING = "onboarding"
USER_STATE = "user-state"
"""What ``degraded`` says while the state store does not answer."""


@router.get("/recommend", response_model=Answer, responses={**NOT_FOUND, **GONE})
async def recommend(
    request: Request,
    user_id: UserId,
    k: K = 20,
    surface: SurfaceName = HOME,
    filter_: Filters = None,
    exclude: Excluded = None,
    explain: Explain = False,
    cursor: Place = None,
) -> Response:
    """The k best unseen items for a user: known, new or never heard of."""
    engine = engine_of(request)
    recommender = surface_of(engine, surface)
    unwanted = _known(engine, [item for some in exclude or () for item in some.split(",")])
    allowed = _allowed(engine, filter_)
    start = time.perf_counter()
    (state,), degraded = await states_of(request, engine, [user_id])
    waited = time.perf_counter() - start
    now = datetime.now(UTC)
    query = replace(engine.resolver.known(user_id, state, now), allowed=allowed, excluded=unwanted)
    at = _place(request, cursor, query, surface)
    if cursor is not None:
        given = engine.items.rows_of_keys(at.given)
        query = replace(query, seed=at.seed, excluded=np.union1d(unwanted, given[given >= 0]).astype(np.int32))
    ranked = recommender.recommend([query], k, start)
    rows = ranked.candidates.rows[0]
    after = Cursor(at.began, at.seed, np.concatenate([at.given, engine.items.row_keys[rows[rows >= 0]]]))
    there = rows[-1] >= 0 and len(after.given) < MOST
    subject = {"user_id": user_id, "cursor": after.signed(key_of(request), user_id, surface) if there else None}
    content = content_of(engine, query, ranked, 0, surface, subject, degraded, explain=explain, given=len(at.given))
    took = timed(surface, {"state": waited, **ranked.seconds})
    return Response(to_json(content), headers={**NEVER_KEPT, "Server-Timing": took}, media_type="application/json")


@router.post("/recommend", response_model=Answer | BatchAnswer, responses=NOT_FOUND)
async def recommend_posted(request: Request, body: RecommendRequest) -> Response:
    """The k best items for a visitor of whom only a history is known, or for each of several users; nothing is stored.

    A batch is asked of the store, and of the pipeline, at once; each user gets the list that `GET` gives.
    """
    engine = engine_of(request)
    recommender = surface_of(engine, body.surface)
    allowed = _allowed(engine, None if body.filter is None else [body.filter])
    unwanted, now = _known(engine, body.exclude), datetime.now(UTC)
    if body.user_ids is None:
        if body.history is None:
            raise Problem(422, "body.history: it is missing: give a history, or user_ids for a list for each of them")
        weights = _weights(engine, body.history)
        history = [entry.item_id for entry in body.history]
        query = engine.resolver.anonymous(history, weights, now, tuple(body.interests))
        query = replace(query, allowed=allowed, excluded=unwanted)
        ranked = recommender.recommend([query], body.k)
        subject, explain = {"user_id": None}, body.explain
        return answer(engine, query, ranked, body.surface, subject, [], NEVER_KEPT, explain=explain)
    _check_batch(body)
    start = time.perf_counter()
    states, degraded = await states_of(request, engine, body.user_ids)
    waited = time.perf_counter() - start
    queries = [
        replace(engine.resolver.known(user, state, now), allowed=allowed, excluded=unwanted)
        for user, state in zip(body.user_ids, states, strict=True)
    ]
    ranked = recommender.recommend(queries, body.k)
    answers = [
        content_of(engine, query, ranked, place, body.surface, {"user_id": query.user}, degraded, explain=body.explain)
        for place, query in enumerate(queries)
    ]
    content = {"release": engine.id, "answers": answers, "request_id": secrets.token_hex(8)}
    took = timed(body.surface, {"state": waited, **ranked.seconds})
    return Response(to_json(content), headers={**NEVER_KEPT, "Server-Timing": took}, media_type="application/json")


@router.get("/items/{item_id:path}/similar", response_model=SimilarAnswer, responses=NOT_FOUND)
async def similar(request: Request, item_id: ItemId, k: K = 20, filter_: Filters = None) -> Response:
    """The k items most like one item: by who took them, and the fewer did, by their content."""
    engine = await engine_with(request, [item_id])
    check_there(engine, item_id)
    allowed = _allowed(engine, filter_)
    if same := unchanged(request, engine):
        return same
    query = _alike(engine, [item_id], allowed)
    ranked = engine.recommenders[SIMILAR].recommend([query], k)
    return answer(engine, query, ranked, SIMILAR, {"item_id": item_id}, [], kept(engine))


@router.post("/similar", response_model=SimilarToSeveral, responses=NOT_FOUND)
async def similar_to_several(request: Request, body: SimilarRequest) -> Response:
    """The k items most like several items, each of which counts alike; none of those comes back."""
    engine = await engine_with(request, body.item_ids)
    for item in body.item_ids:
        check_there(engine, item)
    query = _alike(engine, body.item_ids, _allowed(engine, None if body.filter is None else [body.filter]))
    ranked = engine.recommenders[SIMILAR].recommend([query], body.k)
    return answer(engine, query, ranked, SIMILAR, {"item_ids": body.item_ids}, [], NEVER_KEPT)


@router.get("/popular", response_model=Answer)
async def popular(request: Request, k: K = 20, filter_: Filters = None) -> Response:
    """The k most popular items, the same for everybody."""
    return _for_everybody(request, HOME, k, filter_)


@router.get("/trending", response_model=Answer)
async def trending(request: Request, k: K = 20, filter_: Filters = None) -> Response:
    """The k items that were taken most of late, the same for everybody."""
    return _for_everybody(request, TRENDING, k, filter_)


@router.get("/onboarding", response_model=Answer)
async def onboarding(request: Request, k: Few = 20, filter_: Filters = None) -> Response:
    """Popular items that tell tastes apart, to ask a newcomer about; the same for everybody."""
    engine = engine_of(request)
    allowed = _allowed(engine, filter_)
    if same := unchanged(request, engine):
        return same
    there = engine.parts.available if allowed is None else allowed
    if allowed is not None and engine.parts.available is not None:
        there = allowed & engine.parts.available
    order = by_popularity(engine.popularity) if engine.parts.order is None else engine.parts.order
    order = order if there is None else order[there.holds(order)]
    rows = representatives(order, engine.popularity, engine.directions, k)
    found = Candidates(rows[None], np.linspace(1, 0, len(rows), dtype=np.float32)[None]).top(k)
    found = Candidates(found.rows, found.scores, {ONBOARDING: found.scores})
    level = ONBOARDING if len(rows) else "none"
    query = Query(now=datetime.now(UTC), allowed=allowed)
    ranked = Ranked(found, (level,), ())
    return answer(engine, query, ranked, ONBOARDING, {"user_id": None}, [], kept(engine))


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
        surfaces=sorted(engine.recommenders),
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
    request: Request, engine: Engine, users: Sequence[str]
) -> tuple[Sequence[UserState | None], list[str]]:
    """What is remembered of users, in one round trip.

    While the store does not answer, or has not been filled for this release yet, what the release learned of them.
    """
    try:
        states = await store_of(request).get(users, engine.id)
    except StoreError:
        return engine.users.find(users), [USER_STATE]
    if live_of(request).filled == engine.id:
        return states, []
    lacking = [place for place, state in enumerate(states) if state is None or state.empty]
    for place, learned in zip(lacking, engine.users.find([users[place] for place in lacking]), strict=True):
        if learned is not None:
            before = states[place]
            states[place] = replace(learned, interests=() if before is None else before.interests)
    return states, []


def check_there(engine: Engine, item: str) -> None:
    """404 for an item that cannot be answered from."""
    if engine.items.rows([item])[0] < 0:
        raise Problem(404, f"release {engine.id} does not know item {item!r}: ids are those of the event log")
    if not engine.holds(item):
        raise Problem(404, f"item {item!r} was deleted: PUT it to have it again")


def _for_everybody(request: Request, surface: str, k: int, filters: list[str] | None) -> Response:
    """What a surface answers to somebody of whom nothing is known."""
    engine = engine_of(request)
    allowed = _allowed(engine, filters)
    if same := unchanged(request, engine):
        return same
    query = Query(now=datetime.now(UTC), allowed=allowed)
    ranked = engine.recommenders[surface].recommend([query], k)
    return answer(engine, query, ranked, surface, {"user_id": None}, [], kept(engine))


def _allowed(engine: Engine, filters: list[str] | None) -> Mask | None:
    """The items that fulfil every filter, None without any; 422 for what is no filter of this catalogue."""
    try:
        return reduce(and_, (engine.allowed(parse(text)) for text in filters)) if filters else None
    except ValueError as error:
        raise Problem(422, f"filter: {error}") from error


def _known(engine: Engine, items: list[str]) -> Int32:
    """Rows of the items that there are, int32: what is not there need not be excluded."""
    if not items:
        return NO_ROWS
    rows = engine.items.rows(items)
    return np.unique(rows[rows >= 0])


def _weights(engine: Engine, history: list[HistoryEntry]) -> Float32:
    kinds = engine.card.kinds
    for place, entry in enumerate(history):
        if entry.event not in kinds:
            raise Problem(422, f"body.history.{place}.event: {unknown_choice('kind of event', entry.event, kinds)}")
    values = [kinds[entry.event].weigh(np.array([entry.value]))[0] for entry in history]
    return np.array(values, np.float32)


def _place(request: Request, cursor: str | None, query: Query, surface: str) -> Cursor:
    """Where a reader stands: at the beginning without a cursor; 400 or 410 for one that leads nowhere."""
    now = int(query.now.timestamp())
    if cursor is None:
        return Cursor(now, query.seed, np.zeros(0, np.uint64))
    try:
        return Cursor.read(cursor, key_of(request), query.user or "", surface, now)
    except CursorInvalid:
        why = "it was changed, made for another user or surface, or before the service was started anew"
        raise Problem(400, f"query.cursor: {why}: ask for the first page without it") from None
    except CursorExpired:
        why = f"the first page was given more than {LIFE // 3600} hours ago"
        raise Problem(410, f"query.cursor: {why}: ask for it anew, without a cursor") from None


def _alike(engine: Engine, items: list[str], allowed: Mask | None) -> Query:
    """What asks for items like these, which are all there."""
    rows = engine.items.rows(list(dict.fromkeys(items)))
    vector = None if engine.directions is None else engine.directions[rows].mean(axis=0)
    weights = np.ones(len(rows), np.float32)
    now = datetime.now(UTC)
    return Query(now=now, vector=vector, level=SIMILAR, recent=rows, weights=weights, seen=rows, allowed=allowed)


def _check_batch(body: RecommendRequest) -> None:
    users = body.user_ids or ()
    if body.history is not None or body.interests:
        raise Problem(422, "body.user_ids: a history and interests are a visitor's: give either them or user_ids")
    if len(users) * body.k > MAX_BATCH:
        raise Problem(422, f"body.k: {len(users)} lists of {body.k} items: at most {MAX_BATCH:,} items, ask in parts")
