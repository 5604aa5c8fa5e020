"""Public data sets, read from the files that their authors publish.

A data set is one file beside this one and one line in :data:`DATASETS`. Its files are looked for under
``$RECSYS_DATA``, then in the cache; only then are they fetched, if their licence and place allow that.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from recsys.errors import DataError, UnknownDataset, unknown_choice
from recsys.sections import Kind
from recsys.settings import cache_folder
from recsys.tables import Table

if TYPE_CHECKING:
    import pandas as pd

    from recsys.validation import Checked


@dataclass(frozen=True, eq=False)
class Log:
    """What a data set holds.

    ``events`` and ``test`` have the columns of :mod:`recsys.events`. Where a split is published, ``events`` is
    its training part and ``test`` the rest. A log that has an order but no times has, in place of ``time``, an
    int64 column ``order``: the position within its user, from 0. ``items``: ``item_id``, ``title`` where there are
    titles, then attributes; lists are Arrow lists, prose is ``text``. ``kinds``: what its kinds of event mean.
    """

    name: str
    events: pd.DataFrame
    items: pd.DataFrame | None
    kinds: dict[str, Kind] = field(default_factory=dict)
    test: pd.DataFrame | None = None


@dataclass(frozen=True)
class Dataset:
    """A public data set: what it is, which files it is made of, how they are read.

    ``files``: paths below the folder of data sets. ``users``, ``items``, ``events``, ``tests``: how many its
    authors count, users and items over both parts. ``read``: from that folder. ``fetch``: brings the files into
    that folder, safe to run twice at once; None where only a person may download them.
    """

    name: str
    title: str
    home: str
    terms: str
    files: tuple[str, ...]
    users: int
    items: int
    events: int
    read: Callable[[Path], Log]
    tests: int = 0
    fetch: Callable[[Path, Mapping[str, str]], None] | None = None


@dataclass(frozen=True)
class Status:
    """One line of ``recsys data list``. ``found``: the folder with all files; ``missing``: which, if there is none."""

    name: str
    title: str
    terms: str
    users: int
    items: int
    events: int
    found: Path | None
    missing: tuple[str, ...]
    fetchable: bool


DATASETS: Table[Dataset] = Table(
    "data set",
    {
        "ml-100k": "recsys.datasets.ml_100k:DATASET",
        "ml-latest-small": "recsys.datasets.ml_latest_small:DATASET",
        "lastfm-2k": "recsys.datasets.lastfm_2k:DATASET",
        "gowalla": "recsys.datasets.gowalla:DATASET",
        "amazon-cds": "recsys.datasets.amazon_cds:DATASET",
        "citeulike-a": "recsys.datasets.citeulike_a:DATASET",
        "citeulike-t": "recsys.datasets.citeulike_t:DATASET",
        "spotify-songs": "recsys.datasets.spotify_songs:DATASET",
        "diginetica": "recsys.datasets.diginetica:DATASET",
        "s3rec-beauty": "recsys.datasets.s3rec_beauty:DATASET",
    },
)


def load(name: str, environ: Mapping[str, str] = os.environ) -> Log:
    """A data set by name, fetched first if it must and can be.

    UnknownDataset: no such name, or its files are nowhere and cannot be fetched. DataError: they are not what
    their authors publish.
    """
    folder = fetch(name, environ)
    try:
        return DATASETS[name].read(folder)
    except (OSError, ValueError, LookupError, zipfile.BadZipFile, pa.ArrowException) as error:
        raise DataError(
            f"data set {name!r}: its files under {folder} are not as published ({type(error).__name__}: {error}); "
            f"compare them with {DATASETS[name].home}"
        ) from error


def fetch(name: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of data sets in which all files of this one are, brought there if need be.

    UnknownDataset: no such name, or its files are nowhere and only a person may download them.
    """
    if name not in DATASETS:
        raise UnknownDataset(unknown_choice("data set", name, DATASETS))
    dataset = DATASETS[name]
    if dataset.fetch is None:
        return folder_with(name, dataset.files, f"download them from {dataset.home} ({dataset.terms})", environ)
    folder = _found(dataset, environ)
    if folder is not None:
        return folder
    cache = _folders(environ)[-1]
    try:
        dataset.fetch(cache, environ)
    except OSError as error:
        raise UnknownDataset(
            f"data set {name!r} cannot be kept under {cache}: {error}; choose another folder with RECSYS_CACHE"
        ) from error
    return cache


def folder_with(name: str, files: tuple[str, ...], advice: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of data sets in which all of ``files`` are. UnknownDataset, with ``advice``, where none has them."""
    for folder in _folders(environ):
        if not _missing(files, folder):
            return folder
    places = " or ".join(map(str, _folders(environ)))
    raise UnknownDataset(
        f"data set {name!r}: its files {', '.join(files)} are not all under {places}; "
        f"{advice} and point RECSYS_DATA at the folder that holds them"
    )


def status(environ: Mapping[str, str] = os.environ) -> list[Status]:
    """Every data set and where it is, in the order of the table; fetches nothing."""
    rows = []
    for dataset in DATASETS.values():
        missing = min((_missing(dataset.files, folder) for folder in _folders(environ)), key=len)
        rows.append(
            Status(
                dataset.name,
                dataset.title,
                dataset.terms,
                dataset.users,
                dataset.items,
                dataset.events + dataset.tests,
                _found(dataset, environ),
                missing,
                dataset.fetch is not None,
            )
        )
    return rows


def check(name: str, now: datetime, environ: Mapping[str, str] = os.environ) -> Checked:
    """Load a data set and validate it; of a split one, the training part. Needs the extra ``train``."""
    # pandera is no part of the base installation
    from recsys import validation  # noqa: PLC0415

    log = load(name, environ)
    return validation.check(log.events, log.items, now)


def _folders(environ: Mapping[str, str]) -> list[Path]:
    """Where data sets may be, first choice first; the cache is last."""
    chosen = environ.get("RECSYS_DATA")
    return [*([Path(chosen)] if chosen else []), cache_folder(environ) / "datasets"]


def _missing(files: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    return tuple(file for file in files if not (folder / file).is_file())


def _found(dataset: Dataset, environ: Mapping[str, str]) -> Path | None:
    return next((folder for folder in _folders(environ) if not _missing(dataset.files, folder)), None)
