"""Accuracy of ranked lists, on the full ranking: nothing is sampled.

A metric is a function of what was judged and a depth k, higher is better, one value a query, nan where it is
undefined (a query without relevant items). To add one: a function here and a line in METRICS.
Ties are the ranker's to break: a list has an order, and equal scores stand as it put them. :func:`auc` alone reads
scores, and counts a tie as half. An item that stands twice in a list counts where it stands first, and an empty
slot is a miss: neither is closed up, so the list pays for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from recsys.arrays import Bool, Float32, Float64, Int32, Int64


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
        return self.hits[:, : depth(k, self.hits.shape[1])].astype(np.float64)


def depth(k: int, slots: int) -> int:
    """``k``, if lists of ``slots`` slots are that deep; else a ValueError with both numbers."""
    if not 1 <= k <= slots:
        raise ValueError(f"k is {k} but the lists have {slots} slots: ask for 1 to as many")
    return k


def distinct(rows: Int32) -> Bool:
    """Which slots, of int32 (q, n), hold an item that no slot before them holds; not the empty ones, -1.

    >>> distinct(np.array([[7, -1, 7, 3]], np.int32))
    array([[ True, False, False,  True]])
    """
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, axis=1)
    first = np.ones(rows.shape, bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    mask = np.empty(rows.shape, bool)
    np.put_along_axis(mask, order, first & (ordered >= 0), axis=1)
    return mask


def hits_of(rows: Int32, relevant: Bool) -> Bool:
    """Whether each slot is a hit, bool (q, n).

    ``rows``: int32 (q, n), items, best first, -1 where empty. ``relevant``: bool (q, items).
    """
    return np.take_along_axis(relevant, np.maximum(rows, 0), axis=1) & distinct(rows)


def recall(judged: Judged, k: int) -> Float64:
    """Share of the relevant items that are among the k best."""
    return _over(judged.first(k).sum(axis=1), judged.relevant)


def precision(judged: Judged, k: int) -> Float64:
    """Share of the k best slots that hold a relevant item; k is the divisor, however few slots are filled."""
    return np.where(judged.relevant > 0, judged.first(k).mean(axis=1), np.nan)


def hit_rate(judged: Judged, k: int) -> Float64:
    """1 where any of the k best is relevant, else 0."""
    return np.where(judged.relevant > 0, judged.first(k).any(axis=1), np.nan)


def ndcg(judged: Judged, k: int) -> Float64:
    """Normalized discounted cumulative gain, binary relevance, log2 discount. Järvelin & Kekäläinen (2002)."""
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])
    return _over(judged.first(k) @ discounts, ideal[np.minimum(judged.relevant, k)])


def average_precision(judged: Judged, k: int) -> Float64:
    """Precision at each hit among the k best, added up, over min(relevant, k); its mean over queries is MAP.

    With that divisor a list of k hits has 1. trec_eval's ``map_cut`` divides by all relevant items instead, which
    no list of k can reach where there are more of them.
    """
    first = judged.first(k)
    at_hits = first * np.cumsum(first, axis=1) / np.arange(1, k + 1)
    return _over(at_hits.sum(axis=1), np.minimum(judged.relevant, k))


def mrr(judged: Judged, k: int) -> Float64:
    """1 / rank of the first relevant item among the k best, 0 if there is none."""
    first = judged.first(k)
    rank = first.argmax(axis=1) + 1
    return np.where(judged.relevant > 0, np.where(first.any(axis=1), 1 / rank, 0.0), np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """Where the p relevant items of q queries stand in the full ranking.

    ``query``: int64 (p,), whose item it is. ``rank``: float64 (p,), from 1, the best; items of equal score share the
    mean of the ranks they fill. ``ranked``: int64 (q,), how many items were ranked.
    """

    query: Int64
    rank: Float64
    ranked: Int64

    @classmethod
    def of(cls, scores: Float32, relevant: Bool, excluded: Bool) -> Ranks:
        """From all scores, float32 (q, items); ``relevant`` and ``excluded`` (what was seen before): bool (q, items).

        An excluded item is not ranked, nor counted as relevant. -inf is a score: what a model cannot rank ties at
        the end. ValueError for nan.
        """
        if np.isnan(scores).any():
            raise ValueError(f"{int(np.isnan(scores).sum())} of {scores.size} scores are nan: -inf ranks an item last")
        ranked = scores.shape[1] - excluded.sum(axis=1)
        # nan sorts behind everything, so the ranked items come first, the worst of them ahead.
        ascending = np.sort(np.where(excluded, np.float32(np.nan), scores), axis=1)
        query, item = np.nonzero(relevant & ~excluded)
        sought = scores[query, item]
        below, upto = np.empty((2, len(query)), np.int64)
        ends = np.cumsum(np.bincount(query, minlength=len(scores)))
        for row, (start, end) in enumerate(zip(np.concatenate([[0], ends[:-1]]), ends, strict=True)):
            line = ascending[row, : ranked[row]]
            below[start:end] = np.searchsorted(line, sought[start:end], "left")
            upto[start:end] = np.searchsorted(line, sought[start:end], "right")
        return cls(query, ranked[query] - (below + upto - 1) / 2, ranked)


def auc(ranks: Ranks) -> Float64:
    """Chance that a relevant item stands above one that is not, a tie being half: area under the ROC curve.

    The Mann-Whitney statistic by rank sums, Hanley & McNeil (1982). It has no depth, hence no line in METRICS.
    nan for a query without relevant items, or with no others.
    """
    relevant = np.bincount(ranks.query, minlength=len(ranks.ranked))
    total = np.bincount(ranks.query, ranks.rank, minlength=len(ranks.ranked))
    above = relevant * ranks.ranked - total - relevant * (relevant - 1) / 2
    return _over(above, relevant * (ranks.ranked - relevant))


def _over(part: Float64, whole: Float64 | Int64) -> Float64:
    ratio: Float64 = np.divide(part, whole, out=np.full(len(part), np.nan), where=np.asarray(whole) > 0)
    return ratio


Metric = Callable[[Judged, int], Float64]

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "recall": recall,
        "precision": precision,
        "hit-rate": hit_rate,
        "ndcg": ndcg,
        "map": average_precision,
        "mrr": mrr,
    }
)
