"""`/recommend` with a ranker and every step: traces, contexts, segments, reasons; asked of a real server."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import numpy as np
import pytest

from api.cursors import LIFE, Cursor
from benchmarks.slow import publish_slow, repeated
from index import load
from recsys.assembly import HOME, assemble
from recsys.errors import ReleaseDamaged
from recsys.releases import ReleaseStore
from recsys.settings import load_settings
from recsys.steps import STEPS

KEY = "let me see, é"
PRESENT = {"X-Debug-Key": KEY.encode()}
CURSOR_KEY = "what cursors are signed with"
MORE = """
[log]
impressions = 0  # what is shown changes a state, and with it the next list

[ranker]
folds = 2
trees = 40
learning_rate = 0.1
least_rows = 300

[surfaces.all]
filters = ["available", "wanted", "seen"]
steps = [
    { name = "discounted" },
    { name = "capped", column = "genres", at_most = 6 },
    { name = "content-outlier", vectors = "similar", share = 0.1 },
    { name = "boosted", where = "genres:Comedy" },
    { name = "calibrated", column = "genres" },
    { name = "diverse" },
    { name = "dithered" },
    { name = "explored", share = 0.2 },
    { name = "pinned", items = ["50", "no such film"] },
]

[surfaces.few]
sources = [{ name = "nearest", index = "items" }, "popular"]
fusion = { name = "reciprocal-rank", pool = 30 }
steps = [{ name = "capped", column = "genres", at_most = 3 }]
ladder = []

[surfaces.cart]
sources = [{ name = "together" }]
fusion = "reciprocal-rank"
steps = []
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, configured):
    folder = tmp_path_factory.mktemp("ranked")
    serve = f'[serve]\ndebug_key = {json.dumps(KEY)}\ncursor_key = "{CURSOR_KEY}"\n'
    (folder / "recsys.toml").write_text(configured(16).replace("[serve]\n", serve) + MORE)
    done = subprocess.run([sys.executable, "-m", "recsys", "train"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def asked(client, user, headers=None, **parameters):
    answer = client.get("/recommend", params={"user_id": user, **parameters}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def posted(client, headers=None, **body):
    answer = client.post("/recommend", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def items(body):
    return [item["item_id"] for item in body["items"]]


def test_the_release_has_a_ranker_and_every_step_that_is_not_for_playlists(engine):
    surface = engine.surfaces["all"]
    assert surface.ranker is not None
    assert set(STEPS) - {line.name for line in (*surface.filters, *surface.steps)} <= {
        "flow",
        "portioned",
        "unrepeated",
    }


@pytest.mark.parametrize("k", [10, 30])
def test_get_and_batch_and_library_give_one_list_with_a_ranker_and_every_step(client, engine, k):
    users = ["196", "22", "nobody at all", "405", "1"]
    got = [asked(client, user, surface="all", k=k) for user in users]
    assert all(body["degraded"] == [] for body in got)
    batch = posted(client, user_ids=users, surface="all", k=k)["answers"]
    assert [items(body) for body in batch] == [items(body) for body in got]
    assert [body["level"] for body in batch] == [body["level"] for body in got]
    now = datetime.now(UTC)
    queries = [engine.resolver.known(user, None, now) for user in users]
    found = engine.recommenders["all"].recommend(queries, k).candidates.rows
    assert [engine.items.ids(row) for row in found] == [items(body) for body in got]
    assert items(got[2])[0] == "50", "as it is pinned"


# --------------------------------------------------------------------------- traces


@pytest.mark.parametrize("headers", [{}, {"X-Debug-Key": ""}, {"X-Debug-Key": "let me in"}, {"X-Debug-Key": KEY[:-3]}])
def test_a_trace_is_for_who_has_the_key(client, headers):
    for answer in (
        client.get("/recommend", params={"user_id": "196", "debug": "true"}, headers=headers),
        client.post("/recommend", json={"history": [], "debug": True}, headers=headers),
        client.post("/recommend", json={"user_ids": ["196"], "debug": True}, headers=headers),
    ):
        assert answer.status_code == 403
        assert answer.headers["content-type"] == "application/problem+json"
        assert "X-Debug-Key must hold the key of serve.debug_key" in answer.json()["detail"]
        assert KEY not in answer.text
    assert "trace" not in asked(client, "196", headers=headers)


def test_without_a_key_in_the_settings_nobody_sees_a_trace(address):
    for headers in ({}, {"X-Debug-Key": ""}, {"X-Debug-Key": "None"}):
        answer = httpx.get(f"{address}/recommend", params={"user_id": "196", "debug": "true"}, headers=headers)
        assert answer.status_code == 403
        assert "set serve.debug_key" in answer.json()["detail"]


def lists(trace, what):
    return [set(stage[what]["item_ids"]) for stage in trace]


@pytest.mark.parametrize("user", ["196", "nobody at all"])
def test_every_item_that_was_proposed_is_answered_or_removed_by_a_stage(client, user):
    body = asked(client, user, PRESENT, surface="few", k=5, debug="true", exclude="50,181", filter="year<1997")
    assert items(body) == items(asked(client, user, surface="few", k=5, exclude="50,181", filter="year<1997"))
    trace = body["trace"]
    assert all(stage[what]["count"] == len(stage[what]["item_ids"]) for stage in trace for what in ("removed", "added"))
    proposed = set().union(*lists([stage for stage in trace if stage["stage"] in {"source", "rung"}], "added"))
    removed = set().union(*lists(trace, "removed"))
    assert removed | set(items(body)) == proposed
    assert not removed & set(items(body)) or user == "196"
    for stage in trace:
        assert stage["after"] == stage["before"] - stage["removed"]["count"] + stage["added"]["count"]
        assert stage["ms"] >= 0
    by_wanted = set().union(*lists([stage for stage in trace if stage["name"] == "wanted"], "removed"))
    assert not {"50", "181"} & set(items(body))
    assert {"50", "181"} & proposed <= by_wanted


def test_a_trace_names_each_stage_in_its_order_and_what_it_is_for(client):
    trace = asked(client, "196", PRESENT, surface="all", debug="true")["trace"]
    shared = [f"{stage['stage']} {stage['name']}" for stage in trace if stage["of"] is None]
    assert shared[:2] == ["fusion reciprocal-rank", "ranker ranker"]
    assert shared[2:] == [
        f"step {name}"
        for name in ("discounted", "capped", "content-outlier", "boosted", "calibrated", "diverse", "dithered",
                     "explored", "pinned")
    ] + ["cut k"]  # fmt: skip
    assert [stage["name"] for stage in trace if stage["stage"] == "source"] == ["nearest", "trending", "popular"]
    assert [stage["name"] for stage in trace if stage["of"] == "nearest"] == [
        "nearest", "wanted", "available", "wanted", "seen", "pool"
    ]  # fmt: skip
    seen = next(stage for stage in trace if stage["name"] == "seen" and stage["of"] == "popular")
    assert seen["why"] == "Empty the slots of items that the query has seen."
    assert seen["removed"]["count"] > 0
    trace = asked(client, "405", PRESENT, debug="true")["trace"]
    seen = next(stage for stage in trace if stage["name"] == "seen" and stage["of"] == "popular")
    assert seen["removed"]["count"] > len(seen["removed"]["item_ids"]) == 100, "ids are bounded, the count is not"


def test_visitors_and_batches_have_traces_too(client):
    body = posted(client, PRESENT, history=[{"item_id": "50"}], surface="all", debug=True, k=5)
    assert {"source", "fusion", "step"} <= {stage["stage"] for stage in body["trace"]}
    batch = posted(client, PRESENT, user_ids=["196", "nobody at all"], debug=True, k=5)["answers"]
    alone = [asked(client, user, PRESENT, debug="true", k=5) for user in ("196", "nobody at all")]
    for one, other in zip(batch, alone, strict=True):
        assert [stage["name"] for stage in one["trace"]] == [stage["name"] for stage in other["trace"]]
        assert one["trace"][-1]["after"] == other["trace"][-1]["after"] == 5
        assert items(one) == items(other)


# --------------------------------------------------------------------------- contexts and segments


def test_a_basket_is_what_the_list_goes_with(client):
    one = asked(client, "196", surface="cart", context="50", k=5)
    both = asked(client, "196", surface="cart", context="50,181", k=5)
    assert one["level"] == both["level"] == "together"
    assert {source for item in both["items"] for source in item["sources"]} == {"together"}
    assert not {"50", "181"} & set(items(both))
    assert "50" not in items(one)
    assert items(one) != items(both)
    assert items(asked(client, "196", surface="cart", context=["50", "181"], k=5)) == items(both)
    assert items(posted(client, user_ids=["196"], surface="cart", context=["50", "181"], k=5)["answers"][0]) == items(
        both
    )
    visitor = posted(client, history=[], surface="cart", context=["50", "181"], k=5)
    assert (visitor["level"], len(items(visitor))) == ("together", 5)
    without = asked(client, "196", surface="cart", k=5)
    assert without["level"] in {"trending", "popular"}


def test_what_a_request_is_about_does_not_come_back_on_any_surface(client):
    first = items(asked(client, "196", k=3))
    assert not set(first) & set(items(asked(client, "196", context=",".join(first), k=20)))


def test_unknown_items_of_a_context_count_for_nothing_and_are_named(client):
    known = asked(client, "196", surface="cart", context="50", k=5)
    body = asked(client, "196", surface="cart", context="no such film,50,,é", exclude="nor this", k=5)
    assert items(body) == items(known)
    assert body["unknown"] == ["nor this", "no such film", "é"]
    assert "unknown" not in known
    nothing = asked(client, "196", surface="cart", context="no such film", k=5)
    assert (nothing["unknown"], len(items(nothing))) == (["no such film"], 5)
    said = posted(client, user_ids=["196", "22"], context=["no such film"], k=2)["answers"]
    assert [one["unknown"] for one in said] == [["no such film"]] * 2


def test_an_item_that_was_put_just_now_may_be_a_context(client):
    assert client.put("/items/brand-new", json={"title": "Brand new"}).status_code == 201
    assert "unknown" not in asked(client, "196", surface="cart", context="brand-new", k=5)
    assert client.delete("/items/brand-new").status_code == 204


def test_a_segment_is_a_rung_below_what_is_known_of_a_user(client, engine):
    body = asked(client, "nobody", surface="cart", segment="genres:film-noir", k=5)
    assert body["level"] == "segment"
    genres = engine.catalogue.table["genres"].to_pylist()
    assert all("Film-Noir" in genres[row] for row in engine.items.rows(items(body)))
    assert items(posted(client, history=[], surface="cart", segment="genres:Film-Noir", k=5)) == items(body)
    assert asked(client, "nobody", surface="cart", k=5)["level"] == "trending"
    assert asked(client, "nobody", surface="cart", segment="genres:polka", k=5)["level"] == "trending"
    client.put("/users/of-a-kind", json={"interests": ["slow", "film-noir"]})
    assert items(asked(client, "of-a-kind", surface="cart", k=5)) == items(body)


BAD = {
    "context of another type": ({"history": [], "context": "50"}, "body.context"),
    "empty id in a context": ({"history": [], "context": [""]}, "body.context.0"),
    "NUL in a context": ({"history": [], "context": ["a\0"]}, "body.context.0"),
    "context of 101": ({"history": [], "context": [str(n) for n in range(101)]}, "body.context"),
    "segment without a value": ({"history": [], "segment": "genres:"}, "`genres:Jazz`, but it is 'genres:'"),
    "segment without a column": ({"history": [], "segment": "Drama"}, "but it is 'Drama'"),
    "segment of no column": ({"history": [], "segment": "genre:Drama"}, "unknown column 'genre', choose one of genres"),
    "segment of a surface without": ({"history": [], "segment": "genres:Drama", "surface": "few"}, "goes by none"),
    "debug as a word": ({"history": [], "debug": "yes"}, "body.debug"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_wanted_is_refused_by_name(client, name):
    body, said = BAD[name]
    answer = client.post("/recommend", json=body)
    assert answer.status_code == 422, answer.text
    assert said in answer.json()["detail"]


def test_a_context_in_an_address_is_as_bounded_as_one_in_a_body(client):
    for context, said in ((",".join(map(str, range(101))), "it names 101 items, at most 100"), (["1"] * 101, "query")):
        answer = client.get("/recommend", params={"user_id": "196", "context": context})
        assert answer.status_code == 422
        assert said in answer.json()["detail"]
    assert client.get("/recommend", params={"user_id": "196", "segment": ""}).status_code == 422


def test_a_cursor_that_is_too_old_is_gone(client):
    now = int(datetime.now(UTC).timestamp())
    for age, status in ((LIFE - 60, 200), (LIFE + 60, 410)):
        cursor = Cursor(now - age, 1, np.zeros(0, np.uint64)).signed(CURSOR_KEY.encode(), "196", HOME)
        answer = client.get("/recommend", params={"user_id": "196", "cursor": cursor})
        assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert "more than 24 hours ago: ask for it anew, without a cursor" in answer.json()["detail"]


@pytest.mark.parametrize("filter_", ["genres:Drama and not genres:Drama", "year<1950 and year>1960", "genres:polka"])
def test_filters_that_leave_nothing_leave_a_reason(client, filter_):
    for body in (
        asked(client, "196", surface="all", filter=filter_),
        posted(client, history=[{"item_id": "50"}], surface="all", filter=filter_),
    ):
        assert (body["items"], body["level"]) == ([], "none")
        assert "0 fulfil the filter" in body["reason"]


@pytest.mark.parametrize("surface", ["home", "all", "cart"])
def test_more_items_than_there_are_is_all_there_are(client, engine, surface):
    genres = engine.catalogue.table["genres"].to_pylist()
    there = {id_ for id_, of in zip(engine.items, genres, strict=True) if "Fantasy" in of}
    body = asked(client, "nobody", surface=surface, filter="genres:Fantasy", k=500)
    if surface == "all":  # which caps a genre
        assert set(items(body)) < there
    else:
        assert set(items(body)) == there
    assert f"{len(items(body))} of" in body["reason"]


def test_a_pinned_item_that_is_not_there_leaves_its_place_to_the_next(client):
    """`50` is pinned to the first place, beside one that nobody knows."""
    assert items(asked(client, "nobody", surface="all", k=5))[0] == "50"
    without = items(asked(client, "nobody", surface="all", k=5, exclude="50"))
    assert len(without) == 5
    assert "50" not in without
    first = items(asked(client, "nobody", surface="all", k=1, filter="genres:Western"))
    assert first
    assert first != ["50"]


BOOST = {"name": "boosted", "where": "genres:Drama"}


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        ({"sources": [{"name": "nearst"}]}, "unknown source 'nearst', choose one of .*nearest"),
        ({"steps": [{"name": "diferse"}]}, "unknown step 'diferse', choose one of .*diverse"),
        ({"steps": [{"name": "capped", "column": "author"}]}, "'author' is none in this catalogue: choose .*genres"),
        ({"ladder": [{"name": "segment", "columns": ["country"]}]}, "'country' is none in this catalogue: choose"),
        ({"steps": [{**BOOST, "share": 1.5}]}, "share is 1.5: it must lie between 0 and 1"),
        ({"steps": [{**BOOST, "where": "genre:Drama"}]}, "unknown column 'genre', choose one of .*genres"),
        ({"ranker": {"name": "lerned"}}, "unknown ranker 'lerned', choose one of learned"),
        ({"sources": [{"name": "nearest", "index": "items"}]}, "the ranker asks for .*source-rank:popular"),
        ({"budget_ms": -1}, "budget_ms"),
    ],
)
def test_a_release_whose_surfaces_cannot_be_is_refused_when_it_is_loaded(folder, tmp_path, forged, said):
    settings = load_settings(folder / "recsys.toml", {})
    release = ReleaseStore(settings.releases.folder).current()
    shutil.copytree(release.folder, tmp_path / "copy")
    path = tmp_path / "copy/pipeline.json"
    surfaces = json.loads(path.read_text())
    path.write_text(json.dumps({**surfaces, HOME: {**surfaces[HOME], **forged}}))
    with pytest.raises(ReleaseDamaged, match=said):
        assemble(replace(release, folder=tmp_path / "copy"), load)


# --------------------------------------------------------------------------- reasons


def test_a_ranked_list_says_what_moved_its_items(client, engine):
    body = asked(client, "196", explain="true", k=10)
    assert items(body) == items(asked(client, "196", k=10))
    features = engine.parts.ranker.features
    for item in body["items"]:
        assert 1 <= len(item["features"]) <= 5
        assert {cause["feature"] for cause in item["features"]} <= set(features)
        sizes = [abs(cause["share"]) for cause in item["features"]]
        assert sizes == sorted(sizes, reverse=True)
        assert 0 < sum(sizes) <= 1.01
        assert all(cause["about"] for cause in item["features"])
    (batched,) = posted(client, user_ids=["196"], explain=True, k=10)["answers"]
    assert batched["items"] == body["items"]
    assert all("features" not in item for item in asked(client, "196", surface="few", explain="true")["items"])
    assert "features" not in asked(client, "196")["items"][0]


@pytest.mark.parametrize("surface", ["trending", "popular"])
def test_a_list_for_everybody_has_no_reasons(client, surface):
    body = asked(client, "196", surface=surface, explain="true", k=3)
    assert [item["because"] for item in body["items"]] == [[]] * 3


def test_shares_are_those_of_the_exact_contributions(client, engine):
    body = asked(client, "22", explain="true", k=5)
    query = engine.resolver.known("22", None, datetime.now(UTC))
    recommender = engine.recommenders[HOME]
    told = recommender.ranker.explain(query, recommender.retrieve([query], 5), engine.items.rows(items(body)))
    for item, line in zip(body["items"], told, strict=True):
        first = item["features"][0]
        at = engine.parts.ranker.features.index(first["feature"])
        assert at == np.abs(line).argmax()
        # Ages are counted to now, so a moment lies between the two.
        assert first["share"] == pytest.approx(line[at] / np.abs(line).sum(), abs=0.01)


# --------------------------------------------------------------------------- a slow ranker


def test_a_ranker_slower_than_the_budget_is_left_out_and_nobody_waits_for_it(folder, client, engine, serve, tmp_path):
    shutil.copytree(folder / "var", tmp_path / "var", ignore=shutil.ignore_patterns("*.sock"))
    shutil.copy(folder / "recsys.toml", tmp_path)
    # Enough above the budget; each millisecond more is thousands of trees that the server reads before it answers.
    _, took = publish_slow(tmp_path, 6, budget=3)
    assert took >= 6
    plain = replace(engine.recommenders[HOME], ranker=None)
    users = engine.users.ids.ids(np.arange(20, dtype=np.int32))
    with serve(tmp_path) as (address, _), httpx.Client(base_url=address, timeout=60) as own:
        for user in users:
            answer = own.get("/recommend", params={"user_id": user, "k": 10})
            assert answer.json()["degraded"] == ["ranker"]
            assert "ranker" not in answer.headers["server-timing"], "it never began"
            query = engine.resolver.known(user, None, datetime.now(UTC))
            rows = plain.recommend([query], 10).candidates.rows[0]
            assert items(answer.json()) == engine.items.ids(rows), "the order of the fusion"
        assert 'recsys_degraded_total{part="ranker"}' in own.get("/metrics").text
    assert asked(client, "196")["degraded"] == [], "with its own ranker, and time enough"


def test_a_repeated_ranker_is_the_same_but_for_its_time(engine):
    ranker = engine.parts.ranker
    rows = np.random.default_rng(0).normal(size=(50, len(ranker.features))).astype(np.float32)
    many = repeated(ranker, 7)
    assert len(many.trees) == 7 * (len(ranker.trees) - 1) + 1
    # All but the last tree stand there seven times.
    last = many.trees.score(rows) - 7 * ranker.trees.score(rows)
    assert np.ptp(last) <= 6 * np.ptp(ranker.trees.leaves[-1]) + 1e-9
