"""What every source promises, and what single ones propose, against plain loops over everything."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.exact import Exact
from index.growing import Growing
from recsys.arrays import unit
from recsys.catalogue import Catalogue
from recsys.item_lists import lists_of
from recsys.masks import Mask
from recsys.recency import Recency
from recsys.retrieval import Parts, Query, Scorer, by_popularity
from recsys.sources import SOURCES
from recsys.sources.multi_interest import clustered
from recsys.vocabulary import Vocabulary

NOW = datetime(2026, 11, 25, tzinfo=UTC)
N, DAY = 24, 86400
RNG = np.random.default_rng(0)
VECTORS = unit(RNG.normal(size=(N, 5)).astype(np.float32))
VECTORS[7] = 0
GONE = [3, 11, 20]
IDS = [f"i{row}" for row in range(N)]
GENRES = [[], *[[f"g{row % 4}", f"g{row % 3}"] for row in range(1, N)]]
CATALOGUE = Catalogue.of(
    pd.DataFrame(
        {
            "item_id": IDS,
            "genres": GENRES,
            "year": [None if row == 5 else 1990 + row % 6 for row in range(N)],
            "day": ["" if row == 5 else f"2026-{1 + row % 9:02}-0{1 + row % 2}" for row in range(N)],
        }
    ),
    Vocabulary.of(IDS),
)
TAKEN = np.repeat(np.arange(N - 2, dtype=np.int32), 3)
TIMES = 10**9 + DAY * RNG.integers(0, 40, len(TAKEN))
LISTS = lists_of(RNG.integers(0, N, (N, 4)).astype(np.int32), RNG.random((N, 4)).astype(np.float32))


class Words:
    """Content of which an interest is the number of an item."""

    reads = ("words",)
    vectors = VECTORS

    def encode(self, items):
        return np.array([VECTORS[int(about["words"][0])] for about in items], np.float32).reshape(len(items), 5)


def indexed(gone):
    return Growing.of(Exact.build(VECTORS)).remove(gone)


PARTS = Parts(
    N,
    {name: indexed(GONE) for name in ("items", "similar", "content")},
    np.bincount(TAKEN, minlength=N).astype(np.float32),
    dict.fromkeys(("items", "similar", "content"), VECTORS),
    {"pairs": LISTS},
    content=Words(),
    available=~Mask.of_rows(GONE, N),
    order=by_popularity(np.bincount(TAKEN, minlength=N)),
    catalogue=CATALOGUE,
    recency=Recency(N, TAKEN, TIMES),
)
WHOLE = replace(PARTS, available=None, indexes={name: indexed([]) for name in PARTS.indexes})
LINES = {
    "content-nearest": {},
    "declared-interests": {},
    "fresh": {},
    "fresh by year": {"column": "year"},
    "item-item": {"lists": "pairs"},
    "multi-interest": {},
    "nearest": {"index": "items"},
    "pinned": {"items": ["i3", "i9", "nowhere", "i1"]},
    "popular": {},
    "segment": {"columns": ["genres"]},
    "similar-to-recent": {},
    "together": {},
    "together by lists": {"lists": "pairs"},
    "trending": {},
    "trending by genre": {"column": "genres"},
}
BUILT = {line: SOURCES[line.split(" by ")[0]](PARTS, **options) for line, options in LINES.items()}
MASKS = [None, Mask.of_rows(range(0, N, 3), N), Mask.of_rows([], N)]


@st.composite
def queries(draw):
    """Somebody of whom much or nothing is known."""
    recent = draw(st.lists(st.integers(0, N - 1), max_size=9, unique=True))
    weights = draw(st.lists(st.sampled_from([-1, 0, 1, 2]), min_size=len(recent), max_size=len(recent)))
    context = draw(st.lists(st.integers(0, N - 1), max_size=4, unique=True))
    return Query(
        now=NOW,
        vector=draw(st.sampled_from([None, VECTORS[0], VECTORS[8]])),
        recent=np.array(recent, np.int32),
        weights=np.array(weights, np.float32),
        context=np.array(context, np.int32),
        interests=draw(st.sampled_from([(), ("4",), ("5", "G1", "g2")])),
        segment=draw(st.sampled_from([None, ("genres", "G0"), ("genres", "polka"), ("year", "1990")])),
        allowed=draw(st.sampled_from(MASKS)),
    )


def test_every_source_is_held_to_the_laws():
    assert {line.split(" by ")[0] for line in LINES} == set(SOURCES)


@pytest.mark.parametrize("source", BUILT.values(), ids=BUILT)
@given(asked=st.lists(queries(), min_size=1, max_size=4), k=st.integers(1, N))
@settings(deadline=None, max_examples=30)
def test_a_source_proposes_what_is_there_and_allowed_and_a_batch_is_its_queries_one_by_one(source, asked, k):
    found = source(asked, k)
    assert found.shape[0] == len(asked)
    assert found.shape[1] <= k
    assert ((found.scores > -np.inf) == found.filled).all()
    assert np.isfinite(found.scores[found.filled]).all()
    whole = found.top(k)
    for place, query in enumerate(asked):
        rows = found.rows[place][found.filled[place]]
        assert len(set(rows.tolist())) == len(rows)
        assert not set(rows.tolist()) & set(GONE)
        assert query.allowed is None or query.allowed.holds(rows).all()
        alone = source([query], k).top(k)
        assert np.allclose(whole.scores[place], alone.scores[0], atol=1e-5)
    assert np.array_equal(found.top(k).rows, found.rows) or found.shape[1] < k, "best first"


def plain_trend(half_life):
    counts = np.zeros(N)
    for row, time in zip(TAKEN.tolist(), TIMES.tolist(), strict=True):
        counts[row] += 0.5 ** ((TIMES.max() - time) / DAY / half_life)
    return counts


@pytest.mark.parametrize("half_life", [2, 30])
def test_what_trends_are_counts_that_fade(half_life):
    counts = plain_trend(half_life)
    found = SOURCES["trending"](WHOLE, half_life=half_life)([Query(now=NOW)], N)
    order = [row for row in np.argsort(-counts, kind="stable") if counts[row]]
    assert found.rows[0].tolist() == [*order, -1, -1], "two that nobody took"
    assert np.allclose(found.scores[0, : N - 2], counts[order], rtol=1e-5)


@given(asked=queries(), most=st.integers(1, 3))
@settings(deadline=None, max_examples=40)
def test_trends_of_the_categories_that_a_user_takes_most(asked, most):
    source = SOURCES["trending"](PARTS, half_life=5, column="genres", categories=most)
    found = source([asked], N)
    counts, mix = plain_trend(5), dict.fromkeys(("g0", "g1", "g2", "g3"), 0.0)
    for row, weight in zip(asked.recent.tolist(), np.maximum(asked.weights, 0).tolist(), strict=True):
        for genre in set(GENRES[row]):
            mix[genre] += weight / len(set(GENRES[row]))
    names = CATALOGUE.groups("genres")[0]
    liked = sorted(
        (name for name in names if mix[name] > 1e-9), key=lambda name: (-round(mix[name], 5), names.index(name))
    )
    shares = {name: mix[name] / sum(mix.values()) for name in liked[:most]}
    wanted = {}
    for row in range(N):
        share = max([shares.get(genre, 0) for genre in GENRES[row]], default=0) if liked else 1
        there = row not in GONE and (asked.allowed is None or asked.allowed.holds(np.array([row])).all())
        if there and counts[row] * share > 0:
            wanted[row] = counts[row] * share
    said = {row: score for row, score in zip(found.rows[0].tolist(), found.scores[0].tolist(), strict=True) if row >= 0}
    assert said.keys() == wanted.keys()
    assert np.allclose(list(said.values()), [wanted[row] for row in said], rtol=1e-4)
    assert list(said.values()) == sorted(said.values(), reverse=True)


def test_a_segment_is_what_the_request_names_or_else_what_the_user_declared():
    source = SOURCES["segment"](WHOLE, columns=["genres"], half_life=5)
    counts = plain_trend(5)

    def proposed(**more):
        found = source([Query(now=NOW, **more)], N)
        return found.rows[0][found.filled[0]].tolist()

    def trending(*genres):
        rows = [row for row in range(N) if set(genres) & set(GENRES[row]) and counts[row]]
        return sorted(rows, key=lambda row: (-np.float32(counts[row]), row))

    assert proposed(segment=("genres", "G2")) == trending("g2")
    assert proposed(segment=("genres", "g2"), interests=("g0",)) == trending("g2"), "what is asked for goes first"
    assert proposed(interests=("slow", "g0", "G3")) == trending("g0", "g3")
    assert proposed(segment=("genres", "polka"), interests=("g0",)) == []
    assert proposed(segment=("year", "1990")) == proposed() == proposed(interests=("slow",)) == []
    untimed = replace(WHOLE, recency=Recency(N, TAKEN[:20], np.zeros(20, np.int64)))
    often = np.bincount(TAKEN[:20], minlength=N)
    rows = SOURCES["segment"](untimed, columns=["genres"])([Query(now=NOW, segment=("genres", "g1"))], N).rows[0]
    wanted = [row for row in range(N) if "g1" in GENRES[row] and often[row]]
    assert rows[rows >= 0].tolist() == sorted(wanted, key=lambda row: (-often[row], row))


def test_fresh_items_are_the_newest_by_a_column_or_by_their_first_event():
    def proposed(parts=WHOLE, **options):
        rows = SOURCES["fresh"](parts, **options)([Query(now=NOW)], N + 2).rows[0]
        return rows[rows >= 0].tolist()

    assert proposed(column="year") == sorted((row for row in range(N) if row != 5), key=lambda row: (-(row % 6), row))
    day = {row: (row % 9, row % 2) for row in range(N) if row != 5}
    assert proposed(column="day") == sorted(day, key=lambda row: (-day[row][0], -day[row][1], row))
    first = {row: TIMES[row == TAKEN].min() for row in range(N - 2)}
    assert proposed() == sorted(first, key=lambda row: (-first[row], row))
    said = {
        4: {"item_id": "i4", "year": 1993.5},
        8: {"item_id": "i8"},
        N: {"item_id": "new", "year": 2026, "day": 3},
        N + 1: {"item_id": "newer", "year": "long ago", "day": "2026-09-02"},
    }
    years = {row: 1990 + row % 6 for row in range(N) if row not in (5, 8)} | {4: 1993.5, N: 2026}
    order = np.array([*range(N), N + 1, N], np.int32)
    grown = replace(WHOLE, items=N + 2, catalogue=CATALOGUE.amended(said), order=order)
    assert proposed(grown, column="year") == sorted(years, key=lambda row: (-years[row], row))
    left = [row for row in proposed(column="day") if row not in (4, 8)]
    days = dict(zip(range(N), CATALOGUE.table["day"].to_pylist(), strict=True))
    later = sum(days[row] >= "2026-09-02" for row in left)
    assert proposed(grown, column="day") == [*left[:later], N + 1, *left[later:]]
    assert proposed(grown) == [N + 1, N, *proposed()], "what was put since comes first"


def test_what_goes_with_a_context_is_asked_about_the_context_and_never_is_it():
    about, user = np.array([0, 2], np.int32), np.array([9], np.int32)
    query = Query(now=NOW, recent=user, weights=np.ones(1, np.float32), context=about)
    found = SOURCES["together"](WHOLE)([query, Query(now=NOW, recent=user, weights=query.weights)], 6)
    cosines = (VECTORS @ VECTORS[about].T).max(axis=1)
    wanted = [row for row in np.argsort(-cosines) if row not in about and cosines[row] > 0][:6]
    assert found.rows.tolist() == [wanted, [-1] * 6]
    lists = SOURCES["together"](WHOLE, lists="pairs")([query], N)
    totals = np.zeros(N)
    for row in about:
        np.add.at(totals, LISTS.rows[row], LISTS.weights[row])
    totals[about] = 0
    assert lists.rows[0][lists.filled[0]].tolist() == [row for row in np.argsort(-totals, kind="stable") if totals[row]]
    assert isinstance(BUILT["together"], Scorer)
    assert np.allclose(BUILT["together"].score([query], np.array([[4, -1]], np.int32))[0, 0], max(cosines[4], 0))


def test_directions_fall_into_the_clusters_that_they_were_made_of():
    axes = np.eye(5, dtype=np.float32)[:3]
    belongs = RNG.integers(0, 3, 40)
    vectors = unit(axes[belongs] + RNG.normal(scale=0.1, size=(40, 5)).astype(np.float32))
    centres, shares = clustered(vectors, np.ones(40, np.float32), 3, 0.5)
    near = (centres @ axes.T).argmax(axis=1)
    assert sorted(near.tolist()) == [0, 1, 2]
    assert np.allclose(shares, np.bincount(belongs, minlength=3)[near] / 40)
    assert np.allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)
    one, whole = clustered(vectors[belongs == 0], np.ones((belongs == 0).sum(), np.float32), 3, 0.5)
    assert len(one) == 1
    assert whole.tolist() == [1]


# BLAS may compute on lanes behind the end of a small matrix, with what lies there by chance, and the processor notes an
# invalid operation that no result has a part in (numpy's issue 24067): here once in half a million examples, and not
# when the same one was tried again. A result that is none fails below.
@pytest.mark.filterwarnings("ignore:invalid value encountered in matmul:RuntimeWarning")
@given(asked=queries(), interests=st.integers(1, 3), k=st.integers(1, 12))
@settings(deadline=None, max_examples=60)
def test_each_interest_gets_places_by_its_share(asked, interests, k):
    source = SOURCES["multi-interest"](PARTS, interests=interests, apart=0.3)
    centres, shares = source.interests_of(asked)
    assert len(centres) <= interests
    assert not len(shares) or shares.sum() == pytest.approx(1)
    wanted, near = {}, set()
    for centre, share in zip(centres, shares, strict=True):
        cosines = VECTORS @ centre
        rows = [row for row in np.argsort(-cosines) if cosines[row] > 0 and row not in GONE]
        rows = [row for row in rows if asked.allowed is None or asked.allowed.holds(np.array([row])).all()][:k]
        # Of two that lie equally far, either may come.
        near |= {row for row in range(N) if rows and cosines[row] > cosines[rows[-1]] - 1e-6}
        for place, row in enumerate(rows, start=1):
            wanted[row] = max(wanted.get(row, 0), share / place)
    found = source([asked], k)
    assert np.allclose(found.scores[0][found.filled[0]], sorted(wanted.values(), reverse=True)[:k], rtol=1e-5)
    assert set(found.rows[0][found.filled[0]].tolist()) <= near


def test_two_tastes_share_a_list_as_they_share_a_history():
    axes = np.eye(5, dtype=np.float32)
    vectors = unit(np.repeat(axes[:2], 10, axis=0) + 0.05 * RNG.normal(size=(20, 5)).astype(np.float32))
    parts = Parts(20, {"similar": Exact.build(vectors)}, np.ones(20, np.float32), {"similar": vectors})
    query = Query(now=NOW, recent=np.array([0, 10, 1, 2], np.int32), weights=np.ones(4, np.float32))
    found = SOURCES["multi-interest"](parts)([query], 8)
    assert (found.rows[0] < 10).sum() == 6, "three quarters of the list, as of the history"


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("trending", {"half_life": 0}, "half_life is 0: days were wanted, more than 0"),
        ("trending", {"categories": 0}, "categories is 0: at least 1 was wanted"),
        ("trending", {"column": "year"}, "'year' is none in this catalogue: choose one of genres, day"),
        ("segment", {"columns": "genres"}, "columns is 'genres': a list of names was wanted"),
        ("segment", {"columns": []}, "a list of names was wanted"),
        ("segment", {"columns": ["year"]}, "'year' is none in this catalogue: choose one of genres, day"),
        ("segment", {"columns": ["genres"], "half_life": 0}, "half_life is 0: days were wanted, more than 0"),
        ("fresh", {"column": "genres"}, "'genres' is none in this catalogue: choose one of year, day"),
        ("together", {"lists": "carts"}, "unknown item lists 'carts', choose one of pairs"),
        ("together", {"index": "carts"}, "unknown index 'carts', choose one of content, items, similar"),
        ("multi-interest", {"index": "tastes"}, "unknown index 'tastes', choose one of content, items, similar"),
        ("multi-interest", {"interests": 0}, "interests is 0: at least 1 was wanted"),
        ("multi-interest", {"apart": 2}, "apart is 2: a cosine was wanted, from -1 to 1"),
        ("pinned", {"items": ["i1", "i1"]}, "each may be named once"),
    ],
)
def test_an_option_that_cannot_be_is_refused(source, options, said):
    with pytest.raises(ValueError, match=said):
        SOURCES[source](PARTS, **options)


def test_a_source_without_what_it_looks_at_is_refused():
    bare = replace(PARTS, catalogue=None, recency=None)
    for source, options, said in (
        ("trending", {}, "nobody knows when items were taken"),
        ("fresh", {}, "name a `column` of the catalogue"),
        ("segment", {"columns": ["genres"]}, "segments need a catalogue to find them in"),
        ("fresh", {"column": "year"}, "column 'year' is asked for, and there is no catalogue"),
        ("pinned", {"items": ["i1"]}, "there is no catalogue to find them in"),
    ):
        with pytest.raises(ValueError, match=said):
            SOURCES[source](bare, **options)
    with pytest.raises(ValueError, match="column 'genres' is asked for, and there is no catalogue"):
        SOURCES["trending"](replace(PARTS, catalogue=None), column="genres")
