"""Recall, time and memory of index backends as pictures: what each build can do, and what nothing else does better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from benchmarks.plots import INK, label, legend, svg

COLOURS = {
    "exact": "#8a8f98", "faiss-ivf pq": "#3b82d6", "faiss-ivf sq8": "#2a9d78", "faiss-ivf flat": "#8db33a",
    "faiss-hnsw": "#d9822b", "voyager": "#a05ad0", "annoy": "#d64550",
}  # fmt: skip
TICKS = (0.1, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
ALL = 0.9999
"""Where the axis of recall, which has no place for 1, shows it."""
ENOUGH = 0.98
Row = Mapping[str, Any]


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Recall against time as a PNG."""
    figure = Figure(figsize=(8, 5.4), layout="constrained")
    axes = figure.subplots()
    _curves(result["rows"], "black")(axes)
    axes.set_title(title_of(result))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def pictures(result: Mapping[str, Any]) -> dict[str, str]:
    """What is drawn → SVG."""
    drawn = {
        "Recall against time": (4.4, _curves(result["rows"], INK)),
        f"Memory against time, at recall@100 of {ENOUGH}": (4.4, _costs(result["rows"])),
    }
    return {title: svg(how, height, f"{result['vectors']} {title}") for title, (height, how) in drawn.items()}


def title_of(result: Mapping[str, Any]) -> str:
    """What was measured, in a line."""
    return f"{result['vectors']}: {result['items']:,} × {result['dimensions']}, one thread"


def build_of(row: Row) -> str:
    """The name of the build that a row searches.

    >>> build_of({"backend": "faiss-ivf", "params": {"storage": "pq", "probes": 8}})
    'faiss-ivf pq'
    """
    return f"{row['backend']} {row['params'].get('storage', '')}".strip()


def front(rows: Sequence[Row]) -> list[Row]:
    """The rows that no other row beats in recall@100 or median time without losing in the other, by time.

    >>> rows = [{"recall@100": r, "p50_ms": t} for r, t in ((0.9, 1.0), (0.8, 2.0), (1.0, 3.0), (1.0, 4.0))]
    >>> [row["p50_ms"] for row in front(rows)]
    [1.0, 3.0]
    """
    kept: list[Row] = []
    for row in sorted(rows, key=lambda row: (row["p50_ms"], -row["recall@100"])):
        if not kept or row["recall@100"] > kept[-1]["recall@100"]:
            kept.append(row)
    return kept


def _curves(rows: Sequence[Row], ink: str) -> Callable[[Axes], None]:
    """A line a build over its search widths, the front behind them: down and to the right is better."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(build_of(row), []).append(row)

    def draw(axes: Axes) -> None:
        axes.plot(*_places(front(rows)), color=ink, alpha=0.15, linewidth=9, solid_capstyle="round", label="the best")
        for name, points in lines.items():
            axes.plot(*_places(points), color=COLOURS[name], marker="o", markersize=4, label=name)
        axes.axvline(ENOUGH, color=ink, linewidth=0.8, linestyle=":")
        axes.set(xlabel="recall@100", ylabel="median of one query, ms", yscale="log", xscale="logit")
        lowest = min(row["recall@100"] for row in rows)
        ticks = [tick for tick in TICKS if tick > lowest]
        axes.xaxis.set_major_locator(FixedLocator([*ticks, ALL]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([*(f"{tick:g}" for tick in ticks), "1"], fontsize=9)
        axes.grid(visible=True, which="both", alpha=0.2)
        legend(axes)

    return draw


def _costs(rows: Sequence[Row]) -> Callable[[Axes], None]:
    """Of each build the quickest search that finds enough: down and to the left is better."""
    quickest: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row["p50_ms"]):
        if row["recall@100"] >= ENOUGH:
            quickest.setdefault(build_of(row), row)
    short = [name for name in dict.fromkeys(map(build_of, rows)) if name not in quickest]

    def draw(axes: Axes) -> None:
        for name, row in quickest.items():
            axes.scatter(row["bytes_per_vector"], row["p50_ms"], color=COLOURS[name], s=40, zorder=3)
        axes.set(yscale="log", xscale="log")
        axes.margins(0.25)
        label(axes, [(row["bytes_per_vector"], row["p50_ms"], name) for name, row in quickest.items()])
        axes.set_xlabel("bytes a vector" + (f"; not reached by {', '.join(short)}" if short else ""))
        axes.set_ylabel("median of one query, ms")

    return draw


def _places(rows: Sequence[Row]) -> tuple[list[float], list[float]]:
    return [min(row["recall@100"], ALL) for row in rows], [row["p50_ms"] for row in rows]
