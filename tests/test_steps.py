"""What single steps promise: laws over random lists, and lists worked out by hand."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recsys.attributes import Attributes
from recsys.beyond_accuracy import Shown, calibration, category_mix
from recsys.candidates import EMPTY, Candidates
from recsys.catalogue import Catalogue
from recsys.masks import Mask
from recsys.pipeline import Recommender
from recsys.retrieval import Parts, Query
from recsys.steps import STEPS
from recsys.surfaces import Line, Surface
from recsys.vocabulary import Vocabulary

NOW = datetime(2026, 11, 25, tzinfo=UTC)
N = 12
ANGLES = np.linspace(0, np.pi, N)
UNIT = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)]).astype(np.float32)
UNIT[-1] = 0
ARTISTS = [["a"], ["a"], ["a"], ["b"], ["b"], [], ["c"], ["a", "b"], ["c"], ["d"], [""], None]
CATALOGUE = Catalogue.of(
    pd.DataFrame(
        {
            "item_id": [f"i{row}" for row in range(N)],
            "artists": pd.arrays.ArrowExtensionArray(pa.array(ARTISTS)),
            "label": ["x", "x", "y", "y", "x", None, "", "x", "y", "z", "z", "z"],
        }
    ),
    Vocabulary.of([f"i{row}" for row in range(N)]),
)
PARTS = Parts(
    N,
    {},
    np.ones(N, np.float32),
    {"similar": UNIT, "content": UNIT},
    catalogue=CATALOGUE,
    attributes=Attributes(CATALOGUE),
)
FEWER = replace(PARTS, available=Mask.of_rows(range(0, N, 2), N))
DAY = 86400


def ranked(*lists):
    """Lists of rows, best first."""
    width = max(map(len, lists))
    rows = np.array([[*line, *[-1] * (width - len(line))] for line in lists], np.int32)
    return Candidates(rows, np.where(rows >= 0, 1 / (1 + np.arange(width)), EMPTY).astype(np.float32))


def asked(count=1):
    recent, weights = np.array([0, 3, 9], np.int32), np.array([2, 1, 1], np.float32)
    return [Query(now=NOW, seed=seed, recent=recent, weights=weights) for seed in range(count)]


def troubled(count):
    """Queries that differ in what they have seen, exclude, allow and were shown."""
    return [
        replace(
            query,
            seen=np.arange(place, dtype=np.int32),
            excluded=np.array([11 - place], np.int32),
            allowed=[None, Mask.of_rows(range(place, N), N)][place % 2],
            shown=np.array([1, 2, 2, 5][place:], np.int32),
            shown_times=int(NOW.timestamp()) - DAY * np.arange(4 - place),
        )
        for place, query in enumerate(asked(count))
    ]


@st.composite
def lists(draw):
    """Several lists of different items in any order, with holes."""
    lines = draw(st.lists(st.permutations(range(N)), min_size=1, max_size=4))
    holes = draw(hnp.arrays(bool, (len(lines), N)))
    scores = draw(hnp.arrays(np.float32, (len(lines), N), elements=st.floats(-9, 9, width=32), unique=True))
    rows = np.where(holes, -1, np.array(lines)).astype(np.int32)
    return Candidates(rows, np.where(rows >= 0, scores, EMPTY), {"als": np.where(rows >= 0, scores, np.nan)})


BUILT = {
    "available": STEPS["available"](FEWER),
    "boosted": STEPS["boosted"](PARTS, where="label:x", factor=2, share=0.5, length=4),
    "content-outlier": STEPS["content-outlier"](PARTS, quantile=0.9),
    "discounted": STEPS["discounted"](PARTS, rate=0.7),
    "explored": STEPS["explored"](PARTS, share=0.5, length=4, depth=8),
    "explored by a source": STEPS["explored"](PARTS, share=0.5, length=4, depth=8, source="als"),
    "pinned": STEPS["pinned"](PARTS, items=["i7", "nowhere", "i2"], places=[3, 1, 2]),
    "seen": STEPS["seen"](PARTS),
    "wanted": STEPS["wanted"](PARTS),
    "diverse": STEPS["diverse"](PARTS, weight=0.6, length=4, depth=8),
    "dithered": STEPS["dithered"](PARTS, epsilon=2.0),
    "calibrated": STEPS["calibrated"](PARTS, column="artists", weight=0.7, length=4, depth=8),
    "capped": STEPS["capped"](PARTS, column="artists", at_most=1),
    "flow": STEPS["flow"](PARTS, length=6, column="artists"),
    "portioned": STEPS["portioned"](PARTS, fresh=0.3, tail=0.3, taste=0.5, length=6, column="label"),
    "unrepeated": STEPS["unrepeated"](PARTS, weight=0.5),
    "capped by one column": STEPS["capped"](PARTS, column="label", at_most=2),
}


def test_every_step_is_held_to_the_laws():
    assert {name.split(" by ")[0] for name in BUILT} == set(STEPS)


@pytest.mark.parametrize("step", BUILT.values(), ids=BUILT)
@given(found=lists())
@settings(deadline=None, max_examples=40)
def test_a_step_invents_nothing_and_a_batch_is_its_queries_one_by_one(step, found):
    queries = troubled(found.shape[0])
    whole = step(queries, found)
    for place, query in enumerate(queries):
        alone = step([query], Candidates(found.rows[[place]], found.scores[[place]], {"als": found.scores[[place]]}))
        assert np.array_equal(whole.rows[place], alone.rows[0])
        had, has = (set(rows[rows >= 0].tolist()) for rows in (found.rows[place], whole.rows[place]))
        assert has <= had
        said = whole.signals["als"][place][whole.filled[place]]
        wanted = dict(zip(found.rows[place].tolist(), found.scores[place].tolist(), strict=True))
        assert said.tolist() == [wanted[row] for row in whole.rows[place] if row >= 0], "signals go with their items"
    assert ((whole.scores > EMPTY) == whole.filled).all()


@pytest.mark.parametrize("step", BUILT.values(), ids=BUILT)
@given(found=lists())
@settings(deadline=None, max_examples=40)
def test_only_a_step_that_says_so_looks_at_what_was_shown(step, found):
    queries = troubled(found.shape[0])
    unshown = [replace(query, shown=None, shown_times=query.shown_times[:0]) for query in queries]
    one, other = step(queries, found), step(unshown, found)
    same = np.array_equal(one.rows, other.rows) and np.array_equal(one.scores, other.scores)
    assert same or step.reads_shown


@pytest.mark.parametrize("name", ["calibrated", "diverse", "dithered", "explored", "flow", "pinned", "portioned"])
@given(found=lists())
@settings(deadline=None, max_examples=40)
def test_a_step_that_reorders_keeps_every_item_and_the_scores(name, found):
    after = BUILT[name](asked(found.shape[0]), found)
    assert np.array_equal(np.sort(after.rows, axis=1), np.sort(found.rows, axis=1))
    assert np.array_equal(np.sort(after.scores, axis=1), np.sort(found.scores, axis=1))
    assert (after.scores[:, 1:] <= after.scores[:, :-1]).all()


def test_diversity_takes_what_is_unlike_what_was_taken():
    # 0, 1, 2 lie side by side, 10 on the other side: relevances 1, 2/3, 1/3, 0
    found = ranked([0, 1, 2, 10])
    after = STEPS["diverse"](PARTS, weight=0.9, length=4, depth=4)(asked(), found)
    assert after.rows.tolist() == [[0, 10, 2, 1]]
    assert STEPS["diverse"](PARTS, weight=0, length=4, depth=4)(asked(), found).rows.tolist() == [[0, 1, 2, 10]]
    deep = STEPS["diverse"](PARTS, weight=0.9, length=2, depth=4)(asked(), found)
    assert deep.rows.tolist() == [[0, 10, 1, 2]], "what is not chosen follows as it stood"


def test_a_calibrated_list_has_the_mix_of_the_user():
    # two parts a, one part b, one part d; by relevance alone the list would begin with three of a
    found = ranked([0, 1, 2, 3, 4, 9, 6])
    after = STEPS["calibrated"](PARTS, column="artists", weight=0.9, length=4, depth=7)(asked(), found)
    assert sorted(after.rows[0, :4].tolist()) == [0, 1, 3, 9]
    assert after.rows[0, 4:].tolist() == [2, 4, 6], "the others as they stood"
    strangers = [Query(now=NOW), Query(now=NOW, recent=np.array([5], np.int32), weights=np.ones(1, np.float32))]
    for stranger in strangers:
        step = STEPS["calibrated"](PARTS, column="artists", weight=0.9, length=4, depth=7)
        assert np.array_equal(step([stranger], found).rows, found.rows)
    relevant = STEPS["calibrated"](PARTS, column="artists", weight=0, length=4, depth=7)(asked(), found)
    assert np.array_equal(relevant.rows, found.rows)


def test_calibration_is_what_evaluation_measures():
    rng = np.random.default_rng(0)
    lists = np.array([rng.permutation(N) for _ in range(30)], np.int32)
    found = ranked(*lists)
    step = STEPS["calibrated"](PARTS, column="label", weight=0.8, length=5, depth=N)
    shares = step.shares(np.arange(N, dtype=np.int32))
    queries = [
        Query(now=NOW, recent=rng.permutation(N)[:4].astype(np.int32), weights=np.ones(4, np.float32)) for _ in lists
    ]
    taken = np.zeros((len(lists), N))
    for line, query in enumerate(queries):
        taken[line, query.recent] = query.weights
    told = {"items": N, "users": 1, "consumers": np.ones(N, np.int64), "categories": shares}
    before, after = (
        calibration(Shown(rows, tastes=category_mix(taken, shares), **told), 5)
        for rows in (found.rows, step(queries, found).rows)
    )
    assert np.nanmean(after) < 0.5 * np.nanmean(before)


def test_dithering_is_the_same_for_the_same_request_and_moves_the_first_little():
    rows = list(range(N))
    step = STEPS["dithered"](PARTS, epsilon=1.5)
    many = step(asked(400), ranked(*[rows] * 400))
    assert np.array_equal(many.rows, step(asked(400), ranked(*[rows] * 400)).rows)
    moved = np.abs(np.argsort(many.rows, axis=1) - np.arange(N)).mean(axis=0)
    assert moved[0] < 0.5
    assert moved[6] > 1
    still = STEPS["dithered"](PARTS, epsilon=1)(asked(3), ranked(rows, rows, rows))
    assert still.rows.tolist() == [rows] * 3


def test_a_group_is_capped_and_its_best_stay():
    found = ranked([2, 7, 1, 3, 5, 0, 4, 11, 10])
    once = STEPS["capped"](PARTS, column="artists", at_most=1)(asked(), found)
    assert once.rows.tolist() == [[2, -1, -1, 3, 5, -1, -1, 11, 10]], "7 is of a and b, and a is full"
    twice = STEPS["capped"](PARTS, column="artists", at_most=2)(asked(), found)
    assert twice.rows.tolist() == [[2, 7, -1, 3, 5, -1, -1, 11, 10]]
    labels = STEPS["capped"](PARTS, column="label", at_most=1)(asked(), ranked([5, 0, 6, 2, 1, 3, 9, 10]))
    assert labels.rows.tolist() == [[5, 0, 6, 2, -1, -1, 9, -1]]


@pytest.mark.parametrize(
    ("curve", "rate", "recovery", "left"),
    [
        # Two times, the last ten days ago: by hand, 1 - (1 - count) · time.
        ("exponential", 0.5, 0.1, 0.7674560),  # count e⁻¹ = 0.3678794, time e⁻¹
        ("inverse", 0.5, 0.1, 0.75),  # count 1/2, time 1/2
        ("linear", 0.25, 0.05, 0.75),  # count 1/2, time 1/2
        ("quadratic", 0.25, 0.05, 0.8125),  # count 1/4, time 1/4
        ("linear", 0.75, 0, 0.0),  # used up, and never forgotten
        ("quadratic", 0.75, 0.2, 1.0),  # forgotten after five days
    ],
)
def test_what_was_shown_keeps_what_was_worked_out_by_hand(curve, rate, recovery, left):
    step = STEPS["discounted"](PARTS, rate=rate, curve=curve, recovery=recovery, recovery_curve=curve)
    shown, ago = np.array([3, 7, 3], np.int32), np.array([10, 1, 30])
    query = Query(now=NOW, shown=shown, shown_times=int(NOW.timestamp()) - DAY * ago)
    found = Candidates(np.array([[7, 3, 4, -1]], np.int32), np.array([[8, 4, -4, EMPTY]], np.float32))
    after = step([query], found)
    assert after.rows.tolist() == found.rows.tolist()
    assert after.scores[0, 1] == pytest.approx(4 * left, abs=1e-5)
    assert after.scores[0, 2:].tolist() == [-4, EMPTY]


@given(
    times=st.lists(st.tuples(st.integers(0, N - 1), st.integers(0, 400)), min_size=1, max_size=9),
    more=st.tuples(st.integers(0, N - 1), st.integers(0, 400)),
    curve=st.sampled_from(["exponential", "inverse", "linear", "quadratic"]),
    sign=st.sampled_from([-1, 1]),
)
def test_once_more_is_never_better_and_a_day_more_is_never_worse(times, more, curve, sign):
    step = STEPS["discounted"](PARTS, rate=0.3, curve=curve, recovery=0.02, recovery_curve=curve)
    found = Candidates(np.arange(N, dtype=np.int32)[None], np.full((1, N), sign, np.float32))

    def scores(times, later=0):
        rows, days = (np.array(part) for part in zip(*times, strict=True))
        told = {"shown": rows.astype(np.int32), "shown_times": int(NOW.timestamp()) - DAY * (days + later)}
        return step([Query(now=NOW, **told)], found).scores

    assert (scores(times) <= found.scores).all()
    assert (scores([*times, more]) <= scores(times) + 1e-6).all()
    assert (scores(times, later=1) >= scores(times) - 1e-6).all()


@given(lists(), st.floats(1, 9), st.floats(0, 1), st.integers(1, N))
@settings(deadline=None, max_examples=40)
def test_a_boost_takes_no_more_than_its_share_and_nothing_boosted_falls(found, factor, share, length):
    wanted = np.array([label == "x" for label in CATALOGUE.table["label"].to_pylist()])
    before = found.top(N)
    after = STEPS["boosted"](PARTS, where="label:X", factor=factor, share=share, length=length)([], found)
    had, has = (wanted[some.rows] & some.filled for some in (before, after))
    anyway = had[:, :length].sum(axis=1)
    assert (has[:, :length].sum(axis=1) <= np.maximum(anyway, share * length + 1e-6)).all()
    for then, now in zip(before.rows.tolist(), after.rows.tolist(), strict=True):
        assert all(now.index(row) <= then.index(row) for row in then if row >= 0 and wanted[row])
    assert np.array_equal(np.sort(before.rows), np.sort(after.rows))
    if factor == 1:
        assert np.array_equal(before.rows, after.rows)


def test_a_boost_lifts_what_is_described_so_today():
    found = ranked([2, 3, 6, 9, 0, 1, 4])
    lift = {"where": "label:x", "factor": 100, "length": 4}
    after = STEPS["boosted"](PARTS, share=0.5, **lift)(asked(), found)
    assert after.rows.tolist() == [[0, 1, 2, 3, 6, 9, 4]], "4 is x too, and the share is taken"
    assert STEPS["boosted"](PARTS, share=0.2, **lift)(asked(), found).rows.tolist() == found.rows.tolist()
    parts = replace(PARTS, catalogue=CATALOGUE.amended({0: {"item_id": "i0"}, 9: {"item_id": "i9", "label": "X"}}))
    after = STEPS["boosted"](parts, share=0.5, **lift)(asked(), found)
    assert after.rows.tolist() == [[9, 1, 2, 3, 6, 0, 4]]


def test_what_is_drawn_has_the_propensity_that_is_written_down():
    many = 2000
    found = ranked(*[list(range(N))] * many)
    after = STEPS["explored"](PARTS, share=0.5, length=4, depth=8)(asked(many), found)
    assert np.allclose(np.nansum(after.signals["propensity"], axis=1), 4)
    written = dict(zip(after.rows[0].tolist(), after.signals["propensity"][0].tolist(), strict=True))
    assert [round(written[row], 4) for row in range(N)] == [1, 1, *[0.3333] * 6, 0, 0, 0, 0]
    often = np.array([(after.rows[:, :4] == row).any(axis=1).mean() for row in range(N)])
    assert np.allclose(often, [written[row] for row in range(N)], atol=0.03)
    drawn = after.rows[:, :4] > 1
    assert np.allclose(drawn.mean(axis=0), 0.5, atol=0.03), "at places that are drawn too"
    rest = after.rows[:, 4:]
    assert (np.diff(rest, axis=1) > 0).all(), "the others as they stood"
    assert np.array_equal(after.rows, STEPS["explored"](PARTS, share=0.5, length=4, depth=8)(asked(many), found).rows)


def test_only_what_a_source_proposed_is_drawn():
    fresh = np.where(np.isin(np.arange(N), [1, 6, 9]), 1, np.nan).astype(np.float32)[None]
    found = replace(ranked(list(range(N))), signals={"fresh": fresh})
    firsts = [
        STEPS["explored"](PARTS, share=0.3, length=5, source="fresh")([Query(now=NOW, seed=seed)], found)
        for seed in range(40)
    ]
    assert {frozenset(after.rows[0, :5].tolist()) for after in firsts} == {
        frozenset([0, 1, 2, 3, drawn]) for drawn in (6, 9)
    }
    none = STEPS["explored"](PARTS, share=0.3, length=5, source="stale")(asked(), found)
    assert none.rows.tolist() == found.rows.tolist()
    assert np.nansum(none.signals["propensity"]) == 5


def test_a_pinned_item_stands_at_its_place_and_one_that_is_not_there_leaves_it():
    step = STEPS["pinned"](PARTS, items=["i7", "nowhere", "i2"], places=[3, 1, 9])
    after = step(asked(2), ranked([0, 1, 4, 7, 2, 5], [0, 1, 4, 3]))
    assert after.rows.tolist() == [[0, 1, 7, 4, 5, 2], [0, 1, 4, 3, -1, -1]]
    first = STEPS["pinned"](PARTS, items=["i4", "i0"])(asked(), ranked([0, 1, 2, 4]))
    assert first.rows.tolist() == [[4, 0, 1, 2]]


def test_pinned_items_are_proposed_and_neither_seen_nor_deleted_ones_are_answered():
    parts = replace(PARTS, available=Mask.of_rows([row for row in range(N) if row != 5], N))
    pins = {"items": ["i5", "i3", "nowhere", "i8", "i1"]}
    surface = Surface(
        sources=(Line(name="popular"), Line(name="pinned", **pins)),
        filters=(Line(name="seen"),),
        steps=(Line(name="pinned", **pins, places=[1, 2, 3, 4, 5]),),
    )
    queries = [
        Query(now=NOW),
        Query(now=NOW, seen=np.array([8], np.int32)),
        Query(now=NOW, allowed=Mask.of_rows([3], N)),
    ]
    answer = Recommender.of(surface, parts).recommend(queries, 6)
    assert answer.candidates.rows.tolist() == [[0, 3, 2, 8, 1, 4], [0, 3, 2, 4, 1, 6], [3, -1, -1, -1, -1, -1]]
    assert answer.sources(0)[1] == ["popular", "pinned"]


def test_a_propensity_is_no_source():
    surface = Surface(sources=(Line(name="popular"),), steps=(Line(name="explored", share=0.5, length=4),))
    answer = Recommender.of(surface, PARTS).recommend([Query(now=NOW)], 4)
    assert answer.candidates.signals["propensity"].sum() == pytest.approx(2 + 2 * 0.2)
    assert answer.sources(0) == [["popular"]] * 4


@pytest.mark.parametrize(
    ("step", "options", "said"),
    [
        ("boosted", {"where": "label:x", "share": 2}, "share is 2: it must lie between 0 and 1"),
        ("boosted", {"where": "label:x", "factor": 0.5}, "factor is 0.5: at least 1 was wanted"),
        ("boosted", {"where": "maker:x"}, "unknown column 'maker', choose one of artists, item_id, label"),
        ("boosted", {"where": "label"}, "filter 'label': 'label' stands where a term such as"),
        ("explored", {"length": 0}, "length is 0: at least 1 was wanted"),
        ("explored", {"depth": 5}, "length is 10 and depth 5: 1 ≤ length ≤ depth was wanted"),
        ("pinned", {"items": "i1"}, "items are 'i1': a list of ids was wanted"),
        ("pinned", {"items": ["i1", "i1"]}, "each may be named once"),
        ("pinned", {"items": ["i1"], "places": [0]}, r"places are \[0\]: 1 different ones from 1 on were wanted"),
        ("diverse", {"weight": 2}, "weight is 2: it must lie between 0 and 1"),
        ("diverse", {"length": 0}, "length is 0 and depth 100: 1 ≤ length ≤ depth was wanted"),
        ("diverse", {"vectors": "audio"}, "unknown vectors 'audio', choose one of content, similar"),
        ("calibrated", {"column": "label", "weight": -1}, "weight is -1: it must lie between 0 and 1"),
        ("discounted", {"rate": -1}, "rate is -1: at least 0 was wanted"),
        ("discounted", {"curve": "cubic"}, "unknown curve 'cubic', choose one of exponential, inverse, linear, quad"),
        ("dithered", {"epsilon": 0.5}, "epsilon is 0.5: at least 1 was wanted"),
        ("capped", {"column": "artist"}, "'artist' is none in this catalogue: choose one of artists, label"),
        ("capped", {"column": "artists", "at_most": 0}, "at_most is 0: at least 1 was wanted"),
    ],
)
def test_an_option_that_cannot_be_is_refused(step, options, said):
    with pytest.raises(ValueError, match=said):
        STEPS[step](PARTS, **options)
