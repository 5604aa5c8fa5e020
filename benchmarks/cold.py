"""How a data set is parted to see what content is worth: items that nobody took yet, beside items that somebody did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pandas as pd
import pyarrow as pa

from recsys.arrays import Bool, Int64
from recsys.catalogue import Catalogue
from recsys.datasets import Log
from recsys.datasets.ragged import lists
from recsys.errors import DataError, SettingsError, unknown_choice
from recsys.interactions import Interactions, interactions_of
from recsys.splits import split_at_random, split_cold_items
from recsys.vocabulary import Vocabulary

TEST, VALIDATION = 0.15, 0.05
"""Shares of the items that are made cold where the authors fix none."""
WARM = 0.1
"""The share of the other items' events that is held out."""
PLAYLISTS = 0.2
"""The share of the playlists that are held out for the test, and as many again for validation."""
SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What is learned from and what is judged.

    ``train``: what is learned from. ``fold_in``: what is known beside it, of users whom nobody learned from; None where
    there is none. ``cold``, ``warm``: what is judged, of items that ``train`` does not have and of those that it has.
    ``judged``: bool (n,), the cold items that are judged. ``catalogue``: of all n items.
    """

    dataset: str
    train: Interactions
    fold_in: Interactions | None
    cold: Interactions
    warm: Interactions
    judged: Bool
    catalogue: Catalogue
    description: str

    @property
    def takers(self) -> Int64:
        """How many users took each item in ``train``, int64 (n,)."""
        return np.bincount(self.train.seen().indices, minlength=len(self.train.items)).astype(np.int64)


def parts_of(log: Log, *, validation: bool = False) -> Parts:
    """The parts of a data set. ``validation``: those that settings are chosen by.

    SettingsError for a data set of whose items nothing is said.
    """
    if log.name not in PARTED:
        raise SettingsError(unknown_choice("data set with content", log.name, PARTED))
    return PARTED[log.name](log, validation)


def _heater(log: Log, validation: bool) -> Parts:
    if log.test is None:
        raise DataError(f"data set {log.name!r} comes without its published cold items")
    items = _known_items(_catalogue_of(log))
    users = Vocabulary.of(pd.concat([log.events, log.test])["user_id"].unique())
    chosen = log.test[log.test["part"] == ("vali" if validation else "test")]
    train, cold = (interactions_of(events, log.kinds, items, users) for events in (log.events, chosen))
    return _parted(log, train, cold, "as published with Heater")


def _drawn(log: Log, validation: bool, *columns: str) -> Parts:
    """Cold items drawn among those of which something stands in ``columns``; others are left out, with their events."""
    frame = _catalogue_of(log)
    told = np.any([[_says(cell) for cell in frame[column].tolist()] for column in columns], axis=0)
    frame = frame[told].reset_index(drop=True)
    events = log.events[log.events["item_id"].isin(frame["item_id"])]
    data = interactions_of(events, log.kinds, _known_items(frame))
    rng = np.random.default_rng(SEED)
    test = split_cold_items(data, TEST, rng)
    rest = split_cold_items(test.train, VALIDATION, rng)
    return _parted(replace(log, items=frame), rest.train, rest.test if validation else test.test, "drawn")


def _playlists(log: Log, validation: bool) -> Parts:
    """Playlists that nobody learned from, half of each known; songs that no other playlist has are cold."""
    frame = _catalogue_of(log)
    data = interactions_of(log.events, log.kinds, _known_items(frame))
    rng = np.random.default_rng(SEED)
    playlists = rng.permutation(len(data.users))
    test, vali = np.split(playlists[: round(2 * PLAYLISTS * len(playlists))], 2)
    train = data.where(~np.isin(data.user, [*test, *vali]))
    own = data.where(np.isin(data.user, vali if validation else test))
    given = rng.random(len(own)) < 0.5
    hidden = own.where(~given)
    taken = _mask(train)
    return Parts(
        dataset=log.name,
        train=train,
        fold_in=own.where(given),
        cold=hidden.where(~taken[hidden.item]),
        warm=hidden.where(taken[hidden.item]),
        judged=_mask(own) & ~taken,
        catalogue=Catalogue.of(frame, data.items),
        description=f"{len(test):,} of {len(data.users):,} playlists held out, half of each known",
    )


def _parted(log: Log, known: Interactions, cold: Interactions, how: str) -> Parts:
    split = split_at_random(known, WARM, np.random.default_rng(SEED))
    judged = _mask(cold)
    return Parts(
        dataset=log.name,
        train=split.train,
        fold_in=None,
        cold=cold,
        warm=split.test.where(_mask(split.train)[split.test.item]),
        judged=judged,
        catalogue=Catalogue.of(_catalogue_of(log), known.items),
        description=f"{int(judged.sum()):,} cold items {how}; of the others' events {WARM:.0%} held out",
    )


def _says(cell: object) -> bool:
    return isinstance(cell, str | list) and len(cell) > 0


def _mask(data: Interactions) -> Bool:
    """The items that occur, bool (n,)."""
    there = np.zeros(len(data.items), bool)
    there[data.item] = True
    return there


def _known_items(frame: pd.DataFrame) -> Vocabulary:
    """In random order: ties go by row, and in many a catalogue the first ones are the popular ones."""
    order = np.random.default_rng(SEED).permutation(len(frame))
    return Vocabulary.of(frame["item_id"].iloc[order].tolist())


def _catalogue_of(log: Log) -> pd.DataFrame:
    """The catalogue; with ``linked_tags``, the tags of the articles that an article is linked with, where it is."""
    if log.items is None:
        raise DataError(f"data set {log.name!r} comes without a catalogue")
    if "citations" not in log.items:
        return log.items
    tags = dict(zip(log.items["item_id"], log.items["tags"].tolist(), strict=True))
    linked = [[tag for other in others for tag in tags[other]] for others in log.items["citations"].tolist()]
    return log.items.assign(linked_tags=lists(pa.array(linked, pa.list_(pa.string()))))


PARTED: Mapping[str, Callable[[Log, bool], Parts]] = MappingProxyType(
    {
        "citeulike-a": _heater,
        "citeulike-t": lambda log, validation: _drawn(log, validation, "text", "tags"),
        "ml-latest-small": lambda log, validation: _drawn(log, validation, "text"),
        "lastfm-2k": lambda log, validation: _drawn(log, validation, "tags"),
        "spotify-songs": _playlists,
    }
)
"""Data set → its parts."""
