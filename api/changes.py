"""What requests change: items, and what users say of themselves.

Both are kept in the store before anything is answered, and reach every worker from there; where they come from, nobody
else asks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from api.answers import NEVER_KEPT
from api.lookup import check_there, engine_of, live_of, store_of
from api.metrics import METRICS
from api.problems import NOT_FOUND, PROBLEMS, Problem
from api.schemas import ItemAnswer, ItemDescription, ItemId, UserAnswer, UserDescription, UserInPath
from recsys.content import Content
from recsys.encoding import Description, Encoding
from recsys.encoding.concat import Concat
from recsys.encoding.precomputed import Precomputed, vector_of
from recsys.errors import StoreError
from recsys.stores import ItemChange

log = logging.getLogger(__name__)
router = APIRouter(responses=PROBLEMS)

CREATED: dict[int | str, dict[str, object]] = {
    200: {"model": ItemAnswer, "description": "The item was there and is described anew"},
    201: {"model": ItemAnswer, "description": "The item is new, or had been deleted"},
}


@router.put("/items/{item_id:path}", response_model=ItemAnswer, responses={**CREATED, **NOT_FOUND})
async def put_item(request: Request, item_id: ItemId, body: ItemDescription) -> Response:
    """Describe an item, known or new: from now on it is answered as its description says, in every worker."""
    said = body.model_dump(exclude_none=True)
    if said.pop("item_id", item_id) != item_id:
        raise Problem(422, f"body.item_id: the path names {item_id!r}, leave it out or give the same")
    await _kept(live_of(request).catch_up(store_of(request)))
    engine = engine_of(request)
    if isinstance(engine.parts.content, Content):
        _check_vectors(engine.parts.content.encoding, said)
    there = engine.holds(item_id)
    # Tried before it is kept: what this release cannot place would be tried by every worker again and again.
    tried = await asyncio.to_thread(engine.amended, {item_id: said}, engine.mark)
    placed = tried.placed(item_id)
    await _change(request, ItemChange(item_id, said))
    METRICS.items.labels(placed).inc()
    content = {"item_id": item_id, "release": engine.id, "placed": placed}
    return Response(to_json(content), 200 if there else 201, NEVER_KEPT, "application/json")


@router.delete("/items/{item_id:path}", status_code=204, responses=NOT_FOUND)
async def delete_item(request: Request, item_id: ItemId) -> Response:
    """Take an item out of every answer at once."""
    await _kept(live_of(request).catch_up(store_of(request)))
    check_there(engine_of(request), item_id)
    await _change(request, ItemChange(item_id, None))
    METRICS.items.labels("deleted").inc()
    return Response(status_code=204, headers=NEVER_KEPT)


@router.put("/users/{user_id:path}", response_model=UserAnswer, responses=NOT_FOUND)
async def put_user(request: Request, user_id: UserInPath, body: UserDescription) -> Response:
    """Keep what a user names as their interests, known or new; an empty list takes them away."""
    engine = engine_of(request)
    await _kept(store_of(request).declare({user_id: body.interests}))
    understood = await asyncio.to_thread(engine.understands, tuple(body.interests))
    content = {"user_id": user_id, "release": engine.id, "interests": body.interests, "understood": understood}
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


async def _change(request: Request, change: ItemChange) -> None:
    await _kept(store_of(request).change_items([change]))
    # This worker need not wait for its next look; if the store is lost just now, the change is kept all the same.
    try:
        await live_of(request).catch_up(store_of(request))
    except StoreError as error:
        log.warning("the change of item %r is kept and not applied yet: %s", change.item_id, error)


async def _kept(done: Awaitable[None]) -> None:
    try:
        await done
    except StoreError as error:
        harmless = "send it again, which does no harm if it was; lists are answered all the same"
        raise Problem(503, f"this could not be kept: {error}; {harmless}", {"Retry-After": "1"}) from error
