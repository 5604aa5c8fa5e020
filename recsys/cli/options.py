"""What commands have in common: options, the settings that they name, JSON for machines, extras that may be missing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from recsys.errors import MissingExtra
from recsys.settings import Settings, load_settings

Config = Annotated[
    Path | None,
    typer.Argument(help="recsys.toml; without it ./recsys.toml, else the demo's settings (MovieLens 100K)."),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="recsys.toml; without it ./recsys.toml, else the demo's settings.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Promote whatever the gate says; that is recorded.")]
Id = Annotated[str, typer.Argument(help="The id of a release, as `recsys release list` shows it.")]


def config_of(path: Path | None) -> Path | None:
    """The given file, else ./recsys.toml, else none."""
    here = Path("recsys.toml")
    return path or (here if here.is_file() else None)


def settings_of(path: Path | None) -> Settings:
    """The settings of that file, and of the environment."""
    return load_settings(config_of(path), os.environ)


def print_json(content: object) -> None:
    """One document on standard output."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


def deliver(document: Mapping[str, Any], folder: Path | None, name: str, *, as_json: bool) -> None:
    """Keep what was measured as ``NAME.json`` in a folder, if one is given, and print it: JSON, or a line a key."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    if as_json:
        print_json(document)
        return
    for key, value in document.items():
        typer.echo(f"{key}: {value}")


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Imports of what one installation extra brings; a missing one says how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{error.name}, which this command needs,", name) from error
