"""The sections of ``recsys.toml``: what each key is, and what it is by default."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from recsys.arrays import Float64


class Section(BaseModel):
    """A part of the configuration: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Kind(Section):
    """What an event of one kind says about taste."""

    weight: float = 1.0
    """Weight of one such event in training; 0 or less: it marks the item as seen and teaches nothing."""

    scale: Literal["none", "value", "log"] = "none"
    """How ``value`` enters the weight: not at all, as a factor, or as 1 + ln(value) (play counts)."""

    at_least: float | None = None
    """An event whose ``value`` is below this marks the item as seen and teaches nothing (low ratings)."""

    dismisses: bool = False
    """It takes the item out of every list of the user, until a later event of another kind."""

    def weigh(self, value: Float64) -> Float64:
        """What events of this kind with these values teach, float64 (n,); 0 where nothing.

        >>> Kind(weight=2, scale="value", at_least=3).weigh(np.array([2.0, 4.0]))
        array([0., 8.])
        """
        factor = {"none": np.ones_like(value), "value": value, "log": 1 + np.log(np.maximum(value, 1))}[self.scale]
        weight = max(self.weight, 0.0) * factor
        return weight if self.at_least is None else np.where(value >= self.at_least, weight, 0.0)


USUAL_KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "play": Kind(),
        "click": Kind(),
        "like": Kind(weight=2),
        "purchase": Kind(weight=3),
        "skip": Kind(weight=0),
        "dismiss": Kind(weight=0, dismisses=True),
    }
)
"""What the usual kinds of event mean where neither the data set nor ``[data.kinds]`` says otherwise."""


class EventColumns(Section):
    """Which columns of the event files hold what."""

    user_id: str = "user_id"
    item_id: str = "item_id"
    time: str | None = "time"
    """Unix seconds, or text in ISO 8601; ``None`` is a log without times. A column of this name may also be absent."""
    kind: str | None = "kind"
    """A log without this column holds events of one kind, ``default_kind``."""
    value: str | None = "value"
    """A rating, a play count, a price; a log without this column has 1 everywhere."""
    event_id: str | None = "event_id"
    """If the log has this column, an id must not occur twice."""


class ItemColumns(Section):
    """Which columns of the item files hold what; all others are kept as attributes."""

    item_id: str = "item_id"
    title: str | None = "title"


class Data(Section):
    """Where the events come from: a public data set by name, or files."""

    dataset: str | None = None
    """A name of ``recsys data list``. Neither this nor ``events`` nor ``archive``: ml-100k."""
    events: tuple[Path, ...] = ()
    """CSV, Parquet or JSON Lines, by suffix (``.csv .tsv .parquet .jsonl .ndjson``, also ``.gz``)."""
    items: tuple[Path, ...] = ()
    archive: Path | bool = False
    """Learn from the archive of the log too: true for the folder of ``log.archive``, or another one.

    With neither ``dataset`` nor ``events``: from the archive alone.
    """
    event_columns: EventColumns = EventColumns()
    item_columns: ItemColumns = ItemColumns()
    kinds: dict[str, Kind] = Field(default_factory=dict)
    """Kind of event → weight, or a table of weight, scale and at_least; beside the data set's own and USUAL_KINDS."""
    default_kind: str = "play"
    quarantine_share: float = Field(default=0.01, ge=0, le=1)
    """With ``--quarantine``, the share of bad rows up to which training goes on without them."""

    @field_validator("events", "items", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str | Path) else value

    @field_validator("kinds", mode="before")
    @classmethod
    def _weight_alone(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        return {k: {"weight": v} if isinstance(v, int | float) else v for k, v in value.items()}

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.dataset and self.events:
            raise ValueError("give `dataset` or `events`, not both")
        if self.items and not self.events and (self.dataset or not self.archive):
            raise ValueError("`items` needs `events` or `archive`: a data set brings its own items")
        return self


class Train(Section):
    """How a release is made."""

    seed: int = Field(default=0, ge=0)
    threads: int = Field(default=0, ge=0)
    """0: all cores. With 1, the same data, config and seed give the same vectors to the bit."""
    test_share: float = Field(default=0.2, gt=0, lt=1)
    """The newest share of events, held out for the measurement that the gate reads."""
    recent_items: int = Field(default=50, ge=1, le=1000)
    """How many of a user's newest items a user state keeps for folding in."""


class ContentSettings(Section):
    """What is learned of items by what is said of them, and how much that counts."""

    encoder: dict[str, Any] | None = None
    """``name`` of an encoder, and that encoder's own keys; none: chosen by the columns that the catalogue has."""
    map: dict[str, Any] = Field(default_factory=lambda: {"name": "ridge"})
    """``name`` of a map from content vectors to item vectors, and that map's own keys; the name alone will do."""
    kappa: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    """Takers at which what was learned of an item counts as much as what its content says; auto: by validation."""
    prior: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    """The length of the vector of an item that nobody took, in median lengths of those taken; auto: by validation."""
    certainty: float = Field(default=10.0, ge=0)
    """An item of so many takers counts half as much in learning the map as one that everybody took."""
    cache: Path | None = Path("var/content")
    """Where content vectors are kept, so that only changed items are encoded again; none: nowhere."""

    @field_validator("map", mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value


class Gate(Section):
    """What a release must reach to be promoted."""

    index_recall: float = Field(default=0.98, ge=0, le=1)
    """Least recall@100 of the index against exact search; what ``auto`` aims at too."""
    beat_popularity: bool = True
    """NDCG@10 of the pipeline must not be below popularity's."""
    warm_loss: float = Field(default=0.01, ge=0, le=1)
    """The share of NDCG@10 over warm items that content may cost, against the same engine without it."""


class RankerSettings(Section):
    """How the order of candidates is learned."""

    depth: int = Field(default=200, ge=1)
    """How many candidates are put in order."""
    pool: int = Field(default=200, ge=1)
    """How many items each source proposes."""
    cuts: int = Field(default=3, ge=1)
    """At how many times the log is cut, each ``train.test_share`` of the rest earlier; the model is fitted for each."""
    lean: float = Field(default=0.0, ge=-2, le=2)
    """Where the log has no times: odds of an item of n users to be set aside at a cut are n^this."""
    users: int = Field(default=20_000, ge=2)
    """Users whose candidates are learned from, at most, of each cut."""
    folds: int = Field(default=5, ge=2)
    """Parts of the users, each held out once: they say how many trees there are and what a probability is."""
    trees: int = Field(default=100, ge=1, le=1000)
    """At most; fewer where users that are held out have no use for more."""
    leaves: int = Field(default=15, ge=2, le=64)
    """Of each tree."""
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    least_rows: int = Field(default=100, ge=1)
    """Candidates in each leaf, at least."""
    l2: float = Field(default=1.0, ge=0)
    """Penalty on what a leaf says."""
    features: float = Field(default=0.8, gt=0, le=1)
    """The share of the features that each tree may use."""
    bins: int = Field(default=63, ge=2, le=255)
    """Values that a feature is told apart by; few keep what answers requests small."""
    truncation: int = Field(default=20, ge=1)
    """Places of the list that the order is learned for."""


class Releases(Section):
    """Where releases live."""

    folder: Path = Path("var/releases")
    keep: int = Field(default=5, ge=1)
    """How many releases ``prune`` leaves, the current one among them."""


class State(Section):
    """Where user states live."""

    url: str | None = None
    """``redis://``, ``rediss://``, ``unix://``. None: an embedded server, spawned as a child, is used."""
    folder: Path = Path("var/state")
    """The embedded server's append-only file, socket and log."""
    fsync: Literal["everysec", "always"] = "everysec"
    """When the embedded server has the disk hold what it wrote: each second, or before each answer."""
    timeout_ms: int = Field(default=100, ge=1)
    """How long a request waits for Redis before it answers from the ladder."""


class LogSettings(Section):
    """Where what happens is written down."""

    url: str | None = None
    """``redis://``, ``rediss://``, ``unix://``, ``kafka://host:port/topic`` or ``file:folder``.

    None: a stream on the server of ``[state]``.
    """
    archive: Path = Path("var/log")
    """Where the log is archived as Parquet, a folder a day: ``recsys train`` reads it, and the log may be trimmed."""
    erased: Path = Path("var/erased")
    """Of whom nothing is learned again, as keyed hashes: whom ``DELETE /users`` erased, and when."""
    claim_seconds: float = Field(default=30.0, gt=0)
    """How long a record that was given to a reader waits for its acknowledgement before another is given it."""
    impressions: float = Field(default=1.0, ge=0, le=1)
    """The share of answers of which the server logs what it showed, drawn by request."""
    future_seconds: int = Field(default=300, ge=0)
    """How far ahead of the server's clock an event may be."""
    oldest_days: int = Field(default=3650, ge=1)
    """How old an event may be."""


class Stream(Section):
    """How events change what is known of users."""

    inside: bool | None = None
    """Whether ``recsys serve`` applies events itself and archives them, in one process beside its workers.

    None: where the user states are on the embedded server.
    """
    batch: int = Field(default=500, ge=1)
    """Records that are applied at once, at most."""
    tries: int = Field(default=5, ge=1)
    """How often a record that cannot be applied is tried before it is put aside."""
    seen: int = Field(default=5000, ge=1)
    """How many of a user's newest items are remembered as seen."""
    shown: int = Field(default=100, ge=0)
    """How many of the newest impressions of a user are remembered."""
    half_life_days: float = Field(default=7.0, gt=0)
    """In which an event counts half among what trends."""


class Serve(Section):
    """The HTTP service."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    """0: any free port."""
    workers: int = Field(default=1, ge=1)
    page: bool = True
    """Serve the trial page at ``/`` with its own small endpoints, which show users' histories: off in public."""
    watch_seconds: float = Field(default=0.5, gt=0)
    """How often a worker looks at the release pointer."""
    max_waiting: int = Field(default=200, ge=1)
    """Requests in one worker at once; beyond them 503 is answered before any work is done."""
    debug_key: str = ""
    """Who sends it as ``X-Debug-Key`` may ask with ``debug=true`` how an answer came about; empty: nobody may."""
    cursor_key: str = ""
    """What cursors are signed with; empty: drawn at each start, so that a cursor does not outlive the service."""


class PlaylistGate(Section):
    """What an edition of playlists must keep to be published, beside what no list may ever hold."""

    coverage: float = Field(default=0.8, ge=0)
    """Least share of the catalogue that the lists show, in shares of what last week's showed."""
    gini: float = Field(default=0.05, ge=0, le=1)
    """Most by which the Gini coefficient of what is shown may exceed last week's."""
    overlap: float = Field(default=0.3, ge=0, le=1)
    """Most that a user's list may have in common with their last week's, on average."""
    most_share: float = Field(default=0.3, ge=0, le=1)
    """The share of the lists made by the users' own taste that one item may stand in."""


class Playlists(Section):
    """Weekly playlists."""

    folder: Path = Path("var/playlists")
    length: int = Field(default=30, ge=1, le=500)
    apart: int = Field(default=4, ge=0, le=52)
    """Nothing stands in a list that stood in one of the user's lists of so many weeks before."""
    seed: int = Field(default=0, ge=0)
    zone: str = "UTC"
    """A list may be heard from Monday 00:00 of this time zone."""
    zones: Path | None = None
    """A file of ``user_id`` and ``time_zone`` for those who live elsewhere."""
    canaries: tuple[str, ...] = ()
    """Users whose lists are printed for somebody to look at."""
    processes: int = Field(default=0, ge=0)
    """0: one a core."""
    expire_days: int = Field(default=21, ge=1)
    """How long the lists of an edition stay in Redis; the files stay."""
    command: str = ""
    """Run after an edition is published, with its id as the last argument."""
    webhook: str = ""
    """An address that is told of a published edition by a POST of JSON."""
    gate: PlaylistGate = PlaylistGate()
