"""What the pipeline found, as what is answered."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from fastapi import Request, Response
from prometheus_client import Counter, Histogram
from pydantic_core import to_json
from starlette.background import BackgroundTask

from api.metrics import METRICS
from api.writing import Impressions
from recsys.arrays import Int32
from recsys.assembly import Engine
from recsys.candidates import PROPENSITY, RANK_CONSTANT
from recsys.kernels import answers as kernels
from recsys.logs.records import Shown
from recsys.pipeline import RANKER, among
from recsys.pipeline import Answer as Ranked
from recsys.reasons import causes, reasons
from recsys.retrieval import Query

NEVER_KEPT = {"Cache-Control": "no-store"}
"""For lists that the next event may change."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One list as it is answered: what is ``said`` of it, its ``items`` as JSON, and how many were ``given`` before."""

    said: Mapping[str, Any]
    items: bytes
    given: int = 0

    def json(self) -> bytes:
        """All of it."""
        return b'%b,"items":%b}' % (to_json(self.said)[:-1], self.items)


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
    listed = listed_of(engine, query, ranked, 0, surface, subject, degraded, explain=explain)
    # A list made without some part must not outlive the failure.
    keep = NEVER_KEPT if listed.said["degraded"] else headers
    return Answered(listed.json(), [listed], surface, ranked.seconds, keep)


class Answered(Response):
    """JSON that holds one list or several, with how long each stage took; they are counted once they were sent.

    ``seconds``: by stage; ``notes``: what else there is to do then.
    """

    media_type = "application/json"

    def __init__(
        self,
        content: bytes,
        lists: Sequence[Listed],
        surface: str,
        seconds: Mapping[str, float],
        headers: Mapping[str, str] = NEVER_KEPT,
        notes: Sequence[Callable[[], None]] = (),
    ) -> None:
        took = ", ".join([f"{_token(stage)};dur={1000 * each:.3f}" for stage, each in seconds.items()])
        behind = Behind(lists, surface, seconds, notes)
        super().__init__(content, headers={**headers, "Server-Timing": took}, background=behind)


class Behind(BackgroundTask):
    """What is done behind an answer, for which nobody has to wait."""

    def __init__(
        self,
        lists: Sequence[Listed],
        surface: str,
        seconds: Mapping[str, float],
        notes: Sequence[Callable[[], None]],
    ) -> None:
        self._lists, self._surface, self._seconds, self._notes = lists, surface, seconds, notes

    async def __call__(self) -> None:
        """Count, then do the rest."""
        for stage, took in self._seconds.items():
            _stage(self._surface, stage).observe(took)
        for each in self._lists:
            _level(self._surface, each.said["level"]).inc()
            for part in each.said["degraded"]:
                METRICS.degraded.labels(part).inc()
        for note in self._notes:
            note()


def listed_of(
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
) -> Listed:
    """What is answered to the query at ``place``; ``given``: how many items were on pages before."""
    # Neither models nor dictionaries: to build and write one for each item costs more than the search.
    rows = ranked.candidates.rows[place]
    count = int(np.count_nonzero(rows >= 0))
    names, proposed = ranked.proposers(place)
    parts = [*degraded, *ranked.degraded]
    proposed = proposed[:count]
    tails = [_tail(names, bits) for bits in proposed]
    if explain:
        sources = [among(names, bits) for bits in proposed]
        why = _explained(engine, query, surface, rows, sources, ranked=RANKER not in parts)
        tails = [b"%b,%b" % (tail[:-1], to_json(each)[1:]) for tail, each in zip(tails, why, strict=True)]
    said = {
        **subject,
        "surface": surface,
        "release": engine.id,
        "level": ranked.levels[place],
        "degraded": parts,
        "reason": None if count == len(rows) else _reason(engine, query, count),
        "request_id": secrets.token_hex(8),
    }
    return Listed(said, kernels.listed(engine.items.ids(rows[:count]), _heads(given, count), tails), given)


def _explained(
    engine: Engine, query: Query, surface: str, rows: Int32, sources: Sequence[Sequence[str]], *, ranked: bool
) -> list[dict[str, Any]]:
    """Of each item what of the history speaks for it and, where it was ranked, what moved it."""
    there = rows[: len(sources)]
    items: list[dict[str, Any]] = []
    for why in reasons(engine, surface, query, there, sources):
        named = engine.items.ids(np.array([reason.row for reason in why], np.int32))
        pairs = zip(named, why, strict=True)
        items.append({"because": [{"item_id": id_, "share": round(reason.share, 3)} for id_, reason in pairs]})
    moved = causes(engine, surface, query, there, len(rows)) if ranked else None
    for item, by in zip(items, moved or (), strict=False):
        item["features"] = [
            {"feature": cause.feature, "about": cause.about, "share": round(cause.share, 3)} for cause in by
        ]
    return items


def note(impressions: Impressions, engine: Engine, query: Query, ranked: Ranked, place: int, listed: Listed) -> None:
    """Have it noted what the query at ``place`` was shown, if it is somebody's and its answer one of those noted."""
    said, rows = listed.said, ranked.candidates.rows[place]
    items = engine.items.ids(rows[rows >= 0])
    if query.user is None or not items or not impressions.wants(said["request_id"]):
        return
    odds = ranked.candidates.signals.get(PROPENSITY)
    # What the ladder filled up with was not drawn, so it stands there for certain.
    drawn = () if odds is None else tuple(np.nan_to_num(odds[place, : len(items)].astype(float), nan=1.0).tolist())
    impressions.add(
        Shown(
            said["request_id"],
            int(query.now.timestamp()),
            query.user,
            tuple(items),
            said["surface"],
            said["release"],
            said["level"],
            listed.given + 1,
            drawn,
        )
    )


@lru_cache(maxsize=256)
def _heads(given: int, count: int) -> list[bytes]:
    """What is said of each item of a list behind so many: its rank and, as its score, what the rank is worth.

    Never the model's own score: inner products would give the vectors away to whoever asks often enough.
    """
    ranks = range(given + 1, given + count + 1)
    return [b',"rank":%d,"score":%b' % (rank, to_json(round(1 / (RANK_CONSTANT + rank), 6))) for rank in ranks]


@lru_cache(maxsize=1024)
def _tail(names: tuple[str, ...], bits: int) -> bytes:
    """What is said last of an item: who proposed it."""
    return b',"sources":%b}' % to_json(among(names, bits))


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
