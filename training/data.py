"""The log that a run learns from: read, validated, and nothing dropped in silence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pandas as pd

from recsys import validation
from recsys.barred import NEVER, Barred
from recsys.datasets import Log, load
from recsys.events import read_events, read_items
from recsys.sections import USUAL_KINDS, Data
from recsys.vocabulary import Vocabulary
from training.archived import nothing_but_the_archive, with_archive
from training.progress import Watcher

DEFAULT_DATASET = "ml-100k"


def read_log(
    data: Data,
    *,
    now: datetime,
    environ: Mapping[str, str],
    watcher: Watcher,
    quarantine: Path | None = None,
    barred: Barred | None = None,
) -> Log:
    """What :func:`read` gives, validated.

    ``quarantine``: where bad rows of the events are written, so that the rest can be learned from; those of the
    items go beside it, named ``….items``. DataRefused with the table of what is wrong otherwise. ``barred``: of whom
    nothing is learned up to a time.
    """
    with watcher.stage("read"):
        log = read(data, environ, watcher)
    with watcher.stage("validate"):
        items = log.items
        if items is not None:
            aside = quarantine and quarantine.with_name(f"{quarantine.stem}.items{quarantine.suffix}")
            items = validation.accept(items, validation.validate_items(items), aside, data.quarantine_share)
        findings = validation.validate_events(log.events, items, now)
        events = validation.accept(log.events, findings, quarantine, data.quarantine_share)
    if barred:
        events = _without(events, barred, watcher)
    return replace(log, events=events, items=items)


def read(data: Data, environ: Mapping[str, str], watcher: Watcher) -> Log:
    """The public data set or the files that ``[data]`` names, with the archive of the log if that is wanted."""
    if data.archive is True:
        raise ValueError("data.archive is true: only settings that were loaded say which folder that is")
    if data.events:
        log = Log(data.events[0].stem, read_events(data), read_items(data), {})
    elif data.archive and data.dataset is None:
        log = nothing_but_the_archive(read_items(data))
    else:
        log = load(data.dataset or DEFAULT_DATASET, environ)
    if data.archive:
        log = with_archive(log, data.archive, watcher)
    return replace(log, kinds={**USUAL_KINDS, **log.kinds, **data.kinds})


def _without(events: pd.DataFrame, barred: Barred, watcher: Watcher) -> pd.DataFrame:
    """The events but those that somebody who was erased did before; without times, all of theirs."""
    codes, users = pd.factorize(events["user_id"])
    until = barred.times(list(users))[codes]
    gone = until != NEVER
    if "time" in events:
        gone &= events["time"].to_numpy() <= until
    if gone.any():
        watcher.note(f"{int(gone.sum()):,} events of users who were erased are left out")
    others: pd.DataFrame = events.loc[~gone]
    return others


def item_ids(log: Log) -> Vocabulary:
    """Every item of the catalogue in its order, then those that only events name."""
    named = [] if log.items is None else log.items["item_id"].tolist()
    return Vocabulary.of(dict.fromkeys([*named, *log.events["item_id"].unique()]))
