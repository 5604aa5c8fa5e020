"""The laws of what is remembered of users: any order, any duplication, any grouping gives the same bytes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys import activity
from recsys.activity import LINKS, Limits, nothing, same
from recsys.stores import codec
from recsys.testing.stores import user_state, user_states

LIMITS = Limits(recent=4, seen=6, shown=3)
# Few different values, so that items, marks and times meet in every way.
EVENTS = st.tuples(st.integers(1, 5), st.integers(0, 6), st.sampled_from([-1.0, 0.0, 1.0, 2.5]), st.integers(0, 7))
SHOWN = st.tuples(st.integers(1, 5), st.integers(0, 6), st.integers(0, 3))


def joined(states, limits):
    """What one user's states are together."""
    return activity.joined([states], limits)[0]


def state(events=(), shown=(), into=()):
    keys, times, weights, marks = zip(*events, strict=True) if events else ((),) * 4
    put, put_times, put_marks = zip(*shown, strict=True) if shown else ((),) * 3
    return replace(
        nothing("u"),
        recent=np.array(keys, np.uint64),
        times=np.array(times, np.int64),
        weights=np.array(weights, np.float32),
        marks=np.array(marks, np.uint32),
        shown=np.array(put, np.uint64),
        shown_times=np.array(put_times, np.int64),
        shown_marks=np.array(put_marks, np.uint32),
        into=into,
    )


PARTS = st.builds(
    state,
    st.lists(EVENTS, max_size=4),
    st.lists(SHOWN, max_size=3),
    st.lists(st.sampled_from("abc"), max_size=1).map(tuple),
)


def stored(state):
    """As bytes and back, as between two batches."""
    written = codec.written(state)
    return written, codec.decode(state.user, written.state, None, None, written.shown or None)


@given(st.lists(PARTS, max_size=8), st.data())
def test_any_order_any_duplication_and_any_batches_give_the_same_bytes(parts, data):
    at_once, _ = stored(joined([nothing("u"), *parts], LIMITS))
    again = data.draw(
        st.permutations([*parts, *(data.draw(st.lists(st.sampled_from(parts), max_size=4)) if parts else [])])
    )
    found = nothing("u")
    while again:
        size = data.draw(st.integers(1, len(again)))
        _, found = stored(joined([found, *again[:size]], LIMITS))
        again = again[size:]
    assert codec.written(joined([found], LIMITS)) == at_once


@given(st.lists(PARTS, min_size=3, max_size=3))
def test_joining_is_associative_and_idempotent(parts):
    a, b, c = parts

    def of(*states):
        return joined([nothing("u"), *states], LIMITS)

    left, right = of(of(a, b), c), of(a, of(b, c))
    assert codec.written(left) == codec.written(right)
    assert same(of(left, left, a), left)


@given(st.lists(st.lists(PARTS, max_size=4), max_size=5), st.data())
def test_a_batch_of_users_is_its_users_one_by_one(groups, data):
    groups = [[nothing(f"u{n}"), *group] for n, group in enumerate(groups)]
    alone = [joined(group, LIMITS) for group in groups]
    assert list(map(codec.written, activity.joined(groups, LIMITS))) == list(map(codec.written, alone))
    # And so it is where what came from here is joined with more.
    again = [[found, *data.draw(st.lists(PARTS, max_size=2))] for found in alone]
    assert list(map(codec.written, activity.joined(again, LIMITS))) == [
        codec.written(joined(group, LIMITS)) for group in again
    ]


@given(user_states())
def test_any_state_can_be_joined_and_a_joined_one_stays_as_it_is(any_state):
    once = joined([nothing(any_state.user), any_state], LIMITS)
    assert codec.written(joined([once, any_state], LIMITS)) == codec.written(once)


@given(st.lists(EVENTS, max_size=30))
def test_it_keeps_what_a_plain_reading_keeps(events):
    """Against dictionaries and sorting: the newest version of each event, the newest events, the last of each item."""
    versions = {}
    for key, time, weight, mark in events:
        version = (time, weight < 0, mark, key, weight)
        versions[key, mark] = max(versions.get((key, mark), version), version)
    best = sorted(versions.values(), reverse=True)
    last = {}
    for time, drops, _, key, _ in best:
        last[key] = max(last.get(key, (time, drops)), (time, drops))
    found = joined([state(events)], LIMITS)
    assert [(t, w < 0, m, k, w) for t, m, k, w in zip(
        found.times.tolist(), found.marks.tolist(), found.recent.tolist(), found.weights.tolist(), strict=True
    )] == best[: LIMITS.recent]  # fmt: skip
    recent = set(found.recent.tolist())
    items = sorted(((*told, key) for key, told in last.items()), reverse=True)[: LIMITS.seen]
    assert list(zip(found.seen_times.tolist(), found.dropped.tolist(), found.seen.tolist(), strict=True)) == [
        item for item in items if item[2] not in recent
    ]
    assert set(found.dismissed.tolist()) == {key for _, drops, key in items if drops}


def test_an_event_that_comes_again_with_another_time_counts_once():
    """Whoever sends one without a time may have to send it again."""
    found = joined([state([(1, 100, 1.0, 7)]), state([(1, 105, 1.0, 7)])], LIMITS)
    assert (found.times.tolist(), found.recent.tolist()) == ([105], [1])


def test_a_dismissed_item_is_back_after_a_later_event_of_another_kind():
    dismissed = state([(1, 100, -1.0, 7), (2, 50, 1.0, 8)])
    assert joined([dismissed], LIMITS).dismissed.tolist() == [1]
    assert joined([dismissed, state([(1, 100, 1.0, 9)])], LIMITS).dismissed.tolist() == [1]
    assert joined([dismissed, state([(1, 101, 0.0, 3)])], LIMITS).dismissed.tolist() == []


def test_a_dismissal_outlives_the_newest_events():
    many = state([(n, 100 + n, 1.0, n) for n in range(2, 6)])
    found = joined([state([(1, 50, -1.0, 7)]), many], LIMITS)
    assert (found.seen.tolist(), found.dismissed.tolist()) == ([1], [1])


def test_a_million_events_leave_a_state_of_the_usual_size():
    rng = np.random.default_rng(0)
    n = 1_000_000
    events = replace(
        nothing("u"),
        recent=rng.integers(0, 2**63, n, np.uint64),
        times=rng.integers(0, 2_000_000_000, n),
        weights=np.ones(n, np.float32),
        marks=rng.integers(1, 2**32, n, np.uint32),
        shown=rng.integers(0, 2**63, n, np.uint64),
        shown_times=rng.integers(0, 2_000_000_000, n),
        shown_marks=rng.integers(1, 2**32, n, np.uint32),
    )
    found = joined([events], Limits(50, 5000, 100))
    assert (len(found.recent), len(found.seen), len(found.shown)) == (50, 4950, 100)
    assert len(codec.encode_state(found)) < 62_000


def test_what_version_1_kept_is_kept():
    old = replace(user_state("u", 3, 5), marks=np.zeros(3, np.uint32), seen_times=np.zeros(5, np.int64))
    found = joined([old, state([(1, 2_000_000_001, 1.0, 7)])], Limits(50, 5000, 100))
    assert found.recent[0] == 1
    assert set(old.recent.tolist()) | set(old.seen.tolist()) == set(found.recent[1:].tolist()) | set(
        found.seen.tolist()
    )


def test_links_are_bounded():
    found = joined([state(into=(f"{n:02}",)) for n in range(LINKS + 5)], LIMITS)
    assert found.into == tuple(f"{n:02}" for n in range(LINKS))


def test_interests_are_those_of_the_first():
    assert joined([replace(state(), interests=("x",)), user_state("other")], LIMITS).interests == ("x",)
    assert joined([replace(state(), interests=("x",)), user_state("other")], LIMITS).user == "u"


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_joined_is_nothing(count):
    assert same(joined([nothing("u")] * (count + 1), LIMITS), nothing("u"))
