"""Latencies of a served release as a picture: how many requests took longer than how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

COLOUR = "#3b82d6"


def draw(times: Sequence[float], document: Mapping[str, Any], path: Path) -> None:
    """The share of requests that took longer, on a logarithmic scale, and what the stages take: a PNG."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    tail, stages = figure.subplots(1, 2)
    ordered = np.sort(times)
    tail.plot(ordered, 1 - np.arange(len(ordered)) / len(ordered), color=COLOUR)
    for name in ("p50_ms", "p99_ms"):
        tail.axvline(document["open_loop"][name], color="grey", linewidth=0.8, linestyle=":")
    tail.set(
        xscale="log", yscale="log", xlabel="ms from when the request was to leave", ylabel="requests that took longer"
    )
    tail.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    tail.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    tail.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:g}"))
    tail.xaxis.set_minor_formatter(NullFormatter())
    tail.set_title(f"{document['dataset']}: {document['open_loop']['rate']:g} requests a second")
    names, values = list(document["stages_ms"]), list(document["stages_ms"].values())
    stages.barh(names[::-1], values[::-1], color=COLOUR)
    stages.set(xlabel="ms, median")
    stages.set_title("stages inside the server")
    for axes in (tail, stages):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
