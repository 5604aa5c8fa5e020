"""What the pipeline found, as what is answered."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from fastapi import Request, Response
from prometheus_client import Counter, Histogram
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from api.metrics import METRICS
from api.writing import Impressions
from recsys.arrays import Int32
from recsys.assembly import Engine
from recsys.candidates import PROPENSITY, RANK_CONSTANT
from recsys.logs.records import Shown
from recsys.pipeline import RANKER
from recsys.pipeline import Answer as Ranked
from recsys.reasons import causes, reasons
from recsys.retrieval import Query

NEVER_KEPT = {"Cache-Control": "no-store"}
"""For lists that the next event may change."""


def answer(
    engine: Engine,
    query: Query,
    ranked: Ranked,
    surface: str,
    subject: Mapping[str, Any],
    degraded: list[str],
    headers: dict[str, str],
    *,
    explain: bool = False,
) -> Response:
    """One list as a response, with ``headers`` unless a part of it failed."""
    content = content_of(engine, query, ranked, 0, surface, subject, degraded, explain=explain)
    # A list made without some part must not outlive the failure.
    keep = NEVER_KEPT if content["degraded"] else headers
    return Answered(content, [content], surface, ranked.seconds, keep)


class Answered(Response):
    """One list or several as JSON, with how long each stage took; they are counted once they were sent.

    ``lists``: what of ``content`` is a list; ``seconds``: by stage; ``notes``: what else there is to do then.
    """

    media_type = "application/json"

    def __init__(
        self,
        content: Mapping[str, Any],
        lists: Sequence[Mapping[str, Any]],
        surface: str,
        seconds: Mapping[str, float],
        headers: Mapping[str, str] = NEVER_KEPT,
        notes: Sequence[Callable[[], None]] = (),
    ) -> None:
        took = ", ".join([f"{_token(stage)};dur={1000 * each:.3f}" for stage, each in seconds.items()])
        super().__init__(to_json(content), headers={**headers, "Server-Timing": took})
        self._lists, self._surface, self._seconds, self._notes = lists, surface, seconds, notes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; then count, for which nobody has to wait."""
        await super().__call__(scope, receive, send)
        for stage, took in self._seconds.items():
            _stage(self._surface, stage).observe(took)
        for each in self._lists:
            _level(self._surface, each["level"]).inc()
            for part in each["degraded"]:
                METRICS.degraded.labels(part).inc()
        for note in self._notes:
            note()


def content_of(
    engine: Engine,
    query: Query,
    ranked: Ranked,
    place: int,
    surface: str,
    subject: Mapping[str, Any],
    degraded: list[str],
    *,
    explain: bool = False,
    given: int = 0,
) -> dict[str, Any]:
    """What is answered to the query at ``place``; ``given``: how many items were on pages before."""
    # A plain dictionary: building and checking models costs more than the search.
    found = ranked.candidates
    count = int(np.count_nonzero(found.rows[place] >= 0))
    ids = engine.items.ids(found.rows[place, :count])
    # Never the model's own: inner products would give the vectors away to whoever asks often enough.
    scores, sources = _scores(given, count), ranked.sources(place)
    parts = [*degraded, *ranked.degraded]
    items: list[dict[str, Any]] = [
        {"item_id": ids[slot], "rank": given + slot + 1, "score": scores[slot], "sources": sources[slot]}
        for slot in range(count)
    ]
    if explain:
        _explain(engine, query, surface, found.rows[place], items, ranked=RANKER not in parts)
    return {
        **subject,
        "surface": surface,
        "release": engine.id,
        "level": ranked.levels[place],
        "degraded": parts,
        "items": items,
        "reason": None if count == found.shape[1] else _reason(engine, query, count),
        "request_id": secrets.token_hex(8),
    }


def _explain(
    engine: Engine, query: Query, surface: str, rows: Int32, items: list[dict[str, Any]], *, ranked: bool
) -> None:
    """Write into each item what of the history speaks for it and, where it was ranked, what moved it."""
    there = rows[: len(items)]
    for item, why in zip(items, reasons(engine, surface, query, there, [i["sources"] for i in items]), strict=True):
        named = engine.items.ids(np.array([reason.row for reason in why], np.int32))
        pairs = zip(named, why, strict=True)
        item["because"] = [{"item_id": id_, "share": round(reason.share, 3)} for id_, reason in pairs]
    moved = causes(engine, surface, query, there, len(rows)) if ranked else None
    for item, by in zip(items, moved or (), strict=False):
        item["features"] = [
            {"feature": cause.feature, "about": cause.about, "share": round(cause.share, 3)} for cause in by
        ]


def note(impressions: Impressions, query: Query, ranked: Ranked, place: int, content: Mapping[str, Any]) -> None:
    """Have it noted what the query at ``place`` was shown, if it is somebody's and its answer one of those noted."""
    items: list[dict[str, Any]] = content["items"]
    if query.user is None or not items or not impressions.wants(content["request_id"]):
        return
    odds = ranked.candidates.signals.get(PROPENSITY)
    # What the ladder filled up with was not drawn, so it stands there for certain.
    drawn = () if odds is None else tuple(np.nan_to_num(odds[place, : len(items)].astype(float), nan=1.0).tolist())
    impressions.add(
        Shown(
            content["request_id"],
            int(query.now.timestamp()),
            query.user,
            tuple(item["item_id"] for item in items),
            content["surface"],
            content["release"],
            content["level"],
            items[0]["rank"],
            drawn,
        )
    )


@lru_cache(maxsize=256)
def _scores(given: int, count: int) -> Sequence[float]:
    """What a list is said to be scored by behind so many items: the place."""
    return [round(1 / (RANK_CONSTANT + given + rank), 6) for rank in range(1, count + 1)]


# Looking a counter up by its labels takes as long as counting.
@lru_cache(maxsize=256)
def _level(surface: str, level: str) -> Counter:
    return METRICS.levels.labels(surface, level)


@lru_cache(maxsize=1024)
def _stage(surface: str, stage: str) -> Histogram:
    return METRICS.stages.labels(surface, stage)


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


def kept(engine: Engine) -> dict[str, str]:
    """For lists that depend on nobody: keep them, but ask whether release and items are still the same."""
    return {"Cache-Control": "no-cache", "ETag": f'"{engine.tag}"'}


def unchanged(request: Request, engine: Engine) -> Response | None:
    """304 for who has the list of this very release and these items, see :func:`kept`; else None."""
    tags = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return Response(status_code=304, headers=kept(engine)) if f'"{engine.tag}"' in tags else None
