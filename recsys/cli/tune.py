"""The search for a model's best configuration."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from recsys.barred import Barred
from recsys.cli.options import AsJson, config_of, extra, print_json
from recsys.durable import replace_file
from recsys.errors import SettingsError, unknown_choice
from recsys.sections import Data
from recsys.settings import Settings, load_settings

app = typer.Typer()

SHOWN = 5
"""How many of the best trials the terminal shows."""
INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""


@app.command(
    epilog="Examples: `recsys tune ml-100k --model als --trials 30` · "
    "`recsys tune shop.toml --trials 100 --out best.toml` · `recsys tune gowalla --model svd --folds 1 --json`"
)
def tune(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATASET|CONFIG]", help="A name of `recsys data list`, or a recsys.toml; without it ./recsys.toml."
        ),
    ] = None,
    *,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Which model; without it that of the configuration.")
    ] = None,
    trials: Annotated[int, typer.Option("--trials", "-n", help="How many trials the storage shall know.", min=1)] = 50,
    folds: Annotated[
        int, typer.Option(help="Validation folds of each trial; poor ones are given up early.", min=1)
    ] = 3,
    storage: Annotated[
        Path | None, typer.Option(help="SQLite file of trials, gone on with; without it var/tune/DATASET-MODEL.db.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the best is written as TOML; without it beside the storage.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Search for a model's best keys by NDCG@20 on a validation part of train; the test is never looked at.

    Ctrl-C keeps what is done, and the same command goes on.
    """
    settings = _settings(what, model)
    console = Console(stderr=as_json)
    with extra("train"):
        from recsys.interactions import interactions_of
        from training.data import item_ids, read_log
        from training.progress import Terminal, Unwatched
    with extra("tune"):
        from training.tuning import METRIC, tune, untold

    terminal = Terminal(console)
    watcher = Unwatched() if as_json else terminal
    barred = Barred(settings.log.erased)
    log = read_log(settings.data, now=datetime.now(UTC), environ=os.environ, watcher=watcher, barred=barred)
    name = settings.model["name"]
    storage = storage or Path("var/tune") / f"{log.name}-{name}.db"
    with contextlib.nullcontext(untold) if as_json else terminal.search(f"tune {name}") as told:
        tuned = tune(
            interactions_of(log.events, log.kinds, items=item_ids(log)),
            settings.model,
            settings.train,
            trials=trials,
            storage=storage,
            published=log.test is not None,
            folds=folds,
            told=told,
        )
    out = out or storage.with_suffix(".toml")
    if tuned.best is not None or not tuned.interrupted:
        _write(out, tuned.toml())
    if as_json:
        best = None if tuned.best is None else tuned.best.model_dump(mode="json")
        print_json(
            {
                "dataset": log.name, "model": name, "metric": METRIC, "split": tuned.description, "value": tuned.value,
                "start": tuned.start, "best": best, "out": str(out), "storage": str(storage),
                "interrupted": tuned.interrupted, "trials": [asdict(trial) for trial in tuned.trials],
            }
        )  # fmt: skip
    else:
        _show(console, tuned, METRIC, out)
    if tuned.interrupted:
        console.print(f"stopped after {len(tuned.trials)} of {trials} trials: the same command goes on")
        raise typer.Exit(INTERRUPTED)


def _settings(what: str | None, model: str | None) -> Settings:
    """The settings that a data set or a file means, ``[model]`` being the asked model with the file's keys for it."""
    from recsys.datasets import DATASETS

    if what in DATASETS:
        settings = load_settings(None, os.environ).model_copy(update={"data": Data(dataset=what), "model": {}})
    elif what is not None and not Path(what).is_file():
        raise SettingsError(f"{unknown_choice('data set', what, DATASETS)}, or the path of a recsys.toml")
    else:
        settings = load_settings(config_of(Path(what) if what else None), os.environ)
    name = model or settings.model.get("name", "als")
    same = settings.model.get("name", "als") == name
    return settings.model_copy(update={"model": {**(settings.model if same else {}), "name": name}})


def _write(out: Path, toml: str) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, toml)
    except OSError as error:
        raise SettingsError(
            f"{out} cannot be written ({error.strerror or error}): give another --out, the trials are kept"
        ) from error


def _show(console: Console, tuned: Any, metric: str, out: Path) -> None:
    ranked = sorted((trial for trial in tuned.trials if trial.state == "complete"), key=lambda trial: -trial.value)
    if not ranked:
        return
    table = Table("trial", metric, "seconds", "keys", title=tuned.description, title_justify="left")
    for trial in ranked[:SHOWN]:
        table.add_row(str(trial.number), f"{trial.value:.5f}", f"{trial.seconds:.1f}", _written(trial.keys))
    console.print(table)
    given_up = sum(trial.state == "pruned" for trial in tuned.trials)
    compared = "" if tuned.start is None else f", where the given keys reach {tuned.start:.5f}"
    console.print(f"trials: {len(tuned.trials)}, given up early: {given_up}; {metric} {tuned.value:.5f}{compared}")
    console.print(f"the best is in {out}", soft_wrap=True)


def _written(keys: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in keys.items()
    )
