"""Several models in one list: each one's scores on a common scale, added up with weights learned on a held-out part."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from index.exact import Exact
from recsys.arrays import Bool, Float32, Int64
from recsys.assembly import ITEMS_INDEX
from recsys.candidates import Candidates
from recsys.errors import SettingsError
from recsys.fusions.z_score import POOL, standardized
from recsys.interactions import Interactions
from recsys.metrics import Judged, hits_of, ndcg
from recsys.pipeline import Line, unseen
from recsys.retrieval import Query, Source
from recsys.sources.item_item import ItemItem
from recsys.sources.nearest import Nearest
from recsys.splits import Split, hold_out
from recsys.steps.seen import Seen
from recsys.users import History, fold_all
from training.config import model_of
from training.models import LISTS, VECTORS, Family, Learned, Model, Progress, Served, matrix_to_learn, silent

JUDGES = 5000
"""Users whose held-out items the weights are chosen by, at most."""
CHUNK = 256
DEPTH = 20
FAR = np.float32(-1e30)
"""The score of an empty slot: lower than any sum of z-scores, and still a number when weighed by 0."""
STEPS = (0.2, 0.1, 0.05, 0.02)
"""How far weights are moved from one model to another, the coarse steps first."""


class Blend(Model):
    """One vector model at most and any number of item-item models; z-scores over the union of their best, weighted.

    A release holds one vector a user, hence one vector model. Weights that are not given are learned: the parts are
    fitted on a part of the data, the weights that give the best NDCG@20 on the rest are kept, and the parts are fitted
    again on everything.
    """

    family: ClassVar[Family] = "blend"
    serves: ClassVar[frozenset[Served]] = VECTORS | LISTS

    parts: dict[str, dict[str, Any]] = Field(default={"als": {}, "item-knn": {}}, min_length=1)
    """What is blended: a name → that model's own keys, and ``name`` if it is called otherwise than its model."""
    weights: dict[str, float] | None = None
    """A weight for each part, not negative; none are given: they are learned."""
    pool: int = Field(default=POOL, ge=1)
    """How many items each part proposes."""
    validation_share: float = Field(default=0.2, gt=0, lt=1)
    """The share of the data that weights are learned on: the newest, or any where the log has no times."""

    @model_validator(mode="after")
    def _parts_are_models(self) -> Self:
        try:
            models = self.models()
        except SettingsError as error:
            raise ValueError(str(error)) from error
        wrong = [name for name, model in models.items() if not model.serves & self.serves or isinstance(model, Blend)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} cannot be blended: parts must learn vectors or item lists")
        with_vectors = [name for name, model in models.items() if "vectors" in model.serves]
        if len(with_vectors) > 1:
            raise ValueError(
                f"{' and '.join(with_vectors)} all learn vectors, but a release holds one a user: keep one"
            )
        if self.weights is not None and self.weights.keys() != self.parts.keys():
            raise ValueError(f"weights name {', '.join(self.weights)}, parts {', '.join(self.parts)}: both must agree")
        if self.weights is not None and (min(self.weights.values()) < 0 or not any(self.weights.values())):
            raise ValueError(f"weights are {self.weights}: none may be negative and one must be above 0")
        return self

    def models(self) -> dict[str, Model]:
        """The parts' configurations; SettingsError for one that cannot be."""
        return {name: model_of({"name": name, **table}) for name, table in self.parts.items()}

    def fit(
        self, data: Interactions, rng: np.random.Generator, *, threads: int, progress: Progress = silent
    ) -> Learned:
        """Learn the weights if need be, then every part. TrainingError for data without a positive event."""
        matrix_to_learn(data)
        rounds = 1 if self.weights is not None else 2
        weights = self.weights
        if weights is None:
            split = hold_out(data, self.validation_share, rng)
            parts = self._fitted(split.train, rng, threads, lambda share: progress(share / rounds))
            weights = self.learned_weights(parts, split, rng)
        parts = self._fitted(data, rng, threads, lambda share: progress(1 - (1 - share) / rounds))
        fold, lists, lines = None, {}, []
        for name, part in parts.items():
            fold = part.fold or fold
            if part.fold is not None:
                lines.append(Line(name="nearest", index=ITEMS_INDEX, label=name))
            else:
                (lists[name],) = part.lists.values()
                lines.append(Line(name="item-item", lists=name, label=name))
        fusion = Line(name="z-score", weights=weights, pool=self.pool)
        return Learned(unseen(*lines, fusion=fusion), fold=fold, lists=lists)

    def _fitted(
        self, data: Interactions, rng: np.random.Generator, threads: int, progress: Progress
    ) -> dict[str, Learned]:
        models = self.models()
        learned = {}
        for place, (name, model) in enumerate(models.items()):

            def partly(share: float, place: int = place) -> None:
                progress((place + share) / len(models))

            learned[name] = model.fit(data, rng, threads=threads, progress=partly)
        return learned

    def learned_weights(self, parts: Mapping[str, Learned], split: Split, rng: np.random.Generator) -> dict[str, float]:
        """The weights of the best NDCG@20 on the test side of ``split``, on whose other side ``parts`` were fitted."""
        new = split.test.matrix()
        new = (new - new.multiply(split.train.seen())).tocsr()
        new.eliminate_zeros()
        history = History.of(split.train)
        able = np.flatnonzero((np.diff(new.indptr) > 0) & (np.diff(history.indptr) > 0))
        judges = np.sort(rng.permutation(able)[:JUDGES])
        folds = [part.fold for part in parts.values() if part.fold is not None]
        vectors = fold_all(history, folds[0]) if folds else None
        sources = {name: _source(part) for name, part in parts.items()}
        scores: list[dict[str, Float32]] = []
        hits: list[Bool] = []
        for start in range(0, len(judges), CHUNK):
            users = judges[start : start + CHUNK]
            queries = [_query(user, history, vectors) for user in users.tolist()]
            depth = min(self.pool + max(len(query.seen) for query in queries), len(split.train.items))
            proposals = {name: Seen()(queries, ask(queries, depth)).top(self.pool) for name, ask in sources.items()}
            union, standard = standardized(queries, proposals, sources)
            width = self.pool * len(parts)
            scores.append({name: _widened(standard.get(name), union, width) for name in parts})
            hits.append(_widened_hits(hits_of(union.rows, new[users].toarray() > 0), width))
        if not hits:
            return dict.fromkeys(parts, round(1 / len(parts), 2))
        stacked = {name: np.concatenate([chunk[name] for chunk in scores]) for name in parts}
        return best_weights(stacked, np.concatenate(hits), np.diff(new.indptr)[judges].astype(np.int64))


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


def _source(part: Learned) -> Source:
    if part.fold is not None:
        return Nearest(Exact.build(part.fold.items), part.fold.items)
    (lists,) = part.lists.values()
    return ItemItem(lists)


def _query(user: int, history: History, vectors: Float32 | None) -> Query:
    part = slice(history.indptr[user], history.indptr[user + 1])
    rows = history.rows[part]
    vector = None if vectors is None else vectors[user]
    return Query(
        now=datetime.fromtimestamp(0, UTC), vector=vector, recent=rows, weights=history.weights[part], seen=rows
    )


def _widened(standard: Float32 | None, union: Candidates, width: int) -> Float32:
    """z-scores in exactly ``width`` slots, FAR where empty."""
    scores = np.zeros(union.shape, np.float32) if standard is None else standard
    scores = np.where(union.filled, scores, FAR)
    return np.pad(scores, ((0, 0), (0, width - scores.shape[1])), constant_values=FAR)


def _widened_hits(hits: Bool, width: int) -> Bool:
    return np.pad(hits, ((0, 0), (0, width - hits.shape[1])))
