"""What lists are like besides right: how much of the catalogue they show, how known, how varied, how like the user.

A metric is a function of what was shown and a depth k. Those of LIST_METRICS give one value a query, nan where it
is undefined; those of CATALOGUE_METRICS one number for all lists together. They describe: more coverage, novelty,
diversity and serendipity, and less Gini, popularity bias and divergence from the user's mix (calibration), are
usually wanted.
An empty slot shows nothing and is left out, an item that stands twice in a list counts once; only serendipity,
a kind of precision, divides by k all the same. To add one: a function here and a line in a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from recsys.arrays import Bool, Float32, Float64, Int32, Int64
from recsys.metrics import Judged, depth, distinct

CHUNK = 128
"""Lists whose vectors are gathered at once."""
SMOOTHING = 0.01
"""Steck's α: how much of the user's own mix is added to the list's, so that the divergence stays finite."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Lists shown to q queries, and what their metrics look at; a metric says which part it lacks.

    ``rows``: int32 (q, n), items, best first, -1 where empty. ``items``: how many the catalogue has.
    ``consumers``: int64 (items,), how many users consumed each in training; ``users``: how many there were.
    ``vectors``: float32 (items, d), of any length. ``judged``: the same lists, judged. ``expected``: int32 (q, m),
    what popularity would have shown these queries. ``categories``: float64 (items, c), each item's share of each
    category, zeros where unknown; ``tastes``: float64 (q, c), the users' own, see :func:`category_mix`.
    """

    rows: Int32
    items: int
    users: int = 0
    consumers: Int64 | None = None
    vectors: Float32 | None = None
    judged: Judged | None = None
    expected: Int32 | None = None
    categories: Float64 | None = None
    tastes: Float64 | None = None

    def first(self, k: int) -> tuple[Int32, Bool]:
        """The k best slots and which of them count, int32 and bool (q, k); ValueError if the lists are shorter."""
        rows = self.rows[:, : depth(k, self.rows.shape[1])]
        return rows, distinct(rows)

    def need(self, part: str, metric: str) -> Any:
        """The field of that name; ValueError if it was not given."""
        value = getattr(self, part)
        if value is None:
            raise ValueError(f"{metric} looks at `{part}`, which these lists came without: give Shown(…, {part}=…)")
        return value


def coverage(shown: Shown, k: int) -> float:
    """Share of the catalogue that stands in any list: catalogue coverage of Ge et al. (2010)."""
    return float((_exposure(shown, k) > 0).mean())


def shown_alone(shown: Shown, k: int) -> Float64:
    """Share of the catalogue that stands in a query's list and in no other: what coverage would be less without it."""
    rows, counts = shown.first(k)
    single = (_exposure(shown, k) == 1)[np.maximum(rows, 0)] & counts
    share: Float64 = single.sum(axis=1) / max(shown.items, 1)
    return share


def gini(shown: Shown, k: int) -> float:
    """Gini coefficient of how often each item of the catalogue is shown: 0 all alike, 1 − 1/items only one.

    Σ (2i − items − 1) xᵢ / (items · Σ xᵢ), x ascending, i from 1; nan where nothing is shown.
    Used on recommendations by Adomavicius & Kwon (2012).
    """
    exposure = np.sort(_exposure(shown, k))
    if not exposure.any():
        return float("nan")
    places = 2 * np.arange(1, shown.items + 1) - shown.items - 1
    return float(places @ exposure / (shown.items * exposure.sum()))


def novelty(shown: Shown, k: int) -> Float64:
    """Mean self-information of the items, −log2 p, p = consumers / users, in bits. Zhou et al. (2010).

    An item that nobody consumed is as new as one with a single consumer; nan for an empty list.
    """
    consumers = shown.need("consumers", "novelty")
    if shown.users < max(1, consumers.max(initial=0)):
        raise ValueError(f"an item has {consumers.max(initial=0)} consumers, but there are {shown.users} users")
    return _mean(-np.log2(np.maximum(consumers, 1) / shown.users), *shown.first(k))


def popularity_bias(shown: Shown, k: int) -> Float64:
    """Mean number of users who consumed the items: average recommendation popularity, Yin et al. (2012).

    nan for an empty list.
    """
    return _mean(shown.need("consumers", "popularity bias").astype(np.float64), *shown.first(k))


def diversity(shown: Shown, k: int) -> Float64:
    """Intra-list diversity, 1 − mean cosine of the pairs of items in a list. Smyth & McClave (2001).

    A vector of zeros is like no other (cosine 0); nan for a list of fewer than two items.
    """
    vectors = shown.need("vectors", "diversity").astype(np.float64)
    rows, counts = shown.first(k)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    # The cosines of all pairs are the square of the sum, less each with itself: 1, or 0 for a vector of zeros.
    itself = ((lengths[:, 0] > 0)[np.maximum(rows, 0)] & counts).sum(axis=1)
    alike = -itself.astype(np.float64)
    for start in range(0, len(rows), CHUNK):
        part = slice(start, start + CHUNK)
        listed = unit[np.maximum(rows[part], 0)]
        total = np.matmul(counts[part, None, :].astype(np.float64), listed)[:, 0]
        alike[part] += (total**2).sum(axis=1)
    pairs = counts.sum(axis=1) * (counts.sum(axis=1) - 1)
    cosine: Float64 = np.divide(alike, pairs, out=np.full(len(rows), np.nan), where=pairs > 0)
    return 1 - cosine


def serendipity(shown: Shown, k: int) -> Float64:
    """Share of the k best slots whose item is relevant and not among the k that popularity would have shown.

    |relevant ∩ (list − expected)| / k: Ge, Delgado-Battenfeld & Jannach (2010), popularity as the primitive model.
    nan for a query without relevant items.
    """
    judged: Judged = shown.need("judged", "serendipity")
    expected = shown.need("expected", "serendipity")
    expected = expected[:, : depth(k, expected.shape[1])]
    rows, counts = shown.first(k)
    places = np.arange(len(rows), dtype=np.int64)[:, None] * (shown.items + 1)
    surprising = ~np.isin(places + rows, (places + expected)[expected >= 0])
    share = (judged.first(k) * (counts & surprising)).mean(axis=1)
    return np.where(judged.relevant > 0, share, np.nan)


def calibration(shown: Shown, k: int) -> Float64:
    """Kullback-Leibler divergence, in nats, of the list's category mix q from the user's p; 0 is calibrated.

    Σ p ln(p / q̃), q̃ = (1 − α) q + α p, α = 0.01: Steck (2018). Items without categories are left out; nan where
    the user or the list has none.
    """
    tastes = shown.need("tastes", "calibration")
    categories = shown.need("categories", "calibration")
    rows, counts = shown.first(k)
    listed = np.zeros_like(tastes)
    for slot in range(k):
        listed += categories[np.maximum(rows[:, slot], 0)] * counts[:, slot, None]
    mix = _shares(listed)
    smooth = (1 - SMOOTHING) * mix + SMOOTHING * tastes
    ratio = np.divide(tastes, smooth, out=np.ones_like(tastes), where=tastes > 0)
    divergence = np.maximum((tastes * np.log(ratio)).sum(axis=1), 0)
    return np.where(tastes.any(axis=1) & listed.any(axis=1), divergence, np.nan)


def category_mix(weights: Any, categories: Float64) -> Float64:
    """What share of what users took to falls to each category, float64 (q, c); zeros for a user of whom none is known.

    ``weights``: (q, items), dense or sparse, what each item says of the user. ``categories``: (items, c).
    """
    return np.nan_to_num(_shares(np.asarray(weights @ categories, np.float64)))


def _shares(amounts: Float64) -> Float64:
    total = amounts.sum(axis=1, keepdims=True)
    shares: Float64 = np.divide(amounts, total, out=np.full_like(amounts, np.nan), where=total > 0)
    return shares


def _exposure(shown: Shown, k: int) -> Int64:
    rows, counts = shown.first(k)
    return np.bincount(rows[counts], minlength=shown.items)


def _mean(values: Float64, rows: Int32, counts: Bool) -> Float64:
    total = np.where(counts, values[np.maximum(rows, 0)], 0).sum(axis=1)
    lengths = counts.sum(axis=1)
    mean: Float64 = np.divide(total, lengths, out=np.full(len(rows), np.nan), where=lengths > 0)
    return mean


ListMetric = Callable[[Shown, int], Float64]
CatalogueMetric = Callable[[Shown, int], float]

LIST_METRICS: Mapping[str, ListMetric] = MappingProxyType(
    {
        "novelty": novelty,
        "popularity-bias": popularity_bias,
        "diversity": diversity,
        "serendipity": serendipity,
        "calibration": calibration,
    }
)
CATALOGUE_METRICS: Mapping[str, CatalogueMetric] = MappingProxyType({"coverage": coverage, "gini": gini})
