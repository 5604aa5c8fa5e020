"""``recsys bench cascade``: what each stage of retrieval and ranking adds, over the same test users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recsys.assembly import HOME, Engine
from recsys.catalogue import Catalogue
from recsys.comparison import difference, interval
from recsys.datasets import load
from recsys.evaluation import Report, evaluate
from recsys.interactions import Interactions, interactions_of
from recsys.pipeline import unseen
from recsys.settings import Settings
from recsys.splits import hold_out
from training.data import item_ids
from training.engines import engine_of
from training.facts import facts_of
from training.models import model_of
from training.progress import Watcher
from training.ranker import FUSED, RANKED, WITHOUT, Examples, Returning, finished, grow, windows_of, with_candidates

METRICS = ("ndcg@10", "recall@20", "coverage@20")
SEED = 0
MODEL: Mapping[str, Any] = {
    "name": "blend",
    "parts": {"als": {"factors": 64, "regularization": 20.0, "alpha": 2.0}, "item-knn": {}},
}
"""Two models, so that there are several sources; ALS as the demo has it."""


def measure(dataset: str, watcher: Watcher, *, environ: Mapping[str, str]) -> dict[str, Any]:
    """Each source alone, the blend as it would be served, rank fusion, and that put in order by a ranker.

    The split is that of `recsys train`; the ranker is learned inside its training part alone. Differences are
    paired, from the best source alone by NDCG@10 and from rank fusion, with intervals of 95 %.
    """
    settings = Settings.model_validate({"model": MODEL, "ranker": {}, "index": {"backend": "exact"}})
    section = settings.ranker
    if section is None:
        raise ValueError("a ranker is what is measured here: leave [ranker] in the settings")
    log = load(dataset, environ)
    data = interactions_of(log.events, log.kinds, items=item_ids(log))
    split = hold_out(data, settings.train.test_share, np.random.default_rng(SEED))
    catalogue = Catalogue.of(log.items, data.items)
    model = model_of(settings.model)

    def fitted(part: Interactions) -> Engine:
        learned = model.fit(part, np.random.default_rng(SEED), threads=settings.train.threads)
        return engine_of(learned, part, catalogue, settings, np.random.default_rng(SEED), "measured", kinds={})[0]

    with watcher.stage("fit"):
        engine = fitted(split.train)
        fused = with_candidates(engine, split.train, catalogue, section)
    with watcher.stage("ranker") as progress:
        rng, share = np.random.default_rng(SEED), settings.train.test_share
        names, windows = windows_of(split.train, fitted, catalogue, section, share, rng, progress)
        ranker, told = grow(Examples.joined(windows), names, section, SEED, settings.train.threads)
    facts = facts_of(split.train, catalogue)
    lines = fused.surfaces[HOME].sources
    systems = {f"{line.called} alone": fused.ranked(None, facts, unseen(line)) for line in lines}
    singles = tuple(systems)
    systems |= {WITHOUT: engine, FUSED: fused, RANKED: finished(fused, ranker, section)}
    reports: dict[str, Report] = {}
    for name, system in systems.items():
        with watcher.stage(name) as progress:
            reports[name] = evaluate(Returning.of(system, split), split, METRICS, progress=progress)
    best = max(singles, key=lambda name: reports[name].means()["ndcg@10"]["all"] or 0)
    return {
        "dataset": dataset,
        "split": split.description,
        "users": len(reports[best].users),
        "model": dict(MODEL),
        "best_single": best,
        "rows": [_row(name, report, {best: reports[best], FUSED: reports[FUSED]}) for name, report in reports.items()],
        "ranker": told,
    }


def _row(name: str, report: Report, others: Mapping[str, Report]) -> dict[str, Any]:
    rng = np.random.default_rng(SEED)
    row: dict[str, Any] = {"system": name, "coverage@20": round(report.catalogue["coverage@20"], 4)}
    for metric, values in report.values.items():
        found = interval(values, rng)
        row[metric] = {"mean": round(found.mean, 4), "low": round(found.low, 4), "high": round(found.high, 4)}
        for other, theirs in others.items():
            if theirs is not report:
                between = difference(values, theirs.values[metric], rng)
                bounds = {"mean": between.mean, "low": between.low, "high": between.high}
                row[metric][f"less {other}"] = {key: round(value, 4) for key, value in bounds.items()}
    return row
