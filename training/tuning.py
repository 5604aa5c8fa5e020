"""The search for a model's best keys, on a validation part of what it may learn from: ``recsys tune``."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from recsys.catalogue import Catalogue
from recsys.errors import SettingsError, TrainingError
from recsys.evaluation import evaluate
from recsys.interactions import Interactions
from recsys.sections import Train
from recsys.settings import Settings
from recsys.splits import Split, hold_out, split_in_time, split_within_users
from training.engines import check_finite, engine_of
from training.interrupts import Interrupts
from training.models import MODELS, Choice, Model, Range, model_of

METRIC = "ndcg@20"
"""What is made as large as it gets: the mean over all validation users of the lists that would be served."""
STARTUP = 5
"""A fold must be known of so many trials before one is given up by it."""
INDEX: Mapping[str, str] = MappingProxyType({"backend": "exact"})
"""What trials are answered by: what an index misses is no fault of a model."""

Told = Callable[[float, float | None], None]
"""Told the share of the search that is done, 0 to 1, and the best value so far."""


def untold(share: float, best: float | None) -> None:
    """A search that nobody watches."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration that was tried. ``value``: the mean over its folds; None for one that learned nothing."""

    number: int
    state: Literal["complete", "pruned", "failed"]
    value: float | None
    keys: Mapping[str, Any]
    seconds: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a search found. ``best``: None before the first trial is complete. ``start``: what the given keys reach.

    ``interrupted``: somebody stopped it before there were as many trials as were asked for.
    """

    name: str
    best: Model | None
    value: float | None
    start: float | None
    trials: Sequence[Trial]
    description: str
    interrupted: bool

    def toml(self) -> str:
        """The best configuration as ``[model]`` of a recsys.toml; TrainingError if there is none."""
        if self.best is None:
            reasons = "; ".join(sorted({trial.reason for trial in self.trials if trial.reason})) or "none is complete"
            raise TrainingError(f"none of {len(self.trials)} trials of {self.name} has a value yet: {reasons}")
        return toml_of(self.name, self.best, f"{METRIC} {self.value:.5f}, {self.description}")


def tune(
    data: Interactions,
    table: Mapping[str, Any],
    train: Train,
    *,
    trials: int,
    storage: Path,
    published: bool = False,
    folds: int = 3,
    told: Told = untold,
) -> Tuned:
    """Try configurations of ``table``'s model until ``storage`` knows ``trials`` of them; the best one.

    ``data``: the events that may be learned from. Unless the test is ``published`` apart from them, the part that
    ``recsys train`` measures by is cut off first and never looked at. ``table``: ``[model]``; its keys stay as they
    are, but for those that the model's ``space`` varies, from whose values the search starts.

    A tree-structured Parzen estimator proposes, Bergstra et al. (2011). A trial is given up after a fold if its mean
    so far is below the median of the others' up to that fold. Ctrl-C ends the search and keeps what is done; the trial
    that it hit is the first of the next search on the same ``storage``.

    SettingsError: nothing to vary, or ``storage`` is unusable or holds trials of another question.
    """
    name, model = str(table.get("name", "als")), model_of(table)
    if not model.space:
        able = ", ".join(name for name in MODELS if MODELS[name].space)
        raise SettingsError(f"model {name!r} has nothing to tune, choose one of {able}")
    splits = validation_splits(data, train, published=published, folds=folds)
    description = f"folds: {len(splits)}; {splits[0].description}"
    fixed = {key: value for key, value in model.model_dump(mode="json").items() if key not in model.space}
    with _opened(storage, name, _question(splits, model, fixed, train), seed=train.seed) as study:
        if not _known(study) and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            study.enqueue_trial(_start(model))
        with Interrupts() as interrupts:
            while len(_known(study)) < trials and not interrupts.asked:
                _try(study, fixed, name, splits, train, _sharing(study, trials, told), interrupts)
            known = [_trial(trial) for trial in _known(study)]
        told(1.0, _best_value(study))
    complete = [trial for trial in known if trial.state == "complete"]
    best = max(complete, key=lambda trial: trial.value or 0.0, default=None)
    start = next((trial.value for trial in complete if trial.keys == _start(model)), None)
    return Tuned(
        name=name,
        best=None if best is None else model_of({"name": name, **fixed, **best.keys}),
        value=None if best is None else best.value,
        start=start,
        trials=known,
        description=description,
        interrupted=interrupts.asked,
    )


def validation_splits(data: Interactions, train: Train, *, published: bool, folds: int) -> list[Split]:
    """What configurations are judged by: parts of what may be learned from, none of them in the test.

    A timed log is cut in time, and for the next fold what came before is cut again; of any other, and where the test is
    ``published``, each fold draws a share of each user's items. DataError where that leaves nothing.
    """
    share, rng = train.test_share, np.random.default_rng(train.seed)
    if not published:
        data = hold_out(data, share, rng).train
    if published or not data.timed:
        return [split_within_users(data, share, rng) for _ in range(folds)]
    splits: list[Split] = []
    for _ in range(folds):
        splits.append(split_in_time(splits[-1].train if splits else data, share))
    return splits


def toml_of(name: str, model: Model, comment: str) -> str:
    """A configuration as ``[model]`` of a recsys.toml; keys that are not set are left out."""
    keys = {key: value for key, value in model.model_dump(mode="json").items() if value is not None}
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"name": name, **keys}.items()]
    return "\n".join([f"# {comment}", "[model]", *lines]) + "\n"


def _try(
    study: optuna.Study,
    fixed: Mapping[str, Any],
    name: str,
    splits: Sequence[Split],
    train: Train,
    told: Told,
    interrupts: Interrupts,
) -> None:
    """Ask for a configuration, fit and judge it on each fold, tell."""
    trial = study.ask()
    proposed = {key: _suggested(trial, key, over) for key, over in MODELS[name].space.items()}
    model = model_of({"name": name, **fixed, **proposed})
    values: list[float] = []
    try:
        for fold, split in enumerate(splits):

            def partly(share: float, fold: int = fold) -> None:
                told((fold + share) / len(splits), None)

            with interrupts.heeded():
                values.append(_quality(model, split, train, partly))
            mean = float(np.mean(values))
            trial.report(mean, fold)
            if fold + 1 < len(splits) and hopeless(mean, fold, _known(study)):
                study.tell(trial, state=TrialState.PRUNED)
                return
        study.tell(trial, float(np.mean(values)))
    except TrainingError as error:
        trial.set_user_attr("reason", str(error))
        study.tell(trial, state=TrialState.FAIL)
    except KeyboardInterrupt:
        interrupts.asked = True
        study.tell(trial, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)


def _quality(model: Model, split: Split, train: Train, progress: Callable[[float], None]) -> float:
    # The same chance for every trial, so that none is better by luck alone.
    rng = np.random.default_rng(train.seed)
    learned = model.fit(split.train, rng, threads=train.threads, progress=progress)
    check_finite(learned)
    blank = Catalogue.of(None, split.train.items)
    settings = Settings(index=dict(INDEX), train=train)
    engine, _ = engine_of(learned, split.train, blank, settings, rng, "trial", kinds={})
    return float(np.nanmean(evaluate(engine, split, (METRIC,)).values[METRIC]))


def hopeless(mean: float, fold: int, others: Sequence[FrozenTrial]) -> bool:
    """Whether a trial's mean up to a fold is below the median of those of the others that came as far."""
    reached = [trial.intermediate_values[fold] for trial in others if fold in trial.intermediate_values]
    return len(reached) >= STARTUP and mean < float(np.median(reached))


def _suggested(trial: optuna.Trial, key: str, over: Range | Choice) -> Any:
    if isinstance(over, Choice):
        return trial.suggest_categorical(key, over.of)
    if isinstance(over.low, int) and isinstance(over.high, int):
        return trial.suggest_int(key, over.low, over.high, log=over.log)
    return trial.suggest_float(key, over.low, over.high, log=over.log)


def _start(model: Model) -> dict[str, Any]:
    """The given values of what is varied, where the space has them."""
    given = {key: getattr(model, key) for key in model.space}
    return {
        key: value
        for key, value in given.items()
        if (value in over.of if isinstance(over := model.space[key], Choice) else over.low <= value <= over.high)
    }


def _sharing(study: optuna.Study, trials: int, told: Told) -> Told:
    """From the share of one trial to that of the search."""
    done, best = len(_known(study)), _best_value(study)
    return lambda share, _: told((done + share) / trials, best)


def _known(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that say something: complete, given up, or refused with a reason; not those that were interrupted."""
    said = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    trials = study.get_trials(deepcopy=False, states=said)
    return [trial for trial in trials if trial.state != TrialState.FAIL or "reason" in trial.user_attrs]


def _best_value(study: optuna.Study) -> float | None:
    return max((trial.value for trial in _known(study) if trial.value is not None), default=None)


def _trial(trial: FrozenTrial) -> Trial:
    states: Mapping[TrialState, Literal["complete", "pruned"]] = {
        TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "pruned",
    }
    return Trial(
        number=trial.number,
        state=states.get(trial.state, "failed"),
        value=list(trial.intermediate_values.values())[-1] if trial.intermediate_values else None,
        keys=trial.params,
        seconds=round(trial.duration.total_seconds(), 2) if trial.duration else 0.0,
        reason=trial.user_attrs.get("reason", ""),
    )


def _question(splits: Sequence[Split], model: Model, fixed: Mapping[str, Any], train: Train) -> dict[str, str]:
    """What trials must agree in to be compared."""
    digest = hashlib.sha256()
    for split in splits:
        for side in (split.train, split.test):
            for column in (side.user, side.item, side.weight, side.time):
                digest.update(np.ascontiguousarray(column).tobytes())
    space = {key: repr(over) for key, over in model.space.items()}
    return {
        "data and folds": digest.hexdigest(),
        "fixed keys": json.dumps(fixed, sort_keys=True),
        "space": json.dumps(space),
        "seed": str(train.seed),
    }


@contextlib.contextmanager
def _opened(storage: Path, name: str, question: Mapping[str, str], *, seed: int) -> Iterator[optuna.Study]:
    """The study in an SQLite file, made if it is not there."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    advice = f"give another --storage than {storage}, or remove it"
    try:
        storage.parent.mkdir(parents=True, exist_ok=True)
        base = optuna.storages.RDBStorage(f"sqlite:///{storage.resolve()}")
    except (OSError, SQLAlchemyError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingsError(f"{storage} cannot hold trials ({reason}): give another --storage") from error
    try:
        study = optuna.create_study(storage=base, study_name=name, direction="maximize", load_if_exists=True)
        # A sampler that began with the same seed each time would repeat its first proposals.
        study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.get_trials(deepcopy=False)))
        asked = study.user_attrs.get("question")
        if asked is None:
            study.set_user_attr("question", dict(question))
        elif asked != question:
            differs = ", ".join(part for part in question if asked.get(part) != question[part])
            raise SettingsError(f"{storage} holds trials of {name} that differ in {differs}: {advice}")
        yield study
    finally:
        base.remove_session()
        base.engine.dispose()
