"""What requests say of items, users and events, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from annotated_types import Len
from pydantic import BaseModel, ConfigDict, Field

from api.schemas import Id, Name, Strict, Word

MAX_EVENTS = 1000
Number = Annotated[float, Field(allow_inf_nan=False)]
Value = str | bool | int | Number
Attribute = Value | list[Value] | list[list[Number]] | None
"""What a catalogue's cell can hold."""


class ItemDescription(BaseModel):
    """What is said of an item. Whatever the release's encoder reads places it; all of it describes it."""

    model_config = ConfigDict(
        extra="allow",
        strict=True,
        json_schema_extra={
            "propertyNames": {"minLength": 1, "maxLength": 100},
            "examples": [
                {"title": "Stalker", "text": "A guide leads two men into the Zone.", "tags": ["slow"], "year": 1979}
            ],
        },
    )
    __pydantic_extra__: dict[Annotated[str, Field(min_length=1, max_length=100)], Attribute] = Field(init=False)

    title: str | None = Field(None, max_length=10_000)
    text: str | None = None
    tags: Annotated[list[Word], Len(0, 1000)] | None = None
    vector: Annotated[list[Number], Len(1, 16_384)] | None = Field(
        None, description="A content vector of one's own, where the release's encoder is `precomputed`."
    )


class ItemAnswer(BaseModel):
    """What became of an item."""

    item_id: str = Field(examples=["stalker"])
    release: str = Field(examples=["2026-11-23T02-47-10"])
    placed: str = Field(
        examples=["content"],
        description="By what this release finds the item. learned: by who took it · content: by its description · "
        "no-information: by its title and at the end of what is popular, since its description says nothing that the "
        "encoder knows · no-encoder: the same, since the release has none",
    )
    problems: dict[str, str] = Field(
        examples=[{}],
        description="Field of the description → why the release's encoder can use nothing of it. Fields that say "
        "nothing are among them only where no field says anything that it knows",
    )


class UserDescription(Strict):
    """What a user says of themselves."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"interests": ["science fiction", "slow"]}]}
    )

    interests: Annotated[list[Word], Len(0, 100)] = Field(description="Words and tags; they replace those before.")


class UserAnswer(BaseModel):
    """What became of it."""

    user_id: str = Field(examples=["196"])
    release: str = Field(examples=["2026-11-23T02-47-10"])
    interests: list[str] = Field(examples=[["science fiction", "slow"]])
    understood: bool = Field(examples=[True], description="Whether this release's encoder knows any of them.")


class MergeRequest(Strict):
    """Who somebody was before they logged in."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"anonymous_id": "s-5f0c"}]})

    anonymous_id: Id


class Merge(BaseModel):
    """Whose events count for whom."""

    user_id: str = Field(examples=["196"])
    anonymous_id: str = Field(examples=["s-5f0c"])


class ErasureReceipt(BaseModel):
    """What was found of a user, and removed."""

    user_id: str = Field(examples=["196"])
    time: datetime = Field(description="What they did up to then is not learned again.")
    ids: int = Field(examples=[1], description="Names that the user had, with those that were merged into them.")
    removed: dict[str, int] = Field(
        examples=[{"log": 12, "archive": 31, "releases": 2, "states": 1, "vectors": 2, "interests": 0}],
        description="log, archive: records · releases: that knew them · lists: playlists · others: keys of the store",
    )


class EventPosted(Strict):
    """Something that a user did with an item."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"event_id": "5f0c", "user_id": "196", "item_id": "50", "kind": "play"}]},
    )

    user_id: Id
    item_id: Id = Field(description="Also one that no release knows yet: it counts from when one does.")
    kind: Name = Field(description="A kind of event that the release or the configuration knows.", examples=["play"])
    value: float = Field(default=1.0, ge=0, allow_inf_nan=False, description="A rating, a count.")
    time: Annotated[float, Field(allow_inf_nan=False)] | Annotated[str, Field(max_length=40)] | None = Field(
        default=None,
        description="Unix seconds, or ISO 8601, UTC where it names no zone; now where it is not given.",
        examples=[1764190000, "2026-11-26T21:00:00Z"],
    )
    event_id: Id | None = Field(
        default=None,
        description="What makes it the same event when it is sent twice; without one it is another each time.",
    )
    surface: Name | None = Field(default=None, description="Where the list stood that the item was taken from.")
    request_id: Name | None = Field(default=None, description="`request_id` of the answer that showed the item.")
    position: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(default=None, description="Its `rank` there.")


class RefusedEvent(BaseModel):
    """An event that was not accepted."""

    index: int = Field(examples=[3], description="Its place in the list, from 0.")
    reason: str = Field(examples=["kind: unknown kind of event 'plya', choose one of click, like, play"])


class EventsAnswer(BaseModel):
    """What became of events: those accepted are kept, and change lists from then on."""

    accepted: int = Field(examples=[2])
    refused: list[RefusedEvent]
