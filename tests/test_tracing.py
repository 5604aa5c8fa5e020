"""What a trace says of an answer: nothing goes or comes without a stage that says so."""

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
from recsys.attributes import Attributes
from recsys.catalogue import Catalogue
from recsys.masks import Mask
from recsys.pipeline import Recommender
from recsys.retrieval import Parts, Query
from recsys.surfaces import Line, Surface
from recsys.tracing import Trace
from recsys.vocabulary import Vocabulary

NOW = datetime(2026, 11, 26, tzinfo=UTC)
N, D = 60, 4
VECTORS = unit(np.random.default_rng(0).normal(size=(N, D)).astype(np.float32))
CATALOGUE = Catalogue.of(
    pd.DataFrame({"item_id": [f"i{row}" for row in range(N)], "by": [f"a{row % 20}" for row in range(N)]}),
    Vocabulary.of([f"i{row}" for row in range(N)]),
)
GONE = [3, 11]
INDEX = Growing.of(Exact.build(VECTORS)).remove(GONE)
PARTS = Parts(
    N,
    {"items": INDEX, "similar": INDEX},
    np.arange(N, dtype=np.float32),
    {"items": VECTORS, "similar": VECTORS},
    available=~Mask.of_rows(GONE, N),
    catalogue=CATALOGUE,
    attributes=Attributes(CATALOGUE),
)
SURFACE = Surface(
    sources=(Line(name="nearest", index="items"), Line(name="similar-to-recent", label="like"), Line(name="popular")),
    filters=(Line(name="seen"),),
    fusion=Line(name="reciprocal-rank", pool=12),
    steps=(Line(name="capped", column="by", at_most=1), Line(name="diverse"), Line(name="explored", share=0.5)),
    ladder=(Line(name="together"), Line(name="popular", label="everybody")),
)


def backwards(queries, candidates):
    """Worst first."""
    return replace(candidates, scores=np.where(candidates.filled, -candidates.scores, candidates.scores))


RECOMMENDER = replace(Recommender.of(SURFACE, PARTS), ranker=backwards)


@st.composite
def queries(draw):
    rows = st.lists(st.integers(0, N - 1), max_size=20, unique=True)
    seen, recent, context, excluded = (np.array(draw(rows), np.int32) for _ in range(4))
    return Query(
        now=NOW,
        vector=draw(st.sampled_from([None, VECTORS[0], VECTORS[8]])),
        recent=recent,
        weights=np.ones(len(recent), np.float32),
        seen=np.sort(seen),
        context=context,
        excluded=np.sort(excluded),
        allowed=draw(st.sampled_from([None, Mask.of_rows(range(0, N, 2), N), Mask.of_rows(range(5), N)])),
        seed=draw(st.integers(0, 9)),
    )


@given(asked=st.lists(queries(), min_size=1, max_size=3), k=st.integers(1, 30))
@settings(max_examples=60)
def test_what_was_proposed_was_answered_or_removed_by_a_stage_that_says_so(asked, k):
    trace = Trace()
    answer = RECOMMENDER.recommend(asked, k, watch=trace)
    plain = RECOMMENDER.recommend(asked, k)
    assert np.array_equal(answer.candidates.rows, plain.candidates.rows), "a trace changes nothing"
    for place in range(len(asked)):
        rows = answer.candidates.rows[place]
        answered = set(rows[rows >= 0].tolist())
        proposed, removed = set(), set()
        for stage in trace.stages:
            if stage.kind in {"source", "rung"}:
                proposed |= set(stage.added(place).tolist())
            else:
                assert not len(stage.added(place)), f"{stage.kind} {stage.name} invents items"
            removed |= set(stage.removed(place).tolist())
        assert removed | answered == proposed


@given(asked=queries(), k=st.integers(1, 30))
@settings(max_examples=60)
def test_each_stage_is_given_what_the_one_before_it_left(asked, k):
    trace = Trace()
    answer = RECOMMENDER.recommend([asked], k, watch=trace)
    kinds = [stage.kind for stage in trace.stages]
    assert kinds[: kinds.index("fusion")] == ["source", "filter", "filter", "filter", "cut"] * 3
    left, proposed = {}, set()
    for stage in trace.stages:
        came, went = set(stage.came(0).tolist()), set(stage.left(0).tolist())
        if stage.kind == "fusion":
            proposed = {item for lane in left.values() for item in lane}
            assert came == proposed
            left = {"": went}
        elif stage.kind == "fill":
            assert came == left[""] | left.pop(stage.name)
            left[""] = went
        else:
            assert came == left.get(stage.of, set())
            left[stage.of] = went
    assert left == {"": set(answer.candidates.rows[0][answer.candidates.filled[0]].tolist())}


def test_stages_stand_in_the_order_of_the_configuration_with_what_they_do_and_how_long_it_took():
    trace = Trace()
    RECOMMENDER.recommend([Query(now=NOW, vector=VECTORS[0], context=np.array([5], np.int32))], 40, watch=trace)
    assert [f"{stage.kind} {stage.name}" for stage in trace.stages] == [
        *(f"{one}" for name in ("nearest", "like", "popular")
          for one in (f"source {name}", "filter available", "filter wanted", "filter seen", "cut pool")),
        "fusion reciprocal-rank", "ranker ranker", "step capped", "step diverse", "step explored", "cut k",
        *(f"{one}" for name in ("together", "everybody")
          for one in (f"rung {name}", "filter available", "filter wanted", "filter seen", "cut pool", "step capped",
                      "step diverse", "step explored", f"fill {name}")),
    ]  # fmt: skip
    assert all(stage.seconds >= 0 and stage.why.endswith(".") for stage in trace.stages if stage.kind != "ranker")
    capped = next(stage for stage in trace.stages if stage.name == "capped")
    of = CATALOGUE.table["by"].to_pylist()
    assert len({of[row] for row in capped.left(0)}) == len(capped.left(0)) < len(capped.came(0))


@pytest.mark.parametrize("budget", [None, 60.0])
def test_a_surface_with_a_budget_is_traced_as_one_without(budget):
    recommender, trace = replace(RECOMMENDER, budget=budget), Trace()
    query = Query(now=NOW, vector=VECTORS[0])
    recommender.recommend([query], 5, watch=trace)
    assert [stage.name for stage in trace.stages if stage.kind == "step"] == ["capped", "diverse", "explored"]
    assert trace.seconds.keys() == recommender.recommend([query], 5).seconds.keys()
