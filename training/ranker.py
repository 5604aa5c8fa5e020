"""LambdaMART over what the sources propose: ``[ranker]``.

The log is cut in time several times; one without times by chance, within each user. What was known before a cut gives
the engine, its sources the candidates and its state the features; what happened until the next cut gives the labels.
So nothing that a feature sees is younger than the moment it is asked at, and negatives are what a user would have been
shown in place of what they took.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from recsys.arrays import Bool, Float32, Int32, Int64
from recsys.assembly import HOME, Engine
from recsys.candidates import Candidates
from recsys.catalogue import Catalogue
from recsys.errors import DataError, TrainingError
from recsys.evaluation import evaluate
from recsys.features import features_of, names_of
from recsys.interactions import Interactions
from recsys.pipeline import Answer
from recsys.ranking import Card, Ranker
from recsys.retrieval import Query
from recsys.sections import RankerSettings
from recsys.settings import Settings
from recsys.splits import Split, split_in_time, split_within_users
from recsys.surfaces import Line, Surface
from recsys.tables import Table
from training.calibration import calibration, platt
from training.facts import facts_of
from training.gate import judge_ranker
from training.models import Progress, silent

CHUNK = 256
"""Users asked for at once."""
WITHOUT, FUSED, RANKED = "what is served without it", "rank fusion of the same candidates", "the ranker"
"""What is compared: the first two are what it has to beat."""

BOOSTERS: Table[Callable[..., tuple[Any, list[float]]]] = Table(
    "booster", {"lightgbm": "training.boosting:boosted"}, extra="train"
)
"""What grows trees; imported when it is asked to."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Candidates of g groups, one a user and cut, with what became of them; m in all.

    ``rows``: float32 (m, features). ``labels``: bool (m,), whether the user took the item until the next cut.
    ``sizes``: int64 (g,), candidates of each group, one after the other. ``users``: int32 (g,).
    """

    rows: Float32
    labels: Bool
    sizes: Int64
    users: Int32

    @property
    def lists(self) -> tuple[Float32, Bool, Int64]:
        """The examples as a booster learns them: nothing of who asked."""
        return self.rows, self.labels, self.sizes

    @classmethod
    def joined(cls, parts: Sequence[Examples]) -> Examples:
        """All of them, one after the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))

    def of(self, groups: Bool) -> Examples:
        """Those of some groups, bool (g,)."""
        kept = np.repeat(groups, self.sizes)
        return Examples(self.rows[kept], self.labels[kept], self.sizes[groups], self.users[groups])


def beside(home: Surface) -> tuple[Line, ...]:
    """What is asked beside the model's own sources: what trends, where the ladder knows it, and what is popular.

    Of strangers these are all the candidates that there are, so what the ladder knows of trends the ranker has to know.
    """
    named = {line.name for line in home.sources}
    trending = [line for line in home.ladder if line.name == "trending" and line.name not in named]
    return (*trending, *([] if "popular" in named else [Line(name="popular")]))


def ranked_surface(
    home: Surface, settings: RankerSettings, others: Sequence[Line] | None = None, *, ranker: bool = True
) -> Surface:
    """The home surface with ``others`` beside its sources, fused by rank, and with the ranker or without.

    ``others``: as :func:`beside` has them, unless given. Whether the ladder knows trends is found anew in each part of
    a log, but candidates have to come of the same sources wherever an order is learned, judged and served.
    """
    line = Line.model_validate({"name": "learned", "depth": settings.depth}) if ranker else None
    fusion = Line.model_validate({"name": "reciprocal-rank", "pool": settings.pool})
    sources = (*home.sources, *(beside(home) if others is None else others))
    return home.model_copy(update={"sources": sources, "fusion": fusion, "ranker": line})


def with_candidates(
    engine: Engine,
    known: Interactions,
    catalogue: Catalogue,
    settings: RankerSettings,
    others: Sequence[Line] | None = None,
) -> Engine:
    """The engine with facts of items, whose home surface makes what a ranker is given; it has none yet.

    ``others``: as in :func:`ranked_surface`.
    """
    home = ranked_surface(engine.surfaces[HOME], settings, others, ranker=False)
    return engine.ranked(None, facts_of(known, catalogue), home)


def feature_names(engine: Engine) -> tuple[str, ...]:
    """The features that there are on an engine's home surface."""
    return names_of(engine.parts, [line.called for line in engine.surfaces[HOME].sources])


@dataclass(frozen=True, slots=True, eq=False)
class Returning:
    """An engine that is asked by each user when they came back after a cut, knowing what was known at the cut.

    ``times``: int64 (users,), unix seconds of each user's first event after it; 0 in a log without times.
    """

    engine: Engine
    times: Int64

    @classmethod
    def of(cls, engine: Engine, split: Split) -> Returning:
        """After the cut of ``split``; those who did not come back are asked at the cut."""
        times = np.full(len(split.test.users), split.test.time.min(initial=np.iinfo(np.int64).max))
        # Events come in the order of time, so the first of a user is the last that is written.
        times[split.test.user[::-1]] = split.test.time[::-1]
        return cls(engine, times)

    def queries(self, users: Int32) -> list[Query]:
        """What each of these users asks."""
        times = [datetime.fromtimestamp(time, UTC) for time in self.times[users].tolist()]
        states = zip(self.engine.users.states(users), times, strict=True)
        return [self.engine.resolver.known(state.user, state, now) for state, now in states]

    def recommend(self, users: Int32, k: int, now: datetime) -> Answer:  # noqa: ARG002  each has a time of their own
        """The k best items for each user."""
        return self.engine.recommenders[HOME].recommend(self.queries(users), k)

    def candidates(self, users: Int32, settings: RankerSettings) -> tuple[list[Query], Candidates]:
        """What the ranker of the home surface is given to order: the queries, and (users, depth)."""
        queries = self.queries(users)
        return queries, self.engine.recommenders[HOME].retrieve(queries, settings.pool).top(settings.depth)


def examples_of(
    engine: Engine, split: Split, names: Sequence[str], settings: RankerSettings, rng: np.random.Generator
) -> Examples:
    """What an engine that knows ``split.train`` proposes at the cut, and whether it was taken in ``split.test``.

    Of users who took to anything new after the cut, at most ``settings.users``. Every candidate that was not taken is
    a negative, none is drawn: so the examples are what serving will see, and a score can be a probability.
    """
    new = split.test.matrix()
    new = (new - new.multiply(split.known.seen())).tocsr()
    new.eliminate_zeros()
    able = np.flatnonzero(np.diff(new.indptr))
    users = np.sort(rng.permutation(able)[: settings.users]).astype(np.int32)
    if not len(users):
        raise TrainingError("nobody took anything new after the cut: there is nothing to learn an order from")
    returning = Returning.of(engine, split)
    rows, labels, sizes = [], [], []
    for start in range(0, len(users), CHUNK):
        part = users[start : start + CHUNK]
        queries, candidates = returning.candidates(part, settings)
        filled = candidates.filled
        rows.append(features_of(names, queries, candidates, engine.parts)[filled])
        taken = np.asarray(new[part].toarray() > 0)
        labels.append(np.take_along_axis(taken, np.maximum(candidates.rows, 0), axis=1)[filled])
        sizes.append(filled.sum(axis=1))
    return Examples(np.concatenate(rows), np.concatenate(labels), np.concatenate(sizes).astype(np.int64), users)


def windows_of(
    data: Interactions,
    fit: Callable[[Interactions], Engine],
    catalogue: Catalogue,
    settings: RankerSettings,
    share: float,
    rng: np.random.Generator,
    others: Sequence[Line],
    progress: Progress = silent,
) -> tuple[tuple[str, ...], list[Examples]]:
    """Examples of several cuts: each sets the newest ``share`` of the events aside, the next one that of the rest.

    Of a log without times it is a share of each user's items, by chance. ``fit``: what makes an engine of events. Also
    the names of the features. TrainingError where no cut gives any.
    """
    names: tuple[str, ...] = ()
    windows: list[Examples] = []
    reason: Exception | None = None
    for cut in range(settings.cuts):
        try:
            split = _cut(data, share, settings, rng)
            engine = with_candidates(fit(split.train), split.train, catalogue, settings, others)
            names = names or feature_names(engine)
            windows.append(examples_of(engine, split, names, settings, rng))
        except (DataError, TrainingError) as error:
            reason = error
            break
        progress((cut + 1) / settings.cuts)
        data = split.train
    if not windows:
        raise TrainingError(f"no cut gives a ranker anything to learn from: {reason}")
    return names, windows


def _cut(data: Interactions, share: float, settings: RankerSettings, rng: np.random.Generator) -> Split:
    """In time where there are times, else a share of each user's items."""
    return split_in_time(data, share) if data.timed else split_within_users(data, share, rng, lean=settings.lean)


def grow(
    examples: Examples,
    names: Sequence[str],
    settings: RankerSettings,
    seed: int,
    threads: int,
    progress: Progress = silent,
) -> tuple[Ranker, dict[str, Any]]:
    """LambdaMART, Burges (2010); users held out, fold by fold, say how many trees it has and what probability a sum is.

    Also what is to be told of it. With one thread the same examples and seed give the same ranker. TrainingError if
    nothing can be learned.
    """
    folds = _folds(examples, settings.folds, np.random.default_rng(seed))
    if not all(examples.labels[np.repeat(folds == fold, examples.sizes)].any() for fold in range(settings.folds)):
        raise TrainingError(
            f"{int(examples.labels.sum())} of {len(examples.labels):,} candidates in {len(examples.sizes):,} lists "
            f"were taken: too few to learn an order from in {settings.folds} folds"
        )
    boosted = BOOSTERS["lightgbm"]
    boosters, curves = [], []
    for fold in range(settings.folds):
        learn, judge = examples.of(folds != fold), examples.of(folds == fold)
        booster, curve = boosted(learn.lists, judge.lists, settings, seed=seed, threads=threads, trees=settings.trees)
        boosters.append(booster)
        curves.append(curve)
        progress((fold + 1) / (settings.folds + 1))
    quality = np.average(curves, axis=0, weights=np.bincount(folds, minlength=settings.folds))
    trees = int(quality.argmax()) + 1
    sums = np.empty(len(examples.labels))
    for fold, booster in enumerate(boosters):
        slots = np.repeat(folds == fold, examples.sizes)
        sums[slots] = booster.predict(examples.rows[slots], raw_score=True, num_iteration=trees, num_threads=threads)
    slope, offset = platt(sums, examples.labels)
    if not slope > 0:
        raise TrainingError("the ranker orders the candidates of users that it never saw no better than chance")
    booster, _ = boosted(examples.lists, None, settings, seed=seed, threads=threads, trees=trees)
    progress(1.0)
    ranker = Ranker.of(booster.model_to_string(), Card(features=tuple(names), slope=slope, offset=offset))
    gains = booster.feature_importance("gain")
    shares = gains / max(float(gains.sum()), 1e-12)
    return ranker, {
        "trees": trees,
        "ndcg@10 of folds": round(float(quality.max()), 6),
        "groups": len(examples.sizes),
        "rows": len(examples.labels),
        "taken": int(examples.labels.sum()),
        "importance": {names[at]: round(float(shares[at]), 4) for at in np.argsort(-shares, kind="stable")},
    }


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """A ranker that was measured on events that it never saw, and what is needed to learn it again from all of them.

    ``others``: the sources beside the model's own, of which a release has to have its candidates too.
    ``means``: what its lists were measured to be, as :meth:`recsys.evaluation.Report.means` has it. ``report``: for the
    manifest. ``examples``: of all cuts, those that judged it among them. Without examples none could be learned.
    """

    used: bool
    means: dict[str, Any]
    report: dict[str, Any]
    names: tuple[str, ...]
    others: tuple[Line, ...]
    examples: Examples | None


def learn_ranker(
    data: Interactions,
    fit: Callable[[Interactions], Engine],
    catalogue: Catalogue,
    settings: Settings,
    rng: np.random.Generator,
    others: Sequence[Line],
    progress: Progress = silent,
) -> tuple[Ranker, dict[str, Any], tuple[str, ...], list[Examples]]:
    """A ranker of these events alone, what is to be told of it, the names of its features, and its examples by cut.

    ``fit``: what makes an engine of events. ``others``: the sources beside those that it has, see :func:`beside`.
    TrainingError if none can be learned.
    """
    section, train = settings.ranker or RankerSettings(), settings.train
    names, windows = windows_of(
        data, fit, catalogue, section, train.test_share, rng, others, lambda share: progress(share * 0.75)
    )
    ranker, told = grow(
        Examples.joined(windows), names, section, train.seed, train.threads, lambda share: progress(0.75 + share / 4)
    )
    return ranker, told, names, windows


def try_ranker(
    engine: Engine,
    split: Split,
    fit: Callable[[Interactions], Engine],
    catalogue: Catalogue,
    settings: Settings,
    progress: Progress = silent,
) -> Tried:
    """Learn a ranker inside ``split.train``, which ``engine`` was made of, and judge it by ``split.test``.

    It is used if its lists beat both those of the engine as it is and rank fusion of the same candidates, by NDCG@10
    with intervals that lie above 0.
    """
    section, others = settings.ranker or RankerSettings(), beside(engine.surfaces[HOME])
    rng = np.random.default_rng(settings.train.seed)
    try:
        ranker, told, names, windows = learn_ranker(
            split.train, fit, catalogue, settings, rng, others, lambda share: progress(share * 0.8)
        )
        fused = with_candidates(engine, split.train, catalogue, section, others)
        newest = examples_of(fused, split, names, section, rng)
    except TrainingError as error:
        return Tried(False, {}, {"used": False, "findings": [str(error)]}, (), others, None)
    ranked = finished(fused, ranker, section)
    lists = {WITHOUT: engine, FUSED: fused, RANKED: ranked}
    reports = {}
    for place, (name, asked) in enumerate(lists.items()):
        reports[name] = evaluate(Returning.of(asked, split), split)
        progress(0.8 + 0.06 * (place + 1))
    metric = "ndcg@10"
    values = {name: report.values[metric] for name, report in reports.items()}
    findings, against = judge_ranker(values[RANKED], {name: values[name] for name in (WITHOUT, FUSED)}, rng)
    report = {
        "used": not findings,
        "findings": list(findings),
        metric: {name: report.means()[metric]["all"] for name, report in reports.items()},
        "against": against,
        "calibration": calibration(ranker.score(newest.rows), newest.labels),
        **told,
    }
    return Tried(not findings, reports[RANKED].means(), report, names, others, Examples.joined([newest, *windows]))


def finished(candidates: Engine, ranker: Ranker, settings: RankerSettings) -> Engine:
    """An engine of :func:`with_candidates`, with the ranker."""
    facts = candidates.parts.facts
    if facts is None:
        raise ValueError("the engine holds no facts of items: make it by with_candidates")
    return candidates.ranked(ranker, facts, ranked_surface(candidates.surfaces[HOME], settings, ()))


def ranked_release(
    engine: Engine, tried: Tried, data: Interactions, catalogue: Catalogue, settings: Settings
) -> tuple[Engine, dict[str, Any]]:
    """The engine of all events with a ranker learned from all cuts, if it was good enough; and what is told of it."""
    section = settings.ranker or RankerSettings()
    if not tried.used or tried.examples is None:
        return engine, {}
    ranker, told = grow(tried.examples, tried.names, section, settings.train.seed, settings.train.threads)
    return finished(with_candidates(engine, data, catalogue, section, tried.others), ranker, section), told


def _folds(examples: Examples, folds: int, rng: np.random.Generator) -> Int64:
    """Which fold judges each group, int64 (g,): all groups of a user the same one."""
    users, at = np.unique(examples.users, return_inverse=True)
    return rng.permutation(np.arange(len(users)) % folds)[at]
