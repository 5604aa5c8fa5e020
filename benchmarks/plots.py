"""Plots of compared models as SVG to stand inside a page, in the colour of its text, so in light and in dark."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.cascade_plot import draw_stages
from recsys.segments import ACTIVITY, POPULARITY

INK = "#010203"
"""Stands for the colour of the page's text until the SVG is written."""
COLOURS = {
    "vector": "#3b82d6", "item-item": "#d9822b", "sequence": "#2a9d78", "blend": "#a05ad0", "baseline": "#8a8f98",
}  # fmt: skip
LINES, MARKS = ("-", "--", "-.", ":"), "osD^vPX"
WIDTH = 5.4
LETTER, LINE = 5.2, 10.0
"""How wide a letter and how high a line of a name beside a point is, about, in points."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": INK, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "legend.frameon": False, "axes.grid": True, "grid.alpha": 0.2,
    "grid.color": INK, "axes.axisbelow": True,
}  # fmt: skip
Row = Mapping[str, Any]


def plots(document: Mapping[str, Any], metric: str) -> dict[str, str]:
    """What is drawn → SVG, for the rows of one data set; what there is nothing to draw of is left out."""
    rows, others = document["rows"], document["published"]
    users = [*ACTIVITY, *(["cold"] if any(row["users"]["users"]["cold"] for row in rows) else [])]
    curves = [row for row in rows if len(row.get("curve", ())) > 1]
    drawn = {
        "Accuracy and its interval": (0.9 + 0.3 * (len(rows) + len(others)), _bars(rows, others, metric)),
        "Accuracy against the time of a fit": (3.6, _costs(rows, metric)),
        "By how much the user had taken": (3.6, _by(rows, users, lambda row: row["users"].get(metric, {}), metric)),
    }
    recall = recall_of(rows)
    drawn["By how popular the item is"] = (3.6, _by(rows, POPULARITY, lambda row: row["items"][recall], recall))
    if stages := document.get("stages"):
        drawn["Stage by stage"] = (0.9 + 0.34 * len(stages["rows"]), partial(draw_stages, document=stages, ink=INK))
    if curves:
        drawn["By how much there is to learn from"] = (3.6, _curves(curves, metric))
    return {title: svg(draw, height, f"{document['dataset']} {title}") for title, (height, draw) in drawn.items()}


def recall_of(rows: Sequence[Row]) -> str:
    """The recall that is shown by popularity of the item: at 20, if that was measured."""
    measured = list(rows[0]["items"])
    return "recall@20" if "recall@20" in measured else str(measured[0])


def svg(draw: Callable[[Axes], None], height: float, salt: str) -> str:
    """What ``draw`` draws, ``height`` inches high. ``salt``: a text that no other picture of the page has."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": salt}):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure.subplots())
        sheet = io.StringIO()
        figure.savefig(sheet, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = sheet.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")


def _bars(rows: Sequence[Row], others: Sequence[Row], metric: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        every = sorted([*rows, *others], key=lambda row: row.get(metric) or 0)
        for place, row in enumerate(every):
            value = row.get(metric) or 0
            if "source" in row:
                axes.barh(place, value, color="none", edgecolor=INK, linestyle=":", height=0.6)
                continue
            low, high = row["intervals"].get(metric, (value, value))
            axes.barh(place, value, color=COLOURS[row["kind"]], height=0.6)
            axes.plot([low or 0, high or 0], [place, place], color=INK, linewidth=1.4)
        axes.set_yticks(range(len(every)), [row["model"] for row in every])
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"{metric}, line: 95 %" + (", dotted: published" if others else ""))

    return draw


def _costs(rows: Sequence[Row], metric: str) -> Callable[[Axes], None]:
    best = max(row.get(metric) or 0 for row in rows)
    near = [row for row in rows if (row.get(metric) or 0) >= best / 2]
    far = [row["model"] for row in rows if row not in near]

    def draw(axes: Axes) -> None:
        for row in near:
            seconds, value = max(row["fit_s"], 1e-3), row.get(metric) or 0
            axes.scatter(seconds, value, color=COLOURS[row["kind"]], s=36, zorder=3)
        axes.set_xscale("log")
        axes.margins(0.18)
        label(axes, [(max(row["fit_s"], 1e-3), row.get(metric) or 0, row["model"]) for row in near])
        axes.set_xlabel("seconds to fit" + (f"; below half of the best: {', '.join(far)}" if far else ""))
        axes.set_ylabel(metric)
        for kind in dict.fromkeys(row["kind"] for row in near):
            axes.scatter([], [], color=COLOURS[kind], label=kind)
        legend(axes)

    return draw


def label(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """A name beside each point, higher up as long as it would stand on another name."""
    taken: list[tuple[float, float, float]] = []
    for x, y, name in sorted(points, key=lambda point: point[1]):
        left, foot = axes.transData.transform((x, y)) * 72 / axes.figure.dpi + (5, 4)
        right = left + LETTER * len(name)
        lift = 0.0
        while any(abs(foot + lift - other) < LINE and left < end and start < right for start, end, other in taken):
            lift += 1
        taken.append((left, right, foot + lift))
        axes.annotate(name, (x, y), xytext=(5, 4 + lift), textcoords="offset points", fontsize=9)


def _by(
    rows: Sequence[Row], segments: Sequence[str], values: Callable[[Row], Mapping[str, float | None]], metric: str
) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        for place, row in enumerate(rows):
            heights = [values(row).get(name) for name in segments]
            _line(axes, range(len(segments)), [float("nan") if v is None else v for v in heights], row, place)
        axes.set_xticks(range(len(segments)), segments)
        axes.set_ylabel(metric)
        legend(axes)

    return draw


def _curves(rows: Sequence[Row], metric: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        for place, row in enumerate(rows):
            points = row["curve"]
            _line(axes, [100 * point["share"] for point in points], [point[metric] for point in points], row, place)
        axes.set_xlabel("% of the training events")
        axes.set_ylabel(metric)
        legend(axes)

    return draw


def _line(axes: Axes, across: Sequence[float], up: Sequence[float], row: Row, place: int) -> None:
    look: dict[str, Any] = {
        "linestyle": LINES[place % len(LINES)],
        "marker": MARKS[place % len(MARKS)],
        "markersize": 4,
    }
    axes.plot(across, up, color=COLOURS[row["kind"]], label=row["model"], **look)


def legend(axes: Axes) -> None:
    """Below the picture, where it hides nothing."""
    axes.figure.legend(fontsize=9, loc="outside lower center", ncols=4)
