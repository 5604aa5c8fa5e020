"""What retrieval costs and how right it is: every backend over its range, the bare library call beside ours.

One query at a time is one call; every library is held to one thread unless two are being measured.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.raw import Call, raw_call
from benchmarks.vectors import FAMILIES, shape_of, vectors_of
from benchmarks.worker import private_megabytes
from index import BACKENDS, load
from index.exact import Exact
from index.measuring import Truth, file_bytes, resident_bytes
from recsys.arrays import Float32
from recsys.errors import unknown_choice
from recsys.mapping import load_mapped
from recsys.masks import Mask

K = 100
SINGLES = 200
BATCH = 1000
ROUNDS = 8
SELECTIVITIES = (1.0, 0.5, 0.1, 0.01, 0.001)
ENOUGH = 0.98
"""The recall that the backend of the filtered part reaches."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """One build; ``steps``: the options that widen its search, ever further."""

    backend: str
    options: dict[str, Any]
    steps: tuple[dict[str, int], ...] = ({},)


REFINED = ((8, 4), (16, 4), (32, 4), (32, 10), (64, 10), (128, 10), (128, 20), (256, 20), (512, 20))
SWEEPS = (
    Sweep("exact", {}),
    Sweep("faiss-ivf", {"storage": "pq"}, tuple({"probes": p, "refine": r} for p, r in REFINED)),
    Sweep("faiss-ivf", {"storage": "sq8"}, tuple({"probes": p, "refine": 2} for p in (16, 32, 64, 128, 256, 512))),
    Sweep("faiss-ivf", {"storage": "flat"}, tuple({"probes": p} for p in (16, 32, 64, 128, 256))),
    Sweep("faiss-hnsw", {"neighbours": 16}, tuple({"search_width": w} for w in (100, 200, 400, 800))),
    Sweep("voyager", {"neighbours": 16}, tuple({"search_width": w} for w in (100, 200, 400))),
    Sweep("annoy", {"trees": 50}, tuple({"search_nodes": s} for s in (25, 100, 400))),
)


def measure(vectors: str = "synthetic:100000x64", backends: Iterable[str] = ()) -> dict[str, Any]:
    """Every backend, or those named, over the vectors of that name: rows, and filtered search by the quickest.

    ``bytes_per_vector`` counts what searching needs in memory, the release's vectors too where a backend walks over
    them; ``file_bytes_per_vector`` the index's own files. ``vs_raw_*``: our time by the bare library call's.
    """
    check_names(vectors, backends)
    chosen = set(backends) or {sweep.backend for sweep in SWEEPS}
    items, users = vectors_of(vectors)
    items, users = np.ascontiguousarray(items), np.ascontiguousarray(users)
    truth = Truth.of(items, users)
    rows: list[dict[str, Any]] = []
    best: tuple[float, Any] | None = None
    for sweep in (sweep for sweep in SWEEPS if sweep.backend in chosen):
        for index, row in _rows(sweep, truth):
            rows.append(row)
            good = row["recall@100"] >= ENOUGH
            if good and sweep.backend != "exact" and (best is None or row["p50_ms"] < best[0]):
                best = (row["p50_ms"], index)
    return {
        "vectors": vectors,
        "items": len(items),
        "dimensions": items.shape[1],
        "users": len(users),
        "cores": len(os.sched_getaffinity(0)),
        "rows": rows,
        "filtered": list(_filtered(best[1] if best else Exact.build(items), truth)),
    }


def check_names(vectors: str, backends: Iterable[str]) -> None:
    """ValueError for vectors or a backend that cannot be measured, before anything is."""
    if vectors.partition(":")[0] not in FAMILIES:
        raise ValueError(f"unknown vectors {vectors!r}, choose als:DATASET, glove or synthetic:NxD")
    if vectors.startswith("synthetic"):
        shape_of(vectors.partition(":")[2])
    known = {sweep.backend for sweep in SWEEPS}
    for name in backends:
        if name not in known:
            raise ValueError(unknown_choice("index backend", name, known))


def _rows(sweep: Sweep, truth: Truth) -> Iterator[tuple[Any, dict[str, Any]]]:
    start = time.perf_counter()
    built: Any = BACKENDS[sweep.backend].build(truth.vectors, **sweep.options)
    build_s = time.perf_counter() - start
    with TemporaryDirectory() as name:
        vectors, queries, folder = Path(name) / "items.npy", Path(name) / "users.npy", Path(name) / "index"
        folder.mkdir()
        np.save(vectors, truth.vectors)
        np.save(queries, truth.queries)
        built.save(folder)
        start = time.perf_counter()
        index: Any = load(sweep.backend, folder, load_mapped(vectors))
        load_ms = (time.perf_counter() - start) * 1000
        private = private_megabytes(sweep.backend, folder, vectors, queries)
        files = file_bytes(built)
        del built
        for step in sweep.steps:
            at = index.at(**step) if step else index
            found = at.search(truth.queries, K)
            with _threads(1):
                row = {
                    "backend": sweep.backend,
                    "params": {**sweep.options, **step},
                    "recall@10": round(truth.recall(found, 10), 4),
                    "recall@100": round(truth.recall(found, 100), 4),
                    **_speed(at, truth.queries),
                    "build_s": round(build_s, 1),
                    "load_ms": round(load_ms, 1),
                    "bytes_per_vector": round(resident_bytes(at, files) / len(truth.vectors), 1),
                    "file_bytes_per_vector": round(files / len(truth.vectors), 1),
                    "second_worker_mb": private,
                }
            yield at, row


def _speed(index: Any, queries: Float32) -> dict[str, float]:
    def ours(some: Float32) -> object:
        return index.search(some, K)

    raw = raw_call(index, K)
    singles = [query[None] for query in queries[:SINGLES]]
    ours(singles[0])
    times = np.array([_seconds(ours, query) for query in singles])
    single = [_ratio(ours, raw, query) for query in singles[:: 1 if np.median(times) < 0.003 else 10]]
    p50, p99 = np.percentile(times, (50, 99)) * 1000
    with ThreadPoolExecutor(2) as pool:
        start = time.perf_counter()
        list(pool.map(lambda part: [ours(query) for query in part], (singles[::2], singles[1::2])))
        both = time.perf_counter() - start
    return {
        "p50_ms": round(float(p50), 4),
        "p99_ms": round(float(p99), 4),
        "qps_1": round(1 / float(np.mean(times)), 1),
        "qps_2": round(len(singles) / both, 1),
        "vs_raw_single": round(float(np.median(single)), 3),
        "vs_raw_batch": round(_ratio(ours, raw, queries[:BATCH]), 3),
    }


def _ratio(ours: Call, raw: Call, queries: Float32) -> float:
    """Our time by the bare call's: the best of rounds in which they take turns, each as often first.

    The second of two calls finds in the caches what the first brought there, and the first two rounds bring it.
    """
    times: dict[Call, list[float]] = {ours: [], raw: []}
    for place in range(ROUNDS):
        for call in (ours, raw)[:: 1 - 2 * (place % 2)]:
            times[call].append(_seconds(call, queries))
    return min(times[ours][2:]) / min(times[raw][2:])


def _seconds(call: Call, queries: Float32) -> float:
    start = time.perf_counter()
    call(queries)
    return time.perf_counter() - start


def _filtered(index: Any, truth: Truth) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(3)
    queries = truth.queries[:SINGLES]
    for share in SELECTIVITIES:
        allowed = Mask.of(rng.random(len(truth.vectors)) < share)
        wanted = Exact.build(truth.vectors).search(queries, K, allowed).rows
        times, hits = [], []
        with _threads(1):
            for query, right in zip(queries, wanted, strict=True):
                start = time.perf_counter()
                found = index.search(query[None], K, allowed)
                times.append(time.perf_counter() - start)
                hits.append(np.isin(right[right >= 0], found.rows).mean() if right[0] >= 0 else 1.0)
        plan = index.plan(K, allowed)
        yield {
            "backend": index.backend,
            "selectivity": share,
            "plan": plan.name,
            "recall@100": round(float(np.mean(hits)), 4),
            "p50_ms": round(float(np.median(times)) * 1000, 4),
        }


def _threads(count: int) -> threadpool_limits:
    """BLAS and OpenMP, and with it Faiss, held to so many threads."""
    return threadpool_limits(count)
