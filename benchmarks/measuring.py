"""One model fitted, served by the engine, asked and judged: accuracy, what it cost, and how sure the figures are."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recsys.arrays import Float32, Float64
from recsys.assembly import Engine
from recsys.catalogue import Catalogue
from recsys.comparison import difference, interval, randomization_test
from recsys.evaluation import Recommends, Report, evaluate, parse
from recsys.interactions import Interactions
from recsys.settings import Settings
from recsys.splits import Split
from training.content import learn_content
from training.engines import content_rng, engine_of
from training.models import Model, Progress, silent

ACCURACY = (
    *(f"{metric}@{k}" for metric in ("recall", "ndcg") for k in (10, 20, 50)),
    *("precision@10", "hit-rate@10", "map@20", "mrr@20"),
)
BEYOND = (
    "novelty@20",
    "popularity-bias@20",
    "serendipity@20",
    "diversity@20",
    "calibration@20",
    "coverage@20",
    "gini@20",
)
MAIN = ("recall@20", "ndcg@20")
"""What intervals and tests are made of where nothing else is asked for."""
SINGLE = frozenset({"vector", "item-item", "sequence"})
"""The kinds among which the best single model is looked for."""
CURVE = (0.1, 0.25, 0.5)
"""Shares of the training events at which a learning curve is measured, beside all of them."""
PATIENCE_S = 15.0
"""A model that took longer to fit, serve and judge has no learning curve."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A row of results, and the main metrics by user, float64 (u,), for the comparison with other rows."""

    row: dict[str, Any]
    values: Mapping[str, Float64]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A model that answers, how long that took, and what the process held before and after."""

    model: Model
    engine: Engine
    fit_s: float
    engine_s: float
    baseline_mb: float
    peak_mb: float

    @classmethod
    def of(
        cls,
        name: str,
        model: Model,
        data: Interactions,
        catalogue: Catalogue,
        settings: Settings,
        *,
        known: Interactions | None = None,
        progress: Progress = silent,
    ) -> Fitted:
        """Fit on ``data``, with content if the settings have that; serve from ``known``, or from the same."""
        baseline = peak_mb()
        rng = np.random.default_rng(settings.train.seed)
        start = time.perf_counter()
        learned = model.fit(data, rng, threads=settings.train.threads, progress=progress)
        content = None
        if settings.content is not None and learned.fold is not None:
            learned, content = learn_content(
                learned, data, catalogue, settings.content, content_rng(settings), model=model,
                warm_loss=settings.gate.warm_loss, threads=settings.train.threads,
            )  # fmt: skip
        fit_s = time.perf_counter() - start
        engine, _ = engine_of(learned, data, catalogue, settings, rng, name, kinds={}, known=known, content=content)
        return cls(model, engine, fit_s, time.perf_counter() - start - fit_s, baseline, peak_mb())


def measure(
    name: str,
    model: Model,
    split: Split,
    catalogue: Catalogue,
    settings: Settings,
    *,
    metrics: Sequence[str] = (),
    curve: bool = False,
    progress: Progress = silent,
) -> Measured:
    """Fit on the training part, serve from all that is known, judge by the test.

    ``metrics``: all that apply, if none are named. ``curve``: also fit on shares of the training events, if that is
    quick. ``peak_mb`` is that of the whole process up to its last list, ``baseline_mb`` what it was before the fit: in
    a process of its own they belong to the model.
    """
    start = time.perf_counter()
    fitted = Fitted.of(
        name, model, split.train, catalogue, settings, known=split.known, progress=lambda share: progress(share * 0.7)
    )
    measured = judged(
        name,
        fitted,
        fitted.engine,
        split,
        catalogue,
        metrics=metrics,
        progress=lambda share: progress(0.7 + 0.2 * share),
    )
    row = measured.row
    if curve and time.perf_counter() - start <= PATIENCE_S and row.get(MAIN[1]) is not None:
        row["curve"] = [*_curve(model, split, catalogue, settings), {"share": 1.0, MAIN[1]: row[MAIN[1]]}]
    progress(1.0)
    return measured


def judged(
    name: str,
    fitted: Fitted,
    asked: Recommends,
    split: Split,
    catalogue: Catalogue,
    *,
    metrics: Sequence[str] = (),
    progress: Progress = silent,
) -> Measured:
    """What ``asked`` answers, judged by the test, beside what the model cost that it stands on."""
    peaks = [fitted.peak_mb]

    def share_done(share: float) -> None:
        progress(share)
        peaks.append(peak_mb())

    report = _report(asked, fitted.engine, split, catalogue, metrics, share_done)
    found = report.as_dict()
    row = {
        "model": name,
        "kind": fitted.model.family,
        **{metric: means["all"] for metric, means in found["users"].items() if metric != "users"},
        **found["catalogue"],
        "fit_s": round(fitted.fit_s, 3),
        "engine_s": round(fitted.engine_s, 3),
        "peak_mb": peaks[-1],
        "baseline_mb": fitted.baseline_mb,
        "ms_user": found["ms_user"],
        **_bytes(fitted.engine),
        "intervals": {},
        "users": found["users"],
        "items": found["items"],
        "config": fitted.model.model_dump(mode="json"),
    }
    main = [metric for metric in MAIN if metric in report.values] or list(report.values)
    return Measured(row, {metric: report.values[metric] for metric in main})


def looked_at(engine: Engine, catalogue: Catalogue) -> tuple[Float32 | None, Float64 | None]:
    """What diversity and calibration look at: vectors, float32 (items, d), and categories, float64 (items, c).

    The same vectors for all models, if items have categories; else each model's own.
    """
    categories = catalogue.shares()
    return engine.directions if categories is None else categories.astype(np.float32), categories


def compared(measured: Sequence[Measured], reference: str | None, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The rows, best first, each with intervals of its main metrics and, against ``reference``, a paired test.

    All were measured on the same users. ``reference``: the name of a row; None is the best single model, or where there
    is none the best of all.
    """
    ranked = sorted(measured, key=_quality, reverse=True)
    if not ranked:
        return []
    single = [one for one in ranked if one.row["kind"] in SINGLE]
    other = next((one for one in ranked if one.row["model"] == reference), (single or ranked)[0])
    rows = []
    for one in ranked:
        intervals = {name: interval(values, rng) for name, values in one.values.items()}
        row = {
            **one.row,
            "intervals": {name: [_number(found.low), _number(found.high)] for name, found in intervals.items()},
        }
        if one is not other:
            row["against"] = {"model": other.row["model"], **_against(one, other, rng)}
        rows.append(row)
    return rows


def peak_mb() -> float:
    """The most memory that this process has held, in MiB: VmHWM, which a process does not take over from its parent."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise OSError("/proc/self/status has no VmHWM: peak memory is measured on Linux only")


def _report(
    asked: Recommends,
    engine: Engine,
    split: Split,
    catalogue: Catalogue,
    metrics: Sequence[str],
    progress: Progress,
) -> Report:
    vectors, categories = looked_at(engine, catalogue)
    lacking = {"diversity"} if vectors is None else set()
    lacking |= {"calibration"} if categories is None else set()
    wanted = tuple(metrics) or tuple(name for name in (*ACCURACY, *BEYOND) if parse(name)[0] not in lacking)
    return evaluate(asked, split, wanted, vectors=vectors, categories=categories, progress=progress)


def _curve(model: Model, split: Split, catalogue: Catalogue, settings: Settings) -> list[dict[str, float]]:
    rng = np.random.default_rng(settings.train.seed)
    kept = rng.random(len(split.train))
    points = []
    for share in CURVE:
        part = split.train.where(kept < share)
        learned = model.fit(part, rng, threads=settings.train.threads)
        engine, _ = engine_of(learned, part, catalogue, settings, rng, "part", kinds={}, known=split.known)
        reached = evaluate(engine, split, (MAIN[1],)).means()[MAIN[1]]["all"]
        points.append({"share": share, MAIN[1]: reached})
    return points


def _bytes(engine: Engine) -> dict[str, int]:
    """What serving holds for an item and for a user."""
    fold, vectors = engine.resolver.fold, engine.users.vectors
    held = sum(lists.rows.nbytes + lists.weights.nbytes for lists in engine.lists.values())
    held += 0 if fold is None else fold.items.nbytes
    each = held / max(1, len(engine.items))
    return {"bytes_item": round(each), "bytes_user": 0 if vectors is None else vectors.shape[1] * vectors.itemsize}


def _quality(measured: Measured) -> float:
    main = list(measured.values)[-1]
    return measured.row[main] or 0.0


def _against(one: Measured, other: Measured, rng: np.random.Generator) -> dict[str, Any]:
    found = {}
    for name, values in one.values.items():
        if name not in other.values:
            continue
        between = difference(values, other.values[name], rng)
        found[name] = {
            "difference": _number(between.mean),
            "low": _number(between.low),
            "high": _number(between.high),
            "p": _number(randomization_test(values, other.values[name], rng)),
        }
    return found


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)
