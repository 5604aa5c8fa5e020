"""What `benchmarks.audio` measured as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

GREY, OTHER, CNN = "#8a8f98", "#d9822b", "#3b82d6"
COLOURS = (GREY, "#e3b27a", OTHER, "#a8c8f0", CNN, "#1d4f91")
QUESTIONS = {
    "soundtrack": "soundtrack,\nunheard tracks",
    "track": "track,\nunheard tracks",
    "held_out_track": "track,\nheld-out clips",
}


def draw(document: Mapping[str, Any], path: Path) -> None:
    """What is found among clips, and who is found for cold tracks, with intervals: a PNG."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    rows, depth = document["retrieval"]["rows"], document["retrieval"]["depth"]
    width = 0.8 / len(rows)
    for place, row in enumerate(rows):
        keys = [f"{name}_precision@{depth}" for name in QUESTIONS]
        across = np.arange(len(keys)) + (place - (len(rows) - 1) / 2) * width
        left.bar(across, [row[key] for key in keys], width, label=row["system"], color=COLOURS[place % len(COLOURS)])
        for x, key in zip(across, keys, strict=True):
            if f"{key}_interval" in row:
                left.plot([x, x], row[f"{key}_interval"], color="black", linewidth=1)
    left.set_xticks(range(len(QUESTIONS)), list(QUESTIONS.values()), fontsize=8)
    left.set_ylabel(f"precision@{depth}")
    left.set_title("clips of the same …", fontsize=11)
    left.legend(frameon=False, fontsize=8)
    cold = document["listening"]["rows"]
    for place, row in enumerate(reversed(cold)):
        right.barh(place, row["cold_auc"], color=_colour(row["system"]))
        if "cold_auc_interval" in row:
            right.plot(row["cold_auc_interval"], [place, place], color="black", linewidth=1)
    right.set_yticks(range(len(cold)), [row["system"] for row in reversed(cold)], fontsize=8)
    right.set_xlim(0.4, 1)
    right.axvline(0.5, color="grey", linewidth=0.8, linestyle=":")
    right.set_xlabel("AUC of who takes tracks that nobody has taken")
    right.set_title(f"semi-synthetic: {document['listening']['listeners']} invented listeners", fontsize=11)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2)
        axes.set_axisbelow(True)
    figure.suptitle("free-music-mel: 877 real clips, 112 tracks, 6 soundtracks; lines: 95 %", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _colour(system: str) -> str:
    if "cnn" in system:
        return CNN
    return OTHER if system.startswith(("ridge", "mlp")) else GREY
