"""How each public data set is split when models are compared on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from recsys.datasets import Log
from recsys.errors import DataError
from recsys.interactions import interactions_of
from recsys.splits import Split, split_at_random, split_in_time, split_last_one, split_published

SHARE = 0.2
"""The part that is tested where the authors fix none."""
SEED = 0


def split_of(log: Log) -> Split:
    """The split of a data set: its own protocol, else in time, else at random with a fixed seed."""
    return PROTOCOLS.get(log.name, _usual)(log)


def _published(log: Log) -> Split:
    if log.test is None:
        raise DataError(f"data set {log.name!r} comes without a published test part, which its protocol asks for")
    return split_published(log.events, log.test, log.kinds)


def _sessions(log: Log) -> Split:
    """Sessions that training never saw: the last click is the test, those before it are folded in."""
    whole = _published(log)
    parted = split_last_one(whole.test)
    return replace(
        parted, train=whole.train, fold_in=parted.train, description=f"{whole.description}; of each session the last"
    )


def _in_time(log: Log) -> Split:
    return split_in_time(interactions_of(log.events, log.kinds), SHARE)


def _at_random(log: Log) -> Split:
    return split_at_random(interactions_of(log.events, log.kinds), SHARE, np.random.default_rng(SEED))


def _last_one(log: Log) -> Split:
    return split_last_one(interactions_of(log.events, log.kinds))


def _usual(log: Log) -> Split:
    return _in_time(log) if "time" in log.events.columns else _at_random(log)


PROTOCOLS: Mapping[str, Callable[[Log], Split]] = MappingProxyType(
    {
        "gowalla": _published,
        "amazon-cds": _published,
        "diginetica": _sessions,
        "s3rec-beauty": _last_one,
        "citeulike-a": _at_random,
        "lastfm-2k": _at_random,
        "ml-100k": _in_time,
    }
)
"""Data set → its split. As `recsys train` does it for ml-100k."""
