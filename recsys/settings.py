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
from typing import Any

from pydantic import Field, ValidationError

from recsys.errors import SettingsError
from recsys.sections import (
    ContentSettings,
    Data,
    Gate,
    LogSettings,
    Playlists,
    RankerSettings,
    Releases,
    Section,
    Serve,
    State,
    Stream,
    Train,
)

FILES = frozenset({"file", "ids", "folder", "path"})
"""Options of encoders that name files."""


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
