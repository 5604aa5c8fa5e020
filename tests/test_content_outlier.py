"""Neighbours that content calls absurd."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.outliers import measure
from index import BACKENDS
from recsys.candidates import Candidates
from recsys.errors import SettingsError
from recsys.pipeline import Recommender
from recsys.retrieval import Parts, Query
from recsys.steps import STEPS
from recsys.surfaces import Line, Surface

NOW = datetime(2026, 11, 23, tzinfo=UTC)
MOST = 0.8
"""A quantile that items of other kinds, which are four in five, do not reach."""
KINDS, OF_EACH = 5, 120
N = KINDS * OF_EACH


def content(seed=0, width=16):
    """Items of five kinds, those of one kind alike: item i is of kind i % 5."""
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.normal(size=(width, KINDS)))[0].T
    vectors = centres[np.arange(N) % KINDS] + 0.1 * rng.normal(size=(N, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def step_over(vectors, **options):
    return STEPS["content-outlier"](Parts(len(vectors), {}, np.ones(len(vectors)), {"content": vectors}), **options)


def about(row):
    return Query(now=NOW, recent=np.array([row], np.int32), weights=np.ones(1, np.float32))


def listed(*lists):
    rows = np.array(lists, np.int32)
    return Candidates(rows, np.where(rows >= 0, -np.arange(rows.shape[1], dtype=np.float32), -np.inf))


def of_kind(kind, count, start=0):
    return [kind + KINDS * place for place in range(start, start + count)]


def test_what_has_nothing_to_do_with_the_others_goes_and_the_others_stay():
    strangers = [of_kind(1, 1)[0], of_kind(3, 1)[0]]
    rows = [*of_kind(0, 6, 1), strangers[0], *of_kind(0, 6, 7), strangers[1]]
    left = step_over(content(), quantile=MOST)([about(0)], listed(rows))
    assert left.shape == (1, 14)
    assert set(rows) - set(left.rows[0].tolist()) == set(strangers)
    assert np.isneginf(left.scores[0, ~left.filled[0]]).all()


def test_an_item_of_unknown_content_stays_and_so_does_everything_where_the_asked_one_is_unknown():
    vectors = content()
    stranger = of_kind(1, 1)[0]
    rows = [*of_kind(0, 12, 1), stranger, of_kind(2, 1)[0]]
    vectors[stranger] = 0
    left = step_over(vectors, quantile=MOST)([about(0)], listed(rows)).rows[0]
    assert stranger in left
    assert of_kind(2, 1)[0] not in left
    vectors[0] = 0
    for query in (about(0), Query(now=NOW)):
        assert np.array_equal(step_over(vectors, quantile=MOST)([query], listed(rows)).rows[0], rows)


def test_a_few_neighbours_are_no_company():
    rows = [*of_kind(0, 6, 1), of_kind(1, 1)[0]]
    assert np.array_equal(step_over(content(), quantile=MOST)([about(0)], listed(rows)).rows[0], rows)


def test_items_that_are_all_alike_all_stay():
    vectors = np.tile(np.float32([0.6, 0.8]), (N, 1))
    rows = of_kind(0, 20, 1)
    assert np.array_equal(step_over(vectors)([about(0)], listed(rows)).rows[0], rows)


def test_without_any_content_everything_stays():
    rows = of_kind(0, 20, 1)
    for vectors in (np.zeros((N, 4), np.float32), np.zeros((0, 4), np.float32)):
        assert np.array_equal(step_over(vectors)([about(0)], listed(rows)).rows[0], rows)


LISTS = st.lists(st.lists(st.integers(-1, N - 1), min_size=30, max_size=30), min_size=1, max_size=4)


@given(LISTS, st.lists(st.integers(0, N - 1), min_size=4, max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_no_more_than_a_share_goes_nothing_comes_and_a_batch_equals_one_by_one(lists, asked, quantile, share):
    step = step_over(content(), quantile=quantile, share=share)
    queries = [about(row) for row in asked[: len(lists)]]
    given_ = listed(*lists)
    left = step(queries, given_)
    assert left.shape == given_.shape
    assert ((left.rows == given_.rows) | (left.rows == -1)).all()
    assert ((given_.filled & ~left.filled).sum(axis=1) <= share * given_.filled.sum(axis=1)).all()
    for place, query in enumerate(queries):
        assert np.array_equal(step([query], listed(lists[place])).rows[0], left.rows[place])


@given(st.floats(0.1, 1), st.floats(0.1, 1))
def test_a_higher_quantile_takes_out_what_a_lower_one_does_and_perhaps_more(first, second):
    rng = np.random.default_rng(5)
    lists = listed(rng.permutation(N)[:60], rng.permutation(N)[:60])
    low, high = (
        step_over(content(), quantile=quantile, share=1.0)([about(0), about(1)], lists).filled
        for quantile in sorted([first, second])
    )
    assert not (high & ~low).any()


def test_what_follows_on_the_source_takes_the_place_of_what_goes():
    """Not what is popular, from the ladder."""
    vectors = content()
    taste = vectors.copy()
    taste[[1, 2]] = vectors[0]  # of other kinds, and by taste the nearest to item 0
    index = BACKENDS["exact"].build(taste)
    popular = np.zeros(N, np.float32)
    popular[of_kind(4, 20)] = 1
    parts = Parts(N, {"similar": index}, popular, {"similar": taste, "content": vectors})

    def asked(*steps):
        surface = Surface(
            sources=(Line(name="nearest", index="similar"),),
            filters=(Line(name="seen"),),
            steps=steps,
            ladder=(Line(name="popular"),),
        )
        row = np.array([0], np.int32)
        query = Query(now=NOW, vector=taste[0], recent=row, weights=np.ones(1, np.float32), seen=row)
        return Recommender.of(surface, parts).recommend([query], 10).candidates.rows[0].tolist()

    assert {1, 2} <= set(asked())
    served = asked(Line(name="content-outlier", quantile=MOST))
    assert set(served) <= set(of_kind(0, OF_EACH))
    assert [row for row in asked() if row not in (1, 2)] == served[:8]


def test_an_option_that_cannot_be_is_an_error_with_the_line():
    parts = Parts(3, {}, np.ones(3), {"items": np.ones((3, 2), np.float32)})
    for options, said in (
        ({}, "unknown vectors 'content', choose one of items"),
        ({"vectors": "items", "quantile": 1.5}, "quantile is 1.5: it must lie between 0 and 1"),
        ({"vectors": "items", "share": -1}, "share is -1"),
    ):
        with pytest.raises(SettingsError, match=said):
            Recommender.of(Surface(sources=(), steps=(Line(name="content-outlier", **options),)), parts)


def test_intruders_among_artists_are_found_by_their_tags_and_the_lists_are_better_without(data_folder):
    """Last.fm: half of the tags are looked at, the other half and plays that were held out judge."""
    document = measure("lastfm-2k", {"RECSYS_DATA": str(data_folder)})
    rows = {(row["intruders"], row["filter"]): row for row in document["rows"]}
    found, by_chance = rows["swapped", "content-outlier 0.5"], rows["swapped", "as many at random"]
    assert found["out"] == pytest.approx(by_chance["out"], rel=0.5)
    assert found["recall"] > 4 * by_chance["recall"]
    assert found["precision"] > 4 * by_chance["precision"]
    for intrusion in ("none", "swapped"):
        row = rows[intrusion, "content-outlier 0.5"]
        assert row["overlap@10_gain"][1] > 0
        assert row["held_out@10_gain"][1] > 0
    assert rows["swapped", "oracle"]["recall"] == 1
    assert rows["swapped", "oracle"]["intruders@10"] == 0
    served = {(row["kappa"], row["filter"]): row for row in document["served"]}
    assert served[0.0, "content-outlier 0.25"]["held_out@10_gain"][1] > 0
    # Where content has its own say in a list, what content calls absurd is not on it.
    assert served[3.0, "content-outlier 0.5"]["out"] < 0.1 * served[0.0, "content-outlier 0.5"]["out"]


def test_a_data_set_whose_content_is_not_studied_is_named(data_folder):
    with pytest.raises(SettingsError, match="unknown data set with content to filter by 'gowalla', choose one of"):
        measure("gowalla", {"RECSYS_DATA": str(data_folder)})
