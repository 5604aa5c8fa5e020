"""How a log is parted into what is learned from and what is judged by.

To add one: a function here and, if it needs no more than a share and chance, a line in SPLITS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from recsys.arrays import Bool, Int32
from recsys.errors import DataError
from recsys.interactions import Interactions, interactions_of
from recsys.sections import Kind
from recsys.vocabulary import Vocabulary

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Events to learn from and events to be judged by, over the same vocabularies; ``train`` knows nothing of ``test``.

    ``fold_in``: what is known at the test of users that training never saw, to make their vectors from; None where
    ``train`` says all that is known. An item that only ``test`` names stays in it: it is relevant, and a model that
    cannot rank it misses it.
    """

    train: Interactions
    test: Interactions
    description: str
    fold_in: Interactions | None = None

    @property
    def known(self) -> Interactions:
        """Everything that is known when the test begins: what was trained on, and what there is to fold in."""
        return self.train if self.fold_in is None else self.train.joined(self.fold_in)


def split_in_time(data: Interactions, test_share: float) -> Split:
    """One cut for everybody: the newest ``test_share`` of the events are the test.

    Events at the very second of the cut all go to the test, so nothing of its period is learned from.
    DataError for a log without times, or where a side would be empty.
    """
    if not data.timed:
        raise DataError("the log has no times, so it cannot be cut in time: split it at random")
    at = int(len(data) * (1 - test_share))
    cut = int(data.time[at]) if len(data) else 0
    alike = len(data) > 1 and data.time[0] == data.time[-1]
    when = np.datetime_as_string(np.datetime64(cut, "s"))
    return _parted(
        data,
        data.time < cut,
        f"in time: before {when}Z train, from then on test",
        f"with a test share of {test_share:g}",
        "all of them bear the same time" if alike else "give more events",
    )


def split_at_random(data: Interactions, test_share: float, rng: np.random.Generator) -> Split:
    """Every event goes to the test with probability ``test_share``: for a log without times.

    DataError where a side would be empty.
    """
    tried = f"with a test share of {test_share:g}"
    train = rng.random(len(data)) >= test_share
    return _parted(data, train, f"at random: {test_share:.0%} test", tried, "give more events")


def hold_out(data: Interactions, test_share: float, rng: np.random.Generator) -> Split:
    """What a model is measured by where nothing else is said: the newest events, any where the log has no times."""
    return split_in_time(data, test_share) if data.timed else split_at_random(data, test_share, rng)


def split_within_users(data: Interactions, test_share: float, rng: np.random.Generator, *, lean: float = 0.0) -> Split:
    """Of each user's items a share, drawn at random and rounded, is the test; all events of an item stay together.

    ``lean``: an item of n users is drawn with odds of n^lean. Above 0 popular items are the test more often than they
    are learned from, as they are on gowalla, whose published test a validation part drawn evenly does not resemble.
    Somebody with a single item is all train, everybody else keeps one at least. DataError where a side would be empty.
    """
    pairs, at = np.unique(data.user.astype(np.int64) * len(data.items) + data.item, return_inverse=True)
    owner = pairs // max(len(data.items), 1)
    sizes = np.bincount(owner, minlength=len(data.users))
    tested = np.minimum(np.rint(sizes * test_share), np.maximum(sizes - 1, 0)).astype(np.int64)
    # A random order inside each user; the first ones are the test. Gumbel noise on logarithms draws by odds.
    users_of = np.bincount(pairs % max(len(data.items), 1), minlength=len(data.items))
    odds = lean * np.log(users_of[pairs % max(len(data.items), 1)])
    order = np.lexsort((-(odds + rng.gumbel(size=len(pairs))), owner))
    within = np.arange(len(pairs)) - (np.cumsum(sizes) - sizes)[owner]
    test = np.zeros(len(pairs), bool)
    test[order] = within < tested[owner]
    return _parted(
        data,
        ~test[at],
        f"within users: {test_share:.0%} of each one's items test",
        f"with {test_share:.0%} of each user's items for the test",
        "give users with more items",
    )


def split_last_one(data: Interactions, *, validation: bool = False) -> Split:
    """Leave-last-one-out: of each user the last event that teaches, and what came after it, is the test.

    ``validation``: the same again inside the training part, so the last but one is the test and the last is in
    neither side. The order is that of the events: by time, among equal times and in a log without times that of the
    log, which must then mean something. A user with nothing before that event is all train. An item taken again as the
    last is still the last; whoever judges new items only leaves it out. DataError where a side would be empty.
    """
    if validation:
        inner = split_last_one(split_last_one(data).train)
        return replace(inner, description="validation: each user's last but one to the test, the last left out")
    place = np.arange(len(data))
    last = np.full(len(data.users), len(data))
    first = np.full(len(data.users), len(data))
    taught = data.weight > 0
    last[data.user[taught]] = place[taught]  # of repeated indices the last assignment stands
    first[data.user[::-1]] = place[::-1]
    left_out = np.where(first < last, last, len(data))
    description = "leave last one: each user's last event test, what came before train"
    advice = "give users with two events or more"
    return _parted(data, place < left_out[data.user], description, "into each user's last event and the rest", advice)


def split_users(
    data: Interactions, test_share: float, rng: np.random.Generator, *, fold_in_share: float = 0.8
) -> Split:
    """Held-out users: ``train`` has all of the others, ``fold_in`` a share of each one's items, ``test`` the rest.

    Strong generalization as in Liang et al. (2018): items that no training user consumed are dropped from the
    held-out, and each has at least one item on either side. Users are drawn among those with two items or more.
    An item's events stay together. DataError where a side would be empty.
    """
    pairs, at = np.unique(data.user.astype(np.int64) * len(data.items) + data.item, return_inverse=True)
    owner, item = pairs // max(len(data.items), 1), pairs % max(len(data.items), 1)
    able = np.flatnonzero(np.bincount(owner, minlength=len(data.users)) >= 2)
    chosen = np.zeros(len(data.users), bool)
    chosen[_drawn(able, test_share, rng)] = True
    trained = np.bincount(item[~chosen[owner]], minlength=len(data.items)) > 0
    kept = chosen[owner] & trained[item]
    sizes = np.bincount(owner[kept], minlength=len(data.users))
    kept &= sizes[owner] >= 2
    tested = np.clip(np.rint(sizes * (1 - fold_in_share)), 1, np.maximum(sizes - 1, 1)).astype(np.int64)
    # A random order inside each user; the first ones are the test.
    order = np.lexsort((rng.random(len(pairs)), owner, ~kept))[: int(kept.sum())]
    starts = np.cumsum(np.where(sizes >= 2, sizes, 0)) - np.where(sizes >= 2, sizes, 0)
    within = np.arange(len(order)) - starts[owner[order]]
    test = np.zeros(len(pairs), bool)
    test[order] = within < tested[owner[order]]
    held = len(np.unique(owner[test]))
    split = _parted(
        data,
        ~chosen[data.user],
        f"held-out users: {held:,} of {len(np.unique(owner)):,}, {fold_in_share:.0%} of their items to fold in",
        f"by holding out {test_share:.0%} of the {len(able):,} users with two items or more",
        "give more users",
        test=test[at],
    )
    return replace(split, fold_in=data.where((kept & ~test)[at]))


def split_cold_items(data: Interactions, test_share: float, rng: np.random.Generator) -> Split:
    """A share of the items, drawn among those with events, is wholly unseen in training: its events are the test.

    DataError where a side would be empty.
    """
    return _cold(data, data.item, "items", test_share, rng)


def split_cold_users(data: Interactions, test_share: float, rng: np.random.Generator) -> Split:
    """A share of the users, drawn among those with events, is wholly unseen in training: their events are the test.

    DataError where a side would be empty.
    """
    return _cold(data, data.user, "users", test_share, rng)


def split_published(
    train: pd.DataFrame,
    test: pd.DataFrame,
    kinds: Mapping[str, Kind],
    items: Vocabulary | None = None,
    users: Vocabulary | None = None,
) -> Split:
    """The two parts that a data set's authors fixed, over one vocabulary.

    ``kinds``, ``items``, ``users``: as in :func:`recsys.interactions.interactions_of`; None makes a vocabulary of
    those of train, then those that only test names. DataError if a part is empty.
    """
    if not len(train) or not len(test):
        raise DataError(f"the published split has {len(train):,} train and {len(test):,} test events: both need some")
    users, items = (
        given or Vocabulary.of(dict.fromkeys([*train[column].unique(), *test[column].unique()]))
        for given, column in ((users, "user_id"), (items, "item_id"))
    )
    old, new = (interactions_of(part, kinds, items, users) for part in (train, test))
    return Split(old, new, f"as published: {len(train):,} events train, {len(test):,} test")


def k_core(data: Interactions, k: int) -> Interactions:
    """The largest part in which every user has k items or more and every item k users or more, each counted once.

    Its vocabularies hold only who is left, in their order, so that a full ranking ranks no more than them.
    DataError if nobody is.
    """
    pairs = np.unique(data.user.astype(np.int64) * len(data.items) + data.item)
    owner, item = pairs // max(len(data.items), 1), pairs % max(len(data.items), 1)
    while True:
        users = np.bincount(owner, minlength=len(data.users)) >= max(k, 1)
        items = np.bincount(item, minlength=len(data.items)) >= max(k, 1)
        stays = users[owner] & items[item]
        if stays.all():
            break
        owner, item = owner[stays], item[stays]
    if not len(owner):
        raise DataError(f"the {len(data):,} events have no {k}-core: ask for a smaller k, or give more events")
    kept = data.where(users[data.user] & items[data.item])
    return replace(
        kept,
        users=_only(data.users, users),
        items=_only(data.items, items),
        user=_renumbered(kept.user, users),
        item=_renumbered(kept.item, items),
    )


def _only(vocabulary: Vocabulary, kept: Bool) -> Vocabulary:
    return Vocabulary.of(vocabulary.ids(np.flatnonzero(kept).astype(np.int32)))


def _renumbered(rows: Int32, kept: Bool) -> Int32:
    return (np.cumsum(kept) - 1).astype(np.int32)[rows]


def _cold(data: Interactions, rows: Int32, what: str, test_share: float, rng: np.random.Generator) -> Split:
    known = np.unique(rows)
    drawn = _drawn(known, test_share, rng)
    return _parted(
        data,
        ~np.isin(rows, drawn),
        f"cold {what}: {len(drawn):,} of {len(known):,} unseen in training",
        f"by making {test_share:.0%} of {len(known):,} {what} cold",
        f"give more {what}",
    )


def _drawn(rows: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(rows, round(share * len(rows)), replace=False)


def _parted(
    data: Interactions, train: Bool, description: str, tried: str, advice: str, test: Bool | None = None
) -> Split:
    test = ~train if test is None else test
    if not train.any() or not test.any():
        raise DataError(
            f"{len(data):,} events cannot be split {tried}: one side would be empty, "
            f"with {int(train.sum()):,} events to train and {int(test.sum()):,} to test; {advice}"
        )
    return Split(data.where(train), data.where(test), description)


SplitOf = Callable[[Interactions, float, np.random.Generator], Split]
"""Events, the share of them (of their users, of their items) to be judged by, and chance → the split."""

SPLITS: Mapping[str, SplitOf] = MappingProxyType(
    {
        "in-time": lambda data, test_share, _rng: split_in_time(data, test_share),
        "at-random": split_at_random,
        "within-users": split_within_users,
        "last-one": lambda data, _test_share, _rng: split_last_one(data),
        "held-out-users": split_users,
        "cold-items": split_cold_items,
        "cold-users": split_cold_users,
    }
)
