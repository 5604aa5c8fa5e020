"""``recsys bench models``: every configured model of a data set, each in a fresh process, in one table."""

from __future__ import annotations

import multiprocessing
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Measured, compared, measure
from benchmarks.protocols import split_of
from benchmarks.published import published
from recsys.catalogue import Catalogue
from recsys.datasets import DATASETS, Log, load
from recsys.errors import RecsysError, SettingsError, UnknownDataset, unknown_choice
from recsys.settings import Settings
from recsys.vocabulary import Vocabulary
from training.models import Progress, model_of
from training.progress import Watcher

CONFIGS = Path(__file__).parent / "configs"
SETTINGS = Settings.model_validate({"train": {"recent_items": 1000}, "index": {"backend": "exact"}})
"""What models are served with here: whole histories, exact search."""
SEED = 0
"""Of resampling."""


@dataclass(frozen=True, slots=True)
class Config:
    """One file below :data:`CONFIGS`: a name and the ``[model]`` table of a recsys.toml."""

    name: str
    model: Mapping[str, Any]


def configs_of(dataset: str, wanted: Sequence[str] = (), folder: Path = CONFIGS) -> list[Config]:
    """The configurations of a data set, all or those named, by name.

    UnknownDataset for no such data set. SettingsError if it has no configurations, not the one that is wanted, or one
    that no model can be made of.
    """
    if dataset not in DATASETS:
        raise UnknownDataset(unknown_choice("data set", dataset, DATASETS))
    files = {file.stem: file for file in sorted((folder / dataset).glob("*.toml"))}
    if not files:
        raise SettingsError(
            f"there are no models to compare on {dataset!r}: put a file NAME.toml with a [model] table into "
            f"{folder / dataset}"
        )
    for name in wanted:
        if name not in files:
            raise SettingsError(f"data set {dataset!r}: {unknown_choice('model configuration', name, files)}")
    return [_config(files[name]) for name in (wanted or files)]


def compare(
    dataset: str, wanted: Sequence[str], watcher: Watcher, *, environ: Mapping[str, str], folder: Path = CONFIGS
) -> dict[str, Any]:
    """Fit and judge the models of a data set: ``dataset``, ``split``, ``rows``, best first, ``published``, ``failed``.

    A model that fails is told of under ``failed`` and does not stop the others; RecsysError if all fail.
    """
    measured: list[Measured] = []
    failed: dict[str, str] = {}
    split = ""
    for config in configs_of(dataset, wanted, folder):
        with watcher.stage(config.name) as progress:
            try:
                one, split = _in_a_child(dataset, config, environ, progress)
                measured.append(one)
            except RecsysError as error:
                failed[config.name] = str(error)
        if config.name in failed:
            watcher.note(f"{config.name}: {failed[config.name]}")
    if failed and not measured:
        name, sentence = next(iter(failed.items()))
        raise RecsysError(f"none of {len(failed)} models could be measured on {dataset}; {name}: {sentence}")
    with watcher.stage("intervals"):
        rows = compared(measured, None, np.random.default_rng(SEED))
    return {
        "dataset": dataset,
        "split": split,
        "rows": rows,
        "published": [line.as_dict() for line in published(dataset)],
        "failed": failed,
    }


def _config(file: Path) -> Config:
    try:
        table = tomllib.loads(file.read_text("utf-8"))["model"]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError) as error:
        raise SettingsError(f"{file} must be TOML with a [model] table: {type(error).__name__}: {error}") from error
    try:
        model_of(table)
    except SettingsError as error:
        raise SettingsError(f"{file}: {error}") from error
    return Config(file.stem, table)


def _in_a_child(dataset: str, config: Config, environ: Mapping[str, str], progress: Progress) -> tuple[Measured, str]:
    """What a process that has done nothing else measures; RecsysError if it fails or ends."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(theirs, dataset, config, dict(environ)), daemon=True)
    child.start()
    theirs.close()
    try:
        while True:
            try:
                what, told = ours.recv()
            except EOFError:
                child.join()
                raise RecsysError(
                    f"its process ended with exit code {child.exitcode}: -9 usually means that memory ran out"
                ) from None
            if what == "done":
                child.join()
                measured: tuple[Measured, str] = told
                return measured
            if what == "failed":
                raise RecsysError(told)
            progress(told)
    finally:
        ours.close()
        if child.is_alive():
            child.terminate()
        child.join()


def _child(connection: Connection, dataset: str, config: Config, environ: Mapping[str, str]) -> None:
    os.environ.update(environ)
    try:
        log = load(dataset, environ)
        split = split_of(log)
        measured = measure(
            config.name,
            model_of(config.model),
            split,
            _catalogue(log, split.train.items),
            SETTINGS,
            curve=True,
            progress=lambda share: connection.send(("progress", share)),
        )
        connection.send(("done", (measured, split.description)))
    except RecsysError as error:
        connection.send(("failed", str(error)))
    except Exception as error:
        # Its traceback goes to standard error, its sentence into the results.
        connection.send(("failed", f"{type(error).__name__}: {error}"))
        raise


def _catalogue(log: Log, items: Vocabulary) -> Catalogue:
    """What is known of the items that the split ranks; a catalogue may have more of them."""
    if log.items is None:
        return Catalogue.of(None, items)
    known = items.rows(log.items["item_id"].tolist()) >= 0
    return Catalogue.of(log.items[known], items)
