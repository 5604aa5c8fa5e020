"""``POST /events``: what users did, checked one by one, and in the log before anybody is told that it was accepted.

Pydantic checks each event for itself, not the body as a whole: one bad event of a thousand takes no other with it.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from api.answers import NEVER_KEPT
from api.direct import Direct
from api.keeping import keep
from api.lookup import live_of
from api.metrics import METRICS
from api.problems import PROBLEMS, UNKEPT, Problem, field_problem, short
from api.said import MAX_EVENTS, EventPosted, EventsAnswer
from recsys.barred import Barred
from recsys.errors import unknown_choice
from recsys.logs.records import Event, Record, Shown
from recsys.sections import Kind, LogSettings

router = APIRouter(responses=PROBLEMS, route_class=Direct)

POSTED: TypeAdapter[EventPosted] = TypeAdapter(EventPosted)
IMPRESSION = "impression"
"""A kind that no configuration need name: an item was put before somebody's eyes, as the page that did it says."""
AGAIN = "send it again under the same event_id, which does no harm if it was; lists are answered all the same"
DAY = 86_400
LATEST = 32_503_680_000
"""The year 3000: a time that it makes no sense to print."""
BODY: Mapping[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [
                        EventPosted.model_json_schema(),
                        {"type": "array", "items": EventPosted.model_json_schema(), "maxItems": MAX_EVENTS},
                    ]
                }
            }
        },
    }
}


class RefusedError(Exception):
    """An event that is not accepted: the field that is wrong, empty where none is to blame, and the sentence."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        # Not the name of a field that somebody made up: counters are kept for ever.
        self.counted = field if field in EventPosted.model_fields else "body"


@dataclass(frozen=True, slots=True)
class Rules:
    """What events have to keep to, beside their shape.

    ``kinds``: those of the configuration. ``barred``: who was erased: what they did before is not taken again.
    """

    log: LogSettings
    kinds: Mapping[str, Kind]
    barred: Barred

    def record(self, posted: object, kinds: Mapping[str, Kind], now: float, barred: Barred | None) -> Record:
        """What an event is in the log. RefusedError says why it is not to be there. ``barred``: None if nobody is."""
        if not isinstance(posted, dict):
            raise RefusedError("", f"an event is an object, but this is {short(posted)}")
        try:
            event = POSTED.validate_python(posted)
        except ValidationError as error:
            wrong = [field_problem(finding) for finding in error.errors(include_url=False)]
            first, *others = [f"{each.problem}, but it is {each.got}" for each in wrong[:3]]
            more = (f"{each.field}: {reason}" for each, reason in zip(wrong[1:], others, strict=False))
            raise RefusedError(wrong[0].field, "; ".join([first, *more])) from None
        if event.kind not in kinds and event.kind != IMPRESSION:
            raise RefusedError("kind", unknown_choice("kind of event", event.kind, [*kinds, IMPRESSION]))
        at = self._time(event.time, now)
        if barred is not None and at <= barred.times([event.user_id])[0]:
            raise RefusedError("user_id", "this user was erased after that, and asked that it be forgotten")
        id_ = event.event_id or secrets.token_hex(16)
        surface, request = event.surface or "", event.request_id or ""
        if event.kind not in kinds:
            # What the server logged of the same place in the same answer is the same impression.
            shown, place = request or id_, event.position or 1
            return Shown(shown, at, event.user_id, (event.item_id,), surface, "", "", place)
        return Event(id_, at, event.user_id, event.item_id, event.kind, event.value, surface, request, event.position)

    def _time(self, said: float | str | None, now: float) -> int:
        """When it happened, unix seconds."""
        if said is None:
            return int(now)
        at = _seconds(said)
        if at > now + self.log.future_seconds:
            hint = ": times are unix seconds, divide milliseconds by 1,000" if at > LATEST else ""
            ahead = f"more than {self.log.future_seconds:,} s ahead of this server's clock{hint}"
            raise RefusedError("time", f"{short(said)} is {ahead}")
        if at < now - self.log.oldest_days * DAY:
            raise RefusedError("time", f"{short(said)} is more than {self.log.oldest_days:,} days ago")
        return math.floor(at)


@router.post(
    "/events",
    status_code=202,
    response_model=EventsAnswer,
    responses=UNKEPT,
    openapi_extra=dict(BODY),
)
async def post_events(request: Request) -> Response:
    """Keep what users did: one event, or a list of them, of which each is accepted or refused for itself.

    Whatever is counted as accepted is in the log. An event sent again under the same `event_id` counts once.
    """
    posted = await _posted(request)
    single = not isinstance(posted, list)
    rules, engine, now = _rules_of(request), live_of(request).current, time.time()
    kinds = rules.kinds if engine is None else {**rules.kinds, **engine.card.kinds}
    barred = rules.barred if len(rules.barred) else None
    records: list[Record] = []
    refused: list[dict[str, Any]] = []
    for index, each in enumerate([posted] if single else posted):
        try:
            records.append(rules.record(each, kinds, now, barred))
        except RefusedError as error:
            METRICS.refused_events.labels(error.counted).inc()
            if single:
                raise Problem(422, str(error)) from None
            refused.append({"index": index, "reason": str(error)})
    if records:
        await keep(request, records, AGAIN)
        items = [record.item for record in records if isinstance(record, Event)]
        for kind, count in Counter(
            record.kind if isinstance(record, Event) else IMPRESSION for record in records
        ).items():
            METRICS.events.labels(kind).inc(count)
        if engine is not None and (unknown := int((engine.items.rows(items) < 0).sum())):
            METRICS.unknown_items.inc(unknown)
    content = to_json({"accepted": len(records), "refused": refused})
    return Response(content, 202, NEVER_KEPT, "application/json")


def _rules_of(request: Request) -> Rules:
    return cast("Rules", request.app.state.rules)


async def _posted(request: Request) -> Any:
    """The body as JSON says it; a Problem if it is none, or has more events than are taken at once."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # Also keeps pages of other sites from posting without being allowed to: browsers ask before they send JSON.
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        raise Problem(415, f"the body is said to be {media or 'nothing'!r:.80}: send application/json")
    try:
        posted = from_json(await request.body(), allow_inf_nan=True)
    except ValueError as error:
        raise Problem(422, f"body: no JSON that can be read: {error}") from None
    if isinstance(posted, list):
        if len(posted) > MAX_EVENTS:
            raise Problem(422, f"body: {len(posted):,} events: at most {MAX_EVENTS:,} at once, send them in parts")
    elif not isinstance(posted, dict):
        raise Problem(422, f"body: an event or a list of events is wanted, but it is {short(posted)}")
    return posted


def _seconds(said: float | str) -> float:
    if isinstance(said, int | float):
        return said
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        raise RefusedError("time", f"{short(said)} is neither unix seconds nor ISO 8601") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
