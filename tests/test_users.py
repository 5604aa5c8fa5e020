"""From what is remembered of a user to the query that is asked."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index import load
from recsys.assembly import assemble
from recsys.errors import ReleaseDamaged
from recsys.releases import ReleaseStore
from recsys.retrieval import Query
from recsys.stores import UserState
from recsys.surfaces import Line, Surface
from recsys.users import History
from recsys.vocabulary import keys_of


@pytest.fixture(scope="module")
def engine(settings):
    return assemble(ReleaseStore(settings.releases.folder).current(), load)


@pytest.fixture(scope="module")
def state(engine):
    return engine.users.find(["196"])[0]


def test_a_user_whose_data_are_stripped_step_by_step_goes_down_the_ladder(engine, state, now):
    """Nobody of the release: what is known of them is what the store remembers."""
    nothing, home = np.zeros(0, np.uint64), engine.recommenders["home"]
    (rung,) = home.recommend([Query(now=now)], 20).levels
    assert rung in home.ladder
    steps = [
        (state, "recent"),
        (replace(state, vector=None), "recent"),
        (replace(state, vector=None, recent=nothing, weights=state.weights[:0], times=state.times[:0]), rung),
        (None, rung),
    ]
    for remembered, level in steps:
        query = engine.resolver.known("stranger", remembered, now)
        answer = engine.recommenders["home"].recommend([query], 20)
        assert answer.levels == (level,)
        assert answer.candidates.filled.all()
        if remembered is not None:
            seen = set(engine.items.rows_of_keys(remembered.seen).tolist())
            assert not seen & set(answer.candidates.rows[0].tolist())


def test_what_the_release_was_trained_on_counts_once_whoever_remembers_it(engine, state, now):
    """Its own states, and those of an older program, say nothing that is new."""
    alone = engine.resolver.known("196", None, now)
    for query in (
        engine.resolver.known("196", state, now),
        engine.resolver.learned(int(engine.users.ids.rows(["196"])[0]), now),
    ):
        for name in ("vector", "recent", "weights", "times", "seen", "dismissed", "seed", "level"):
            one, other = (
                np.sort(part) if name == "seen" else part for part in (getattr(query, name), getattr(alone, name))
            )
            assert np.array_equal(one, other), name
    assert alone.level == "personal"
    assert np.array_equal(alone.vector, engine.users.vectors[engine.users.ids.rows(["196"])[0]])


def since(state, items, weights, times):
    """A state of these events, and nothing else."""
    keys = keys_of(items)
    return replace(
        state,
        vector=None,
        recent=keys,
        weights=np.array(weights, np.float32),
        times=np.array(times, np.int64),
        marks=np.arange(1, len(keys) + 1, dtype=np.uint32),
        seen=keys[:0],
        seen_times=state.seen_times[:0],
        dropped=state.dropped[:0],
    )


def test_what_happened_since_is_folded_in_with_all_that_the_release_knows(engine, state, now):
    history = engine.users.history.of_rows(engine.users.ids.rows(["196"]))
    last, new = int(history.times[0]), ["50", "181"]
    assert not set(engine.items.rows(new).tolist()) & set(history.rows.tolist())
    known = engine.items.ids(history.rows[3:4])[0]
    query = engine.resolver.known("196", since(state, [*new, known], [2, 1, 3], [last + 30, last + 20, last + 10]), now)
    rows = np.concatenate([engine.items.rows([*new, known]), np.delete(history.rows, 3)])
    weights = np.concatenate([np.array([2, 1, 3 + history.weights[3]], np.float32), np.delete(history.weights, 3)])
    assert query.seen.tolist() == rows.tolist()
    assert query.recent.tolist() == rows.tolist()[:50]
    assert query.weights.tolist() == weights.tolist()[:50]
    assert query.times.tolist()[:4] == [last + 30, last + 20, last + 10, last]
    wanted = engine.resolver.fold.fold(np.array([0, len(rows)]), rows, weights)[0]
    assert query.vector == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    assert query.level == "personal"


def test_an_event_that_the_release_knows_of_is_not_counted_again_and_a_later_one_is(engine, state, now):
    history = engine.users.history.of_rows(engine.users.ids.rows(["196"]))
    (item,), at = engine.items.ids(history.rows[:1]), int(history.times[0])
    alone = engine.resolver.known("196", None, now)
    again = engine.resolver.known("196", since(state, [item], [5], [at]), now)
    assert np.array_equal(again.vector, alone.vector)
    assert again.weights.tolist() == alone.weights.tolist()
    later = engine.resolver.known("196", since(state, [item, item], [5, 5], [at + 1, at - 1]), now)
    assert later.weights[0] == alone.weights[0] + 5
    assert later.seen.tolist() == alone.seen.tolist()


EVENTS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([-1.0, 0.0, 1.0, 2.5]), st.integers(0, 9)), max_size=6)


@given(st.lists(st.tuples(EVENTS, EVENTS), min_size=1, max_size=5), st.randoms())
def test_histories_go_on_as_a_plain_reading_of_each_says(users, random):
    """Against dictionaries and sorting: item → weight and time, the newest first, what is new first of one second."""
    known = [{row: (max(weight, 0.5), time) for row, weight, time in before} for before, _ in users]
    taken = [sorted(each.items(), key=lambda told: -told[1][1]) for each in known]
    history = History(
        np.cumsum([0, *map(len, taken)]),
        np.array([row for each in taken for row, _ in each], np.int32),
        np.array([weight for each in taken for _, (weight, _) in each], np.float32),
        np.array([time for each in taken for _, (_, time) in each], np.int64),
    )
    events = [(user, *event) for user, (_, since) in enumerate(users) for event in since]
    random.shuffle(events)
    owner, rows, weights, times = (np.array(column) for column in zip(*events, strict=True)) if events else [
        np.zeros(0, np.int64) for _ in range(4)
    ]  # fmt: skip
    found, taught = history.with_events(owner, rows.astype(np.int32), weights.astype(np.float32), times)
    for user, (_, since) in enumerate(users):
        fresh = [event for event in since if event[2] > known[user].get(event[0], (0, -1))[1]]
        moved = {}
        for row, weight, time in fresh:
            worth, last = moved.get(row, known[user].get(row, (0.0, -1)))
            moved[row] = (worth + max(weight, 0), max(last, time))
        stay = [told for told in taken[user] if told[0] not in moved]
        wanted = sorted([*sorted(moved.items()), *stay], key=lambda told: -told[1][1])
        alone = found.of_rows([user])
        columns = zip(alone.rows.tolist(), alone.weights.tolist(), alone.times.tolist(), strict=True)
        assert [(row, (weight, time)) for row, weight, time in columns] == wanted
        assert taught[user] == any(weight > 0 for _, weight, _ in fresh)
    assert found.of_rows([-1]).rows.tolist() == []


def test_a_vector_is_the_same_to_the_bit_whoever_else_is_there(engine):
    history = engine.users.history
    some = np.random.default_rng(0).permutation(len(engine.users.ids))[:40]
    together = engine.resolver.folded(history.of_rows(some))
    for user, vector in zip(some, together, strict=True):
        assert vector.tobytes() == engine.resolver.folded(history.of_rows([user]))[0].tobytes()


@given(st.randoms(use_true_random=False), st.sampled_from(["196", "stranger"]))
def test_who_is_asked_for_alone_has_taken_what_they_have_taken_in_company(engine, random, user):
    taken, _ = engine.resolver.taken([user], [None])
    there = [*engine.items.row_keys[taken.rows].tolist(), *engine.items.row_keys[:9].tolist(), 1, 2]
    keys = np.array([random.choice(there) for _ in range(random.randrange(9))], np.uint64)
    times = np.array([random.choice([0, *taken.times.tolist(), 2**40]) for _ in keys], np.int64)
    weights = np.array([random.choice([-1, 0, 1, 3]) for _ in keys], np.float32)
    state = UserState(user, None, keys, weights, times, keys[:0])
    alone, taught = engine.resolver.taken([user], [state])
    together, others = engine.resolver.taken([user, "405"], [state, None])
    assert taught[0] == others[0]
    for name in ("rows", "weights", "times"):
        assert np.array_equal(getattr(alone, name), getattr(together, name)[: together.indptr[1]])


def test_a_vector_that_was_folded_before_is_taken_and_one_of_another_width_is_not(engine, state, now):
    new = since(state, ["50"], [1], [2_000_000_000])
    folded = engine.resolver.known("196", new, now).vector
    given = np.ones(len(folded), np.float32)
    assert engine.resolver.known("196", replace(new, vector=given), now).vector is given
    assert np.array_equal(engine.resolver.known("196", replace(new, vector=given[:3]), now).vector, folded)


def test_what_is_dismissed_is_on_no_surface_not_even_one_that_shows_what_was_seen(engine, state, now):
    again = replace(engine, recommenders={}).over({"again": Surface(sources=(Line(name="nearest", index="items"),))})
    best = again.recommenders["again"].recommend([engine.resolver.known("196", None, now)], 3)
    (first,) = engine.items.ids(best.candidates.rows[0][:1])
    for weight, there in ((0, True), (-1, False)):
        query = engine.resolver.known("196", since(state, [first], [weight], [2_000_000_000]), now)
        found = again.recommenders["again"].recommend([query], 20).candidates.rows[0]
        assert (int(best.candidates.rows[0][0]) in found.tolist()) == there
        assert set(engine.items.rows([first]).tolist()) <= set(query.seen.tolist())


def test_what_was_shown_is_counted_and_what_nobody_counts_is_not(engine, state, now):
    assert engine.resolver.known("196", state, now).shown is None
    put = replace(state, shown=keys_of(["50", "no such item", "50"]), shown_times=np.array([3, 2, 1]),
                  shown_marks=np.array([1, 1, 2], np.uint32))  # fmt: skip
    query = engine.resolver.known("196", put, now)
    assert query.shown.tolist() == engine.items.rows(["50", "50"]).tolist()
    assert query.shown_times.tolist() == [3, 1]


def test_what_was_seen_before_the_newest_events_is_seen_too(engine, state, now):
    before = replace(since(state, ["50"], [1], [2_000_000_000]), seen=keys_of(["181", "no such item"]),
                     seen_times=np.array([5, 6]), dropped=np.array([True, False]))  # fmt: skip
    query = engine.resolver.known("stranger", before, now)
    assert sorted(query.seen.tolist()) == sorted(engine.items.rows(["50", "181"]).tolist())
    assert query.dismissed.tolist() == engine.items.rows(["181"]).tolist()


def test_items_that_the_release_does_not_know_count_for_nothing(engine, state, now):
    stranger = np.array([1], np.uint64)
    more = replace(
        state,
        vector=None,
        recent=np.concatenate([stranger, state.recent]),
        weights=np.append(np.float32(9), state.weights),
        times=np.append(2_000_000_000, state.times),
        marks=np.append(np.uint32(1), state.marks),
        seen=np.concatenate([stranger, state.seen]),
        seen_times=np.append(0, state.seen_times),
        dropped=np.append(False, state.dropped),
    )
    one, other = (engine.resolver.known("stranger", s, now) for s in (more, replace(state, vector=None)))
    assert np.array_equal(one.vector, other.vector)
    assert sorted(one.seen) == sorted(other.seen)


def test_states_keep_the_newest_items_and_everything_seen(engine, state):
    history = engine.users.history
    row = engine.users.ids.rows(["405"])[0]
    (busy,) = engine.users.find(["405"])
    assert len(busy.recent) == engine.card.recent_items == 50
    assert len(busy.seen) == history.indptr[row + 1] - history.indptr[row] == 737
    assert (np.diff(busy.times) <= 0).all()
    assert engine.users.find(["nobody", "196"])[0] is None
    assert engine.users.find(["nobody", "196"])[1].user == "196"


def test_a_release_of_another_shape_is_refused_by_its_key(settings, tmp_path):
    release = ReleaseStore(settings.releases.folder).current()
    copy = replace(release, folder=tmp_path / release.id)
    shutil.copytree(release.folder, copy.folder)
    (copy.folder / "model.json").write_text('{"recent_items": 50}')
    with pytest.raises(ReleaseDamaged, match=r"(?s)ModelCard: .*fold: Field required"):
        assemble(copy, load)
