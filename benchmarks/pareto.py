"""Recall against time for every backend of one run, as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def draw(result: Mapping[str, Any], path: Path) -> None:
    """One line a build over its search widths: down and to the right is better."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, points in _lines(result):
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=name)
    axes.axvline(0.98, color="grey", linewidth=0.8, linestyle=":")
    axes.set(xlabel="recall@100", ylabel="median of one query, ms", yscale="log", xscale="logit")
    axes.set_title(f"{result['vectors']}: {result['items']:,} × {result['dimensions']}, one thread")
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _lines(result: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in result["rows"]:
        storage = row["params"].get("storage", "")
        # The axis has no place for 1.
        lines.setdefault(f"{row['backend']} {storage}".strip(), []).append(
            (min(row["recall@100"], 0.9999), row["p50_ms"])
        )
    yield from lines.items()
