"""The evaluation of whatever answers: on hand-worked lists, by segment, and with what the engine says."""

import time
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.candidates import Candidates
from recsys.catalogue import Catalogue
from recsys.evaluation import evaluate, parse
from recsys.interactions import interactions_of
from recsys.pipeline import Answer
from recsys.sections import Kind
from recsys.segments import POPULARITY, WARM, item_segments, user_segments
from recsys.settings import Settings
from recsys.splits import Split, split_published, split_users
from recsys.vocabulary import Vocabulary
from training.engines import engine_of
from training.models import MODELS


class Fixed:
    """Says what it was told to: user row → items, best first."""

    def __init__(self, lists):
        self.lists = lists
        self.asked = []

    def recommend(self, users, k, now):
        self.asked.append((users.tolist(), k, now))
        rows = np.full((len(users), k), -1, np.int32)
        for line, user in enumerate(users.tolist()):
            said = self.lists.get(user, [])[:k]
            rows[line, : len(said)] = said
        return Answer(Candidates(rows, np.zeros(rows.shape, np.float32)), ("fixed",) * len(users), ())


def split_of(train, test, items=6, users=4):
    """A split from (user, item) pairs by row."""
    names = Vocabulary.of(f"u{row}" for row in range(users)), Vocabulary.of(f"i{row}" for row in range(items))

    def events(pairs, time):
        return interactions_of(
            pd.DataFrame(
                {
                    "user_id": [f"u{user}" for user, _ in pairs],
                    "item_id": [f"i{item}" for _, item in pairs],
                    "time": np.full(len(pairs), time, np.int64),
                    "kind": ["play"] * len(pairs),
                }
            ),
            {"play": Kind()},
            names[1],
            names[0],
        )

    return Split(events(train, 1_000), events(test, 2_000), "by hand")


TRAIN = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]
TEST = [(0, 3), (0, 5), (1, 2), (1, 0), (3, 0)]


def test_the_numbers_are_those_worked_by_hand():
    # User 0 wants 3 and 5, user 1 only 2 since 0 is known, user 2 nothing, user 3 (cold) 0.
    report = evaluate(Fixed({0: [3, 4], 1: [4, 2], 3: [0, 1]}), split_of(TRAIN, TEST), ("recall@2", "mrr@2", "ndcg@1"))
    assert report.users.tolist() == [0, 1, 3]
    assert report.values["recall@2"].tolist() == [0.5, 1.0, 1.0]
    assert report.values["mrr@2"].tolist() == [1.0, 0.5, 1.0]
    assert report.values["ndcg@1"].tolist() == [1.0, 0.0, 1.0]
    assert report.rows.tolist() == [[3, 4], [4, 2], [0, 1]]
    means = report.means()
    assert means["users"] == {"all": 3, "warm": 2, "cold": 1}
    assert means["recall@2"] == {"all": 0.833333, "warm": 0.75, "cold": 1.0}


def test_users_without_anything_new_in_the_test_are_left_out():
    split = split_of(TRAIN, [(1, 0), (2, 1)])
    asked = Fixed({})
    assert evaluate(asked, split, ("recall@1",)).users.tolist() == [2]
    assert [users for users, _, _ in asked.asked] == [[2]]


def test_the_clock_stands_at_the_beginning_of_the_test():
    asked = Fixed({})
    evaluate(asked, split_of(TRAIN, TEST), ("recall@1",))
    assert asked.asked[0][2] == datetime.fromtimestamp(2_000, UTC)


def test_no_test_users_at_all_leave_every_mean_undefined():
    report = evaluate(Fixed({}), split_of(TRAIN, [(0, 0)]), ("recall@2", "novelty@2", "coverage@2", "gini@2"))
    assert report.as_dict() == {
        "users": {
            "users": dict.fromkeys(("all", "warm", "cold", "few", "some", "many"), 0),
            "recall@2": dict.fromkeys(("all", "warm", "cold", "few", "some", "many")),
            "novelty@2": dict.fromkeys(("all", "warm", "cold", "few", "some", "many")),
        },
        "items": {"recall@2": dict.fromkeys((*POPULARITY, WARM))},
        "catalogue": {"coverage@2": 0.0, "gini@2": None},
        "ms_user": None,
    }


def test_an_item_that_training_never_saw_is_relevant_and_a_segment():
    report = evaluate(Fixed({0: [3]}), split_of(TRAIN, TEST), ("recall@2",))
    parts = report.by_popularity["recall@2"]
    # Six events: item 0 has three of them, 1 two, 2 one; 3 and 5 are in no training event.
    np.testing.assert_array_equal(parts["never"], [0.5, np.nan, np.nan])
    np.testing.assert_array_equal(parts["head"], [np.nan, np.nan, 0.0])
    np.testing.assert_array_equal(parts["tail"], [np.nan, 0.0, np.nan])


def test_accuracy_by_segment_of_items_is_as_if_the_others_were_not_wanted():
    # User 0 wants 3 and 5, which nobody took; user 1 wants 2 of the tail, at rank 2; user 3 wants 0, at rank 1.
    asked = Fixed({0: [4, 3], 1: [4, 2], 3: [0, 1]})
    parts = evaluate(asked, split_of(TRAIN, [*TEST, (1, 5)]), ("ndcg@2",)).by_popularity["ndcg@2"]
    second = 1 / np.log2(3)
    np.testing.assert_allclose(parts["never"], [second / (1 + second), 0.0, np.nan])
    np.testing.assert_allclose(parts["warm"], [np.nan, second, 1.0])
    np.testing.assert_allclose(parts["tail"], [np.nan, second, np.nan])


def test_a_list_deeper_than_the_catalogue_has_misses_at_its_end():
    report = evaluate(Fixed({0: [3, 5, 4]}), split_of(TRAIN, TEST), ("recall@50", "precision@50", "ndcg@50"))
    assert report.values["recall@50"][0] == 1
    assert report.values["ndcg@50"][0] == 1
    assert report.values["precision@50"][0] == 2 / 50


def test_lists_shorter_than_asked_for_are_refused():
    class Short(Fixed):
        def recommend(self, users, k, now):
            return super().recommend(users, k - 1, now)

    with pytest.raises(ValueError, match=r"lists are \(3, 4\), wanted \(3, 5\)"):
        evaluate(Short({}), split_of(TRAIN, TEST), ("recall@5",))


@pytest.mark.parametrize("name", ["recal@20", "recall", "recall@0", "recall@-1", "recall@x", "@5"])
def test_a_metric_that_does_not_exist_is_refused_with_the_choices(name):
    with pytest.raises(ValueError, match=r"choose one of recall@K, .*calibration@K, coverage@K, gini@K"):
        parse(name)


def test_a_metric_says_what_it_lacks():
    for name, part in (("diversity@2", "vectors"), ("calibration@2", "tastes")):
        with pytest.raises(ValueError, match=f"looks at `{part}`"):
            evaluate(Fixed({}), split_of(TRAIN, TEST), (name,))


def test_beyond_accuracy_stands_in_the_report():
    split = split_of(TRAIN, TEST)
    vectors = np.eye(6, dtype=np.float32)
    categories = np.repeat(np.eye(2), 3, axis=0)
    names = ("novelty@2", "popularity-bias@2", "diversity@2", "serendipity@2", "calibration@2", "coverage@2", "gini@2")
    report = evaluate(Fixed({0: [3, 4], 1: [2, 4], 3: [0, 1]}), split, names, vectors=vectors, categories=categories)
    assert report.values["popularity-bias@2"].tolist() == [0.0, 0.5, 2.5]
    assert report.values["diversity@2"].tolist() == [1.0, 1.0, 1.0]
    # Popularity would have shown 0 and 1 to user 3, 2 to user 1 and, of what they had not seen, 3 and 4 to user 0.
    assert report.values["serendipity@2"].tolist() == [0.0, 0.0, 0.0]
    assert report.values["calibration@2"][1] > 0
    assert np.isnan(report.values["calibration@2"][2])
    assert report.catalogue["coverage@2"] == pytest.approx(5 / 6)
    assert set(report.as_dict()["catalogue"]) == {"coverage@2", "gini@2"}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_segments_part_what_there_is(counts):
    counts = np.array(counts)
    users = user_segments(counts)
    assert (sum(users[name].astype(int) for name in ("cold", "few", "some", "many")) == 1).all()
    ranges = [counts[users[name]] for name in ("cold", "few", "some", "many") if users[name].any()]
    assert all(low.max() < high.min() for low, high in pairwise(ranges))
    items = item_segments(counts)
    assert ((items == POPULARITY.index("never")) == (counts == 0)).all()
    by_count = items[np.argsort(-counts, kind="stable")]
    assert (np.diff(by_count) >= 0).all()


def test_users_are_asked_in_the_order_of_their_histories_and_answered_in_their_own():
    asked = Fixed({0: [3], 1: [2], 3: [4]})
    report = evaluate(asked, split_of(TRAIN, TEST), ("recall@1",))
    assert [users for users, _, _ in asked.asked] == [[3, 1, 0]]
    assert report.users.tolist() == [0, 1, 3]
    assert report.values["recall@1"].tolist() == [0.5, 1.0, 0.0]


def engine_for(split, name, **keys):
    settings = Settings.model_validate({"train": {"recent_items": 1000}, "index": {"backend": "exact"}})
    rng = np.random.default_rng(0)
    learned = MODELS[name](**keys).fit(split.train, rng, threads=1)
    blank = Catalogue.of(None, split.train.items)
    return engine_of(learned, split.train, blank, settings, rng, "test", kinds={}, known=split.known)[0]


@pytest.fixture(scope="module")
def films(data_folder):
    import os

    from recsys.datasets import load

    log = load("ml-100k", {**os.environ, "RECSYS_DATA": str(data_folder)})
    return interactions_of(log.events, log.kinds)


def test_held_out_users_are_answered_from_what_is_folded_in(films):
    split = split_users(films, 0.2, np.random.default_rng(0))
    held = np.unique(split.test.user)
    assert not np.isin(held, split.train.user).any()
    ours, popular = (
        evaluate(engine_for(split, name, **keys), split, ("ndcg@20", "recall@20"))
        for name, keys in (("als", {"factors": 32, "regularization": 20.0, "alpha": 2.0}), ("popular", {}))
    )
    assert ours.segments["warm"].all()
    assert ours.means()["ndcg@20"]["all"] > 1.2 * popular.means()["ndcg@20"]["all"]
    # What was folded in is known, so it is not shown again.
    known = split.known.seen()[ours.users].toarray() > 0
    assert not np.take_along_axis(known, np.maximum(ours.rows, 0), axis=1)[ours.rows >= 0].any()


def test_thousands_of_users_are_evaluated_in_seconds():
    """30,000 users take less than 10 s on two idle cores; this is a fifth, in the time of one processor."""
    rng = np.random.default_rng(0)
    users, items, each = 6_000, 41_000, 15
    user = np.repeat(np.arange(users), each)
    frame = {
        part: pd.DataFrame(
            {
                "user_id": pd.Series(user.astype(str)),
                "item_id": pd.Series(rng.integers(0, items, users * each).astype(str)),
                "kind": pd.Series(["play"] * (users * each)),
            }
        )
        for part in ("train", "test")
    }
    names = Vocabulary.of(map(str, range(users))), Vocabulary.of(map(str, range(items)))
    split = split_published(frame["train"], frame["test"], {"play": Kind()}, names[1], names[0])
    engine = engine_for(split, "als", factors=64, iterations=1)
    metrics = [f"{name}@{k}" for name in ("recall", "precision", "hit-rate", "ndcg", "map", "mrr") for k in (20, 100)]
    start = time.process_time()
    report = evaluate(engine, split, metrics)
    assert report.rows.shape == (users, 100)
    assert time.process_time() - start < 4
