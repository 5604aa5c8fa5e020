"""``recsys bench speed``: what is promised of speed. To add one: a module with ``measure``, and a line."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys.errors import SettingsError, unknown_choice
from recsys.tables import Table

BENCHMARKS: Table[Callable[[], dict[str, Any]]] = Table(
    "benchmark",
    {
        "als": "benchmarks.als:measure",
        "cells": "benchmarks.cells:measure",
        "content": "benchmarks.content_speed:measure",
        "evaluation": "benchmarks.evaluation:measure",
        "loop": "benchmarks.loop:measure",
        "pages": "benchmarks.pages:measure",
        "ranker": "benchmarks.ranker:measure",
        "remembered": "benchmarks.remembered:measure",
    },
    extra="train",
)


def run(names: Sequence[str], folder: Path | None) -> list[dict[str, Any]]:
    """The figures of the named benchmarks, all without names; kept in ``folder`` as they come.

    SettingsError for a name that does not exist.
    """
    for name in names:
        if name not in BENCHMARKS:
            raise SettingsError(unknown_choice("benchmark", name, BENCHMARKS))
    results = []
    for name in names or BENCHMARKS:
        results.append(
            {
                "benchmark": name,
                "measured": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": f"{platform.machine()}, Python {platform.python_version()}",
                **BENCHMARKS[name](),
            }
        )
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.json").write_text(json.dumps(results[-1], indent=2) + "\n")
    return results
