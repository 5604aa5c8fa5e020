"""``recsys evaluate``: what a configuration would serve, fitted on one part of its log and judged by the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from benchmarks.measuring import compared, measure
from recsys.catalogue import Catalogue
from recsys.datasets import Log
from recsys.errors import SettingsError, unknown_choice
from recsys.interactions import interactions_of
from recsys.settings import Settings
from recsys.splits import SPLITS, Split, split_published
from recsys.vocabulary import Vocabulary
from training.data import item_ids, read_log
from training.models import model_of
from training.models.popular import Popular
from training.progress import Watcher
from training.run import check_content

PUBLISHED = "published"
PIPELINE, POPULARITY = "pipeline", "popularity"


def judge_pipeline(
    settings: Settings,
    *,
    metrics: Sequence[str] = (),
    split: str | None = None,
    now: datetime,
    environ: Mapping[str, str],
    watcher: Watcher,
) -> dict[str, Any]:
    """Rows of the pipeline and of popularity, in the form of :func:`benchmarks.models.compare`; publishes nothing.

    ``split``: a name of SPLITS, or "published"; None is what `recsys train` measures by. ``train.test_share`` is its
    share. SettingsError for another name, or if nothing is published.
    """
    model = model_of(settings.model)
    check_content(settings, model)
    if split is not None and split not in (*SPLITS, PUBLISHED):
        raise SettingsError(unknown_choice("split", split, (*SPLITS, PUBLISHED)))
    log = read_log(settings.data, now=now, environ=environ, watcher=watcher)
    rng = np.random.default_rng(settings.train.seed)
    parted = _split(log, split, settings.train.test_share, rng)
    watcher.note(parted.description)
    catalogue = Catalogue.of(log.items, parted.train.items)
    measured = []
    for name, asked in ((PIPELINE, model), (POPULARITY, Popular())):
        with watcher.stage(name) as progress:
            measured.append(measure(name, asked, parted, catalogue, settings, metrics=metrics, progress=progress))
    with watcher.stage("intervals"):
        rows = compared(measured, POPULARITY, rng)
    return {"dataset": log.name, "split": parted.description, "rows": rows, "published": [], "failed": {}}


def _split(log: Log, name: str | None, share: float, rng: np.random.Generator) -> Split:
    if name != PUBLISHED:
        data = interactions_of(log.events, log.kinds, items=item_ids(log))
        return SPLITS[name or ("in-time" if data.timed else "at-random")](data, share, rng)
    if log.test is None:
        raise SettingsError(f"log {log.name!r} comes without a published test part: choose one of {', '.join(SPLITS)}")
    every = Vocabulary.of(dict.fromkeys([*item_ids(log), *log.test["item_id"].unique()]))
    return split_published(log.events, log.test, log.kinds, every)
