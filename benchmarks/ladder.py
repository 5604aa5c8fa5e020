"""The systems of ``recsys bench content``: engines that are asked among cold items, among the others, and among all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from benchmarks.cold import SEED, Parts
from benchmarks.models import SETTINGS
from recsys.arrays import Bool, Float64, Int32, Int64, unit
from recsys.assembly import Engine
from recsys.candidates import Candidates
from recsys.catalogue import Catalogue
from recsys.comparison import difference, interval, randomization_test
from recsys.content import Content
from recsys.evaluation import Recommends, Report, evaluate
from recsys.interactions import Interactions
from recsys.masks import Mask
from recsys.metrics import Ranks, auc
from recsys.pipeline import Answer, Recommender
from recsys.sections import ContentSettings, Section
from recsys.splits import Split
from recsys.surfaces import Line, Surface
from training.content import Choice, Described, chosen, learn_content, takers_of
from training.encoders import encoder_of
from training.engines import engine_of
from training.models import Learned, Progress, model_of
from training.models.popular import popularity_of
from training.progress import Watcher

METRICS = ("recall@20", "recall@100", "ndcg@20")
MAIN = "cold_ndcg@20"
PLAIN = Choice(1.0, 0.0)
"""The prior and κ where only cold items are looked at, whose order neither changes."""
EVERYTHING = 10**12
"""Takers of an item of which all is learned."""
BY_LEARNING = Line(name="nearest", label="learned", index="items")
BY_CONTENT = Line(name="content-nearest", label="content")


class Curve(Section):
    """Items that are given one taker after the other."""

    takers: tuple[int, ...] = (0, 1, 2, 3, 5, 10, 20)
    """How many they are given; the others judge."""
    least: int = Field(default=25, ge=1)
    """Takers that an item must have."""
    kappas: tuple[float, ...] = (1.0, 3.0, 10.0)
    """Values of κ that vectors are mixed by."""


class Config(Section):
    """One file below :data:`CONFIGS`."""

    model: dict[str, Any]
    """As in recsys.toml."""
    encoder: dict[str, Any]
    """As ``[content.encoder]``."""
    maps: dict[str, dict[str, Any]] = Field(min_length=1)
    """System → as ``[content.map]``."""
    blend: float = Field(default=0.3, ge=0, le=1)
    """What content counts beside the vectors in the whole pipeline."""
    ablation: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Name → another encoder in the place of ``encoder``."""
    curve: Curve | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """An engine asked on a surface for items of a mask."""

    engine: Engine
    recommender: Recommender
    allowed: Mask | None

    def recommend(self, users: Int32, k: int, now: datetime) -> Answer:
        """The k best that are allowed."""
        states = self.engine.users.states(users)
        queries = [self.engine.resolver.known(state.user, state, now) for state in states]
        return self.recommender.recommend([replace(query, allowed=self.allowed) for query in queries], k)


@dataclass(frozen=True, slots=True, eq=False)
class Chance:
    """Items in any order, another one for each user."""

    taken: sp.csr_matrix
    allowed: Bool
    rng: np.random.Generator

    def recommend(self, users: Int32, k: int, now: datetime) -> Answer:  # noqa: ARG002
        """K that are allowed and not taken."""
        scores = self.rng.random((len(users), len(self.allowed)), np.float32)
        scores[:, ~self.allowed] = -np.inf
        scores[self.taken[users].nonzero()] = -np.inf
        order = np.argsort(-scores, axis=1)[:, :k]
        best = np.take_along_axis(scores, order, axis=1)
        rows = np.full((len(users), k), -1, np.int32)
        rows[:, : order.shape[1]] = np.where(np.isneginf(best), -1, order)
        return Answer(Candidates(rows, np.full(rows.shape, -np.inf, np.float32)), ("random",) * len(users), ())


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """The figures of one system, and the main one by user, float64 (u,)."""

    figures: dict[str, float | None]
    main: Float64


class Bench:
    """The systems of one data set."""

    def __init__(self, parts: Parts, config: Config, watcher: Watcher) -> None:
        self.parts, self.config, self.watcher = parts, config, watcher
        self.model = model_of(config.model)
        self.warm = parts.takers > 0
        self.blank = Catalogue.of(None, parts.train.items)
        self.descriptions = parts.catalogue.describe(np.arange(len(parts.catalogue), dtype=np.int32))
        with watcher.stage("learn") as progress:
            self.learned, self.learned_s = self._fitted(parts.train, progress)
        self.map_s: dict[str, float] = {}
        self.items, self.encoded_s = self._described("encode", config.encoder)

    def counts(self) -> dict[str, int]:
        """What is learned from and judged by."""
        parts = self.parts
        return {
            "users": len(parts.train.users),
            "items": len(parts.train.items),
            "events": len(parts.train),
            "cold_items": int(parts.judged.sum()),
            "cold_items_without_content": int((~self.items.vectors[parts.judged].any(axis=1)).sum()),
            "cold_events": len(parts.cold),
            "warm_items": int(self.warm.sum()),
            "warm_events": len(parts.warm),
        }

    def rows(self) -> tuple[list[dict[str, Any]], Choice]:
        """A row a system, in the order of the ladder, and the prior and κ, chosen with the first map."""
        train, found = self.parts.train, {}
        with self.watcher.stage("random and popular"):
            found["random"] = self._judged(self._chance()), 0.0
            popular = self._engine(Learned.of_scores(popularity_of(train)), train)
            found["popular"] = self._judged(_asking(popular, Line(name="popular"))), 0.0
        with self.watcher.stage("learned alone"):
            found["cf-only"] = self._judged(_asking(self._engine(self.learned, train), BY_LEARNING)), self.learned_s
        first = next(iter(self.config.maps.values()))
        start = time.perf_counter()
        with self.watcher.stage("prior and κ") as progress:
            settings = ContentSettings(map=first, cache=None)
            choice = chosen(
                self.model, train, self.items, settings, _rng(), threads=SETTINGS.train.threads, progress=progress
            )
        before_s = self.learned_s + self.encoded_s + time.perf_counter() - start
        for place, (name, options) in enumerate(self.config.maps.items()):
            engine, mapped_s = self._mixed(name, options, choice)
            seconds = before_s + mapped_s
            with self.watcher.stage(f"{name}: judge"):
                if not place:
                    found["content-only"] = self._judged(_asking(engine, BY_CONTENT)), self.encoded_s
                found[name] = self._judged(_asking(engine, BY_LEARNING)), seconds
            self.map_s[name] = round(mapped_s, 2)
        with self.watcher.stage("pipeline: judge"):
            found["pipeline"] = self._judged(_asking(engine, BY_LEARNING, BY_CONTENT, weights=self.weights)), seconds
        with self.watcher.stage("oracle") as progress:
            everything = self._known(train).joined(self.parts.cold)
            oracle, took = self._fitted(everything, progress)
            # the true vectors of the items, and of the users what is known of them
            engine = self._engine(oracle, everything, known=self._known(train))
            found["oracle"] = self._judged(_asking(engine, BY_LEARNING)), took
        linear = found[next(iter(self.config.maps))][0]
        rows = [
            _row(name, judgement, took, None if judgement is linear else linear)
            for name, (judgement, took) in found.items()
        ]
        return rows, choice

    def ablation(self) -> list[dict[str, Any]]:
        """Cold items by the first map, and by content alone, over other encoders."""
        rows, options = [], next(iter(self.config.maps.values()))
        for name, encoder in self.config.ablation.items():
            items, _ = self._described(f"{name}: encode", encoder)
            engine, _ = self._mixed(name, options, PLAIN, items)
            with self.watcher.stage(f"{name}: judge"):
                cold = {
                    line.called: self._report(_asking(engine, line)(self.parts.judged), self.parts.cold)
                    for line in (BY_LEARNING, BY_CONTENT)
                }
            learned, content = (cold[line.called].values for line in (BY_LEARNING, BY_CONTENT))
            rows.append(
                {
                    "content": name,
                    "cold_items_without_content": int((~items.vectors[self.parts.judged].any(axis=1)).sum()),
                    "cold_recall@20": _mean(learned["recall@20"]),
                    MAIN: _mean(learned["ndcg@20"]),
                    "content_only_cold_ndcg@20": _mean(content["ndcg@20"]),
                }
            )
        return rows

    def curve(self, choice: Choice) -> list[dict[str, Any]]:
        """NDCG@20 among items that n users took, for each n: as learned, as predicted, and mixed by some κ.

        The items are cold ones of many takers. Whoever may become a taker does not judge, so all n have one test.
        """
        wanted = self.config.curve
        if wanted is None:
            return []
        cold = self.parts.cold
        enough = np.bincount(cold.item, minlength=len(cold.items)) >= wanted.least
        cold = cold.where(enough[cold.item])
        turn = _turns(cold.item, np.random.default_rng(SEED))
        test = cold.where(turn >= max(wanted.takers))
        return [
            self._with_takers(n, self.parts.train.joined(cold.where(turn < n)), test, enough, wanted, choice)
            for n in wanted.takers
        ]

    def _with_takers(
        self, n: int, train: Interactions, test: Interactions, enough: Bool, wanted: Curve, choice: Choice
    ) -> dict[str, Any]:
        with self.watcher.stage(f"{n} takers") as progress:
            learned, _ = self._fitted(train, progress)
            fold, takers = learned.vectors(), takers_of(train)
            line = next(iter(self.config.maps.values()))
            _, content = self._learned_content(learned, train, line, choice, self.items)
            folds = {
                "learned": fold,
                "predicted": content.mixed(fold, np.where(enough, 0, EVERYTHING)),
                **{
                    f"κ = {kappa:g}": replace(content, kappa=kappa).mixed(fold, np.where(enough, takers, EVERYTHING))
                    for kappa in wanted.kappas
                },
            }
            row: dict[str, Any] = {"takers": n, "items": int(enough.sum())}
            for name, mixed in folds.items():
                ask = _asking(self._engine(replace(learned, fold=mixed), train), BY_LEARNING)
                row[name] = _mean(self._report(ask(enough), test, train).values["ndcg@20"])
        return row

    @property
    def weights(self) -> dict[str, float]:
        """Of the sources of the whole pipeline."""
        return {BY_LEARNING.called: 1 - self.config.blend, BY_CONTENT.called: self.config.blend}

    def _fitted(self, data: Interactions, progress: Progress) -> tuple[Learned, float]:
        start = time.perf_counter()
        learned = self.model.fit(data, _rng(), threads=SETTINGS.train.threads, progress=progress)
        return learned, time.perf_counter() - start

    def _described(self, stage: str, options: Mapping[str, Any]) -> tuple[Described, float]:
        """All items through an encoder that was fitted on those that somebody took: the others were not there yet."""
        start = time.perf_counter()
        with self.watcher.stage(stage) as progress:
            there = [self.descriptions[row] for row in np.flatnonzero(self.warm)]
            encoding = encoder_of(options).fit(there, _rng(), threads=SETTINGS.train.threads, progress=progress)
            vectors = unit(encoding.encode(self.descriptions))
        return Described(self.descriptions, options, encoding, vectors, {}), time.perf_counter() - start

    def _learned_content(
        self, learned: Learned, train: Interactions, options: Mapping[str, Any], choice: Choice, items: Described
    ) -> tuple[Learned, Content]:
        return learn_content(
            learned, train, self.blank, ContentSettings(map=dict(options), cache=None), _rng(), items=items,
            choice=choice, threads=SETTINGS.train.threads,
        )  # fmt: skip

    def _mixed(
        self, name: str, options: Mapping[str, Any], choice: Choice, items: Described | None = None
    ) -> tuple[Engine, float]:
        start = time.perf_counter()
        with self.watcher.stage(f"{name}: map"):
            mixed, content = self._learned_content(
                self.learned, self.parts.train, options, choice, self.items if items is None else items
            )
        took = time.perf_counter() - start
        return self._engine(mixed, self.parts.train, content), took

    def _engine(
        self, learned: Learned, train: Interactions, content: Content | None = None, known: Interactions | None = None
    ) -> Engine:
        """``known``: of users when they ask; what was learned from and what is folded in, unless given."""
        engine, _ = engine_of(
            learned, train, self.blank, SETTINGS, _rng(), "bench", kinds={}, known=known or self._known(train),
            content=content,
        )  # fmt: skip
        return engine

    def _known(self, train: Interactions) -> Interactions:
        return train if self.parts.fold_in is None else train.joined(self.parts.fold_in)

    def _chance(self) -> Ask:
        seen, rng = self._known(self.parts.train).seen(), np.random.default_rng(SEED)
        return lambda allowed: Chance(seen, np.ones(len(self.warm), bool) if allowed is None else allowed, rng)

    def _report(
        self, recommender: Recommends, test: Interactions, train: Interactions | None = None, depth: int | None = None
    ) -> Report:
        metrics = METRICS if depth is None else (f"recall@{depth}",)
        return evaluate(recommender, Split(train or self.parts.train, test, "", self.parts.fold_in), metrics)

    def _judged(self, ask: Ask) -> Judgement:
        parts = self.parts
        cold = self._report(ask(parts.judged), parts.cold)
        all_cold = self._report(ask(~self.warm), parts.cold)
        warm = self._report(ask(self.warm), parts.warm)
        overall = self._report(ask(None), parts.cold.joined(parts.warm))
        whole = self._report(ask(parts.judged), parts.cold, depth=int(parts.judged.sum()))
        seen = self._known(parts.train).seen()[whole.users]
        competing = parts.judged.sum() - np.asarray(seen[:, parts.judged].sum(axis=1)).ravel().astype(np.int64)
        return Judgement(
            {
                "cold_recall@20": _mean(cold.values["recall@20"]),
                "cold_recall@100": _mean(cold.values["recall@100"]),
                MAIN: _mean(cold.values["ndcg@20"]),
                "cold_auc": _mean(auc(_ranks(whole, competing))),
                "all_cold_ndcg@20": _mean(all_cold.values["ndcg@20"]),
                "warm_ndcg@20": _mean(warm.values["ndcg@20"]),
                "overall_ndcg@20": _mean(overall.values["ndcg@20"]),
                "overall_cold_recall@20": _mean(overall.by_popularity["recall@20"]["never"]),
            },
            cold.values["ndcg@20"],
        )


Ask = Callable[[Bool | None], Recommends]
"""The items that may be answered, None for all → who answers."""


def _asking(engine: Engine, *sources: Line, weights: Mapping[str, float] | None = None) -> Ask:
    """An engine on a surface of these sources, without a ladder: what they do not propose is not answered."""
    surface = Surface(
        sources=sources,
        filters=(Line(name="seen"),),
        **({} if weights is None else {"fusion": Line.model_validate({"name": "z-score", "weights": dict(weights)})}),
    )
    recommender = Recommender.of(surface, engine.parts)
    return lambda allowed: Asked(engine, recommender, None if allowed is None else Mask.of(allowed))


def _ranks(report: Report, competing: Int64) -> Ranks:
    """Where relevant items stand in whole lists; what is not in a list shares the ranks behind it."""
    filled = (report.rows >= 0).sum(axis=1)
    query, place = np.nonzero(report.judged.hits)
    missed = report.judged.relevant - report.judged.hits.sum(axis=1)
    behind = (filled + 1 + competing) / 2
    everyone = np.arange(len(filled))
    return Ranks(
        np.concatenate([query, np.repeat(everyone, missed)]),
        np.concatenate([place + 1.0, np.repeat(behind, missed)]),
        competing,
    )


def _turns(items: Int32, rng: np.random.Generator) -> Int64:
    """For each event at which place it stands among its item's, in random order: int64 (n,)."""
    order = np.lexsort((rng.random(len(items)), items))
    starts = np.searchsorted(items[order], items[order], "left")
    turns = np.empty(len(items), np.int64)
    turns[order] = np.arange(len(items)) - starts
    return turns


def _row(name: str, judgement: Judgement, seconds: float, other: Judgement | None) -> dict[str, Any]:
    rng = np.random.default_rng(SEED)
    bounds = interval(judgement.main, rng)
    row: dict[str, Any] = {
        "system": name,
        **judgement.figures,
        "fit_s": round(seconds, 2),
        "interval": [round(bounds.low, 6), round(bounds.high, 6)],
    }
    if other is not None:
        between = difference(judgement.main, other.main, rng)
        row["against_first_map"] = {
            "difference": round(between.mean, 6),
            "low": round(between.low, 6),
            "high": round(between.high, 6),
            "p": round(randomization_test(judgement.main, other.main, rng), 6),
        }
    return row


def _mean(values: Float64) -> float | None:
    defined = values[~np.isnan(values)]
    return round(float(defined.mean()), 6) if len(defined) else None


def _rng() -> np.random.Generator:
    return np.random.default_rng(SETTINGS.train.seed)
