"""What requests change: items, what users say of themselves, who they are, and that they are to be forgotten.

All of it but the last is in the log and in the store before anything is answered, and reaches every worker from there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import cast

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from api.answers import NEVER_KEPT
from api.keeping import done, say
from api.lookup import check_there, engine_of, live_of, store_of
from api.metrics import METRICS
from api.problems import NOT_FOUND, PROBLEMS, UNKEPT, Problem
from api.said import (
    ErasureReceipt,
    ItemAnswer,
    ItemDescription,
    Merge,
    MergeRequest,
    UserAnswer,
    UserDescription,
)
from api.schemas import ItemId, UserInPath
from recsys.content import Content
from recsys.encoding import Description, Encoding
from recsys.encoding.concat import Concat
from recsys.encoding.precomputed import Precomputed, vector_of
from recsys.encoding.problems import SILENT, problems_of
from recsys.erasure import Eraser
from recsys.errors import RecsysError, StoreError
from recsys.logs.records import Declared, Described, Merged, made_id

log = logging.getLogger(__name__)
router = APIRouter(responses=PROBLEMS)

SECOND = 10**9

CREATED: dict[int | str, dict[str, object]] = {
    200: {"model": ItemAnswer, "description": "The item was there and is described anew"},
    201: {"model": ItemAnswer, "description": "The item is new, or had been deleted"},
}


@router.put("/items/{item_id:id}", response_model=ItemAnswer, responses={**CREATED, **NOT_FOUND})
async def put_item(request: Request, item_id: ItemId, body: ItemDescription) -> Response:
    """Describe an item, known or new: from now on it is answered as its description says, in every worker."""
    said = body.model_dump(exclude_none=True)
    if said.pop("item_id", item_id) != item_id:
        raise Problem(422, f"body.item_id: the path names {item_id!r}, leave it out or give the same")
    await done(live_of(request).catch_up(store_of(request)))
    engine = engine_of(request)
    if isinstance(engine.parts.content, Content):
        _check_vectors(engine.parts.content.encoding, said)
    there = engine.holds(item_id)
    # Tried before it is kept: what this release cannot place would be tried by every worker again and again.
    tried = await asyncio.to_thread(engine.amended, {item_id: said}, engine.mark)
    placed = tried.placed(item_id)
    problems = await asyncio.to_thread(_problems, engine.parts.content, said, placed)
    await _change(request, item_id, said)
    METRICS.items.labels(placed).inc()
    content = {"item_id": item_id, "release": engine.id, "placed": placed, "problems": problems}
    return Response(to_json(content), 200 if there else 201, NEVER_KEPT, "application/json")


@router.delete("/items/{item_id:id}", status_code=204, responses=NOT_FOUND)
async def delete_item(request: Request, item_id: ItemId) -> Response:
    """Take an item out of every answer at once."""
    await done(live_of(request).catch_up(store_of(request)))
    check_there(engine_of(request), item_id)
    await _change(request, item_id, None)
    METRICS.items.labels("deleted").inc()
    return Response(status_code=204, headers=NEVER_KEPT)


@router.put("/users/{user_id:id}", response_model=UserAnswer, responses=NOT_FOUND)
async def put_user(request: Request, user_id: UserInPath, body: UserDescription) -> Response:
    """Keep what a user names as their interests, known or new; an empty list takes them away."""
    engine = engine_of(request)
    now = time.time_ns()
    await say(request, Declared(made_id(now), now // SECOND, user_id, tuple(body.interests)))
    understood = await asyncio.to_thread(engine.understands, tuple(body.interests))
    content = {"user_id": user_id, "release": engine.id, "interests": body.interests, "understood": understood}
    return Response(to_json(content), headers=NEVER_KEPT, media_type="application/json")


@router.post("/users/{user_id:id}/merge", response_model=Merge, responses=UNKEPT)
async def merge_users(request: Request, user_id: UserInPath, body: MergeRequest) -> Response:
    """Let what was done under an anonymous id, before and after, count for a user: somebody has logged in."""
    if body.anonymous_id == user_id:
        raise Problem(422, f"body.anonymous_id: it is {user_id!r}, the user of the path: give the id of before")
    now = time.time_ns()
    await say(request, Merged(made_id(now), now // SECOND, user_id, body.anonymous_id))
    content = {"user_id": user_id, "anonymous_id": body.anonymous_id}
    return Response(to_json(content), headers=NEVER_KEPT, media_type="application/json")


@router.delete("/users/{user_id:id}", response_model=ErasureReceipt)
async def erase_user(request: Request, user_id: UserInPath) -> Response:
    """Forget a user: what is remembered, logged, archived and learned of them. The answer says what was found where."""
    receipt = await done(cast("Eraser", request.app.state.eraser).erase(user_id))
    with suppress(RecsysError):
        await live_of(request).follow()
    METRICS.erased.inc()
    content = {"user_id": user_id, "time": receipt.time, "ids": receipt.ids, "removed": receipt.removed}
    return Response(to_json(content), headers=NEVER_KEPT, media_type="application/json")


def _check_vectors(encoding: Encoding, said: Description) -> None:
    """422 for a vector that this release's encoder would have to leave aside."""
    if isinstance(encoding, Concat):
        for part in encoding.parts.values():
            _check_vectors(part, said)
    elif isinstance(encoding, Precomputed) and (vector := said.get(encoding.rule.column)) is not None:
        try:
            vector_of(vector, encoding.width)
        except ValueError as error:
            raise Problem(422, f"body.{encoding.rule.column}: {error}; leave it out to be placed without") from None


def _problems(content: object, said: Description, placed: str) -> dict[str, str]:
    """What the encoder can use nothing of; where it can use nothing at all, the fields too that say nothing."""
    if not isinstance(content, Content):
        return {}
    found = problems_of(content.encoding, said)
    return found if placed == "no-information" else {name: why for name, why in found.items() if why != SILENT}


async def _change(request: Request, item: str, said: Description | None) -> None:
    now = time.time_ns()
    await say(request, Described(made_id(now), now // SECOND, item, said))
    # This worker need not wait for its next look; if the store is lost just now, the change is kept all the same.
    try:
        await live_of(request).catch_up(store_of(request))
    except StoreError as error:
        log.warning("the change of item %r is kept and not applied yet: %s", item, error)
