"""How the parts of a blend are weighed: what they propose, on one scale, judged by what was held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from index.exact import Exact
from recsys.arrays import Bool, Float32, Int32, Int64
from recsys.candidates import NONE
from recsys.folding import Fold
from recsys.fusions.scored import scored
from recsys.metrics import Judged, ndcg
from recsys.retrieval import Query
from recsys.sources.item_item import ItemItem
from recsys.sources.nearest import Nearest
from recsys.steps.seen import Seen
from recsys.users import History
from training.models import Learned

CHUNK = 256
DEPTH = 20
FAR = np.float32(-1e30)
"""The score of an empty slot: lower than any sum of scores, and still a number when weighed by 0."""
STEPS = (0.2, 0.1, 0.05, 0.02)
"""How far weights are moved from one model to another, the coarse steps first."""


@dataclass(frozen=True, slots=True, eq=False)
class Pools:
    """What q users are proposed: ``rows``, int32 (q, n), -1 where empty, and each part's ``scores``, float32 (q, n)."""

    rows: Int32
    scores: Mapping[str, Float32]


def pools_of(parts: Mapping[str, Learned], history: History, users: Int64, items: int, pool: int) -> Pools:
    """What the parts propose to these users, who have seen their history."""
    folds = [part.fold for part in parts.values() if part.fold is not None]
    sources = {name: _source(part) for name, part in parts.items()}
    width = pool * len(parts)
    rows = np.full((len(users), width), NONE)
    scores = {name: np.full((len(users), width), np.nan, np.float32) for name in parts}
    for start in range(0, len(users), CHUNK):
        chunk = users[start : start + CHUNK]
        queries = [_query(user, history, folds[0] if folds else None) for user in chunk.tolist()]
        depth = min(pool + max(len(query.seen) for query in queries), items)
        proposals = {name: Seen()(queries, ask(queries, depth)).top(pool) for name, ask in sources.items()}
        union, said = scored(queries, proposals, sources)
        block = slice(start, start + len(chunk))
        rows[block, : union.shape[1]] = union.rows
        for name, values in said.items():
            scores[name][block, : union.shape[1]] = values
    return Pools(rows, scores)


def scales_of(scores: Mapping[str, Float32]) -> dict[str, float]:
    """The standard deviation of each part's scores, those that are not nan; 1 where all are alike."""
    spreads = {name: float(np.nanstd(said, dtype=np.float64)) for name, said in scores.items()}
    return {name: spread if spread > 0 else 1.0 for name, spread in spreads.items()}


def best_weights(scores: Mapping[str, Float32], hits: Bool, relevant: Int64) -> dict[str, float]:
    """Weights, from 0 and summing to 1, under which the sum of ``scores`` ranks with the best NDCG@20.

    ``scores``: name → float32 (q, n), far below all others in empty slots; ``hits``: bool (q, n); ``relevant``:
    int64 (q,). A hill is climbed: from equal weights, a step's worth is moved from one name to another as long as that
    helps, by ever smaller steps. Deterministic.
    """
    names = list(scores)
    depth = min(DEPTH, hits.shape[1])

    def quality(weights: Mapping[str, float]) -> float:
        total = sum(np.float32(weight) * scores[name] for name, weight in weights.items() if weight)
        best = np.argpartition(-np.asarray(total), depth - 1, axis=1)[:, :depth]
        order = np.argsort(-np.take_along_axis(np.asarray(total), best, axis=1), axis=1, kind="stable")
        ranked = np.take_along_axis(hits, np.take_along_axis(best, order, axis=1), axis=1)
        return float(np.nanmean(ndcg(Judged(ranked, relevant), depth)))

    weights = {name: round(1 / len(names), 2) for name in names}
    weights[names[-1]] = round(1 - sum(weights[name] for name in names[:-1]), 2)
    best = quality(weights)
    for step in STEPS:
        climbing = True
        while climbing:
            climbing = False
            for giver in names:
                for taker in names:
                    moved = min(step, weights[giver])
                    if giver == taker or moved <= 0:
                        continue
                    tried = {
                        **weights,
                        giver: round(weights[giver] - moved, 2),
                        taker: round(weights[taker] + moved, 2),
                    }
                    reached = quality(tried)
                    if reached > best:
                        weights, best, climbing = tried, reached, True
    return weights


def _source(part: Learned) -> Nearest | ItemItem:
    if part.fold is not None:
        return Nearest(Exact.build(part.fold.items), part.fold.items)
    (lists,) = part.lists.values()
    return ItemItem(lists)


def _query(user: int, history: History, fold: Fold | None) -> Query:
    part = slice(history.indptr[user], history.indptr[user + 1])
    rows, weights = history.rows[part], history.weights[part]
    vector = None if fold is None else fold.fold(np.array([0, len(rows)]), rows, weights)[0]
    return Query(now=datetime.fromtimestamp(0, UTC), vector=vector, recent=rows, weights=weights, seen=rows)
