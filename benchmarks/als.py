"""What solvers cost on gowalla, against a bare call of implicit with the same settings, in one run.

``als`` wraps that call and may cost at most 1.15 times as much; ``ials`` is our own solver of the same problem.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from recsys.datasets import load
from recsys.interactions import Interactions, interactions_of
from training.models.als import Als
from training.models.ials import Ials

RUNS = 5
REGULARIZATION, ALPHA, ITERATIONS = 10.0, 40.0, 10


def measure() -> dict[str, Any]:
    """Fit in turns on the same interactions with the same settings and threads; ratios round by round."""
    log = load("gowalla", os.environ)
    data = interactions_of(log.events, log.kinds)
    return {
        "data": "gowalla, training part",
        "settings": {"regularization": REGULARIZATION, "alpha": ALPHA, "iterations": ITERATIONS},
        "runs": RUNS,
        "widths": [_measure(data, factors) for factors in (64, 128)],
    }


def _measure(data: Interactions, factors: int) -> dict[str, Any]:
    matrix = data.matrix()

    def bare(seed: int) -> None:
        with threadpool_limits(1, "blas"):
            AlternatingLeastSquares(
                factors=factors, regularization=REGULARIZATION, alpha=ALPHA, iterations=ITERATIONS, random_state=seed
            ).fit(matrix, show_progress=False)

    def als(seed: int) -> None:
        model = Als(factors=factors, regularization=REGULARIZATION, alpha=ALPHA, iterations=ITERATIONS)
        model.fit(data, np.random.default_rng(seed), threads=0)

    def ials(seed: int) -> None:
        model = Ials(
            factors=factors, regularization=REGULARIZATION, alpha=ALPHA - 1, unobserved=1.0, frequency_exponent=0.0,
            iterations=ITERATIONS,
        )  # fmt: skip
        model.fit(data, np.random.default_rng(seed), threads=0)

    times: dict[str, list[float]] = {"bare": [], "als": [], "ials": []}
    for run in range(RUNS + 1):
        for name, fit in (("bare", bare), ("als", als), ("ials", ials)):
            start = time.perf_counter()
            fit(run)
            # The first round compiles and warms caches up, and is not counted.
            if run:
                times[name].append(time.perf_counter() - start)
    ratios = {
        name: [round(ours / theirs, 3) for ours, theirs in zip(times[name], times["bare"], strict=True)]
        for name in ("als", "ials")
    }
    return {
        "factors": factors,
        "seconds": {name: round(statistics.median(taken), 3) for name, taken in times.items()},
        "to_bare": {name: {"median": statistics.median(found), "all": found} for name, found in ratios.items()},
    }
