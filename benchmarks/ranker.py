"""What it costs to order one request's candidates, by every way there is to evaluate the same trees, in one run.

No row is timed twice: a row that comes again lies in the cache, and its branches are foreseen. LightGBM is asked with
one thread and float32 rows, which is the fastest that it is asked for a few hundred rows.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import lightgbm as lgb
import numba
import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.turns import by_turns
from recsys.arrays import Float32, Float64, Int32, Int64
from recsys.candidates import fuse
from recsys.features import features_of, names_of
from recsys.item_facts import ItemFacts
from recsys.ranking import Card, Ranker
from recsys.retrieval import Parts, Query
from recsys.sources.nearest import Nearest
from recsys.sources.popular import Popular
from recsys.trees import Trees

SHAPES = ((200, 100, 31), (200, 100, 15), (500, 50, 31), (500, 200, 63))
"""Rows, trees, leaves."""
COLUMNS, OF_QUERY = 30, 6
"""Features, and how many of them say the same of all rows: those of the user and of the time."""
ROUNDS = 200
ITEMS, DIMENSIONS, POOL, DEPTH = 100_000, 64, 200, 200

Score = Callable[[Float32], Float64]


def measure() -> dict[str, Any]:
    """Milliseconds for one batch of rows by each way, in turns, and by how much each is slower than ours."""
    with threadpool_limits(1):
        return {"rounds": ROUNDS, "columns": COLUMNS, "trees": [_trees(*shape) for shape in SHAPES], "stage": _stage()}


def _trees(rows: int, trees: int, leaves: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    booster = _booster(rng, trees, leaves)
    text = booster.model_to_string()
    ours, other = Trees.of(text), _Walked(booster)
    ways: Mapping[str, Score] = {
        "ours": ours.score,
        "lightgbm": lambda values: np.asarray(booster.predict(values, raw_score=True, num_threads=1)),
        "numpy, level by level": other.level_by_level,
        "numba, row by row": other.row_by_row,
    }
    batches = [_rows(rng, rows) for _ in range(ROUNDS + 1)]
    wanted = ways["lightgbm"](batches[0])
    apart = {name: float(np.abs(score(batches[0]) - wanted).max()) for name, score in ways.items()}
    found, _ = by_turns(ways, batches[1:])
    return {
        "rows": rows,
        "trees": trees,
        "leaves": leaves,
        "depth": other.depth,
        "ms": {name: round(1000 * taken, 3) for name, taken in found.items()},
        "to_ours": {name: round(taken / found["ours"], 2) for name, taken in found.items()},
        "largest_difference": {name: float(f"{value:.1e}") for name, value in apart.items()},
        "bytes": ours.words.nbytes + ours.thresholds.nbytes + ours.leaves.nbytes,
    }


def _rows(rng: np.random.Generator, count: int) -> Float32:
    rows = rng.normal(size=(count, COLUMNS)).astype(np.float32)
    rows[:, -OF_QUERY:] = rows[0, -OF_QUERY:]
    rows[rng.random(rows.shape) < 0.05] = np.nan
    return rows


def _booster(rng: np.random.Generator, trees: int, leaves: int) -> lgb.Booster:
    groups = 400
    rows = np.concatenate([_rows(rng, 100) for _ in range(groups)])
    known = np.nan_to_num(rows)
    score = known @ rng.normal(size=COLUMNS) + 2 * np.sin(3 * known[:, 0]) * known[:, 1] + rng.normal(size=len(rows))
    options = {
        "objective": "lambdarank",
        "num_leaves": leaves,
        "min_data_in_leaf": 20,
        "learning_rate": 0.05,
        "max_bin": 63,
        "verbosity": -1,
        "num_threads": 1,
    }
    labels = (score > np.quantile(score, 0.9)).astype(np.int32)
    booster = lgb.train(options, lgb.Dataset(rows, labels, group=[100] * groups), trees)
    return lgb.Booster(model_str=booster.model_to_string())


class _Walked:
    """The same trees as arrays of nodes, walked from the root."""

    def __init__(self, booster: lgb.Booster) -> None:
        described = booster.dump_model()["tree_info"]
        nodes: list[tuple[int, float, int, int, bool, float]] = []
        roots, self.depth = [], 0

        def add(node: Mapping[str, Any], level: int) -> int:
            self.depth = max(self.depth, level)
            place = len(nodes)
            nodes.append((0, np.inf, place, place, True, node.get("leaf_value", 0.0)))
            if "split_feature" in node:
                missing = node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0
                left, right = (add(node[side], level + 1) for side in ("left_child", "right_child"))
                nodes[place] = (node["split_feature"], node["threshold"], left, right, missing, 0.0)
            return place

        roots = [add(tree["tree_structure"], 0) for tree in described]
        column, threshold, left, right, missing, value = zip(*nodes, strict=True)
        self.roots: Int32 = np.array(roots, np.int32)
        self.column, self.left, self.right = (np.array(part, np.int32) for part in (column, left, right))
        self.threshold, self.value = np.array(threshold), np.array(value)
        self.missing = np.array(missing, bool)

    def level_by_level(self, rows: Float32) -> Float64:
        """All rows in all trees take a step at once."""
        at = np.broadcast_to(self.roots, (len(rows), len(self.roots)))
        lines = np.arange(len(rows))[:, None]
        for _ in range(self.depth):
            values = rows[lines, self.column[at]]
            goes_left = np.where(np.isnan(values), self.missing[at], values <= self.threshold[at])
            at = np.where(goes_left, self.left[at], self.right[at])
        total: Float64 = self.value[at].sum(axis=1)
        return total

    def row_by_row(self, rows: Float32) -> Float64:
        """Compiled."""
        found: Float64 = _walk(
            rows, self.roots, self.column, self.threshold, self.left, self.right, self.missing, self.value
        )
        return found


@numba.njit(nogil=True)
def _walk(
    rows: Float32,
    roots: Int32,
    column: Int32,
    threshold: Float64,
    left: Int32,
    right: Int32,
    missing: np.ndarray,
    value: Float64,
) -> Float64:
    found = np.zeros(len(rows))
    for row in range(len(rows)):
        for root in roots:
            at = root
            while left[at] != at:
                said = rows[row, column[at]]
                goes_left = missing[at] if np.isnan(said) else said <= threshold[at]
                at = left[at] if goes_left else right[at]
            found[row] += value[at]
    return found


def _stage() -> dict[str, Any]:
    """Features and scores of one request's 200 best of two sources over 100,000 items, a new user each time."""
    from index.exact import Exact  # noqa: PLC0415

    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(ITEMS, DIMENSIONS)).astype(np.float32)
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    now = datetime(2026, 11, 23, tzinfo=UTC)
    facts = ItemFacts(
        takers=rng.random(ITEMS, np.float32),
        lately=rng.random(ITEMS, np.float32),
        first=rng.random(ITEMS) * 1e9,
        numbers=rng.random((2, ITEMS), np.float32),
        names=("price", "year"),
        categories=rng.integers(-1, 20, size=(ITEMS, 4)).astype(np.int32),
        width=20,
    )
    index = Exact.build(vectors)
    parts = Parts(ITEMS, {"items": index}, facts.takers, {"items": vectors, "similar": directions}, facts=facts)
    nearest, popular = Nearest.of(parts, index="items"), Popular.of(parts)
    names = names_of(parts, ("nearest", "popular"))
    ranker = Ranker.of(_booster(rng, 100, 31).model_to_string(), Card(features=_padded(names), slope=1.0, offset=0.0))
    taken: dict[str, list[float]] = {"features": [], "trees": []}
    for _ in range(ROUNDS):
        recent: Int64 = rng.integers(ITEMS, size=50)
        query = Query(
            now=now,
            vector=rng.normal(size=DIMENSIONS).astype(np.float32),
            recent=recent.astype(np.int32),
            weights=np.ones(50, np.float32),
            times=np.sort(rng.integers(10**9, size=50))[::-1],
            seen=np.arange(100, dtype=np.int32),
        )
        fused = fuse({"nearest": nearest([query], POOL), "popular": popular([query], POOL)}).top(DEPTH)
        start = time.perf_counter()
        rows = features_of(names, [query], fused, parts)[0]
        between = time.perf_counter()
        ranker.score(np.pad(rows, ((0, 0), (0, COLUMNS - len(names)))))
        taken["features"].append(1000 * (between - start))
        taken["trees"].append(1000 * (time.perf_counter() - between))
    return {
        "items": ITEMS,
        "dimensions": DIMENSIONS,
        "candidates": DEPTH,
        "features": len(names),
        "ms": {name: round(statistics.median(found), 3) for name, found in taken.items()},
    }


def _padded(names: tuple[str, ...]) -> tuple[str, ...]:
    return (*names, *(f"none:{place}" for place in range(COLUMNS - len(names))))
