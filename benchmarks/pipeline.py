"""``recsys evaluate``: what a configuration would serve, fitted on one part of its log and judged by the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from benchmarks.measuring import Fitted, compared, judged, looked_at, measure
from index.exact import Exact
from recsys.assembly import HOME, SIMILAR, USUAL, Engine
from recsys.cascade import Ask, judge_stages, stages_of
from recsys.catalogue import Catalogue
from recsys.datasets import Log
from recsys.errors import SettingsError, TrainingError, unknown_choice
from recsys.interactions import Interactions, interactions_of
from recsys.settings import Settings
from recsys.splits import SPLITS, Split, split_published
from recsys.surfaces import Surface
from recsys.vocabulary import Vocabulary
from training.data import item_ids, read_log
from training.engines import named, plain
from training.models import Progress, model_of, silent
from training.models.popular import Popular
from training.progress import Watcher
from training.ranker import Returning, beside, finished, learn_ranker, with_candidates
from training.run import check_content
from training.surfaces import check_surfaces, surfaces_of

PUBLISHED = "published"
PIPELINE, POPULARITY = "pipeline", "popularity"


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """What answers on one surface; ``without``: what would without its ranker, ``ranker``: what is told of that.

    Both are None where it has none.
    """

    engine: Engine
    surface: Surface
    without: Surface | None
    ranker: dict[str, Any] | None

    @classmethod
    def of(
        cls,
        fitted: Fitted,
        split: Split,
        catalogue: Catalogue,
        settings: Settings,
        name: str = HOME,
        progress: Progress = silent,
    ) -> Served:
        """The surface of that name, with a ranker that is learned inside the training part if the settings want one.

        SettingsError for a surface that there is not.
        """
        engine, section = fitted.engine, settings.ranker
        plain = _surface(engine, name)
        if section is None:
            return cls(engine, plain, None, None)
        rng, others = np.random.default_rng(settings.train.seed), beside(engine.surfaces[HOME])

        def fit(part: Interactions) -> Engine:
            return Fitted.of("cut", fitted.model, part, catalogue, settings).engine

        try:
            ranker, told, _, _ = learn_ranker(split.train, fit, catalogue, settings, rng, others, progress)
        except TrainingError as error:
            return cls(engine, plain, None, {"findings": [str(error)]})
        engine = finished(with_candidates(engine, split.known, catalogue, section, others), ranker, section)
        made = {name: engine.surfaces[name] for name in (HOME, SIMILAR)}
        engine = engine.over(surfaces_of(named(settings), made, made[HOME], ranks=True))
        surface = _surface(engine, name)
        return cls(engine, surface, None if surface.ranker is None else plain, told)

    def asked(self, split: Split, *, refused: bool) -> Returning:
        """Who answers, when each user of the test came back; ``refused``: without the ranker."""
        surface = self.without if refused and self.without is not None else self.surface
        return Returning.of(self.engine.over({HOME: surface}), split)

    def stages(self, split: Split, catalogue: Catalogue, seed: int, progress: Progress = silent) -> dict[str, Any]:
        """Every stage of the surface judged by the test, see :func:`recsys.cascade.judge_stages`."""

        def asking(engine: Engine) -> Ask:
            return lambda surface: Returning.of(engine.over({HOME: surface}), split)

        exact = all(index.backend == Exact.backend for index in self.engine.indexes.values())
        vectors, categories = looked_at(self.engine, catalogue)
        found = judge_stages(
            stages_of(self.surface, self.without),
            asking(self.engine),
            split,
            np.random.default_rng(seed),
            without=self.without,
            exact=None if exact else asking(_exactly(self.engine)),
            vectors=vectors,
            categories=categories,
            progress=progress,
        )
        return found if self.ranker is None else {**found, "ranker": self.ranker}


def judge_pipeline(
    settings: Settings,
    *,
    metrics: Sequence[str] = (),
    split: str | None = None,
    surface: str = HOME,
    now: datetime,
    environ: Mapping[str, str],
    watcher: Watcher,
) -> dict[str, Any]:
    """Rows of the pipeline and of popularity, in the form of :func:`benchmarks.models.compare`; publishes nothing.

    Also ``stages``: of the surface, as :func:`recsys.cascade.judge_stages` has them. ``split``: a name of SPLITS, or
    "published"; None is what `recsys train` measures by. ``train.test_share`` is its share. SettingsError for another
    name, if nothing is published, or for a surface that there is not.
    """
    checked(settings, split, surface)
    log = read_log(settings.data, now=now, environ=environ, watcher=watcher)
    rng = np.random.default_rng(settings.train.seed)
    parted = split_of(log, split, settings.train.test_share, rng)
    watcher.note(parted.description)
    catalogue = Catalogue.of(log.items, parted.train.items)
    fitted, served = made(settings, parted, catalogue, surface, watcher)
    with watcher.stage("stages") as progress:
        stages = served.stages(parted, catalogue, settings.train.seed, progress)
    with watcher.stage(PIPELINE) as progress:
        asked = served.asked(parted, refused=bool(stages["refused"]))
        ours = judged(PIPELINE, fitted, asked, parted, catalogue, metrics=metrics, progress=progress)
    with watcher.stage(POPULARITY) as progress:
        # Whatever the surfaces of the configuration ask of a model: popularity answers as it is.
        theirs = measure(POPULARITY, Popular(), parted, catalogue, plain(settings), metrics=metrics, progress=progress)
    with watcher.stage("intervals"):
        rows = compared([ours, theirs], POPULARITY, rng)
    return {
        "dataset": log.name,
        "split": parted.description,
        "rows": rows,
        "surface": surface,
        "stages": stages,
        "published": [],
        "failed": {},
    }


def checked(settings: Settings, split: str | None = None, surface: str = HOME) -> None:
    """SettingsError for what can be known to be wrong before anything is read."""
    surfaces = dict.fromkeys([HOME, SIMILAR, *USUAL, *settings.surfaces])
    if surface not in surfaces:
        raise SettingsError(unknown_choice("surface", surface, surfaces))
    check_content(settings, model_of(settings.model))
    check_surfaces(settings.surfaces, ranks=settings.ranker is not None)
    if split is not None and split not in (*SPLITS, PUBLISHED):
        raise SettingsError(unknown_choice("split", split, (*SPLITS, PUBLISHED)))


def made(
    settings: Settings, split: Split, catalogue: Catalogue, surface: str, watcher: Watcher
) -> tuple[Fitted, Served]:
    """What a configuration makes of the training part, and what answers on a surface."""
    with watcher.stage("fit") as progress:
        fitted = Fitted.of(
            PIPELINE, model_of(settings.model), split.train, catalogue, settings, known=split.known, progress=progress
        )
    with watcher.stage("ranker" if settings.ranker is not None else "surface") as progress:
        return fitted, Served.of(fitted, split, catalogue, settings, surface, progress)


def split_of(log: Log, name: str | None, share: float, rng: np.random.Generator) -> Split:
    """The log parted by a name of SPLITS, as published, or as `recsys train` does. SettingsError if nothing is."""
    if name != PUBLISHED:
        data = interactions_of(log.events, log.kinds, items=item_ids(log))
        return SPLITS[name or ("in-time" if data.timed else "at-random")](data, share, rng)
    if log.test is None:
        raise SettingsError(f"log {log.name!r} comes without a published test part: choose one of {', '.join(SPLITS)}")
    every = Vocabulary.of(dict.fromkeys([*item_ids(log), *log.test["item_id"].unique()]))
    return split_published(log.events, log.test, log.kinds, every)


def _surface(engine: Engine, name: str) -> Surface:
    return {**USUAL, **engine.surfaces}[name]


def _exactly(engine: Engine) -> Engine:
    """The same with exact search."""
    indexes = {name: Exact.build(engine.parts.vectors[name]) for name in engine.parts.indexes}
    return replace(engine, parts=replace(engine.parts, indexes=indexes))
