"""How long it takes to rank all of gowalla in full for every test user, and to judge the lists by every metric."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from benchmarks.measuring import peak_mb
from benchmarks.models import SETTINGS
from benchmarks.protocols import split_of
from recsys.catalogue import Catalogue
from recsys.datasets import load
from recsys.evaluation import evaluate
from recsys.metrics import METRICS
from training.engines import engine_of
from training.models.als import Als

FACTORS, DEPTHS, RUNS = 64, (10, 20, 50, 100), 3


def measure() -> dict[str, Any]:
    """Scoring, masking, the best 100 and all accuracy metrics: wall and processor seconds, the best of three runs."""
    split = split_of(load("gowalla", os.environ))
    rng = np.random.default_rng(0)
    learned = Als(factors=FACTORS, iterations=1).fit(split.train, rng, threads=0)
    items = split.train.items
    engine, _ = engine_of(learned, split.train, Catalogue.of(None, items), SETTINGS, rng, "measured", kinds={})
    metrics = [f"{name}@{k}" for name in METRICS for k in DEPTHS]
    wall, processor, users = [], [], 0
    for _ in range(RUNS):
        start, used = time.perf_counter(), time.process_time()
        users = len(evaluate(engine, split, metrics).users)
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
    return {
        "data": "gowalla, as published",
        "users": users,
        "items": len(items),
        "factors": FACTORS,
        "metrics": len(metrics),
        "seconds": round(min(wall), 2),
        "processor_seconds": round(min(processor), 2),
        "load": [round(load, 1) for load in os.getloadavg()],
        "peak_mb": peak_mb(),
    }
