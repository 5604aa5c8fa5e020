"""What is remembered of a user as a set that only grows: joining is a union, so that twice is as once and in any order.

Of a user's events the newest are kept one by one, an event being its item, its id's hash and its time; of items whose
events are all older, the last one; of impressions the newest. Each is the best of a set under an order in which no two
differ and are equal, and the best of a union are the best of the unions of the best: a join-semilattice. Replays,
duplicates, late ones and several workers therefore need no window and no coordination.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from recsys.arrays import Bool, Int64, UInt32, UInt64
from recsys.stores import UserState

LINKS = 16
"""Ids that one id may be linked with, each way."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept of a user: events one by one, items that were seen at all, impressions."""

    recent: int
    seen: int
    shown: int


def nothing(user: str) -> UserState:
    """A user of whom nothing is known."""
    keys, weights, times = np.zeros(0, np.uint64), np.zeros(0, np.float32), np.zeros(0, np.int64)
    return UserState(user, None, keys, weights, times, keys)


def joined(groups: Sequence[Sequence[UserState]], limits: Limits) -> list[UserState]:
    """All that the states of each group know, as the state of the group's first one's user, cut to the limits.

    The first is nothing or came from here; columns of the others may be in any order, and go newest first. The vector
    is nobody's, the interests are the first one's.
    Laws: the order of all but the first does not matter, nor how they are grouped, nor how often each is there.
    """
    if not groups:
        return []
    whose, keys, times, weights, marks = _columns(groups, "recent", "times", "weights", "marks")
    # Of one second a dismissal is the last word. No two events are equal unless they are the same in every respect.
    order = _newest_first(whose, times, weights < 0, marks, keys, weights)
    order = order[_first_of_each(whose[order], keys[order], marks[order])]
    first = _places(whose[order]) < limits.recent
    kept, cut = order[first], order[~first]
    told = (whose[cut], keys[cut], times[cut], weights[cut] < 0)
    before = zip(_columns(groups, "seen", "seen_times", "dropped"), told, strict=True)
    seen = _seen([np.concatenate(pair) for pair in before], whose[kept], keys[kept], limits.seen)
    recents = _divided(len(groups), whose[kept], keys[kept], weights[kept], times[kept], marks[kept])
    return [
        UserState(
            user=group[0].user,
            vector=None,
            recent=recent[0],
            weights=recent[1],
            times=recent[2],
            seen=old[0],
            interests=group[0].interests,
            marks=recent[3],
            seen_times=old[1],
            dropped=old[2],
            shown=put[0],
            shown_times=put[1],
            shown_marks=put[2],
            into=_links(id_ for state in group for id_ in state.into),
            absorbed=_links(id_ for state in group for id_ in state.absorbed),
        )
        for group, recent, old, put in zip(
            groups, recents, _divided(len(groups), *seen), _shown(groups, limits.shown), strict=True
        )
    ]


def same(one: UserState, other: UserState) -> bool:
    """Whether two states know the same, vectors and interests aside."""
    return same_deeds(one, other) and same_shown(one, other)


def same_deeds(one: UserState, other: UserState) -> bool:
    """Whether two states know the same of what users did, whatever was put before them."""
    return one is other or (
        (one.into, one.absorbed) == (other.into, other.absorbed)
        and _equal(one, other, "recent", "weights", "times", "marks", "seen", "seen_times", "dropped")
    )


def same_shown(one: UserState, other: UserState) -> bool:
    """Whether the same was put before two users."""
    return one is other or _equal(one, other, "shown", "shown_times", "shown_marks")


def _equal(one: UserState, other: UserState, *names: str) -> bool:
    pairs = ((getattr(one, name), getattr(other, name)) for name in names)
    return all(
        left is right or (len(left) == len(right) and left.tobytes() == right.tobytes()) for left, right in pairs
    )


def _columns(groups: Sequence[Sequence[UserState]], *names: str) -> list[np.ndarray]:
    """The group of each entry, and columns of all states, one state after the other."""
    states = [state for group in groups for state in group]
    whose = np.arange(len(groups)).repeat([len(group) for group in groups])
    columns = [np.concatenate([getattr(state, name) for state in states]) for name in names]
    return [whose.repeat([len(getattr(state, names[0])) for state in states]), *columns]


def _divided(groups: int, whose: Int64, *columns: np.ndarray) -> list[list[np.ndarray]]:
    """The columns of each group, whose entries come one after the other."""
    bounds = whose.searchsorted(np.arange(groups + 1)).tolist()
    return [[column[start:end] for column in columns] for start, end in pairwise(bounds)]


def _places(whose: Int64) -> Int64:
    """The place of each entry in its group, whose entries come one after the other."""
    places: Int64 = np.arange(len(whose)) - whose.searchsorted(whose)
    return places


def _newest_first(whose: Int64, times: Int64, *ties: np.ndarray) -> Int64:
    """The order by group, in it by time and, within a second, by ``ties``; but for the groups the largest first."""
    order: Int64 = np.lexsort((times, -whose))[::-1]
    if ((whose[order][1:] == whose[order][:-1]) & (times[order][1:] == times[order][:-1])).any():
        order = np.lexsort((*ties[::-1], times, -whose))[::-1]
    return order


def _first_of_each(whose: Int64, keys: UInt64, marks: UInt32) -> Bool:
    """Where a pair of key and mark comes for the first time: an event that comes twice is its newest version."""
    first = np.ones(len(keys), bool)
    # What is told twice gives the same number twice; that is seldom so, and found in a tenth of the time.
    numbers = np.sort(keys ^ whose.astype(np.uint64) << np.uint64(32) ^ marks)
    if (numbers[1:] == numbers[:-1]).any():
        order = np.lexsort((marks, keys, whose))
        first[order[1:]] = _differs(whose[order], keys[order], marks[order])
    return first


def _differs(*columns: np.ndarray) -> Bool:
    """Whether entries but the first differ from the one before."""
    differs: Bool = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return differs


def _seen(events: list[np.ndarray], owner: Int64, recent: UInt64, most: int) -> list[np.ndarray]:
    """The last event of each item, newest first, without those of recent items, but counted with these.

    ``events``: group, item, time and whether it dismisses. ``owner`` and ``recent``: groups and items of recent events.
    """
    whose, keys, times, dropped = events
    if not len(whose):
        return events
    new = np.append(np.zeros(len(whose), bool), np.ones(len(owner), bool))
    whose, keys = np.append(whose, owner), np.append(keys, recent)
    times, dropped = np.append(times, np.zeros(len(owner), np.int64)), np.append(dropped, new[len(dropped) :])
    order = np.lexsort((dropped, times, new, keys, whose))
    order = order[np.append(_differs(whose[order], keys[order]), True)]
    # Recent items are newer than all others, so they take the first places of what is kept.
    room = most - np.bincount(whose[order][new[order]], minlength=int(whose.max()) + 1)
    order = order[~new[order]]
    whose, keys, times, dropped = whose[order], keys[order], times[order], dropped[order]
    order = _newest_first(whose, times, dropped, keys)
    order = order[_places(whose[order]) < room[whose[order]]]
    return [whose[order], keys[order], times[order], dropped[order]]


def _shown(groups: Sequence[Sequence[UserState]], most: int) -> list[Sequence[np.ndarray]]:
    """Items, times and marks of what was put before each, newest first."""
    found: list[Sequence[np.ndarray]] = [
        (group[0].shown[:most], group[0].shown_times[:most], group[0].shown_marks[:most]) for group in groups
    ]
    told = [place for place, group in enumerate(groups) if any(len(state.shown) for state in group[1:])]
    if told:
        whose, keys, times, marks = _columns([groups[place] for place in told], "shown", "shown_times", "shown_marks")
        order = _newest_first(whose, times, marks, keys)
        order = order[_first_of_each(whose[order], keys[order], marks[order])]
        order = order[_places(whose[order]) < most]
        divided = _divided(len(told), whose[order], keys[order], times[order], marks[order])
        for place, columns in zip(told, divided, strict=True):
            found[place] = columns
    return found


def _links(linked: Iterable[str]) -> tuple[str, ...]:
    ids = set(linked)
    return tuple(sorted(ids)[:LINKS]) if ids else ()
