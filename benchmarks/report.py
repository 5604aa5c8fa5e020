"""Compared models as one HTML file that needs nothing else: tables and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.page import page, write_page
from benchmarks.plots import plots, recall_of
from recsys.cascade import METRICS

METRIC = "ndcg@20"


def write_report(documents: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the page; RecsysError if the file cannot be written.

    ``documents``: as :func:`benchmarks.models.compare` and :func:`benchmarks.pipeline.judge_pipeline` give them.
    """
    write_page(render(documents), path)


def render(documents: Sequence[Mapping[str, Any]]) -> str:
    """The page as text."""
    return page("models.html", [_section(document) for document in documents])


def _section(document: Mapping[str, Any]) -> dict[str, Any]:
    first = document["rows"][0]
    measured = [name for name in first["users"] if name != "users"]
    main = METRIC if METRIC in measured else measured[0]
    lists = [name for name in first if name.startswith(("coverage@", "gini@"))]
    rows = [*document["rows"], *document["published"]]
    staged = [name for name in METRICS if name in document["stages"]["rows"][0]] if "stages" in document else []
    return {
        **document,
        "main": main,
        "shown": [name for name in ("recall@20", main) if name in measured],
        "ranked": sorted(rows, key=lambda row: row.get(main) or 0, reverse=True),
        "metrics": [*measured, *lists],
        "staged": staged,
        "segments": list(first["users"]["users"]),
        "popularity": list(next(iter(first["items"].values()))),
        "recall": recall_of(document["rows"]),
        "plots": plots(document, main),
    }
