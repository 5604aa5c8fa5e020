"""What it costs to look up what is near to a user's last items and to search for it, in turns, in one run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.turns import by_turns
from benchmarks.vectors import synthetic
from index.faiss_ivf import FaissIvf
from index.remembering import Remembering
from recsys.arrays import unit
from recsys.retrieval import SIMILAR_INDEX, Parts, Query, SearchIndex
from recsys.sources.similar_to_recent import SimilarToRecent

ITEMS, DIMENSIONS = 200_000, 64
LAST, EACH, WANTED = 3, 100, 200
"""Items that a request asks about, neighbours of each, and how many are wanted of all."""
PROBES, REFINE = 16, 2
ROUNDS = 2000
ELSEWHERE = 8 * 2**20
"""Bytes that a request looks at between two sources: what is near the processor by then is something else."""


def measure() -> dict[str, Any]:
    """Median microseconds of the source ``similar-to-recent`` by each way, searching by looking up, and what is kept.

    ``remembering_s``: what finding the neighbours of all items takes, by all threads. ``alike``: the share of what is
    searched for that is looked up.
    """
    directions = unit(synthetic(f"{ITEMS}x{DIMENSIONS}")[0])
    built = FaissIvf.build(directions).at(PROBES, REFINE)
    start = time.perf_counter()
    remembering = Remembering.of(built, directions, EACH)
    seconds = time.perf_counter() - start
    indexes: Mapping[str, SearchIndex] = {"searched": built, "remembered": remembering}
    popularity = np.ones(ITEMS, np.float32)
    ways = {
        name: partial(
            SimilarToRecent.of(
                Parts(ITEMS, {SIMILAR_INDEX: index}, popularity, {SIMILAR_INDEX: directions}), last=LAST, each=EACH
            ),
            k=WANTED,
        )
        for name, index in indexes.items()
    }
    rng, now, weights = np.random.default_rng(0), datetime.now(UTC), np.ones(LAST, np.float32)
    recent = (rng.integers(0, ITEMS, LAST, dtype=np.int32) for _ in range(ROUNDS))
    queries = ([Query(now=now, recent=rows, weights=weights)] for rows in recent)
    with threadpool_limits(1):
        taken, said = by_turns(ways, queries, elsewhere=ELSEWHERE)
    rows = [{name: set(found.rows[0].tolist()) for name, found in each.items()} for each in said]
    alike = [len(each["searched"] & each["remembered"]) / len(each["searched"]) for each in rows]
    lists = remembering.lists
    return {
        "items": ITEMS,
        "dimensions": DIMENSIONS,
        "rounds": ROUNDS,
        "last": LAST,
        "each": EACH,
        "us": {name: round(1e6 * each, 1) for name, each in taken.items()},
        "searched_to_remembered": round(taken["searched"] / taken["remembered"], 2),
        "alike": round(float(np.mean(alike)), 5),
        "remembering_s": round(seconds, 1),
        "megabytes": round((lists.rows.nbytes + lists.weights.nbytes) / 2**20),
    }
