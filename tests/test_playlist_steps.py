"""The steps that weekly playlists are made by, on lists worked out by hand."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from recsys.candidates import EMPTY, Candidates
from recsys.catalogue import Catalogue
from recsys.recency import Recency
from recsys.retrieval import Parts, Query
from recsys.steps import STEPS
from recsys.tastes import Tastes
from recsys.vocabulary import Vocabulary

NOW = datetime(2026, 11, 23, tzinfo=UTC)
# Items 0 to 4 point east, 5 to 9 point north, each a little further round than the one before.
ANGLES = np.radians([0, 4, 8, 12, 16, 74, 78, 82, 86, 90])
UNIT = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)]).astype(np.float32)
ARTISTS = ["a", "b", "c", "d", "e", "f", "g", "h", "a", "j"]
NAMES = Vocabulary.of([f"i{row}" for row in range(10)])
# Item 9 was first taken last, then item 8, and so on.
RECENCY = Recency(10, np.arange(10, dtype=np.int32), np.arange(10) * 1000)
POPULARITY = np.array([100, 90, 80, 70, 1, 60, 50, 40, 30, 1], np.float32)
PARTS = Parts(
    10,
    {},
    POPULARITY,
    {"similar": UNIT},
    catalogue=Catalogue.of(pd.DataFrame({"item_id": list(NAMES), "artist": ARTISTS}), NAMES),
    recency=RECENCY,
)


def ranked(*rows, width=10):
    rows = np.array([[*rows, *[-1] * (width - len(rows))]], np.int32)
    return Candidates(rows, np.where(rows >= 0, 1 / (61 + np.arange(width)), EMPTY).astype(np.float32))


def took(*rows):
    rows = np.array(rows, np.int32)
    return Query(now=NOW, recent=rows, weights=np.ones(len(rows), np.float32))


def first(step, query, found, count):
    return step([query], found).top(count).rows[0].tolist()


EAST_FIRST = ranked(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)


def test_no_taste_has_more_than_its_share_where_there_are_several():
    step = STEPS["portioned"](PARTS, fresh=0, tail=0, taste=0.5, length=4)
    assert first(step, took(0, 9), EAST_FIRST, 4) == [0, 1, 5, 6]
    assert first(step, took(0, 1), EAST_FIRST, 4) == [0, 1, 2, 3], "one taste may have everything"
    only_east = ranked(0, 1, 2, 3, 4)
    assert first(step, took(0, 9), only_east, 4) == [0, 1, 2, 3], "where there is nothing else, it does"


def test_the_places_that_were_promised_to_fresh_and_rare_items_are_theirs():
    fresh = STEPS["portioned"](PARTS, fresh=0.5, tail=0, taste=1, length=4, newest=0.2)
    assert first(fresh, took(0), EAST_FIRST, 4) == [0, 1, 8, 9]
    rare = STEPS["portioned"](PARTS, fresh=0, tail=0.25, taste=1, length=4)
    # A third of all consumption is of items 0 and 1, two thirds up to item 3 and 5; those behind are the tail.
    assert first(rare, took(0), EAST_FIRST, 4) == [0, 1, 2, 4]
    both = STEPS["portioned"](PARTS, fresh=0.25, tail=0.25, taste=1, length=4, newest=0.1)
    chosen = first(both, took(0), ranked(0, 1, 2, 3, 9), 4)
    assert chosen == [0, 1, 2, 9], "one item may keep both promises"


def test_promises_that_the_candidates_cannot_keep_take_no_place_away():
    step = STEPS["portioned"](PARTS, fresh=1, tail=1, taste=0.5, length=4, newest=0.1)
    assert first(step, took(0, 9), ranked(0, 1, 2, 3), 4) == [0, 1, 2, 3]


def test_a_log_without_times_promises_nothing_fresh():
    parts = replace(PARTS, recency=Recency(10, RECENCY.rows, np.zeros(10, np.int64)))
    step = STEPS["portioned"](parts, fresh=0.5, tail=0, taste=1, length=4)
    assert first(step, took(0), EAST_FIRST, 4) == [0, 1, 2, 3]


def test_tastes_are_what_one_would_draw_by_hand():
    belongs, several = Tastes(UNIT).of([took(0, 1, 9), took(0), took()], np.array([[0, 2, 7, -1]] * 3, np.int32))
    assert several.tolist() == [True, False, False]
    assert belongs.tolist() == [[0, 0, 1, -1], [0, 0, 0, -1], [-1] * 4]


def test_a_list_begins_with_a_familiar_artist_and_goes_on_to_the_nearest():
    step = STEPS["flow"](PARTS, length=5, column="artist")
    # Item 8 is by the artist of item 0; from there the way goes back east.
    assert first(step, took(0), ranked(5, 1, 8, 6, 2, 9), 6) == [8, 6, 5, 2, 1, 9]
    assert first(step, took(3), ranked(5, 1, 8, 6, 2, 9), 5) == [5, 6, 8, 2, 1], "nobody familiar: the best begins"


def test_what_is_like_the_weeks_before_falls_and_what_was_in_them_goes():
    query = replace(took(0), excluded=np.array([0], np.int32))
    step = STEPS["unrepeated"](PARTS, weight=1)
    found = step([query], ranked(0, 1, 9))
    assert found.rows[0, :3].tolist() == [-1, 1, 9]
    assert found.scores[0, 1] == pytest.approx((1 - np.cos(np.radians(4))) / 62, rel=1e-3)
    assert found.scores[0, 2] == pytest.approx(1 / 63, rel=1e-3), "what has nothing to do with it keeps its score"
    assert first(step, query, ranked(0, 1, 9), 2) == [9, 1]


@pytest.mark.parametrize(
    ("step", "options", "said"),
    [
        ("portioned", {"taste": 1.5}, "share is 1.5"),
        ("portioned", {"vectors": "none"}, "unknown vectors 'none'"),
        ("flow", {"length": 0}, "length is 0"),
        ("flow", {"vectors": "none"}, "unknown vectors 'none'"),
        ("unrepeated", {"weight": -1}, "weight is -1"),
        ("unrepeated", {"vectors": "none"}, "unknown vectors 'none'"),
    ],
)
def test_an_option_that_cannot_be_is_refused(step, options, said):
    with pytest.raises(ValueError, match=said):
        STEPS[step](PARTS, **options)
    with pytest.raises(ValueError, match="no catalogue"):
        STEPS["flow"](replace(PARTS, catalogue=None), column="artist")
