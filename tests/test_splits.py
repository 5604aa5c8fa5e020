"""Nothing of the test reaches training, and each split keeps its own law."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.datasets import load
from recsys.errors import DataError
from recsys.interactions import interactions_of
from recsys.metrics import Judged, hits_of, ndcg, recall
from recsys.sections import Kind
from recsys.splits import (
    SPLITS,
    k_core,
    split_at_random,
    split_cold_items,
    split_in_time,
    split_last_one,
    split_published,
    split_users,
    split_within_users,
)

KINDS = {"play": Kind(), "skip": Kind(weight=0)}
COLUMNS = ("user_id", "item_id", "kind", "value", "time")
LOGS = st.lists(
    st.tuples(
        st.integers(0, 6), st.integers(0, 7), st.sampled_from(["play", "play", "play", "skip"]), st.integers(0, 30)
    ),
    min_size=1,
    max_size=60,
)
SEEDS = st.integers(0, 2**32 - 1)


def frame(rows, columns=COLUMNS):
    return pd.DataFrame(rows, columns=list(columns)).astype({"user_id": "str", "item_id": "str", "kind": "str"})


def log_of(rows):
    return interactions_of(frame([(f"u{u}", f"i{i}", kind, 1, time) for u, i, kind, time in rows]), KINDS)


def plays(pairs):
    return interactions_of(frame([(*pair, "play", 1, at) for at, pair in enumerate(pairs)]), KINDS)


def events(side):
    return list(zip(side.user.tolist(), side.item.tolist(), side.time.tolist(), side.weight.tolist(), strict=True))


def pairs(side):
    return set(zip(side.users.ids(side.user), side.items.ids(side.item), strict=True))


@pytest.mark.parametrize("name", SPLITS)
@given(rows=LOGS, share=st.floats(0.1, 0.9), seed=SEEDS)
def test_no_event_is_on_two_sides_and_none_is_made_up(name, rows, share, seed):
    data = log_of(rows)
    # Each event bears a weight of its own, so that it can be told from all others.
    places = np.arange(1, len(data) + 1)
    marked = replace(data, weight=np.where(data.weight > 0, places, -places).astype(np.float32))
    try:
        split = SPLITS[name](marked, share, np.random.default_rng(seed))
    except DataError:
        with pytest.raises(DataError, match=f"^{len(data)} events cannot be split .* would be empty"):
            SPLITS[name](marked, share, np.random.default_rng(seed))
        return
    sides = [split.train, split.test, *([split.fold_in] if split.fold_in else [])]
    weights = np.concatenate([side.weight for side in sides])
    assert len(set(weights.tolist())) == len(weights)
    assert set(weights.tolist()) <= set(marked.weight.tolist())
    if name != "held-out-users":
        assert len(weights) == len(data)
    assert len(split.train)
    assert len(split.test)
    assert all(side.users is data.users and side.items is data.items for side in sides)
    again = SPLITS[name](marked, share, np.random.default_rng(seed))
    assert again.test.weight.tolist() == split.test.weight.tolist()


@given(st.lists(st.integers(0, 30), min_size=2, max_size=40), st.floats(0.05, 0.95))
def test_nothing_of_the_test_period_reaches_training(times, share):
    log = frame([("u", f"i{place}", "play", 1, time) for place, time in enumerate(times)])
    data = interactions_of(log, KINDS)
    try:
        split = split_in_time(data, share)
    except DataError:
        cut = sorted(times)[int(len(times) * (1 - share))]
        assert cut == min(times)
        return
    assert split.train.time.max() < split.test.time.min()
    assert len(split.train) + len(split.test) == len(times)


def test_a_log_of_one_moment_cannot_be_split_and_says_why():
    log = frame([("u", f"i{place}", "play", 1, 7) for place in range(10)])
    with pytest.raises(DataError, match="all of them bear the same time"):
        split_in_time(interactions_of(log, KINDS), 0.2)


def test_a_log_without_times_is_split_at_random_by_the_seed():
    log = frame([("u", f"i{place}", "play", 1) for place in range(100)], ("user_id", "item_id", "kind", "value"))
    data = interactions_of(log, KINDS)
    with pytest.raises(DataError, match="has no times"):
        split_in_time(data, 0.2)
    one, same, other = (split_at_random(data, 0.2, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.train.item.tolist() == same.train.item.tolist() != other.train.item.tolist()
    assert sorted([*one.train.item, *one.test.item]) == list(range(100))


@given(LOGS, st.floats(0.1, 0.9), SEEDS)
def test_within_users_an_item_is_on_one_side_and_nobody_loses_all(rows, share, seed):
    data = log_of(rows)
    try:
        split = split_within_users(data, share, np.random.default_rng(seed))
    except DataError:
        return
    assert not pairs(split.train) & pairs(split.test)
    assert set(split.train.user.tolist()) == set(data.user.tolist())


def test_within_users_each_gives_the_asked_share():
    data = plays([(f"u{user}", f"i{item}") for user in range(5) for item in range(10)])
    split = split_within_users(data, 0.2, np.random.default_rng(0))
    assert np.bincount(split.test.user).tolist() == [2] * 5
    assert len(set(split.test.item.tolist())) > 2  # not the same items of everybody


def test_within_users_popular_items_are_tested_more_often_the_more_it_leans():
    # Item n has 100 - 9n users.
    data = plays([(f"u{user}", f"i{item}") for item in range(10) for user in range(100 - 9 * item)])
    popularity = np.array([100 - 9 * item for item in range(10)])
    means = []
    for lean in (-2.0, 0.0, 2.0):
        test = split_within_users(data, 0.3, np.random.default_rng(0), lean=lean).test
        means.append(popularity[test.item].mean())
    assert means[0] + 5 < means[1] < means[2] - 5


def test_of_each_user_the_last_event_is_the_test_and_the_last_but_one_the_validation():
    data = plays([("a", "1"), ("b", "1"), ("a", "2"), ("a", "3"), ("b", "2"), ("c", "9")])
    split, inner = split_last_one(data), split_last_one(data, validation=True)
    assert pairs(split.test) == {("a", "3"), ("b", "2")}
    assert pairs(split.train) == {("a", "1"), ("a", "2"), ("b", "1"), ("c", "9")}
    assert pairs(inner.test) == {("a", "2")}
    assert pairs(inner.train) == {("a", "1"), ("b", "1"), ("c", "9")}


@given(LOGS)
def test_leave_last_one_tests_the_last_that_teaches_and_trains_on_nothing_after_it(rows):
    data = log_of(rows)
    try:
        split = split_last_one(data)
    except DataError:
        return
    taught = split.test.user[split.test.weight > 0]
    assert len(np.unique(taught)) == len(taught)
    assert set(split.test.user.tolist()) == set(taught.tolist())
    for user in taught.tolist():
        before, after = (side.time[side.user == user] for side in (split.train, split.test))
        assert len(before)
        assert before.max() <= after.min()
    try:
        inner = split_last_one(data, validation=True)
    except DataError:
        return
    assert sorted(events(inner.train) + events(inner.test)) == sorted(events(split.train))


def test_a_log_in_which_everybody_has_one_event_has_no_last_one_to_leave_out():
    said = "2 events cannot be split .* with 2 events to train and 0 to test; give users with two events or more"
    with pytest.raises(DataError, match=said):
        split_last_one(plays([("a", "1"), ("b", "2")]))


@given(LOGS, st.floats(0.1, 0.9), st.floats(0, 1), SEEDS)
def test_held_out_users_are_unseen_and_fold_in_and_test_share_no_item(rows, share, fold_in_share, seed):
    try:
        split = split_users(log_of(rows), share, np.random.default_rng(seed), fold_in_share=fold_in_share)
    except DataError:
        return
    held = set(split.test.user.tolist())
    assert held == set(split.fold_in.user.tolist())
    assert not held & set(split.train.user.tolist())
    assert not pairs(split.test) & pairs(split.fold_in)
    assert set(split.test.item.tolist()) | set(split.fold_in.item.tolist()) <= set(split.train.item.tolist())


def test_of_a_held_out_user_the_asked_share_is_folded_in():
    data = plays([(f"u{user}", f"i{item}") for user in range(20) for item in range(10)])
    split = split_users(data, 0.25, np.random.default_rng(0))
    assert split.description == "held-out users: 5 of 20, 80% of their items to fold in"
    assert set(np.bincount(split.fold_in.user)) - {0} == {8}
    assert set(np.bincount(split.test.user)) - {0} == {2}
    assert len(set(split.test.item.tolist())) > 2  # not the same items of everybody


@pytest.mark.parametrize("name", ["cold-items", "cold-users"])
@given(rows=LOGS, share=st.floats(0.1, 0.9), seed=SEEDS)
def test_what_is_cold_occurs_in_no_training_event(name, rows, share, seed):
    data = log_of(rows)
    column = name.removeprefix("cold-")[:-1]
    known = len(np.unique(getattr(data, column)))
    try:
        split = SPLITS[name](data, share, np.random.default_rng(seed))
    except DataError:
        assert round(share * known) in {0, known}
        return
    cold = set(getattr(split.test, column).tolist())
    assert not cold & set(getattr(split.train, column).tolist())
    assert len(cold) == round(share * known)


def test_a_share_too_small_for_one_item_leaves_the_test_empty_and_says_so():
    said = "2 events cannot be split by making 10% of 2 items cold: .* 2 events to train and 0 to test; give more items"
    with pytest.raises(DataError, match=said):
        split_cold_items(plays([("a", "1"), ("b", "2")]), 0.1, np.random.default_rng(0))


@given(LOGS, st.integers(1, 4))
def test_in_a_k_core_everybody_has_k_and_nobody_who_could_stay_is_lost(rows, k):
    data = log_of(rows)
    graph, before = pairs(data), None
    while graph != before:
        before = graph
        graph = {(u, i) for u, i in graph if sum(u == v for v, _ in graph) >= k and sum(i == j for _, j in graph) >= k}
    if not graph:
        with pytest.raises(DataError, match=f"the {len(data)} events have no {k}-core"):
            k_core(data, k)
        return
    core = k_core(data, k)
    assert pairs(core) == graph
    assert core.shape == (len({u for u, _ in graph}), len({i for _, i in graph}))
    assert k_core(core, k).shape == core.shape
    assert len(core) == sum(
        pair in graph for pair in zip(data.users.ids(data.user), data.items.ids(data.item), strict=True)
    )


def test_a_published_split_has_one_vocabulary_and_keeps_what_only_the_test_names():
    train = frame([("a", "1", "play", 1), ("b", "2", "play", 1)], COLUMNS[:-1])
    test = frame([("a", "3", "play", 1), ("c", "1", "play", 1)], COLUMNS[:-1])
    split = split_published(train, test, KINDS)
    assert split.train.shape == split.test.shape == (3, 3)
    assert pairs(split.test) == {("a", "3"), ("c", "1")}
    assert split.description == "as published: 2 events train, 2 test"
    with pytest.raises(DataError, match="the published split has 2 train and 0 test events"):
        split_published(train, test[:0], KINDS)


PUBLISHED = {"gowalla": (0.0416, 0.0317), "amazon-cds": (0.0122, 0.0072)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_popularity_on_the_published_split_has_the_known_numbers(name, data_folder):
    log = load(name, {"RECSYS_DATA": str(data_folder)})
    split = split_published(log.events, log.test, log.kinds)
    seen, new = split.train.seen(), split.test.seen()
    by_popularity = np.argsort(-np.bincount(seen.indices, minlength=seen.shape[1]), kind="stable").astype(np.int32)
    # Nobody's 20 best unseen items lie behind as many as they have seen and 20 more.
    by_popularity = by_popularity[: int(np.diff(seen.indptr).max()) + 20]
    known, hits = seen[:, by_popularity], []
    for start in range(0, len(split.train.users), 1024):
        unseen = known[start : start + 1024].toarray() == 0
        best = np.argsort(~unseen, axis=1, kind="stable")[:, :20]
        hits.append(hits_of(by_popularity[best], new[start : start + 1024].toarray() > 0))
    judged = Judged(np.concatenate(hits), np.diff(new.indptr))
    measured = np.nanmean(recall(judged, 20)), np.nanmean(ndcg(judged, 20))
    assert measured == pytest.approx(PUBLISHED[name], abs=5e-5)
