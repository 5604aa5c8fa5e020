"""How several sources become one list."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recsys.candidates import Candidates
from recsys.errors import SettingsError
from recsys.fusions import FUSIONS
from recsys.pipeline import Recommender
from recsys.retrieval import Parts, Query
from recsys.surfaces import Line, Surface, unseen

NOW = datetime(2026, 11, 23, tzinfo=UTC)
N = 10
PARTS = Parts(N, {}, np.arange(N, dtype=np.float32))
QUERY = Query(now=NOW)


class Opinion:
    """A source with a score for every item, of which it proposes those it likes best."""

    def __init__(self, scores):
        self.scores = np.asarray(scores, np.float32)

    def __call__(self, queries, k):
        order = np.argsort(-self.scores, kind="stable")[:k].astype(np.int32)
        return Candidates(np.tile(order, (len(queries), 1)), np.tile(self.scores[order], (len(queries), 1)))

    def score(self, queries, rows):
        return np.where(rows >= 0, self.scores[np.maximum(rows, 0)], np.float32(np.nan))


class Mute:
    """The same, but it cannot score what it did not propose."""

    def __init__(self, scores):
        self.propose = Opinion(scores)

    def __call__(self, queries, k):
        return self.propose(queries, k)


def fused(fusion, sources, k=4):
    proposals = {name: source([QUERY], k) for name, source in sources.items()}
    return fusion([QUERY], proposals, sources)


OPINIONS = hnp.arrays(np.float32, N, elements=st.integers(-50, 50).map(float), unique=True)


# What by-takers makes of a source depends on its name and on the items: see test_content_sources.
@pytest.mark.parametrize("name", sorted(set(FUSIONS) - {"by-takers"}))
@given(first=OPINIONS, second=OPINIONS)
def test_the_order_of_sources_does_not_matter_and_one_alone_keeps_its_order(name, first, second):
    options = {} if name == "reciprocal-rank" else {"weights": {"a": 0.3, "b": 0.7}}
    fusion = FUSIONS[name](PARTS, **options)
    sources = {"a": Opinion(first), "b": Opinion(second)}
    one = fused(fusion, sources)
    other = fused(fusion, dict(reversed(sources.items())))
    scored = dict(zip(one.rows[0].tolist(), one.scores[0].tolist(), strict=True))
    turned = dict(zip(other.rows[0].tolist(), other.scores[0].tolist(), strict=True))
    assert scored.keys() == turned.keys()
    for row, score in scored.items():
        assert row < 0 or score == pytest.approx(turned[row], abs=1e-5)
    assert set(one.rows[one.rows >= 0].tolist()) == set(
        np.argsort(-first)[:4].tolist() + np.argsort(-second)[:4].tolist()
    )
    alone = fused(fusion, {"a": sources["a"]}).top(4)
    assert alone.rows[0].tolist() == np.argsort(-first)[:4].tolist()


@given(OPINIONS, OPINIONS, st.floats(0.1, 100), st.floats(-100, 100))
def test_z_scores_do_not_depend_on_a_source_s_scale_or_zero(first, second, scale, shift):
    fusion = FUSIONS["z-score"](PARTS, weights={"a": 0.4, "b": 0.6})
    one = fused(fusion, {"a": Opinion(first), "b": Opinion(second)})
    other = fused(fusion, {"a": Opinion(first * np.float32(scale) + np.float32(shift)), "b": Opinion(second)})
    assert one.scores[one.filled] == pytest.approx(other.scores[other.filled], abs=2e-3)


def test_z_scores_worked_by_hand():
    sources = {"a": Opinion([4, 2, 0, *[-9] * 7]), "b": Opinion([0, 0, 3, *[-9] * 7])}
    union = fused(FUSIONS["z-score"](PARTS, weights={"a": 0.5, "b": 0.5}), sources, k=2)
    # a proposes 0 and 1, b proposes 2 and 0; over the three a says 4 2 0 and b 0 0 3
    a = np.array([1, 0, -1]) / np.sqrt(2 / 3)
    b = (np.array([0, 0, 3]) - 1) / np.sqrt(2)
    found = dict(zip(union.rows[0].tolist(), union.scores[0].tolist(), strict=True))
    for row in range(3):
        assert found[row] == pytest.approx((a[row] + b[row]) / 2, rel=1e-5)


def test_a_weighted_sum_is_what_it_says():
    sources = {"a": Opinion([4, 2, 0, *[-9] * 7]), "b": Opinion([0, 0, 3, *[-9] * 7])}
    union = fused(FUSIONS["weighted-sum"](PARTS, weights={"a": 0.5, "b": 2.0}), sources, k=2)
    found = dict(zip(union.rows[0].tolist(), union.scores[0].tolist(), strict=True))
    assert found == {0: 2.0, 1: 1.0, 2: 6.0, -1: -np.inf}


def test_a_source_that_cannot_score_gives_the_rest_its_least():
    sources = {"a": Mute([4, 2, *[-9] * 8]), "b": Opinion([0, 0, 3, *[-9] * 7])}
    union = fused(FUSIONS["z-score"](PARTS, weights={"a": 1.0, "b": 0.0}), sources, k=2)
    found = dict(zip(union.rows[0].tolist(), union.scores[0].tolist(), strict=True))
    assert found[0] > found[1] == found[2]


def test_a_source_with_nothing_to_say_counts_for_nothing():
    class Silent:
        def __call__(self, queries, k):
            return Candidates.empty(len(queries))

        def score(self, queries, rows):
            raise AssertionError("it was asked")

    sources = {"a": Opinion(np.arange(N)), "b": Silent()}
    assert fused(FUSIONS["z-score"](PARTS, weights={"a": 0.1, "b": 0.9}), sources).top(4).rows[0].tolist() == [
        9,
        8,
        7,
        6,
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weights": {"popular": -1}}, "none may be negative"),
        ({"weights": {"popular": 0}}, "one must be above 0"),
        ({"weights": {"popular": 1}, "pool": 0}, "pool is 0: ask for at least 1"),
        ({}, "weights"),
        ({"weight": 1}, "weight"),
    ],
)
def test_a_fusion_that_cannot_be_is_refused_when_the_surface_is_built(options, said):
    with pytest.raises(SettingsError, match=said):
        Recommender.of(unseen(Line(name="popular"), fusion=Line(name="z-score", **options)), PARTS)


def test_a_fusion_that_fails_costs_the_request_nothing_but_its_order(caplog):
    surface = Surface(
        sources=(Line(name="popular"), Line(name="popular", label="again")),
        fusion=Line(name="z-score", weights={"popular": 1.0}),
    )
    answer = Recommender.of(surface, PARTS).recommend([QUERY], 3)
    assert answer.degraded == ("fusion",)
    assert answer.candidates.rows[0].tolist() == [9, 8, 7]
    assert answer.sources(0)[0] == ["popular", "again"]
    assert "no weight for again" in caplog.text


def test_what_was_seen_is_left_out_before_ranks_are_counted():
    recommender = replace(
        Recommender.of(unseen(Line(name="popular")), PARTS), sources={"a": Opinion(np.arange(N))}, ladder={}
    )
    answer = recommender.recommend([replace(QUERY, seen=np.array([9, 8], np.int32))], 2)
    assert answer.candidates.rows[0].tolist() == [7, 6]
    assert answer.candidates.scores[0, 0] == pytest.approx(1 / 61)
