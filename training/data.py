"""The log that a run learns from: read, validated, and nothing dropped in silence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from recsys import validation
from recsys.datasets import Log, load
from recsys.events import read_events, read_items
from recsys.settings import USUAL_KINDS, Data
from recsys.vocabulary import Vocabulary
from training.progress import Watcher

DEFAULT_DATASET = "ml-100k"


def read_log(
    data: Data, *, now: datetime, environ: Mapping[str, str], watcher: Watcher, quarantine: Path | None = None
) -> Log:
    """The public data set or the files that ``[data]`` names, validated.

    ``quarantine``: where bad rows of the events are written, so that the rest can be learned from; those of the
    items go beside it, named ``….items``. DataRefused with the table of what is wrong otherwise.
    """
    with watcher.stage("read"):
        if data.events:
            log = Log(data.events[0].stem, read_events(data), read_items(data), {})
        else:
            log = load(data.dataset or DEFAULT_DATASET, environ)
        log = replace(log, kinds={**USUAL_KINDS, **log.kinds, **data.kinds})
    with watcher.stage("validate"):
        items = log.items
        if items is not None:
            aside = quarantine and quarantine.with_name(f"{quarantine.stem}.items{quarantine.suffix}")
            items = validation.accept(items, validation.validate_items(items), aside, data.quarantine_share)
        findings = validation.validate_events(log.events, items, now)
        events = validation.accept(log.events, findings, quarantine, data.quarantine_share)
    return replace(log, events=events, items=items)


def item_ids(log: Log) -> Vocabulary:
    """Every item of the catalogue in its order, then those that only events name."""
    named = [] if log.items is None else log.items["item_id"].tolist()
    return Vocabulary.of(dict.fromkeys([*named, *log.events["item_id"].unique()]))
