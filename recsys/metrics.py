"""Accuracy of ranked lists, on the full ranking: nothing is sampled.

A metric is a function of what was judged and a depth k, higher is better, one value a query, nan where it is
undefined (a query without relevant items). To add one: a function here and a line in METRICS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from recsys.arrays import Bool, Float64, Int64


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Ranked lists of q queries, judged.

    ``hits``: bool (q, n), whether the item in each slot, best first, is relevant; an empty slot is not.
    ``relevant``: int64 (q,), how many relevant items there are at all.
    """

    hits: Bool
    relevant: Int64

    def first(self, k: int) -> Float64:
        """The hits of the k best slots as 0 and 1; ValueError if the lists are shorter than k."""
        if not 1 <= k <= self.hits.shape[1]:
            raise ValueError(f"k is {k} but the lists have {self.hits.shape[1]} slots: ask for 1 to as many")
        return self.hits[:, :k].astype(np.float64)


def recall(judged: Judged, k: int) -> Float64:
    """Share of the relevant items that are among the k best."""
    return _over(judged.first(k).sum(axis=1), judged.relevant)


def hit_rate(judged: Judged, k: int) -> Float64:
    """1 where any of the k best is relevant, else 0."""
    return np.where(judged.relevant > 0, judged.first(k).any(axis=1), np.nan)


def ndcg(judged: Judged, k: int) -> Float64:
    """Normalized discounted cumulative gain, binary relevance, log2 discount. Järvelin & Kekäläinen (2002)."""
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])
    return _over(judged.first(k) @ discounts, ideal[np.minimum(judged.relevant, k)])


def mrr(judged: Judged, k: int) -> Float64:
    """1 / rank of the first relevant item among the k best, 0 if there is none."""
    first = judged.first(k)
    rank = first.argmax(axis=1) + 1
    return np.where(judged.relevant > 0, np.where(first.any(axis=1), 1 / rank, 0.0), np.nan)


def _over(part: Float64, whole: Float64 | Int64) -> Float64:
    ratio: Float64 = np.divide(part, whole, out=np.full(len(part), np.nan), where=np.asarray(whole) > 0)
    return ratio


Metric = Callable[[Judged, int], Float64]

METRICS: Mapping[str, Metric] = MappingProxyType({"recall": recall, "hit-rate": hit_rate, "ndcg": ndcg, "mrr": mrr})
