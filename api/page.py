"""What the trial page asks for beside the public contract; off where ``serve.page`` is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from pydantic_core import to_json

from api.answers import NEVER_KEPT
from api.lookup import engine_of, engine_with, states_of
from api.schemas import Id, UserInPath
from recsys.arrays import Int32
from recsys.assembly import POPULAR
from recsys.retrieval import Query as Asked

router = APIRouter(prefix="/page", include_in_schema=False)

Limit = Annotated[int, Query(ge=1, le=200)]


@router.get("/users")
async def users(request: Request, prefix: Annotated[str, Query(max_length=100)] = "", limit: Limit = 20) -> Response:
    """Users to pick from: those whose id begins with ``prefix``, or those with the longest histories."""
    engine = engine_of(request)
    lengths = np.diff(engine.users.history.indptr)
    if prefix:
        rows = engine.users.ids.starting_with(prefix, limit)
    else:
        rows = np.argsort(-lengths, kind="stable")[:limit].astype(np.int32)
    ids = engine.users.ids.ids(rows)
    found = [{"user_id": id_, "items": int(lengths[row])} for id_, row in zip(ids, rows, strict=True)]
    return _json({"users": found})


@router.get("/users/{user_id:id}/history")
async def history(request: Request, user_id: UserInPath, limit: Limit = 50) -> Response:
    """A user's newest items, described: by what they did since, and by what the release knows."""
    engine = engine_of(request)
    (state,), degraded = await states_of(request, engine, [user_id], shown=False)
    query = engine.resolver.known(user_id, state, datetime.now(UTC))
    items = _described(request, query.recent[:limit])
    for item, time in zip(items, query.times[:limit].tolist(), strict=True):
        if time:
            item["time"] = datetime.fromtimestamp(time, UTC).isoformat()
    seen = len(query.seen)
    return _json({"user_id": user_id, "known": seen > 0, "seen": seen, "degraded": degraded, "items": items})


@router.get("/items")
async def items(
    request: Request,
    q: Annotated[str, Query(max_length=100)] = "",
    ids: Annotated[list[Id] | None, Query(max_length=500)] = None,
    limit: Limit = 20,
) -> Response:
    """Items described: those with these ``ids``, in their order; or whose title holds ``q``, or id begins with it."""
    engine = await engine_with(request, ids or [])
    if ids is not None:
        rows = engine.items.rows(ids)
        return _json({"items": _described(request, rows[rows >= 0])})
    if not q:
        rows = engine.recommenders[POPULAR].recommend([Asked(now=datetime.now(UTC))], limit).candidates.rows[0]
        return _json({"items": _described(request, rows[rows >= 0])})
    # By id too: many catalogues have no titles. And more than wanted, for some may have been deleted.
    wanted = limit + len(engine.parts.gone)
    found = [*engine.catalogue.search(q, wanted).tolist(), *engine.items.starting_with(q, wanted).tolist()]
    rows = np.array(list(dict.fromkeys(found)), np.int32)
    there = rows if engine.parts.available is None else rows[engine.parts.available.holds(rows)]
    return _json({"items": _described(request, there[:limit])})


def _described(request: Request, rows: Int32) -> list[dict[str, Any]]:
    engine = engine_of(request)
    learned = len(engine.users.items)
    # The page marks what no release has learned of yet.
    return [
        said | ({"new_item": True} if row >= learned else {})
        for row, said in zip(rows.tolist(), engine.catalogue.describe(rows), strict=True)
    ]


def _json(content: dict[str, Any]) -> Response:
    return Response(to_json(content), headers=NEVER_KEPT, media_type="application/json")
