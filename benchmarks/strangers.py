"""What a rung for trends is worth to strangers, beside popularity: ``python -m benchmarks.strangers NAME…``."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import Any

import numpy as np

from recsys.interactions import interactions_of
from recsys.recency import Recency
from recsys.retrieval import by_popularity
from recsys.sections import Data
from recsys.splits import hold_out
from recsys.users import History
from training.data import item_ids, read_log
from training.models.popular import popularity_of
from training.progress import Unwatched
from training.strangers import HALF_LIVES, LENGTH, ndcg_of, trend_of


def measure(dataset: str) -> dict[str, Any]:
    """NDCG@10 of lists for everybody, for users who come only with the newest fifth of the log; and what is chosen."""
    log = read_log(Data(dataset=dataset), now=datetime.now(UTC), environ=os.environ, watcher=Unwatched())
    data = interactions_of(log.events, log.kinds, items=item_ids(log))
    split = hold_out(data, 0.2, np.random.default_rng(0))
    history = History.of(split.train)
    recency = Recency(len(data.items), history.rows, history.times)
    known = np.isin(split.test.user, split.train.user)
    strangers = split.test.where(~known)
    lists = {f"{days:g} days": recency.ranked(days)[:LENGTH] for days in HALF_LIVES}
    lists["popularity"] = by_popularity(popularity_of(split.train))[:LENGTH]
    found = {name: ndcg_of(rows, strangers) for name, rows in lists.items()}
    return {
        "dataset": dataset,
        "strangers": len(found["popularity"]),
        "chosen": trend_of(split.train, np.random.default_rng([0, 2])),
        "ndcg@10": {name: round(float(values.mean()), 4) for name, values in found.items()},
    }


if __name__ == "__main__":
    for name in sys.argv[1:]:
        sys.stdout.write(json.dumps(measure(name)) + "\n")
