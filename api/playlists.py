"""``/playlists``: the list of a week, made in one night and the same until it is corrected."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request, Response
from pydantic_core import to_json

from api.answers import NEVER_KEPT
from api.direct import Direct
from api.live import Live
from api.lookup import engine_of, live_of
from api.problems import NOT_FOUND, PROBLEMS, Problem
from api.schemas import PlaylistAnswer, UserInPath
from recsys.errors import PlaylistError
from recsys.playlists.editions import week_of
from recsys.playlists.reading import Playlist, Reader

router = APIRouter(responses=PROBLEMS, route_class=Direct)
page = APIRouter(prefix="/page", include_in_schema=False)
"""What the trial page asks for."""

DAY = 86400
WeekName = Annotated[
    str | None,
    Query(
        description="An ISO week, or an edition of it; without one, the newest that has begun where the user lives.",
        examples=["2026-W48"],
        min_length=1,
        max_length=20,
    ),
]


@router.get("/playlists/{user_id:id}", response_model=PlaylistAnswer, responses=NOT_FOUND)
async def playlist(request: Request, user_id: UserInPath, week: WeekName = None) -> Response:
    """A user's playlist of a week, from when that week begins where they live; what was deleted since is left out."""
    try:
        found = await reader_of(request).find(user_id, week, datetime.now(UTC))
    except PlaylistError as error:
        raise Problem(404, str(error)) from error
    live = live_of(request)
    mark = "" if live.current is None else live.current.mark
    tag = f'"{found.edition}+{mark}"' if mark else f'"{found.edition}"'
    # What a week was does not change; which week it is does.
    keep = "private, no-cache" if week is None else f"private, max-age={DAY}"
    headers = {"Cache-Control": keep, "ETag": tag}
    if tag in [other.strip().removeprefix("W/") for other in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(to_json(_content(user_id, found, live)), headers=headers, media_type="application/json")


@page.get("/users/{user_id:id}/playlists")
async def playlists(request: Request, user_id: UserInPath) -> Response:
    """A user's playlist of the week and that of the week before, as far as there are any; none is no error here."""
    live, reader, now = live_of(request), reader_of(request), datetime.now(UTC)
    found: list[dict[str, Any]] = []
    with suppress(PlaylistError):
        newest = await reader.find(user_id, None, now)
        found.append(_content(user_id, newest, live))
        before = await reader.find(user_id, str(week_of(newest.edition).plus(-1)), now)
        found.append(_content(user_id, before, live))
    content = {"playlists": found, "release": engine_of(request).id}
    return Response(to_json(content), headers=NEVER_KEPT, media_type="application/json")


def reader_of(request: Request) -> Reader:
    """What the app opened."""
    return cast("Reader", request.app.state.playlists)


def _content(user: str, found: Playlist, live: Live) -> dict[str, Any]:
    gone = live.deleted(item for item, *_ in found.items)
    left = [row for row in found.items if row[0] not in gone]
    return {
        "user_id": user,
        "week": found.week,
        "edition": found.edition,
        "release": found.release,
        "level": found.level,
        "available_from": found.available_from.isoformat(),
        "items": [
            {"item_id": item, "position": place, "score": round(score, 6), "sources": source.split(), "because": why}
            for place, (item, score, source, why) in enumerate(left, 1)
        ],
        "reason": None if left else "everything was heard" if not gone else "everything in it was deleted",
    }
