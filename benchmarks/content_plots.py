"""What ``recsys bench content`` measured, as pictures: ladders of systems, and items as they get takers.

``python -m benchmarks.content_plots FOLDER IMAGES`` draws what ``--folder`` kept.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

STYLE: dict[Any, Any] = {
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    "axes.axisbelow": True, "legend.frameon": False,
}  # fmt: skip
COLOURS = {"oracle": "#8a8f98", "content-only": "#d9822b", "pipeline": "#a05ad0", "cf-only": "#2a9d78"}
OTHERS = "#3b82d6"
SHADES = ("#16407a", "#3b82d6", "#9cc4f2")
"""Of one value of κ after the other."""
Document = Mapping[str, Any]


def draw_ladders(documents: Sequence[Document], path: Path) -> None:
    """NDCG@20 of every system among cold items, a panel a data set, as PNG."""
    shown = [document for document in documents if "cold_ndcg@20" in document["rows"][0]]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.1 * max(len(shown), 1) + 0.6, 3.4), layout="constrained")
        for axes, document in zip(figure.subplots(1, max(len(shown), 1), squeeze=False)[0], shown, strict=False):
            rows = document["rows"][::-1]
            values = [row["cold_ndcg@20"] or 0.0 for row in rows]
            names = [row["system"] for row in rows]
            axes.barh(names, values, color=[COLOURS.get(name, OTHERS) for name in names], height=0.65)
            for place, (row, value) in enumerate(zip(rows, values, strict=True)):
                low, high = row.get("interval", (value, value))
                axes.plot([low, high], [place, place], color="black", linewidth=1.2)
                axes.text(max(high, value) + 0.015, place, f"{value:.3f}", va="center", fontsize=8)
            axes.set_xlim(0, max([*values, 0.01]) * 1.25)
            axes.grid(visible=False, axis="y")
            axes.set_title(document["dataset"], fontsize=11, loc="left")
            axes.set_xlabel("NDCG@20 among cold items")
        figure.savefig(path, dpi=110)


def draw_curve(document: Document, path: Path) -> None:
    """NDCG@20 of items by how many took them, as learned, as predicted and mixed, as PNG."""
    points = document["curve"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6, 3.8), layout="constrained")
        axes = figure.subplots()
        styles = {"learned": ("#2a9d78", "-"), "predicted": ("#d9822b", "-")}
        for place, name in enumerate(name for name in points[0] if name not in ("takers", "items")):
            colour, line = styles.get(name, (SHADES[place % len(SHADES)], "--"))
            axes.plot(
                range(len(points)), [point[name] for point in points], line, color=colour, marker="o", ms=4, label=name
            )
        axes.set_xticks(range(len(points)), [str(point["takers"]) for point in points])
        axes.set_xlabel("users who took the item, so far")
        axes.set_ylabel("NDCG@20 among these items")
        axes.set_ylim(bottom=0)
        axes.set_title(f"{document['dataset']}: {points[0]['items']:,} items", fontsize=11, loc="left")
        axes.legend()
        figure.savefig(path, dpi=110)


def main(folder: str, images: str) -> None:
    """``content-ladders.png`` of all documents, and ``content-curve.png`` of the one with a curve."""
    kept = [json.loads(file.read_text("utf-8")) for file in sorted(Path(folder).glob("content-*.json"))]
    draw_ladders(kept, Path(images) / "content-ladders.png")
    for document in kept:
        if document.get("curve"):
            draw_curve(document, Path(images) / "content-curve.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
