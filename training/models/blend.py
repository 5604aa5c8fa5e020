"""Several models in one list: each one's scores on a common scale, added up with weights learned on a held-out part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from recsys.errors import SettingsError
from recsys.fusions.scored import POOL
from recsys.fusions.z_score import standardized
from recsys.interactions import Interactions
from recsys.metrics import hits_of
from recsys.retrieval import ITEMS_INDEX
from recsys.splits import Split, split_in_time, split_within_users
from recsys.surfaces import Line, unseen
from recsys.users import History
from training.models import LISTS, VECTORS, Family, Learned, Model, Progress, Served, matrix_to_learn, model_of, silent
from training.weighing import FAR, best_weights, pools_of, scales_of

JUDGES = 5000
"""Users whose held-out items the weights are chosen by, at most."""
SCALED = 1000
"""Users by whose proposals the parts' scales are taken."""
CHUNK = 256


class Blend(Model):
    """One vector model at most and any number of item-item models, their scores over the union of their best weighted.

    A release holds one vector a user, hence one vector model. Weights that are not given are learned: the parts are
    fitted on a part of the data, the weights that give the best NDCG@20 on the rest are kept, and the parts are fitted
    again on everything. Weights are of scores on one scale: for `z-score` each user's, for `weighted-sum` one for all,
    the standard deviation over what is proposed to users of the data.
    """

    family: ClassVar[Family] = "blend"
    serves: ClassVar[frozenset[Served]] = VECTORS | LISTS

    parts: dict[str, dict[str, Any]] = Field(default={"als": {}, "item-knn": {}}, min_length=1)
    """What is blended: a name → that model's own keys, and ``name`` if it is called otherwise than its model."""
    weights: dict[str, float] | None = None
    """A weight for each part, not negative; none are given: they are learned."""
    fusion: Literal["z-score", "weighted-sum"] = "z-score"
    """How the parts' scores become one."""
    pool: int = Field(default=POOL, ge=1)
    """How many items each part proposes."""
    validation_share: float = Field(default=0.2, gt=0, lt=1)
    """The share of the data that weights are learned on: the newest, or any where the log has no times."""
    validation_lean: float = Field(default=0.0, ge=-2, le=2)
    """Where the log has no times: odds of an item of n users to be judged by are n^this."""

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
            share, lean = self.validation_share, self.validation_lean
            split = split_in_time(data, share) if data.timed else split_within_users(data, share, rng, lean=lean)
            parts = self._fitted(split.train, rng, threads, lambda share: progress(share / rounds))
            weights = self.learned_weights(parts, split, rng)
        parts = self._fitted(data, rng, threads, lambda share: progress(1 - (1 - share) / rounds))
        if self.fusion == "weighted-sum":
            history = History.of(data)
            some = rng.permutation(np.flatnonzero(np.diff(history.indptr) > 0))[:SCALED]
            scales = scales_of(pools_of(parts, history, np.sort(some), len(data.items), self.pool).scores)
            weights = {name: weight / scales[name] for name, weight in weights.items()}
        fold, lists, lines = None, {}, []
        for name, part in parts.items():
            fold = part.fold or fold
            if part.fold is not None:
                lines.append(Line(name="nearest", index=ITEMS_INDEX, label=name))
            else:
                (lists[name],) = part.lists.values()
                lines.append(Line(name="item-item", lists=name, label=name))
        fusion = Line(name=self.fusion, weights=weights, pool=self.pool)
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
        if not len(judges):
            return dict.fromkeys(parts, round(1 / len(parts), 2))
        pools = pools_of(parts, history, judges, len(split.train.items), self.pool)
        hits = np.zeros(pools.rows.shape, bool)
        for start in range(0, len(judges), CHUNK):
            block = slice(start, start + CHUNK)
            hits[block] = hits_of(pools.rows[block], new[judges[block]].toarray() > 0)
        if self.fusion == "z-score":
            comparable = {name: standardized(said) for name, said in pools.scores.items()}
        else:
            scales = scales_of(pools.scores)
            comparable = {name: np.nan_to_num(said) / scales[name] for name, said in pools.scores.items()}
        empty = pools.rows < 0
        ranked = {name: np.where(empty, FAR, said) for name, said in comparable.items()}
        return best_weights(ranked, hits, np.diff(new.indptr)[judges].astype(np.int64))
