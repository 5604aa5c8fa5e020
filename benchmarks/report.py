"""Compared models as one HTML file that needs nothing else: tables and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from benchmarks.plots import plots, recall_of
from recsys import __version__
from recsys.errors import RecsysError

TEMPLATE = Path(__file__).with_name("report.html")
METRIC = "ndcg@20"


def write_report(documents: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the page; RecsysError if the file cannot be written.

    ``documents``: as :func:`benchmarks.models.compare` and :func:`benchmarks.pipeline.judge_pipeline` give them.
    """
    page = render(documents)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, "utf-8")
    except OSError as error:
        raise RecsysError(
            f"the report cannot be written to {path}: {error.strerror}; choose another --report"
        ) from error


def render(documents: Sequence[Mapping[str, Any]]) -> str:
    """The page as text."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["number"] = number
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    return template.render(sections=[_section(document) for document in documents], version=__version__)


def number(value: float | None, places: int = 4) -> str:
    """A figure as people read it; a dash for none.

    >>> number(0.12345), number(1234.5, 0), number(None)
    ('0.1235', '1,234', '–')
    """
    return "–" if value is None else f"{value:,.{places}f}"


def _section(document: Mapping[str, Any]) -> dict[str, Any]:
    first = document["rows"][0]
    measured = [name for name in first["users"] if name != "users"]
    main = METRIC if METRIC in measured else measured[0]
    lists = [name for name in first if name.startswith(("coverage@", "gini@"))]
    rows = [*document["rows"], *document["published"]]
    return {
        **document,
        "main": main,
        "shown": [name for name in ("recall@20", main) if name in measured],
        "ranked": sorted(rows, key=lambda row: row.get(main) or 0, reverse=True),
        "metrics": [*measured, *lists],
        "segments": list(first["users"]["users"]),
        "popularity": list(next(iter(first["items"].values()))),
        "recall": recall_of(document["rows"]),
        "plots": plots(document, main),
    }
