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
from typing import Any, Literal, Self

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
        "dismiss": Kind(weight=0),
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
    """A name of ``recsys data list``. Neither this nor ``events``: ml-100k."""
    events: tuple[Path, ...] = ()
    """CSV, Parquet or JSON Lines, by suffix (``.csv .tsv .parquet .jsonl .ndjson``, also ``.gz``)."""
    items: tuple[Path, ...] = ()
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
        if self.items and not self.events:
            raise ValueError("`items` needs `events`: a data set brings its own items")
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


class Gate(Section):
    """What a release must reach to be promoted."""

    index_recall: float = Field(default=0.98, ge=0, le=1)
    """Least recall@100 of the index against exact search; what ``auto`` aims at too."""
    beat_popularity: bool = True
    """NDCG@10 of the pipeline must not be below popularity's."""


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
    timeout_ms: int = Field(default=100, ge=1)
    """How long a request waits for Redis before it answers from the ladder."""


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


class Settings(Section):
    """Everything the programs are told."""

    data: Data = Data()
    model: dict[str, Any] = Field(default_factory=lambda: {"name": "als"})
    """``name`` of ``recsys.training`` models, and that model's own keys."""
    index: dict[str, Any] = Field(default_factory=lambda: {"backend": "auto"})
    """``backend`` and that backend's own keys."""
    train: Train = Train()
    gate: Gate = Gate()
    releases: Releases = Releases()
    state: State = State()
    serve: Serve = Serve()


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
        }
    )
    return settings.model_copy(
        update={
            "data": data,
            "releases": settings.releases.model_copy(update={"folder": folder / settings.releases.folder}),
            "state": settings.state.model_copy(update={"folder": folder / settings.state.folder}),
        }
    )


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
