"""What it costs to search cells of bytes by the compiled loop and by Faiss: one query at a time, in turns, in one run.

Both search the same cells, which Faiss filled and keeps; no query comes twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.turns import by_turns
from benchmarks.vectors import synthetic
from index.faiss_flat import ask
from index.faiss_ivf import FaissIvf
from index.searching import Found
from recsys.arrays import Float32

ITEMS, DIMENSIONS = 200_000, 64
SETTINGS = ((16, 2, 1, 100), (32, 2, 1, 100), (64, 2, 1, 200), (16, 2, 3, 100), (64, 4, 1, 20))
"""Probes, refine, queries that are searched together, and k."""
ROUNDS = 300


def measure() -> dict[str, Any]:
    """Median milliseconds of a search by each way, Faiss's by ours, and how much of what it finds ours finds."""
    items, users = synthetic(f"{ITEMS}x{DIMENSIONS}")
    with threadpool_limits(1):
        built = FaissIvf.build(items)
        rows = [_setting(built, users, *setting) for setting in SETTINGS]
    return {"items": ITEMS, "dimensions": DIMENSIONS, "rounds": ROUNDS, "settings": rows}


def _setting(built: FaissIvf, users: Float32, probes: int, refine: int, together: int, k: int) -> dict[str, Any]:
    index = built.at(probes, refine)
    ways: Mapping[str, Callable[[Float32], Found]] = {
        "ours": lambda queries: index.find(queries, k),
        "faiss": lambda queries: ask(index.asked, queries, k, index.usual),
    }
    turns = range(min(ROUNDS, len(users) // together))
    taken, said = by_turns(ways, [users[turn * together : (turn + 1) * together] for turn in turns])
    pairs = [pair for found in said for pair in zip(found["ours"][0], found["faiss"][0], strict=True)]
    alike = [len(np.intersect1d(ours, theirs)) / k for ours, theirs in pairs]
    return {
        "probes": probes,
        "refine": refine,
        "queries": together,
        "k": k,
        "ms": {name: round(1000 * each, 3) for name, each in taken.items()},
        "faiss_to_ours": round(taken["faiss"] / taken["ours"], 2),
        "alike": round(float(np.mean(alike)), 5),
    }
