from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.exact import Exact
from recsys.errors import SettingsError
from recsys.fusions.reciprocal_rank import ReciprocalRank
from recsys.item_lists import ItemLists
from recsys.masks import Mask
from recsys.pipeline import Recommender
from recsys.retrieval import Parts, Query
from recsys.surfaces import Line, Surface, unseen

NOW = datetime(2026, 11, 23, tzinfo=UTC)
N, D = 30, 4
VECTORS = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
LISTS = ItemLists((np.arange(N)[:, None] + np.arange(1, 6)).astype(np.int32) % N, np.ones((N, 5), np.float32))
PARTS = Parts(
    N,
    {"items": Exact.build(VECTORS), "similar": Exact.build(VECTORS)},
    np.arange(N, dtype=np.float32),
    lists={"knn": LISTS},
)
HOME = Recommender.of(unseen(Line(name="nearest", index="items")), PARTS)
LISTED = Recommender.of(unseen(Line(name="item-item", lists="knn")), PARTS)
MASKS = [Mask.of_rows(rows, N) for rows in ([], [3], range(0, N, 2), range(20))]


@st.composite
def queries(draw):
    vector = draw(st.sampled_from([None, np.zeros(D, np.float32), *VECTORS[:5]]))
    seen = draw(st.sets(st.integers(0, N - 1)))
    recent = np.array(sorted(seen), np.int32)[:3]
    weights = np.ones(len(recent), np.float32)
    return Query(now=NOW, vector=vector, seen=np.array(sorted(seen), np.int32), recent=recent, weights=weights)


@settings(deadline=None)
@given(st.lists(queries(), min_size=1, max_size=5), st.integers(1, 40))
def test_k_unseen_items_come_back_whenever_there_are_k(asked, k):
    answer = HOME.recommend(asked, k)
    assert answer.candidates.shape == (len(asked), k)
    for place, query in enumerate(asked):
        rows = answer.candidates.rows[place]
        rows = rows[rows >= 0].tolist()
        assert len(rows) == len(set(rows)) == min(k, N - len(query.seen))
        assert not set(rows) & set(query.seen.tolist())
        scores = answer.candidates.scores[place][: len(rows)]
        assert (scores[1:] <= scores[:-1]).all()


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(queries(), st.sets(st.integers(0, N - 1)), st.sampled_from([None, *MASKS])), min_size=1, max_size=4
    ),
    st.integers(1, 40),
)
def test_what_is_not_wanted_does_not_come_and_k_that_are_do(asked, k):
    asked = [
        replace(query, excluded=np.array(sorted(excluded), np.int32), allowed=allowed)
        for query, excluded, allowed in asked
    ]
    for recommender in (HOME, LISTED):
        answer = recommender.recommend(asked, k)
        for place, query in enumerate(asked):
            rows = answer.candidates.rows[place]
            allowed = set(range(N) if query.allowed is None else query.allowed.rows.tolist())
            wanted = allowed - set(query.seen.tolist()) - set(query.excluded.tolist())
            assert len(set(rows[rows >= 0].tolist())) == min(k, len(wanted))
            assert set(rows[rows >= 0].tolist()) <= wanted
            alone = recommender.recommend([query], k).candidates.rows[0]
            assert np.array_equal(alone, rows)


@settings(deadline=None)
@given(st.lists(queries(), min_size=1, max_size=5), st.integers(1, 10))
def test_a_batch_answers_as_its_queries_one_by_one(asked, k):
    batch = HOME.recommend(asked, k)
    for place, query in enumerate(asked):
        alone = HOME.recommend([query], k)
        assert alone.candidates.rows[0].tolist() == batch.candidates.rows[place].tolist()
        assert alone.levels[0] == batch.levels[place]
        assert alone.sources(0) == batch.sources(place)


def test_the_level_says_what_made_the_list():
    everything = np.arange(N, dtype=np.int32)
    levels = HOME.recommend(
        [
            Query(now=NOW, vector=VECTORS[0]),
            Query(now=NOW, vector=VECTORS[0], level="recent"),
            Query(now=NOW),
            Query(now=NOW, seen=everything),
        ],
        3,
    ).levels
    assert levels == ("personal", "recent", "popular", "none")


def test_the_nearest_come_in_order_of_their_inner_products():
    answer = HOME.recommend([Query(now=NOW, vector=VECTORS[3])], 5)
    assert answer.candidates.rows[0].tolist() == np.argsort(-(VECTORS @ VECTORS[3]))[:5].tolist()
    assert answer.sources(0) == [["nearest"]] * 5


def test_a_source_may_fail_and_the_request_does_not(caplog):
    def broken(queries, k):
        raise RuntimeError("the index is on fire")

    recommender = replace(HOME, sources={"nearest": broken})
    answer = recommender.recommend([Query(now=NOW, vector=VECTORS[0])], 4)
    assert answer.degraded == ("nearest",)
    assert answer.levels == ("popular",)
    assert answer.candidates.rows[0].tolist() == [29, 28, 27, 26]
    assert "on fire" in caplog.text


def test_what_fails_at_once_is_done_step_by_step(caplog):
    class Failing(ReciprocalRank):
        def blend(self, *_):
            raise RuntimeError

    query = Query(now=NOW, vector=VECTORS[0], seen=np.array([0, 2], np.int32))
    answer = replace(HOME, fusion=Failing(100)).recommend([query], 5)
    assert "step by step" in caplog.text
    assert not answer.degraded
    np.testing.assert_array_equal(answer.candidates.rows, HOME.recommend([query], 5).candidates.rows)


def test_a_line_that_names_nothing_is_refused_with_the_choices():
    for line, said in (
        (Line(name="nearst"), "unknown source 'nearst', choose one of .*, item-item, .*nearest, .*popular"),
        (Line(name="nearest", index="books"), "unknown index 'books', choose one of items, similar"),
        (Line(name="popular", depth=3), "unexpected keyword argument 'depth'"),
    ):
        with pytest.raises(SettingsError, match=said):
            Recommender.of(Surface(sources=(line,)), PARTS)


def test_a_source_named_twice_is_refused():
    with pytest.raises(SettingsError, match="names a source twice: popular, popular"):
        Recommender.of(Surface(sources=(Line(name="popular"), Line(name="popular"))), PARTS)


def test_more_sources_than_can_be_told_apart_are_refused():
    lines = tuple(Line(name="popular", label=f"p{place}") for place in range(64))
    assert Recommender.of(Surface(sources=lines), PARTS).recommend([Query(now=NOW)], 3).levels == ("p0",)
    with pytest.raises(SettingsError, match="65 sources and rungs: at most 64"):
        Recommender.of(Surface(sources=lines, ladder=(Line(name="popular"),)), PARTS)


def test_k_below_one_and_no_queries():
    with pytest.raises(ValueError, match="k is 0"):
        HOME.recommend([Query(now=NOW)], 0)
    assert HOME.recommend([], 3).candidates.shape == (0, 3)
