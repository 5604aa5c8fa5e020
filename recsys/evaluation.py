"""How good the lists are that would have been served: the recommender itself is asked, not just the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np

from recsys.arrays import Float64, Int32
from recsys.metrics import METRICS, Judged, hits_of
from recsys.pipeline import Answer
from recsys.splits import Split

CHUNK = 1024


class Recommends(Protocol):
    """Answers users by their rows, from what was known of them before the test: an Engine does."""

    def recommend(self, users: Int32, k: int, now: datetime) -> Answer:
        """The k best items for each user."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Metrics of one recommender over the test users of a split.

    ``values``: "metric@k" → float64 (users,), nan where undefined. ``warm``: bool (users,), who had events to
    learn from.
    """

    users: Int32
    warm: np.ndarray
    values: Mapping[str, Float64]

    def means(self) -> dict[str, Any]:
        """Means over all test users and over warm and cold ones; None for a segment without users."""
        segments = {"all": np.ones(len(self.users), bool), "warm": self.warm, "cold": ~self.warm}
        return {
            "users": {name: int(mask.sum()) for name, mask in segments.items()},
            **{
                metric: {name: _mean(values[mask]) for name, mask in segments.items()}
                for metric, values in self.values.items()
            },
        }


def evaluate(recommender: Recommends, split: Split, metrics: tuple[str, ...] = ("ndcg@10", "recall@20")) -> Report:
    """Ask for a list for every test user, judge it by the test.

    Relevant is what a user took to in the test period (weight above 0) and had not seen before. Users without any
    such item are left out. ``metrics``: names of METRICS with their depth.
    """
    wanted = {name: _parse(name) for name in metrics}
    depth = max(k for _, k in wanted.values())
    new = split.test.matrix()
    seen = split.train.seen()
    new = (new - new.multiply(seen)).tocsr()
    new.eliminate_zeros()
    users = np.flatnonzero(np.diff(new.indptr)).astype(np.int32)
    now = datetime.fromtimestamp(int(split.test.time.min(initial=0)), UTC)
    hits = np.zeros((len(users), depth), bool)
    for start in range(0, len(users), CHUNK):
        part = users[start : start + CHUNK]
        ranked = recommender.recommend(part, depth, now).candidates
        relevant = new[part].toarray() > 0
        hits[start : start + CHUNK] = hits_of(ranked.rows, relevant)
    judged = Judged(hits, np.diff(new.indptr)[users].astype(np.int64))
    warm = np.diff(seen.indptr)[users] > 0
    return Report(users, warm, {name: METRICS[metric](judged, k) for name, (metric, k) in wanted.items()})


def _parse(name: str) -> tuple[str, int]:
    metric, _, k = name.partition("@")
    if metric not in METRICS or not k.isdigit() or not int(k):
        choices = ", ".join(f"{known}@K" for known in METRICS)
        raise ValueError(f"unknown metric {name!r}, choose one of {choices}, with K of at least 1")
    return metric, int(k)


def _mean(values: Float64) -> float | None:
    return round(float(np.nanmean(values)), 6) if len(values) else None
