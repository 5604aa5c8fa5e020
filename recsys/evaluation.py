"""How good the lists are that would have been served: the recommender itself is asked, not just the model."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from recsys.arrays import Bool, Float32, Float64, Int8, Int32, Int64
from recsys.beyond_accuracy import CATALOGUE_METRICS, LIST_METRICS, Shown, category_mix
from recsys.metrics import METRICS, Judged, Metric, distinct
from recsys.pipeline import Answer
from recsys.segments import item_parts, item_segments, means, user_segments
from recsys.splits import Split

CHUNK = 1024
"""Users asked for at once."""
DEFAULT_METRICS = ("ndcg@10", "recall@20")


class Recommends(Protocol):
    """Answers users by their rows, from what was known of them before the test: an Engine does."""

    def recommend(self, users: Int32, k: int, now: datetime) -> Answer:
        """The k best items for each user."""
        ...


class Progress(Protocol):
    """Told the share that is done, 0 to 1."""

    def __call__(self, share: float, /) -> None:
        """Show it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What one recommender was measured to do for the u test users of a split.

    ``users``: int32 (u,), their rows. ``rows``: int32 (u, depth), the lists, best first, -1 where empty, which
    ``judged`` judges. ``values``: "metric@k" → float64 (u,), nan where undefined. ``catalogue``: "metric@k" → one
    number for all lists. ``segments``: name → bool (u,), see :mod:`recsys.segments`. ``by_popularity``: "recall@k" and
    "ndcg@k" → segment of items → float64 (u,), as if the items of that segment alone were relevant, nan for a user
    without any.
    ``seconds``: how long it took to answer.
    """

    users: Int32
    rows: Int32
    judged: Judged
    values: Mapping[str, Float64]
    catalogue: Mapping[str, float]
    segments: Mapping[str, Bool]
    by_popularity: Mapping[str, Mapping[str, Float64]]
    seconds: float

    def means(self, segments: Sequence[str] = ("all", "warm", "cold")) -> dict[str, Any]:
        """How many users each segment has, and the means of each metric over them; None where there are none."""
        masks = {name: self.segments[name] for name in segments}
        return {
            "users": {name: int(mask.sum()) for name, mask in masks.items()},
            **{
                metric: means({name: values[mask] for name, mask in masks.items()})
                for metric, values in self.values.items()
            },
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything but the lists as plain values: of users, of items, of the catalogue, and what a list took."""
        return {
            "users": self.means(tuple(self.segments)),
            "items": {name: means(parts) for name, parts in self.by_popularity.items()},
            "catalogue": {name: None if np.isnan(value) else round(value, 6) for name, value in self.catalogue.items()},
            "ms_user": round(1000 * self.seconds / len(self.users), 4) if len(self.users) else None,
        }


def evaluate(
    recommender: Recommends,
    split: Split,
    metrics: Sequence[str] = DEFAULT_METRICS,
    *,
    vectors: Float32 | None = None,
    categories: Float64 | None = None,
    progress: Progress | None = None,
) -> Report:
    """Ask for a list for every test user, judge it by the test.

    ``metrics``: names of METRICS, LIST_METRICS and CATALOGUE_METRICS with their depth. ``vectors``: float32 (items, d),
    what diversity looks at; ``categories``: float64 (items, c), what calibration looks at.
    Relevant is what a user took to in the test period (weight above 0) and had not seen before, also an item that
    training never saw. Users without any such item are left out; if that leaves nobody, every mean is None. Where a
    list is deeper than the catalogue, its last slots are empty, hence misses. ValueError for a metric that does not
    exist, that lacks what it looks at, or for lists shorter than they were asked to be.
    """
    wanted = {name: parse(name) for name in metrics}
    depth = max(k for _, k in wanted.values())
    seen = split.known.seen()
    new = _new(split, seen)
    users = np.flatnonzero(np.diff(new.indptr)).astype(np.int32)
    start = time.perf_counter()
    rows = _asked(recommender, users, np.diff(seen.indptr)[users], depth, split, progress)
    seconds = time.perf_counter() - start
    relevant = new[users]
    judged = Judged(_hits(rows, relevant), np.diff(relevant.indptr).astype(np.int64))
    shown = _shown(rows, judged, users, split, seen, {name for name, _ in wanted.values()}, vectors, categories)
    values: dict[str, Float64] = {}
    for name, (metric, k) in wanted.items():
        if metric in METRICS:
            values[name] = METRICS[metric](judged, k)
        elif metric in LIST_METRICS:
            values[name] = LIST_METRICS[metric](shown, k)
    places = item_segments(_consumers(split))
    depths = {metric: sorted({k for name, k in wanted.values() if name == metric}) for metric in ("recall", "ndcg")}
    depths["recall"] = depths["recall"] or [depth]
    return Report(
        users=users,
        rows=rows,
        judged=judged,
        values=values,
        catalogue={
            name: CATALOGUE_METRICS[metric](shown, k)
            for name, (metric, k) in wanted.items()
            if metric in CATALOGUE_METRICS
        },
        segments=user_segments(np.diff(seen.indptr)[users].astype(np.int64)),
        by_popularity={
            f"{metric}@{k}": _by_popularity(METRICS[metric], rows, judged, relevant, places, k)
            for metric in depths
            for k in depths[metric]
        },
        seconds=seconds,
    )


def parse(name: str) -> tuple[str, int]:
    """Metric and depth of "metric@k"; ValueError if there is no such metric or depth."""
    metric, _, k = name.partition("@")
    known = (*METRICS, *LIST_METRICS, *CATALOGUE_METRICS)
    if metric not in known or not k.isdecimal() or not int(k):
        choices = ", ".join(f"{known}@K" for known in known)
        raise ValueError(f"unknown metric {name!r}, choose one of {choices}, with K of at least 1")
    return metric, int(k)


def _new(split: Split, seen: sp.csr_matrix) -> sp.csr_matrix:
    test = split.test.matrix()
    new = (test - test.multiply(seen)).tocsr()
    new.eliminate_zeros()
    new.sort_indices()
    return new


def _asked(
    recommender: Recommends, users: Int32, known: Int64, depth: int, split: Split, progress: Progress | None
) -> Int32:
    """The lists, int32 (users, depth)."""
    now = datetime.fromtimestamp(int(split.test.time.min(initial=np.iinfo(np.int64).max)) if users.size else 0, UTC)
    rows = np.empty((len(users), depth), np.int32)
    # Whoever has seen much needs deep lists, and so does everybody in the same batch: alike with alike.
    order = np.argsort(known, kind="stable")
    for start in range(0, len(order), CHUNK):
        part = order[start : start + CHUNK]
        found = recommender.recommend(users[part], depth, now).candidates.rows
        if found.shape != (len(part), depth):
            raise ValueError(f"lists are {found.shape}, wanted {(len(part), depth)}: fill what is missing with -1")
        rows[part] = found
        if progress:
            progress((start + len(part)) / len(order))
    return rows


def _hits(rows: Int32, relevant: sp.csr_matrix) -> Bool:
    """Whether each slot holds one of its line's relevant items, for the first time: bool (u, depth)."""
    if not relevant.nnz:
        return np.zeros(rows.shape, bool)
    lines = np.arange(len(rows), dtype=np.int64) * relevant.shape[1]
    wanted = np.repeat(lines, np.diff(relevant.indptr)) + relevant.indices
    asked = np.where(rows >= 0, lines[:, None] + rows, -1).ravel()
    at = np.minimum(np.searchsorted(wanted, asked), len(wanted) - 1)
    hits: Bool = (wanted[at] == asked).reshape(rows.shape)
    return hits & distinct(rows)


def _consumers(split: Split) -> Int64:
    return np.bincount(split.train.seen().indices, minlength=len(split.train.items)).astype(np.int64)


def _shown(
    rows: Int32,
    judged: Judged,
    users: Int32,
    split: Split,
    seen: sp.csr_matrix,
    metrics: set[str],
    vectors: Float32 | None,
    categories: Float64 | None,
) -> Shown:
    consumers = _consumers(split)
    expected = _popular(consumers, seen[users], rows.shape[1]) if "serendipity" in metrics else None
    return Shown(
        rows,
        items=len(split.train.items),
        users=len(split.train.users),
        consumers=consumers,
        vectors=vectors,
        judged=judged,
        expected=expected,
        categories=categories,
        tastes=None if categories is None else category_mix(split.known.matrix()[users], categories),
    )


def _popular(consumers: Int64, seen: sp.csr_matrix, depth: int) -> Int32:
    """What popularity would have shown to each of u users, int32 (u, depth), without what they had seen."""
    order = np.argsort(-consumers, kind="stable").astype(np.int32)
    expected = np.full((seen.shape[0], depth), -1, np.int32)
    hidden = np.zeros(len(order), bool)
    for line in range(seen.shape[0]):
        own = seen.indices[seen.indptr[line] : seen.indptr[line + 1]]
        hidden[own] = True
        first = order[: depth + len(own)]
        first = first[~hidden[first]][:depth]
        expected[line, : len(first)] = first
        hidden[own] = False
    return expected


def _by_popularity(
    metric: Metric, rows: Int32, judged: Judged, relevant: sp.csr_matrix, places: Int8, k: int
) -> dict[str, Float64]:
    lines = np.repeat(np.arange(len(rows)), np.diff(relevant.indptr))
    found = {}
    for name, part in item_parts(places).items():
        among = np.bincount(lines[part[relevant.indices]], minlength=len(rows)).astype(np.int64)
        found[name] = metric(Judged(judged.hits & part[np.maximum(rows, 0)], among), k)
    return found
