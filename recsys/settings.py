"""``recsys.toml`` and the environment as typed values.

Every key has a default, so an empty file is a working configuration (MovieLens 100K, embedded Redis).
Relative paths are relative to the folder of the file. Environment variables win over the file:
``RECSYS_DATA`` (folder of data sets), ``RECSYS_CACHE``, ``RECSYS_STATE_URL``, ``RECSYS_HOST``, ``RECSYS_PORT``.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from recsys.arrays import Float64
from recsys.errors import SettingsError


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


FILES = frozenset({"file", "ids", "folder", "path"})
"""Options of encoders that name files."""


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
    """Whether ``recsys serve`` applies events itself, and archives them.

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


class Settings(Section):
    """Everything the programs are told."""

    data: Data = Data()
    model: dict[str, Any] = Field(default_factory=lambda: {"name": "als"})
    """``name`` of ``recsys.training`` models, and that model's own keys."""
    index: dict[str, Any] = Field(default_factory=lambda: {"backend": "auto"})
    """``backend`` and that backend's own keys."""
    content: ContentSettings | None = None
    """None: nothing is learned from descriptions, and an item that nobody took is in no list but by popularity."""
    ranker: RankerSettings | None = None
    """None: candidates stay as the fusion puts them. An empty ``[ranker]`` learns an order with the defaults."""
    surfaces: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """``home``, ``similar`` or a name of one's own → what differs from ``home`` as the model has it."""
    train: Train = Train()
    gate: Gate = Gate()
    releases: Releases = Releases()
    state: State = State()
    log: LogSettings = LogSettings()
    stream: Stream = Stream()
    serve: Serve = Serve()
    playlists: Playlists = Playlists()


DEMO_MODEL: Mapping[str, Any] = MappingProxyType({"name": "als", "factors": 64, "regularization": 20.0, "alpha": 2.0})
"""Chosen for ml-100k on three rolling cuts inside the older 80 % of its ratings; see docs/decisions/."""


def load_settings(path: Path | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read ``recsys.toml``; None is the demo's settings, with paths relative to the working directory.

    SettingsError names the key, what stood there and what was wanted.
    """
    folder = Path.cwd() if path is None else path.resolve().parent
    raw: dict[str, Any] = {"model": dict(DEMO_MODEL)} if path is None else {}
    if path is not None:
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SettingsError(
                f"there is no {path}: give the path of a recsys.toml, or none for the defaults"
            ) from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"{path} cannot be read as TOML: {error}") from error
    overrides = {
        ("state", "url"): environ.get("RECSYS_STATE_URL"),
        ("serve", "host"): environ.get("RECSYS_HOST"),
        ("serve", "port"): environ.get("RECSYS_PORT"),
    }
    for (section, key), value in overrides.items():
        if value and isinstance(raw.setdefault(section, {}), dict):
            raw[section][key] = value
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        raise SettingsError(f"{path or 'the settings'}: {describe(error)}") from error
    data = settings.data.model_copy(
        update={
            "events": tuple(folder / file for file in settings.data.events),
            "items": tuple(folder / file for file in settings.data.items),
            "archive": _archive(settings, folder),
        }
    )
    content = settings.content
    if content is not None:
        encoder = None if content.encoder is None else _with_files(content.encoder, folder)
        cache = None if content.cache is None else folder / content.cache
        content = content.model_copy(update={"encoder": encoder, "cache": cache})
    return settings.model_copy(
        update={
            "data": data,
            "content": content,
            "releases": settings.releases.model_copy(update={"folder": folder / settings.releases.folder}),
            "state": settings.state.model_copy(update={"folder": folder / settings.state.folder}),
            "playlists": settings.playlists.model_copy(
                update={
                    "folder": folder / settings.playlists.folder,
                    "zones": None if settings.playlists.zones is None else folder / settings.playlists.zones,
                }
            ),
            "log": settings.log.model_copy(
                update={
                    "archive": folder / settings.log.archive,
                    "erased": folder / settings.log.erased,
                    "url": _log_url(settings.log.url, folder),
                }
            ),
        }
    )


def _archive(settings: Settings, folder: Path) -> Path | bool:
    """The folder that ``data.archive`` means; False if none."""
    chosen = settings.data.archive
    return chosen and folder / (settings.log.archive if chosen is True else chosen)


def _log_url(url: str | None, folder: Path) -> str | None:
    """``file:folder`` with its folder below ``folder``; any other as it is."""
    return f"file:{folder / url[5:]}" if url is not None and url.startswith("file:") and url != "file:" else url


def _with_files(encoder: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The options of an encoder with the files that they name below ``folder``; parts of several likewise."""
    options = {key: str(folder / value) if key in FILES and isinstance(value, str) else value
               for key, value in encoder.items()}  # fmt: skip
    if isinstance(parts := options.get("parts"), Mapping):
        options["parts"] = {
            name: _with_files(part, folder) if isinstance(part, Mapping) else part for name, part in parts.items()
        }
    return options


def describe(error: ValidationError) -> str:
    """Pydantic's findings as one line each: key, what was wrong, what stood there."""
    lines = []
    for finding in error.errors():
        key = ".".join(map(str, finding["loc"])) or "(top level)"
        if finding["type"] == "extra_forbidden":
            lines.append(f"{key}: unknown key, see `recsys train --help` and docs/operations.md")
        else:
            lines.append(f"{key}: {finding['msg']}, but it is {str(finding['input'])[:80]!r}")
    return "\n  ".join(lines) if len(lines) == 1 else "\n  " + "\n  ".join(lines)


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where downloads are kept: ``RECSYS_CACHE``, else ``XDG_CACHE_HOME/recsys``, else ``~/.cache/recsys``."""
    if chosen := environ.get("RECSYS_CACHE"):
        return Path(chosen)
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recsys"
