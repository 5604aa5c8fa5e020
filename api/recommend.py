"""``/recommend``: lists for users, known or not, and for visitors of whom only a history is known."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from api.answers import NEVER_KEPT, Answered, answer, listed_of, note
from api.cursors import LIFE, MOST, Cursor, CursorExpired, CursorInvalid
from api.direct import Direct
from api.lookup import engine_of, engine_with, impressions_of, key_of, states_of, surface_of
from api.problems import FORBIDDEN, GONE, NOT_FOUND, PROBLEMS, Problem
from api.schemas import (
    MAX_BATCH,
    Answer,
    BatchAnswer,
    Context,
    Debug,
    Excluded,
    Explain,
    Filters,
    HistoryEntry,
    InSegment,
    K,
    Place,
    RecommendRequest,
    SurfaceName,
    UserId,
)
from api.traces import HEADER, told, trace_of
from api.wanted import Wanted, parted
from recsys.arrays import Float32
from recsys.assembly import HOME, Engine
from recsys.errors import unknown_choice
from recsys.retrieval import Query

router = APIRouter(responses=PROBLEMS, route_class=Direct)


@router.get("/recommend", response_model=Answer, responses={**FORBIDDEN, **NOT_FOUND, **GONE}, openapi_extra=HEADER)
async def recommend(
    request: Request,
    user_id: UserId,
    k: K = 20,
    surface: SurfaceName = HOME,
    filter_: Filters = None,
    exclude: Excluded = None,
    context: Context = None,
    segment: InSegment = None,
    explain: Explain = False,
    debug: Debug = False,
    cursor: Place = None,
) -> Response:
    """The k best unseen items for a user: known, new or never heard of."""
    trace, about = trace_of(request, debug=debug), parted(context)
    engine = await engine_with(request, about) if about else engine_of(request)
    recommender = surface_of(engine, surface)
    wanted = Wanted.of(engine, recommender, exclude=parted(exclude), context=about, filters=filter_, segment=segment)
    start = time.perf_counter()
    (state,), degraded = await states_of(request, engine, [user_id], shown=recommender.reads_shown)
    waited = time.perf_counter() - start
    now = datetime.now(UTC)
    query = wanted.asked(engine.resolver.known(user_id, state, now))
    at = _place(request, cursor, query, surface)
    if cursor is not None:
        given = engine.items.rows_of_keys(at.given)
        query = replace(query, seed=at.seed, excluded=np.union1d(wanted.excluded, given[given >= 0]).astype(np.int32))
    ranked = recommender.recommend([query], k, start, trace)
    rows = ranked.candidates.rows[0]
    # Only a full list has another one behind it.
    there = rows[-1] >= 0 and len(at.given) + k < MOST
    on = at.behind(engine.items.row_keys[rows]).signed(key_of(request), user_id, surface) if there else None
    subject = {"user_id": user_id, "cursor": on, **wanted.said(), **told(engine, trace, 0)}
    list_ = listed_of(engine, query, ranked, 0, surface, subject, degraded, explain=explain, given=len(at.given))
    # Who looks into an answer was shown nothing.
    notes = [] if trace is not None else [partial(note, impressions_of(request), engine, query, ranked, 0, list_)]
    return Answered(list_.json(), [list_], surface, {"state": waited, **ranked.seconds}, notes=notes)


@router.post(
    "/recommend",
    response_model=Answer | BatchAnswer,
    responses={**FORBIDDEN, **NOT_FOUND},
    openapi_extra=HEADER,
)
async def recommend_posted(request: Request, body: RecommendRequest) -> Response:
    """The k best items for a visitor of whom only a history is known, or for each of several users; nothing is stored.

    A batch is asked of the store, and of the pipeline, at once; each user gets the list that `GET` gives.
    """
    trace, now = trace_of(request, debug=body.debug), datetime.now(UTC)
    engine = await engine_with(request, body.context) if body.context else engine_of(request)
    recommender = surface_of(engine, body.surface)
    filters = None if body.filter is None else [body.filter]
    wanted = Wanted.of(
        engine, recommender, exclude=body.exclude, context=body.context, filters=filters, segment=body.segment
    )
    if body.user_ids is None:
        if body.history is None:
            raise Problem(422, "body.history: it is missing: give a history, or user_ids for a list for each of them")
        weights = _weights(engine, body.history)
        history = [entry.item_id for entry in body.history]
        query = engine.resolver.anonymous(history, weights, now, tuple(body.interests))
        query = wanted.asked(query)
        ranked = recommender.recommend([query], body.k, watch=trace)
        subject: dict[str, Any] = {"user_id": None, **wanted.said(), **told(engine, trace, 0)}
        return answer(engine, query, ranked, body.surface, subject, [], NEVER_KEPT, explain=body.explain)
    _check_batch(body)
    start = time.perf_counter()
    states, degraded = await states_of(request, engine, body.user_ids, shown=recommender.reads_shown)
    waited = time.perf_counter() - start
    queries = [
        wanted.asked(engine.resolver.known(user, state, now)) for user, state in zip(body.user_ids, states, strict=True)
    ]
    ranked = recommender.recommend(queries, body.k, watch=trace)
    lists, notes = [], []
    for place, query in enumerate(queries):
        subject = {"user_id": query.user, **wanted.said(), **told(engine, trace, place)}
        list_ = listed_of(engine, query, ranked, place, body.surface, subject, degraded, explain=body.explain)
        if trace is None:
            notes.append(partial(note, impressions_of(request), engine, query, ranked, place, list_))
        lists.append(list_)
    said = to_json({"release": engine.id, "request_id": secrets.token_hex(8)})
    content = b'%b,"answers":[%b]}' % (said[:-1], b",".join([list_.json() for list_ in lists]))
    return Answered(content, lists, body.surface, {"state": waited, **ranked.seconds}, notes=notes)


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
        return Cursor(now, query.seed)
    try:
        return Cursor.read(cursor, key_of(request), query.user or "", surface, now)
    except CursorInvalid:
        why = "it was changed, made for another user or surface, or before the service was started anew"
        raise Problem(400, f"query.cursor: {why}: ask for the first page without it") from None
    except CursorExpired:
        why = f"the first page was given more than {LIFE // 3600} hours ago"
        raise Problem(410, f"query.cursor: {why}: ask for it anew, without a cursor") from None


def _check_batch(body: RecommendRequest) -> None:
    users = body.user_ids or ()
    if body.history is not None or body.interests:
        raise Problem(422, "body.user_ids: a history and interests are a visitor's: give either them or user_ids")
    if len(users) * body.k > MAX_BATCH:
        raise Problem(422, f"body.k: {len(users)} lists of {body.k} items: at most {MAX_BATCH:,} items, ask in parts")
