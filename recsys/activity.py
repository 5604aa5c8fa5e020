"""What is remembered of a user as a set that only grows: joining is a union, so that twice is as once and in any order.

Of a user's events the newest are kept one by one, an event being its item, its id's hash and its time; of items whose
events are all older, the last one; of impressions the newest. Each is the best of a set under an order in which no two
differ and are equal, and the best of a union are the best of the unions of the best: a join-semilattice. Replays,
duplicates, late ones and several workers therefore need no window and no coordination.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Bool, Float32, Int64, UInt32, UInt64
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


def joined(states: Sequence[UserState], limits: Limits) -> UserState:
    """All that several states know as the state of the first one's user, cut to the limits.

    The first is nothing or came from here; columns of the others may be in any order, and go newest first. The vector
    is nobody's, the interests are the first one's.
    Laws: the order of all but the first does not matter, nor how they are grouped, nor how often each is there.
    """
    keys, times, weights, marks = (_all(states, name) for name in ("recent", "times", "weights", "marks"))
    order = _newest_first(keys, times, weights, marks)
    order = order[_first_of_each(keys[order], marks[order])]
    kept, cut = order[: limits.recent], order[limits.recent :]
    seen, seen_times, dropped = (_all(states, name) for name in ("seen", "seen_times", "dropped"))
    if len(seen) or len(cut):
        seen, seen_times, dropped = _seen(
            np.concatenate([seen, keys[cut]]),
            np.concatenate([seen_times, times[cut]]),
            np.concatenate([dropped, weights[cut] < 0]),
            keys[kept],
            limits.seen,
        )
    shown, shown_times, shown_marks = (_all(states, name) for name in ("shown", "shown_times", "shown_marks"))
    if len(shown) > limits.shown or any(len(state.shown) for state in states[1:]):
        shown, shown_times, shown_marks = _shown(shown, shown_times, shown_marks, limits.shown)
    return UserState(
        user=states[0].user,
        vector=None,
        recent=keys[kept],
        weights=weights[kept],
        times=times[kept],
        seen=seen,
        interests=states[0].interests,
        marks=marks[kept],
        seen_times=seen_times,
        dropped=dropped,
        shown=shown,
        shown_times=shown_times,
        shown_marks=shown_marks,
        into=_links(state.into for state in states),
        absorbed=_links(state.absorbed for state in states),
    )


def same(one: UserState, other: UserState) -> bool:
    """Whether two states know the same, vectors and interests aside."""
    return same_deeds(one, other) and (one is other or _equal(one, other, "shown", "shown_times", "shown_marks"))


def same_deeds(one: UserState, other: UserState) -> bool:
    """Whether two states know the same of what users did, whatever was put before them."""
    return one is other or (
        (one.into, one.absorbed) == (other.into, other.absorbed)
        and _equal(one, other, "recent", "weights", "times", "marks", "seen", "seen_times", "dropped")
    )


def _equal(one: UserState, other: UserState, *names: str) -> bool:
    pairs = ((getattr(one, name), getattr(other, name)) for name in names)
    return all(
        left is right or (len(left) == len(right) and left.tobytes() == right.tobytes()) for left, right in pairs
    )


def _all(states: Sequence[UserState], name: str) -> np.ndarray:
    parts = [part for state in states if len(part := getattr(state, name))]
    return np.concatenate(parts) if len(parts) > 1 else parts[0] if parts else np.asarray(getattr(states[0], name))


def _newest_first(keys: UInt64, times: Int64, weights: Float32, marks: UInt32) -> Int64:
    # Of one second a dismissal is the last word. No two events are equal unless they are the same in every respect.
    order: Int64 = np.lexsort((weights, keys, marks, weights < 0, times))[::-1]
    return order


def _first_of_each(keys: UInt64, marks: UInt32) -> Bool:
    """Where a pair of key and mark comes for the first time: an event that comes twice is its newest version."""
    order = np.lexsort((marks, keys))
    again = (keys[order][1:] == keys[order][:-1]) & (marks[order][1:] == marks[order][:-1])
    first = np.ones(len(keys), bool)
    first[order[1:]] = ~again
    return first


def _seen(keys: UInt64, times: Int64, dropped: Bool, recent: UInt64, most: int) -> tuple[UInt64, Int64, Bool]:
    """The last event of each item, newest first, without those of recent items, but counted with these."""
    order = np.lexsort((dropped, times, keys))
    last = np.append(keys[order][1:] != keys[order][:-1], True)
    order = order[last]
    distinct = set(recent.tolist())
    order = order[[key not in distinct for key in keys[order].tolist()]]
    # Recent items are newer than all others, so they take the first places of what is kept.
    order = order[np.lexsort((keys[order], dropped[order], times[order]))[::-1]][: max(most - len(distinct), 0)]
    return keys[order], times[order], dropped[order]


def _shown(keys: UInt64, times: Int64, marks: UInt32, most: int) -> tuple[UInt64, Int64, UInt32]:
    order = np.lexsort((keys, marks, times))[::-1]
    order = order[_first_of_each(keys[order], marks[order])][:most]
    return keys[order], times[order], marks[order]


def _links(linked: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({id_ for ids in linked for id_ in ids})[:LINKS])
