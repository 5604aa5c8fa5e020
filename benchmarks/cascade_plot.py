"""Stages of a pipeline as a picture: what each reaches, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recsys.cascade import MAIN

COLOURS = {"source": "#8a8f98", "fusion": "#3b82d6", "ranker": "#a05ad0", "whole": "#d9822b"}
ACROSS = 3
"""Data sets beside each other."""


def draw_stages(axes: Axes, document: Mapping[str, Any], ink: str = "black", metric: str = MAIN) -> None:
    """One line a stage, the whole at the foot: its mean, its interval, and as a line down the best source's mean."""
    rows = document["rows"][::-1]
    for place, row in enumerate(rows):
        found = row[metric]
        if found["mean"] is None:
            continue
        axes.plot([found["low"], found["high"]], [place, place], color=ink, linewidth=1.3, zorder=2)
        axes.scatter(found["mean"], place, color=COLOURS[row["kind"]], s=52, zorder=3)
        if row["stage"] == document["best_source"]:
            axes.axvline(found["mean"], color=ink, linewidth=0.8, linestyle=":", zorder=1)
    axes.set_yticks(range(len(rows)), [row["stage"] for row in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{metric}, line: 95 %, dotted: the best source alone")


def draw(documents: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A panel a data set, as PNG."""
    across = min(ACROSS, len(documents))
    down = -(-len(documents) // across)
    most = max(len(document["rows"]) for document in documents)
    figure = Figure(figsize=(4.2 * across, (1.1 + 0.3 * most) * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, document in zip(panels, documents, strict=False):
        draw_stages(axes, document)
        axes.set_title(f"{document['dataset']}, {document['users']:,} users", fontsize=11, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.25)
    for axes in panels[len(documents) :]:
        axes.set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
