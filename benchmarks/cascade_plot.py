"""Stages of a pipeline as a picture: what each reaches, and how sure that is.

``python -m benchmarks.cascade_plot FOLDER PNG`` draws what ``--folder`` kept.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from recsys.cascade import MAIN

COLOURS = {"source": "#8a8f98", "fusion": "#3b82d6", "ranker": "#a05ad0", "whole": "#d9822b"}
ACROSS = 3
"""Data sets beside each other."""


def draw_stages(axes: Axes, document: Mapping[str, Any], ink: str = "black", metric: str = MAIN) -> None:
    """One line a stage, the whole at the foot: by how much it is above the best source alone, and how sure that is.

    A stage of less than half of that source is said in numbers, so that it does not press the others together.
    """
    rows, best = document["rows"][::-1], document["best_source"]
    reached = next(row[metric]["mean"] for row in rows if row["stage"] == best)
    axes.axvline(0, color=ink, linewidth=0.8, linestyle=":", zorder=1)
    for place, row in enumerate(rows):
        found = row["less"].get(best, {}).get(metric, {"mean": 0, "low": 0, "high": 0})
        if reached is None or found["mean"] is None:
            continue
        if row[metric]["mean"] < reached / 2:
            axes.text(0.02, place, f"◂ {found['mean']:+.3f}", transform=axes.get_yaxis_transform(), va="center")
            continue
        axes.plot([found["low"], found["high"]], [place, place], color=ink, linewidth=1.3, zorder=2)
        axes.scatter(found["mean"], place, color=COLOURS[row["kind"]], s=52, zorder=3)
    axes.set_yticks(range(len(rows)), [row["stage"] for row in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel(f"{metric} less {best}, {reached or 0:.4f}")


def draw(documents: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A panel a data set, as PNG."""
    across = min(ACROSS, len(documents))
    down = -(-len(documents) // across)
    most = max(len(document["rows"]) for document in documents)
    figure = Figure(figsize=(4.4 * across, (1.1 + 0.3 * most) * down), layout="constrained")
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


def main(folder: str, path: str) -> None:
    """All documents that ``recsys bench cascade --folder`` kept, as PNG."""
    files = sorted(Path(folder).glob("cascade-*.json"))
    draw([json.loads(file.read_text("utf-8")) for file in files], Path(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
