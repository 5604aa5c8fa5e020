"""Building an index and measuring it, in one step: nothing is published whose recall nobody has seen."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from index import BACKENDS
from index.measuring import DEPTHS, Truth, file_bytes, query_milliseconds, resident_bytes
from index.remembering import Remembering
from index.tuning import Measured, tune
from recsys.arrays import Float32
from recsys.errors import SettingsError, unknown_choice
from recsys.retrieval import VectorIndex

SAMPLE = 1000
"""Queries measured."""
TARGET = 0.98
"""Least recall@100 that ``auto`` is content with, and the gate."""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What was measured of one index.

    ``recall``: depth → mean share of the exact top-``depth`` that was found, on sampled user vectors.
    ``query_ms``, ``p99_ms``: of one query at the largest depth, on the machine that built it. ``bytes``: of its own
    files; ``bytes_per_vector``: of all that searching needs in memory. ``curve``: what ``auto`` measured on its way.
    ``remembered``: how many neighbours were found beforehand for each item, 8 bytes each beside those.
    """

    backend: str
    options: dict[str, Any]
    items: int
    dimensions: int
    queries: int
    recall: dict[int, float]
    target: float
    build_s: float
    query_ms: float
    p99_ms: float
    bytes: int
    bytes_per_vector: float
    curve: tuple[Measured, ...] = ()
    remembered: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For the manifest: JSON has text keys."""
        return {**asdict(self), "recall": {str(depth): share for depth, share in self.recall.items()}}


def check(backend: str = "auto", remembered: int = 0, **options: Any) -> None:
    """SettingsError for a backend or an option that does not exist, before anything is learned to be searched."""
    if type(remembered) is not int or remembered < 0:
        raise SettingsError(f"[index]: remembered = {remembered!r}: a number of neighbours was wanted, 0 for none")
    if backend != "auto" and backend not in BACKENDS:
        raise SettingsError(f"[index]: {unknown_choice('index backend', backend, ['auto', *BACKENDS])}")
    try:
        if backend == "auto":
            inspect.signature(tune).bind(None, None, rng=None, target=TARGET, **options)
        else:
            inspect.signature(BACKENDS[backend].build).bind(None, **options)
    except TypeError as error:
        raise _unfit(backend, options, error) from error


def build(
    vectors: Float32,
    queries: Float32,
    *,
    rng: np.random.Generator,
    target: float = TARGET,
    backend: str = "auto",
    remembered: int = 0,
    **options: Any,
) -> tuple[VectorIndex, IndexReport]:
    """Build an index over item vectors, float32 (n, d), and measure it on user vectors, float32 (q, d).

    ``auto`` chooses backend and options so that recall@100 is at least ``target``: :func:`index.tuning.tune`.
    ``remembered``: how many neighbours of each item are found beforehand. SettingsError for a backend or an option
    that does not exist.
    """
    check(backend, remembered, **options)
    asking = queries[np.any(queries != 0, axis=1)]
    sample = np.ascontiguousarray(asking[rng.permutation(len(asking))[:SAMPLE]])
    curve: tuple[Measured, ...] = ()
    start = time.perf_counter()
    try:
        if backend == "auto":
            index, chosen, curve = tune(vectors, sample, rng=rng, target=target, **options)
        else:
            index, chosen = BACKENDS[backend].build(vectors, **options), options
    except TypeError as error:  # a word where a number was wanted
        raise _unfit(backend, options, error) from error
    built = time.perf_counter() - start
    recall, p50, p99 = dict.fromkeys(DEPTHS, 1.0), 0.0, 0.0
    if len(sample) and len(vectors):
        truth = Truth.of(vectors, sample)
        found = index.search(sample, max(DEPTHS))
        recall = {depth: truth.recall(found, depth) for depth in DEPTHS}
        p50, p99 = query_milliseconds(index, sample, max(DEPTHS))
    size = file_bytes(index)
    report = IndexReport(
        backend=index.backend,
        options=dict(chosen),
        items=index.shape[0],
        dimensions=index.shape[1],
        queries=len(sample),
        recall=recall,
        target=target,
        build_s=round(built, 3),
        query_ms=p50,
        p99_ms=p99,
        bytes=size,
        bytes_per_vector=round(resident_bytes(index, size) / max(len(vectors), 1), 1),
        curve=curve,
        remembered=min(remembered, len(vectors)),
    )
    return Remembering.of(index, vectors, report.remembered) if report.remembered else index, report


def _unfit(backend: str, options: Mapping[str, Any], error: TypeError) -> SettingsError:
    return SettingsError(f"[index]: {backend} cannot be built with {dict(options)}: {error}")
