"""What is done without when there is no time: what it was thought to cost, in which order, and that it comes back."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse

from api.metrics import METRICS
from api.problems import Shed, Waiting
from index.exact import Exact
from recsys.budget import PATIENCE, RETRY, Costs
from recsys.pipeline import Recommender
from recsys.retrieval import Parts, Query
from recsys.surfaces import Line, Surface

NOW = datetime(2026, 11, 23, tzinfo=UTC)
VECTORS = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
PARTS = Parts(
    200,
    {"items": Exact.build(VECTORS), "similar": Exact.build(VECTORS)},
    np.arange(200, dtype=np.float32),
    {"items": VECTORS, "similar": VECTORS},
)
QUERY = Query(now=NOW, vector=VECTORS[0])
SURFACE = Surface(
    sources=(Line(name="nearest", index="items"),),
    filters=(Line(name="seen"),),
    steps=(Line(name="diverse"), Line(name="explored", share=0.5)),
    ladder=(Line(name="popular"),),
)


def slow(seconds):
    def ranker(queries, candidates):
        time.sleep(seconds)
        return replace(candidates, scores=-candidates.scores)

    return ranker


def surface(budget_ms, ranker_seconds):
    made = Recommender.of(SURFACE.model_copy(update={"budget_ms": budget_ms}), PARTS)
    return replace(made, ranker=slow(ranker_seconds))


def test_a_slow_ranker_is_left_out_before_it_runs():
    recommender = surface(1000, 1.05)
    first = recommender.recommend([QUERY], 10)
    assert first.degraded in {(), ("explored",), ("diverse", "explored")}, "nobody knew how slow it is"
    answers = [recommender.recommend([QUERY], 10) for _ in range(50)]
    assert {answer.degraded for answer in answers} == {("ranker",)}
    assert not any("ranker" in answer.seconds for answer in answers)
    unranked = replace(recommender, ranker=None, budget=None).recommend([QUERY], 10)
    assert all(np.array_equal(answer.candidates.rows, unranked.candidates.rows) for answer in answers)


def test_one_that_has_become_fast_comes_back():
    now = [0.0]
    quick = replace(surface(1000, 0), ranker=slow(0), costs=Costs(lambda: now[0]))
    quick.costs.took("ranker", 2.0)
    said = [quick.recommend([QUERY], 10).degraded for _ in range(RETRY + 3)]
    assert said == [("ranker",)] * (RETRY + 3), "so many answers came in no time"
    now[0] = 2.0 * PATIENCE - 1
    assert quick.recommend([QUERY], 10).degraded == ("ranker",)
    now[0] += 1
    assert [quick.recommend([QUERY], 10).degraded for _ in range(2)] == [(), ()]


def test_seldom_asked_for_it_is_tried_no_more_often_than_one_in_so_many():
    now = [0.0]
    quick = replace(surface(1000, 0), ranker=slow(0), costs=Costs(lambda: now[0]))
    quick.costs.took("ranker", 2.0)
    now[0] = 1e9
    said = [quick.recommend([QUERY], 10).degraded for _ in range(RETRY + 2)]
    assert said[:RETRY] == [("ranker",)] * RETRY
    assert said[-1] == ()


def test_without_a_budget_nothing_is_left_out():
    assert surface(None, 0.01).recommend([QUERY], 10).degraded == ()


def test_where_no_time_is_left_only_what_may_not_be_left_out_runs():
    recommender = surface(1e-6, 0.0)
    for _ in range(2):
        answer = recommender.recommend([replace(QUERY, seen=np.arange(50, dtype=np.int32))], 10)
    assert set(answer.degraded) == {"explored", "diverse", "ranker"}
    assert (answer.candidates.rows >= 50).all()


def test_the_time_before_counts():
    recommender = surface(1000, 0.0)
    recommender.recommend([QUERY], 10)
    assert recommender.recommend([QUERY], 10).degraded == ()
    assert "ranker" in recommender.recommend([QUERY], 10, time.perf_counter() - 2).degraded


seconds = st.lists(st.floats(0, 1), min_size=1, max_size=5)


@given(seconds, st.floats(-1, 4))
def test_what_is_left_fits_and_no_more_is_left_out_than_must_be(costs, time_left):
    known = Costs()
    parts = [f"part {place}" for place in range(len(costs))]
    for part, cost in zip(parts, costs, strict=True):
        known.took(part, cost)
    out = known.left_out(parts, time_left)
    total = sum(known.of(part) for part in parts if part not in out)
    assert total <= time_left + 1e-9 or out == parts
    if sum(costs) <= time_left - 1e-9:
        assert out == []
    for part in out:
        assert total + known.of(part) > time_left - 1e-9


def test_beyond_so_many_requests_at_once_503_is_answered_and_counted():
    async def drive():
        release = asyncio.Event()

        async def busy(scope, receive, send):
            await release.wait()
            await PlainTextResponse("done")(scope, receive, send)

        waiting = Waiting(2)
        shed = Shed(busy, waiting)
        transport = httpx.ASGITransport(app=shed)
        before = METRICS.shed._value.get()
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            held = [asyncio.create_task(client.get("/recommend")) for _ in range(2)]
            while not waiting.full:  # noqa: ASYNC110  it tells nobody
                await asyncio.sleep(0)
            refused = await client.get("/recommend")
            release.set()
            assert (await client.get("/healthz")).status_code == 200
            assert [(await task).status_code for task in held] == [200, 200]
            again = await client.get("/recommend")
        return refused, again, METRICS.shed._value.get() - before

    refused, again, counted = asyncio.run(drive())
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.headers["content-type"] == "application/problem+json"
    assert "2 requests are being answered" in refused.json()["detail"]
    assert (again.status_code, counted) == (200, 1)
