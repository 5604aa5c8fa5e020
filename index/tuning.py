"""``index = "auto"``: the backend and its options, chosen by measuring.

Candidates are built over a sample of the items and searched at rising widths with real user vectors; the quickest that
reaches the target is built over the whole and measured again there, because recall falls as a catalogue grows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, cast

import numpy as np

from index import BACKENDS
from index.exact import Exact
from index.measuring import Truth, file_bytes, query_milliseconds, resident_bytes
from recsys.arrays import Float32
from recsys.retrieval import VectorIndex

EXACT = 50_000
"""Up to so many items search is exact: under half a millisecond a query at d = 64, and nothing to go wrong."""
SAMPLE = 50_000
"""Items that candidates are compared on."""
QUERIES = 300
MARGIN = 0.2
"""``auto`` aims above the target by this share of what is left to 1: the gate measures with other luck."""

PROBES = (8, 16, 32, 64, 128, 256, 512, 1024)
REFINED = ((8, 4), (16, 4), (32, 4), (32, 10), (64, 10), (128, 10), (128, 20), (256, 20), (512, 20), (1024, 40))
WIDTHS = (100, 150, 200, 300, 400, 600, 800, 1200)


class Tunable(VectorIndex, Protocol):
    """An index whose search can be widened without building it anew."""

    def at(self, **step: int) -> Self:
        """The same index, searched with other options."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backend and its options; ``steps``: the options that widen its search, ever further.

    ``growth``: how the time of a query grows, as a power of the number of items, when recall is kept.
    """

    backend: str
    options: Mapping[str, Any]
    steps: tuple[dict[str, int], ...]
    growth: float


CANDIDATES = (
    Candidate("faiss-ivf", {"storage": "sq8"}, tuple({"probes": p, "refine": 2} for p in PROBES), 0.6),
    Candidate("faiss-ivf", {"storage": "pq"}, tuple({"probes": p, "refine": r} for p, r in REFINED), 0.5),
    Candidate("faiss-hnsw", {"neighbours": 16}, tuple({"search_width": w} for w in WIDTHS), 0.25),
)
"""What is tried. Backends that every worker holds a copy of, or that no factors were found to favour, are not."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One point of the curve: what was built, over how many items, and what it did."""

    backend: str
    options: dict[str, Any]
    items: int
    recall: float
    query_ms: float
    build_s: float
    bytes_per_vector: float


def tune(
    vectors: Float32,
    queries: Float32,
    *,
    rng: np.random.Generator,
    target: float,
    bytes_per_vector: float | None = None,
) -> tuple[VectorIndex, dict[str, Any], tuple[Measured, ...]]:
    """The index, its options, and the curve that led there.

    ``vectors``: float32 (n, d); ``queries``: float32 (q, d), real users. ``bytes_per_vector``: the most that searching
    may hold in memory. Small catalogues are searched exactly, and so is one where no candidate reaches the target.
    """
    if len(vectors) <= EXACT or not len(queries):
        return Exact.build(vectors), {}, ()
    queries = queries[:QUERIES]
    aim = target + MARGIN * (1 - target)
    rows = np.sort(rng.permutation(len(vectors))[:SAMPLE])
    truth = Truth.of(np.ascontiguousarray(vectors[rows]), queries)
    curve: list[Measured] = []
    ranked: list[tuple[float, int, Candidate]] = []
    for candidate in CANDIDATES:
        points = _sweep(candidate, truth, aim, bytes_per_vector)[1]
        curve += points
        if points and points[-1].recall >= aim:
            grown = points[-1].query_ms * (len(vectors) / len(rows)) ** candidate.growth
            ranked.append((grown, len(ranked), candidate))
    whole = Truth.of(vectors, queries)
    for _, _, candidate in sorted(ranked):
        index, points = _sweep(candidate, whole, aim, bytes_per_vector)
        curve += points
        if index is not None and points[-1].recall >= aim:
            return index, points[-1].options, tuple(curve)
    return Exact.build(vectors), {}, tuple(curve)


def _sweep(
    candidate: Candidate, truth: Truth, aim: float, limit: float | None
) -> tuple[VectorIndex | None, list[Measured]]:
    """Build a candidate and widen its search until recall@100 reaches ``aim``; no points if it is too large."""
    n = len(truth.vectors)
    start = time.perf_counter()
    built = cast("Tunable", BACKENDS[candidate.backend].build(truth.vectors, **candidate.options))
    took = round(time.perf_counter() - start, 2)
    size = round(resident_bytes(built, file_bytes(built)) / n, 1)
    if limit is not None and size > limit:
        return None, []
    points: list[Measured] = []
    for step in candidate.steps:
        index = built.at(**step)
        recall = truth.recall(index.search(truth.queries, 100), 100)
        milliseconds, _ = query_milliseconds(index, truth.queries, 100)
        options = {**candidate.options, **step}
        points.append(Measured(candidate.backend, options, n, round(recall, 5), milliseconds, took, size))
        if recall >= aim or step.get("probes", 0) > 2 * math.sqrt(n):
            break
    return index, points
