"""What retrieval costs and how right it is as one HTML file that needs nothing else: tables and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.page import page, write_page
from benchmarks.pareto import ENOUGH, build_of, front, pictures


def write_retrieval_report(documents: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the page, a section for each document of :func:`benchmarks.retrieval.measure`.

    RecsysError if the file cannot be written.
    """
    write_page(render_retrieval(documents), path)


def render_retrieval(documents: Sequence[Mapping[str, Any]]) -> str:
    """The page as text."""
    return page("retrieval.html", [_section(document) for document in documents])


def _section(document: Mapping[str, Any]) -> dict[str, Any]:
    best = front(document["rows"])
    rows = [
        {**row, "build": build_of(row), "options": _options(row["params"]), "best": row in best}
        for row in document["rows"]
    ]
    enough = [row for row in rows if row["recall@100"] >= ENOUGH and row["backend"] != "exact"]
    quickest = min(enough, key=lambda row: row["p50_ms"]) if enough else None
    return {**document, "rows": rows, "quickest": quickest, "enough": ENOUGH, "plots": pictures(document)}


def _options(params: Mapping[str, Any]) -> str:
    """What the build's name does not say."""
    return ", ".join(f"{key} {value}" for key, value in params.items() if key != "storage")
