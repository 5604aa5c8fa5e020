"""From an event log to a promoted release: ``recsys train``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from index.report import check as check_index
from recsys.assembly import HOME, SIMILAR, Engine
from recsys.barred import Barred
from recsys.catalogue import Catalogue
from recsys.datasets import Log
from recsys.evaluation import Report, evaluate
from recsys.interactions import Interactions, interactions_of
from recsys.redaction import redacted
from recsys.releases import Manifest, Release, ReleaseStore
from recsys.retrieval import CONTENT_INDEX, ITEMS_INDEX, SIMILAR_INDEX
from recsys.segments import means
from recsys.settings import Settings
from recsys.splits import Split, hold_out
from training.content import Choice, Described, chosen, described, no_vectors
from training.data import item_ids, read_log
from training.encoders import encoder_of
from training.engines import add_content, content_rng, engine_of, learn, named, plain
from training.gate import judge
from training.lineage import lineage_of
from training.maps import mapper_of
from training.models import Learned, Model, model_of
from training.models.popular import popularity_of
from training.progress import Unwatched, Watcher
from training.publish import bring_over
from training.ranker import Tried, ranked_release, try_ranker
from training.surfaces import check_columns, check_surfaces, surfaces_of

AGAIN_SECONDS = 60
"""By how much clocks of machines that share a store may differ."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run made: the release, whether the pointer names it now, and how many users' ``states`` lie in its space.

    Those of whom nothing is remembered but what the release knows are not among them.
    """

    release: Release
    promoted: bool
    states: int


def train(
    settings: Settings,
    *,
    now: datetime,
    environ: Mapping[str, str],
    watcher: Watcher | None = None,
    quarantine: Path | None = None,
    force: bool = False,
) -> Outcome:
    """Read, validate, fit, index, evaluate, gate and publish.

    ``quarantine``: where bad rows are written, if training may go on without them. ``force``: promote whatever
    the gate says; that is recorded. Raises what is wrong as a RecsysError and leaves the pointer where it was;
    a release that the gate refuses is kept, unpromoted, for inspection.
    """
    watcher = watcher or Unwatched()
    model = model_of(settings.model)
    check_content(settings, model)
    check_surfaces(settings.surfaces, ranks=settings.ranker is not None)
    check_index(**settings.index)
    store = ReleaseStore(settings.releases.folder)
    with store.publishing():
        barred = Barred(settings.log.erased)
        log = read_log(settings.data, now=now, environ=environ, watcher=watcher, quarantine=quarantine, barred=barred)
        with watcher.stage("interactions"):
            data = interactions_of(log.events, log.kinds, items=item_ids(log))
        catalogue = Catalogue.of(log.items, data.items)
        check_columns(settings.surfaces, catalogue, vectors_of(settings, model))
        items = describe_items(catalogue, settings, watcher)
        rng = np.random.default_rng(settings.train.seed)
        metrics, split, choice, measured = measure(data, model, settings, watcher, items, catalogue)
        watcher.note(split.description)
        tried = None
        if settings.ranker is not None:
            tried = try_order(measured, split, catalogue, model, settings, watcher, items, choice)
            metrics = {**metrics, **({"pipeline": tried.means} if tried.used else {}), "ranker": tried.report}
        engine, index_reports = fit(
            data, catalogue, log, model, settings, rng, watcher, store.new_id(now), label="", items=items, choice=choice
        )
        if tried is not None and tried.used:
            with watcher.stage("rank"):
                engine, told = ranked_release(engine, tried, data, catalogue, settings)
            metrics["ranker"] |= told
            # What is left out of a surface is as on the home surface, the ranker with its sources.
            made = {name: engine.surfaces[name] for name in (HOME, SIMILAR)}
            engine = engine.over(surfaces_of(named(settings), made, made[HOME], ranks=True))
        manifest = Manifest(
            id=engine.id,
            created=now,
            lineage=lineage_of(log, data, settings, model, items),
            counts={"users": len(data.users), "items": len(data.items), "events": len(data)},
            metrics={**metrics, "split": split.description},
            indexes=index_reports,
            gate=judge(settings.gate, metrics, index_reports, force=force),
            files={},
        )
        with watcher.stage("stage"), store.staging(engine.id) as folder:
            engine.save(folder)
            release = store.commit(folder, manifest)
            # Who was erased while this was being learned.
            if late := barred.since(engine.users.ids, int(now.timestamp())):
                redacted(release, late)
                release = store.get(release.id)
        if not (manifest.gate.passed or manifest.gate.forced):
            return Outcome(release, promoted=False, states=0)
        began = time.time() - AGAIN_SECONDS
        with watcher.stage("user states"):
            states = asyncio.run(bring_over(settings, release))
        with watcher.stage("promote"):
            store.promote(release.id, now=now)
            asyncio.run(bring_over(settings, release, began))
    return Outcome(release, promoted=True, states=states)


def vectors_of(settings: Settings, model: Model) -> list[str]:
    """The names of the vectors that a release of these settings has."""
    if "vectors" not in model.serves:
        return []
    return [ITEMS_INDEX, SIMILAR_INDEX, *([] if settings.content is None else [CONTENT_INDEX])]


def check_content(settings: Settings, model: Model) -> None:
    """SettingsError for an encoder or a map that cannot be, or content without vectors, before anything is read."""
    if settings.content is None:
        return
    if "vectors" not in model.serves:
        raise no_vectors(f"model {settings.model.get('name', 'als')!r} learns only {', '.join(sorted(model.serves))}")
    mapper_of(settings.content.map)
    if settings.content.encoder is not None:
        encoder_of(settings.content.encoder)


def describe_items(catalogue: Catalogue, settings: Settings, watcher: Watcher) -> Described | None:
    """The catalogue as the encoder of ``[content]`` sees it; None without that section."""
    if settings.content is None:
        return None
    with watcher.stage("encode") as progress:
        rng = content_rng(settings)
        items = described(catalogue, settings.content, rng, threads=settings.train.threads, progress=progress)
    watcher.note(", ".join(f"{count:,} items {what}" for what, count in items.counts.items()))
    for problem, count in items.problems.items():
        watcher.note(f"of {count:,} items nothing is used of {problem}")
    return items


def measure(
    data: Interactions,
    model: Model,
    settings: Settings,
    watcher: Watcher,
    items: Described | None = None,
    catalogue: Catalogue | None = None,
) -> tuple[dict[str, Any], Split, Choice | None, Engine]:
    """Fit on the older part of the log, judge the served lists by the newer: metrics of pipeline and popularity.

    With ``items`` the pipeline has content, a validation part of the older part chooses how much that counts, and the
    same without it is judged too. ``catalogue``: what steps ask of items. Also the engine that was judged.
    """
    share = settings.train.test_share
    rng = np.random.default_rng(settings.train.seed)
    split = hold_out(data, share, rng)
    train, blank = split.train, Catalogue.of(None, data.items)
    shown = catalogue or blank
    label = " (held out)"
    learned = learn(train, model, settings, rng, watcher, label)
    with watcher.stage(f"index{label}"):
        engine, _ = engine_of(learned, train, shown, settings, rng, "held-out", kinds={})
    with watcher.stage("evaluate"):
        baseline, _ = engine_of(
            Learned.of_scores(popularity_of(train)), train, blank, plain(settings), rng, "popularity", kinds={}
        )
        reports = {name: evaluate(asked, split) for name, asked in (("pipeline", engine), ("popularity", baseline))}
    metrics: dict[str, Any] = {name: report.means() for name, report in reports.items()}
    if items is None or settings.content is None:
        return metrics, split, None, engine
    chance = content_rng(settings)
    with watcher.stage("validate content") as progress:
        choice = chosen(
            model,
            train,
            items,
            settings.content,
            chance,
            warm_loss=settings.gate.warm_loss,
            threads=settings.train.threads,
            progress=progress,
        )
    mixed, content = add_content(learned, train, blank, settings, watcher, label, items=items, choice=choice)
    with watcher.stage("evaluate content"):
        engine, _ = engine_of(mixed, train, shown, settings, rng, "held-out", kinds={}, content=content)
        with_content = evaluate(engine, split)
    metrics["content"] = {
        "items": dict(items.counts),
        "problems": dict(items.problems),
        "norms": dict(content.norms),
        **choice.as_dict(),
        "with": by_items(with_content),
        "without": by_items(reports["pipeline"]),
    }
    return {**metrics, "pipeline": with_content.means()}, split, choice, engine


def try_order(
    engine: Engine,
    split: Split,
    catalogue: Catalogue,
    model: Model,
    settings: Settings,
    watcher: Watcher,
    items: Described | None,
    choice: Choice | None,
) -> Tried:
    """Learn an order of candidates inside the older part of the log, judge it by the newer beside the fusion's."""

    def fitted(part: Interactions) -> Engine:
        rng, quiet = np.random.default_rng(settings.train.seed), Unwatched()
        learned, content = learn(part, model, settings, rng, quiet, ""), None
        if items is not None and choice is not None:
            learned, content = add_content(learned, part, catalogue, settings, quiet, "", items=items, choice=choice)
        return engine_of(learned, part, catalogue, settings, rng, "cut", kinds={}, content=content)[0]

    with watcher.stage("rank (held out)") as progress:
        tried = try_ranker(engine, split, fitted, catalogue, settings, progress)
    if tried.used:
        watcher.note("the ranker is used: its lists beat those of the fusion")
    else:
        watcher.note(
            f"the ranker is not used, lists stay as the fusion makes them: {'; '.join(tried.report['findings'])}"
        )
    return tried


def by_items(report: Report) -> dict[str, dict[str, float | None]]:
    """Each metric that is known by segment of items: over all, the warm ones and the cold ones, which nobody took."""
    return {
        name: {
            **means({"overall": report.values[name]}),
            **means({"warm": parts["warm"], "cold": parts["never"]}),
        }
        for name, parts in report.by_popularity.items()
    }


def fit(
    data: Interactions,
    catalogue: Catalogue,
    log: Log,
    model: Model,
    settings: Settings,
    rng: np.random.Generator,
    watcher: Watcher,
    release: str,
    label: str,
    *,
    items: Described | None = None,
    choice: Choice | None = None,
) -> tuple[Engine, dict[str, Any]]:
    """Everything that answers requests, learned from ``data``, and what was measured of its indexes."""
    learned, content = learn(data, model, settings, rng, watcher, label), None
    if items is not None and choice is not None:
        learned, content = add_content(learned, data, catalogue, settings, watcher, label, items=items, choice=choice)
    with watcher.stage(f"index{label}"):
        return engine_of(
            learned, data, catalogue, settings, rng, release, kinds=log.kinds, content=content, remembering=True
        )
