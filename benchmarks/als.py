"""What solvers cost and reach on gowalla, against a bare call of implicit with the same settings, in one run.

``als`` wraps that call and may cost at most 1.15 times as much; ``ials`` is our own solver of the same problem, which
should cost no more and rank no worse.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from benchmarks.models import SETTINGS
from benchmarks.protocols import split_of
from recsys.catalogue import Catalogue
from recsys.datasets import load
from recsys.evaluation import evaluate
from recsys.folding.least_squares import LeastSquares, LeastSquaresRule
from recsys.splits import Split
from training.engines import engine_of
from training.models import Learned
from training.models.als import Als
from training.models.ials import Ials

RUNS, JUDGED = 5, 3
REGULARIZATION, ALPHA, ITERATIONS = 10.0, 40.0, 10


def measure() -> dict[str, Any]:
    """Fit in turns on the same interactions with the same settings and threads; ratios round by round.

    The lists of the first seeds are judged on the published test; users are folded in alike, so item vectors decide.
    """
    split = split_of(load("gowalla", os.environ))
    return {
        "data": "gowalla, as published",
        "settings": {"regularization": REGULARIZATION, "alpha": ALPHA, "iterations": ITERATIONS},
        "runs": RUNS,
        "judged": JUDGED,
        "widths": [_measure(split, factors) for factors in (64, 128)],
    }


def _measure(split: Split, factors: int) -> dict[str, Any]:
    data = split.train
    matrix = data.matrix()

    def bare(seed: int) -> Learned:
        with threadpool_limits(1, "blas"):
            solver = AlternatingLeastSquares(
                factors=factors, regularization=REGULARIZATION, alpha=ALPHA, iterations=ITERATIONS, random_state=seed
            )
            solver.fit(matrix, show_progress=False)
        rule = LeastSquaresRule(alpha=ALPHA, regularization=REGULARIZATION)
        return Learned.of_fold(LeastSquares.of(np.asarray(solver.item_factors), rule))

    def als(seed: int) -> Learned:
        model = Als(factors=factors, regularization=REGULARIZATION, alpha=ALPHA, iterations=ITERATIONS)
        return model.fit(data, np.random.default_rng(seed), threads=0)

    def ials(seed: int) -> Learned:
        model = Ials(
            factors=factors, regularization=REGULARIZATION, alpha=ALPHA - 1, unobserved=1.0, frequency_exponent=0.0,
            iterations=ITERATIONS, device="cpu",
        )  # fmt: skip
        return model.fit(data, np.random.default_rng(seed), threads=0)

    times: dict[str, list[float]] = {"bare": [], "als": [], "ials": []}
    reached: dict[str, list[float]] = {"bare": [], "ials": []}
    for run in range(RUNS + 1):
        for name, fit in (("bare", bare), ("als", als), ("ials", ials)):
            start = time.perf_counter()
            learned = fit(run)
            took = time.perf_counter() - start
            # The first round compiles and warms caches up, and is not counted.
            if run:
                times[name].append(took)
            if name in reached and 1 <= run <= JUDGED:
                reached[name].append(_ndcg(learned, split))
    ratios = {
        name: [round(ours / theirs, 3) for ours, theirs in zip(times[name], times["bare"], strict=True)]
        for name in ("als", "ials")
    }
    return {
        "factors": factors,
        "seconds": {name: round(statistics.median(taken), 3) for name, taken in times.items()},
        "to_bare": {name: {"median": statistics.median(found), "all": found} for name, found in ratios.items()},
        "ndcg@20": {name: {"mean": round(statistics.mean(found), 5), "all": found} for name, found in reached.items()},
    }


def _ndcg(learned: Learned, split: Split) -> float:
    rng = np.random.default_rng(0)
    catalogue = Catalogue.of(None, split.train.items)
    engine, _ = engine_of(learned, split.train, catalogue, SETTINGS, rng, "measured", kinds={})
    reached: float = evaluate(engine, split, ("ndcg@20",)).means()["ndcg@20"]["all"]
    return reached
