"""What requests have to say: in the log first, then in the store, and a problem document where it cannot be kept."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TypeVar, cast

from fastapi import Request

from api.lookup import writer_of
from api.problems import Problem
from recsys.errors import LogError, LogFull, ReleaseError, StoreError
from recsys.logs.records import Record
from recsys.speed import Applier

T = TypeVar("T")
AGAIN = "send it again, which does no harm if it was; lists are answered all the same"


async def keep(request: Request, records: Sequence[Record], again: str = AGAIN) -> None:
    """Append to the log. 507 where that is full, 503 where it does not answer."""
    try:
        await writer_of(request).append(records)
    except LogFull as error:
        why = f"the event log has no room, so nothing of this was kept: {error}; lists are answered all the same"
        raise Problem(507, why, {"Retry-After": "10"}) from error
    except LogError as error:
        raise Problem(503, f"this could not be kept: {error}; {again}", {"Retry-After": "1"}) from error


async def say(request: Request, record: Record) -> None:
    """Append to the log, and let it have its effect at once, which the speed layer gives it again when it reads it."""
    await keep(request, [record])
    await done(applier_of(request).apply([record]))


async def done(doing: Awaitable[T]) -> T:
    """What was asked of the log, the store or a release; 503 where these could not do it."""
    try:
        return await doing
    except (StoreError, LogError, ReleaseError) as error:
        raise Problem(503, f"this could not be kept: {error}; {AGAIN}", {"Retry-After": "1"}) from error


def applier_of(request: Request) -> Applier:
    """What gives records their effect on the store that the app opened."""
    return cast("Applier", request.app.state.applier)
