"""The endpoints that are the same for everybody: similar items, what is popular, and how the service does."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from api.answers import NEVER_KEPT, answer, kept, unchanged
from api.direct import Direct
from api.lookup import USER_STATE, allowed_of, check_there, engine_of, engine_with, live_of, store_of
from api.metrics import exposition
from api.problems import NOT_FOUND, PROBLEMS
from api.schemas import (
    Alive,
    Answer,
    CurrentRelease,
    Few,
    Filters,
    ItemId,
    K,
    Ready,
    SimilarAnswer,
    SimilarRequest,
    SimilarToSeveral,
)
from recsys.assembly import POPULAR, SIMILAR, TRENDING, Engine
from recsys.candidates import Candidates
from recsys.errors import StoreError
from recsys.masks import Mask
from recsys.onboarding import representatives
from recsys.pipeline import Answer as Ranked
from recsys.retrieval import ITEMS_INDEX, Query, by_popularity

router = APIRouter(responses=PROBLEMS, route_class=Direct)

ONBOARDING = "onboarding"


@router.get("/items/{item_id:id}/similar", response_model=SimilarAnswer, responses=NOT_FOUND)
async def similar(request: Request, item_id: ItemId, k: K = 20, filter_: Filters = None) -> Response:
    """The k items most like one item: by who took them, and the fewer did, by their content."""
    engine = await engine_with(request, [item_id])
    check_there(engine, item_id)
    allowed = allowed_of(engine, filter_)
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
    query = _alike(engine, body.item_ids, allowed_of(engine, None if body.filter is None else [body.filter]))
    ranked = engine.recommenders[SIMILAR].recommend([query], body.k)
    return answer(engine, query, ranked, SIMILAR, {"item_ids": body.item_ids}, [], NEVER_KEPT)


@router.get("/popular", response_model=Answer)
async def popular(request: Request, k: K = 20, filter_: Filters = None) -> Response:
    """The k most popular items, the same for everybody."""
    return _for_everybody(request, POPULAR, k, filter_)


@router.get("/trending", response_model=Answer)
async def trending(request: Request, k: K = 20, filter_: Filters = None) -> Response:
    """The k items that were taken most of late, the same for everybody."""
    return _for_everybody(request, TRENDING, k, filter_)


@router.get("/onboarding", response_model=Answer)
async def onboarding(request: Request, k: Few = 20, filter_: Filters = None) -> Response:
    """Popular items that tell tastes apart, to ask a newcomer about; the same for everybody."""
    engine = engine_of(request)
    allowed = allowed_of(engine, filter_)
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


def _for_everybody(request: Request, surface: str, k: int, filters: list[str] | None) -> Response:
    """What a surface answers to somebody of whom nothing is known."""
    engine = engine_of(request)
    allowed = allowed_of(engine, filters)
    if same := unchanged(request, engine):
        return same
    query = Query(now=datetime.now(UTC), allowed=allowed)
    ranked = engine.recommenders[surface].recommend([query], k)
    return answer(engine, query, ranked, surface, {"user_id": None}, [], kept(engine))


def _alike(engine: Engine, items: list[str], allowed: Mask | None) -> Query:
    """What asks for items like these, which are all there."""
    rows = engine.items.rows(list(dict.fromkeys(items)))
    vector = None if engine.directions is None else engine.directions[rows].mean(axis=0)
    weights = np.ones(len(rows), np.float32)
    now = datetime.now(UTC)
    return Query(now=now, vector=vector, level=SIMILAR, recent=rows, weights=weights, seen=rows, allowed=allowed)
