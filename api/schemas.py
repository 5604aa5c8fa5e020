"""What requests and answers look like."""

from __future__ import annotations

import re
from typing import Annotated

from annotated_types import Len
from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.convertors import Convertor, register_url_convertor

from recsys.filters import LONGEST

ID_LENGTH = 1000
MAX_K = 500
MAX_HISTORY = 1000
MAX_USERS = 500
MAX_ALIKE = 100
MAX_ASKED = 100
MAX_CONTEXT = 100
"""Items that a request can be about."""
MAX_BATCH = 50_000
"""Items in all the lists of a batch."""
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class AnyId(Convertor[str]):
    """An id in a path, ``{user_id:id}``: with slashes, and with line breaks, so that these are refused by name."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        """As it stands there."""
        return value

    def to_string(self, value: str) -> str:
        """As it stands there."""
        return value


register_url_convertor("id", AnyId())


def _printable(text: str) -> str:
    if CONTROL.search(text):
        raise ValueError("it must not hold control characters")
    return text


PRINTABLE = {"pattern": r"^[^\x00-\x1f\x7f]+$"}
Id = Annotated[
    str, Field(min_length=1, max_length=ID_LENGTH, json_schema_extra={**PRINTABLE}), AfterValidator(_printable)
]
UserId = Annotated[Id, Query(description="Anybody: unknown users are answered from the ladder.", examples=["196"])]
UserInPath = Annotated[Id, Path(description="A user.", examples=["196"])]
ItemId = Annotated[Id, Path(description="An item.", examples=["50"])]
Excluded = Annotated[
    list[str] | None,
    Query(description="Items that are not wanted, parted by commas.", examples=[["50,181"]], max_length=MAX_HISTORY),
]
Filters = Annotated[
    list[Annotated[str, Field(max_length=LONGEST)]] | None,
    Query(
        alias="filter",
        description="What is wanted, as in `genres:jazz and not year<1960`; of several, all. See the guide.",
        examples=[["genres:Drama"]],
        max_length=20,
    ),
]
K = Annotated[int, Query(ge=1, le=MAX_K, description="How many items.")]
Few = Annotated[int, Query(ge=1, le=MAX_ASKED, description="How many items.")]
Name = Annotated[str, Field(min_length=1, max_length=100, json_schema_extra={**PRINTABLE}), AfterValidator(_printable)]
SurfaceName = Annotated[Name, Query(description="Which pipeline answers: one of the release's.", examples=["home"])]


Place = Annotated[
    Annotated[str, Field(min_length=1, max_length=12_000, pattern="^[A-Za-z0-9_-]+$")] | None,
    Query(description="The `cursor` of an answer, for the page after it."),
]
Context = Annotated[
    list[str] | None,
    Query(
        description="What the list is to go with, parted by commas: a basket, an open page. It does not come back.",
        examples=[["50,181"]],
        max_length=MAX_CONTEXT,
    ),
]
InSegment = Annotated[
    Annotated[str, Field(min_length=1, max_length=1000)] | None,
    Query(description="Where the visitor is from, as `country:DE`: for lists of whom nothing else is known."),
]
Debug = Annotated[bool, Query(description="Say what each stage took out or brought; see the header X-Debug-Key.")]
Explain = Annotated[bool, Query(description="Say what of the history speaks for each item, and what moved it.")]


class Strict(BaseModel):
    """No unknown fields, no coercion between types."""

    model_config = ConfigDict(extra="forbid", strict=True)


Word = Annotated[str, Field(min_length=1, max_length=200, json_schema_extra={**PRINTABLE}), AfterValidator(_printable)]


class HistoryEntry(Strict):
    """One item that the visitor took."""

    item_id: Id
    event: str = Field(default="play", max_length=100, description="A kind of event that the release knows.")
    value: float = Field(default=1.0, ge=0, allow_inf_nan=False, description="A rating, a count.")


class RecommendRequest(Strict):
    """What an anonymous visitor did, newest first; or the users who are to be answered, all at once."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"history": [{"item_id": "50", "event": "play"}], "k": 20}]},
    )

    history: Annotated[list[HistoryEntry], Len(0, MAX_HISTORY)] | None = None
    user_ids: Annotated[list[Id], Len(1, MAX_USERS)] | None = Field(
        default=None, description="In place of a history: a list for each of these users.", examples=[["196", "22"]]
    )
    surface: Name = Field(default="home", description="Which pipeline answers: one of the release's.")
    interests: Annotated[list[Word], Len(0, 100)] = Field(default=[], description="Words and tags that they named.")
    filter: str | None = Field(
        default=None, max_length=LONGEST, description="What is wanted, as in `genres:jazz and not year<1960`."
    )
    exclude: Annotated[list[Id], Len(0, MAX_HISTORY)] = Field(default=[], description="Items that are not wanted.")
    k: int = Field(default=20, ge=1, le=MAX_K)
    context: Annotated[list[Id], Len(0, MAX_CONTEXT)] = Field(
        default=[], description="What the list is to go with: a basket, an open page. It does not come back."
    )
    segment: Annotated[str, Field(min_length=1, max_length=1000)] | None = Field(
        default=None, description="Where the visitor is from, as `country:DE`.", examples=["genres:Drama"]
    )
    explain: bool = Field(default=False, description="Say what of the history speaks for each item, and what moved it.")
    debug: bool = Field(default=False, description="Say what each stage took out or brought; see X-Debug-Key.")


class Because(BaseModel):
    """An item of the history that speaks for the one that is answered."""

    item_id: str = Field(examples=["50"])
    share: float = Field(examples=[0.31], description="Of all in the history that speaks for the item.")


class Cause(BaseModel):
    """A feature that the ranker looked at."""

    feature: str = Field(examples=["recent-cosine:5"])
    about: str = Field(examples=["Mean cosine to the newest items, by learned vectors (5)"])
    share: float = Field(examples=[0.24], description="Of all that moved the item; below 0: downwards.")


class Items(BaseModel):
    """Some items."""

    count: int = Field(examples=[2])
    item_ids: list[str] = Field(examples=[["50", "181"]], description="The first hundred.")


class Stage(BaseModel):
    """What one part of the pipeline made of its candidates."""

    stage: str = Field(
        examples=["filter"], description="source · rung · filter · cut · fusion · ranker · step · fill, as they ran"
    )
    name: str = Field(examples=["seen"])
    of: str | None = Field(examples=["nearest"], description="The source whose proposals these were.")
    why: str = Field(examples=["Empty the slots of items that the query has seen."])
    ms: float = Field(examples=[0.031])
    before: int = Field(examples=[139])
    after: int = Field(examples=[100])
    removed: Items
    added: Items


class RankedItem(BaseModel):
    """One slot of a list."""

    item_id: str = Field(examples=["174"])
    rank: int = Field(examples=[1], description="From 1.")
    score: float = Field(examples=[0.0164], description="Higher is better; comparable within one answer only.")
    sources: list[str] = Field(examples=[["nearest"]], description="Who proposed the item.")
    because: list[Because] = Field(
        default=[], description="With `explain`: what of the history speaks for it most, where its sources can say."
    )
    features: list[Cause] = Field(
        default=[], description="With `explain`, on a surface with a ranker: what moved it most in the ranking."
    )


class Answer(BaseModel):
    """A list and what made it."""

    user_id: str | None = Field(examples=["196"])
    surface: str = Field(examples=["home"])
    release: str = Field(examples=["2026-11-23T02-47-10"])
    level: str = Field(
        examples=["personal"],
        description="personal: a learned vector · recent: folded in from recent items · content-nearest: content like "
        "that of recent items · declared-interests · segment · trending · popular · similar · none; or a source's name",
    )
    unknown: list[str] = Field(
        default=[],
        description="Items of `context` and `exclude` that nobody knows: they count for nothing.",
    )
    trace: list[Stage] = Field(default=[], description="With `debug`: the stages in the order in which they ran.")
    degraded: list[str] = Field(examples=[[]], description="Parts that failed and were done without.")
    items: list[RankedItem]
    reason: str | None = Field(examples=[None], description="Why there are fewer items than were asked for.")
    cursor: str | None = Field(
        default=None, description="For the next page, where a user is asked for by GET and there may be one."
    )
    request_id: str = Field(examples=["5f3a9c0e7b1d4a26"])


class BatchAnswer(BaseModel):
    """A list for each of several users, in the order in which they were asked for."""

    release: str = Field(examples=["2026-11-23T02-47-10"])
    answers: list[Answer]
    request_id: str = Field(examples=["5f3a9c0e7b1d4a26"])


class SimilarAnswer(BaseModel):
    """Items like one item."""

    item_id: str = Field(examples=["50"])
    surface: str = Field(examples=["similar"])
    release: str = Field(examples=["2026-11-23T02-47-10"])
    level: str = Field(examples=["similar"])
    degraded: list[str] = Field(examples=[[]])
    items: list[RankedItem]
    reason: str | None = Field(examples=[None], description="Why there are fewer items than were asked for.")
    request_id: str = Field(examples=["5f3a9c0e7b1d4a26"])


class SimilarRequest(Strict):
    """Items that others should be like."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"item_ids": ["50", "181"], "k": 20}]}
    )

    item_ids: Annotated[list[Id], Len(1, MAX_ALIKE)]
    filter: str | None = Field(
        default=None, max_length=LONGEST, description="What is wanted, as in `genres:jazz and not year<1960`."
    )
    k: int = Field(default=20, ge=1, le=MAX_K)


class SimilarToSeveral(BaseModel):
    """Items like several items."""

    item_ids: list[str] = Field(examples=[["50", "181"]])
    surface: str = Field(examples=["similar"])
    release: str = Field(examples=["2026-11-23T02-47-10"])
    level: str = Field(examples=["similar"])
    degraded: list[str] = Field(examples=[[]])
    items: list[RankedItem]
    reason: str | None = Field(examples=[None], description="Why there are fewer items than were asked for.")
    request_id: str = Field(examples=["5f3a9c0e7b1d4a26"])


class PlaylistItem(BaseModel):
    """One place of a playlist."""

    item_id: str = Field(examples=["174"])
    position: int = Field(examples=[1], description="From 1.")
    score: float = Field(examples=[0.0164], description="Falls with the position; comparable within one list only.")
    sources: list[str] = Field(examples=[["nearest"]], description="Who proposed the item.")
    because: str | None = Field(examples=["50"], description="The item of their own history that it is nearest to.")


class PlaylistAnswer(BaseModel):
    """A user's playlist of a week."""

    user_id: str = Field(examples=["196"])
    week: str = Field(examples=["2026-W48"])
    edition: str = Field(examples=["2026-W48.2"], description="The week, and the number of a correction.")
    release: str = Field(examples=["2026-11-23T02-47-10"], description="The release that it was made from.")
    level: str = Field(examples=["personal"])
    available_from: str = Field(examples=["2026-11-23T00:00:00+00:00"])
    items: list[PlaylistItem]
    reason: str | None = Field(examples=[None], description="Why there is no item.")


class CurrentRelease(BaseModel):
    """The release that answers."""

    release: str = Field(examples=["2026-11-23T02-47-10"])
    users: int = Field(examples=[943])
    items: int = Field(examples=[1682])
    dimensions: int = Field(examples=[64])
    indexes: dict[str, str] = Field(examples=[{"items": "exact", "similar": "exact"}])
    surfaces: list[str] = Field(examples=[["home", "similar"]])
    added: int = Field(examples=[0], description="Items put since that the release does not know.")
    deleted: int = Field(examples=[0], description="Items of either kind that were deleted.")
    refused: str | None = Field(None, description="Why a newer release could not be loaded, if one could not.")


class Alive(BaseModel):
    """The process runs."""

    status: str = Field(examples=["ok"])


class Ready(BaseModel):
    """Requests can be answered."""

    status: str = Field(examples=["ok"])
    release: str = Field(examples=["2026-11-23T02-47-10"])
    degraded: list[str] = Field(examples=[[]], description="Parts that answers are made without at the moment.")
