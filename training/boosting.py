"""LightGBM behind one function: the only module that imports it, when a ranker is grown."""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np

from recsys.arrays import Bool, Float32, Int64
from recsys.sections import RankerSettings

Lists = tuple[Float32, Bool, Int64]
"""Candidates of several lists: features, float32 (m, f), what was taken, bool (m,), and how long each list is."""


def boosted(
    learn: Lists, judge: Lists | None, settings: RankerSettings, *, seed: int, threads: int, trees: int
) -> tuple[lgb.Booster, list[float]]:
    """A booster of so many trees, and NDCG@10 of the lists that judge after each; none without them."""
    rows, taken, sizes = learn
    data = lgb.Dataset(rows, taken.astype(np.int32), group=sizes)
    judges = []
    if judge is not None:
        rows, taken, sizes = judge
        judges.append(data.create_valid(rows, taken.astype(np.int32), group=sizes))
    curve: dict[str, Any] = {}
    options = {
        "objective": "lambdarank",
        "lambdarank_truncation_level": settings.truncation,
        "metric": "ndcg",
        "eval_at": [10],
        "num_leaves": settings.leaves,
        "learning_rate": settings.learning_rate,
        "min_data_in_leaf": settings.least_rows,
        "lambda_l2": settings.l2,
        "feature_fraction": settings.features,
        "max_bin": settings.bins,
        "num_threads": threads,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    booster = lgb.train(
        options,
        data,
        trees,
        valid_sets=judges,
        valid_names=["judge"] if judges else None,
        callbacks=[lgb.record_evaluation(curve)] if judges else None,
    )
    return booster, curve["judge"]["ndcg@10"] if judges else []
