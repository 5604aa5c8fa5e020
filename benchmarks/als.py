"""What the project's ALS costs over a bare call of the library that it wraps: at most 1.15 times, on gowalla."""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from recsys.datasets import load
from recsys.interactions import interactions_of
from training.models.als import Als

RUNS = 5
SETTINGS = {"factors": 64, "regularization": 10.0, "alpha": 40.0, "iterations": 10}


def measure() -> dict[str, Any]:
    """Fit both in turns on the same interactions with the same settings and threads; ratios pair by pair."""
    log = load("gowalla", os.environ)
    data = interactions_of(log.events, log.kinds)
    matrix = data.matrix()
    model = Als(**SETTINGS)
    ours, bare = [], []
    for run in range(RUNS + 1):
        start = time.perf_counter()
        model.fit(data, np.random.default_rng(run), threads=0)
        middle = time.perf_counter()
        with threadpool_limits(1, "blas"):
            AlternatingLeastSquares(**SETTINGS, random_state=run).fit(matrix, show_progress=False)
        end = time.perf_counter()
        # The first pair warms caches up and is not counted.
        if run:
            ours.append(middle - start)
            bare.append(end - middle)
    ratios = [a / b for a, b in zip(ours, bare, strict=True)]
    return {
        "data": "gowalla, training part",
        "settings": SETTINGS,
        "runs": RUNS,
        "ours_s": round(statistics.median(ours), 3),
        "bare_s": round(statistics.median(bare), 3),
        "ratio": {"median": round(statistics.median(ratios), 3), "all": [round(ratio, 3) for ratio in ratios]},
    }
