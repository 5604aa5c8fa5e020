"""How far folding in falls behind learning anew, by the age of the release.

A vector that is folded in is the exact solution of the model for everything its user did, so it does not drift from
these events, however many they are. What grows old is the space: item vectors were learned from what everybody did
before the release. So lists by one old release, into which each user's later events are folded, are judged beside
lists by one that was learned from all that had happened by then, and beside the old one's without the later events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recsys.assembly import Engine
from recsys.catalogue import Catalogue
from recsys.datasets import load
from recsys.evaluation import evaluate
from recsys.interactions import Interactions, interactions_of
from recsys.sections import USUAL_KINDS
from recsys.settings import DEMO_MODEL, Settings
from recsys.splits import Split
from training.engines import engine_of, learn, plain
from training.models import model_of
from training.progress import Unwatched

DAY = 86_400
AGES = (0, 7, 14, 28, 42, 56, 84)
WINDOW = 7
"""Days of the events that lists are judged by."""
METRIC = "ndcg@10"


def measure(
    dataset: str,
    environ: Mapping[str, str],
    *,
    ages: Sequence[int] = AGES,
    share: float = 0.5,
    model: Mapping[str, Any] = DEMO_MODEL,
) -> dict[str, Any]:
    """NDCG@10 of each week that begins ``ages`` days after the first ``share`` of the events, by the same users.

    ``fold_in``: the release of that moment, with what users did since. ``refit``: one learned at the beginning of the
    week. ``without``: the release of that moment alone. ``lost``: the share of the refit's that folding in lacks.
    """
    log = load(dataset, environ)
    data = interactions_of(log.events, {**USUAL_KINDS, **log.kinds})
    settings = plain(Settings.model_validate({"model": dict(model), "train": {"threads": 1}}))
    began = int(data.time[int(len(data) * share)])
    old = data.where(data.time < began)
    learned = _learned(old, settings)
    rows = []
    for age in ages:
        now = began + age * DAY
        known = data.where(data.time < now)
        week = data.where((data.time >= now) & (data.time < now + WINDOW * DAY))
        split = Split(known, week, f"{WINDOW} days from day {age}")
        asked = {
            "fold_in": _engine(learned, old, known, settings),
            "refit": _engine(_learned(known, settings), known, known, settings),
            "without": _engine(learned, old, old, settings),
        }
        means = {name: evaluate(engine, split, (METRIC,)).means(("all",)) for name, engine in asked.items()}
        told = {name: mean[METRIC]["all"] for name, mean in means.items()}
        if None in told.values():
            continue
        rows.append(
            {
                "age_days": age,
                "users": means["refit"]["users"]["all"],
                **{name: round(value, 4) for name, value in told.items()},
                "lost": round(1 - told["fold_in"] / told["refit"], 4) if told["refit"] else None,
            }
        )
    return {"dataset": dataset, "metric": METRIC, "window_days": WINDOW, "trained_on": len(old), "ages": rows}


def _learned(data: Interactions, settings: Settings) -> Any:
    rng = np.random.default_rng(settings.train.seed)
    return learn(data, model_of(settings.model), settings, rng, Unwatched(), "")


def _engine(learned: Any, data: Interactions, known: Interactions, settings: Settings) -> Engine:
    rng, blank = np.random.default_rng(settings.train.seed), Catalogue.of(None, data.items)
    return engine_of(learned, data, blank, settings, rng, "drift", kinds={}, known=known)[0]
