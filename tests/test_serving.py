"""Surfaces, batches, reasons and paging of the HTTP contract, asked of a real server with a real release."""

import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime

import httpx
import numpy as np
import pytest

from api.cursors import LIFE, Cursor, CursorExpired, CursorInvalid

MORE = """
[surfaces.email]
steps = [{ name = "dithered", epsilon = 2 }, { name = "diverse" }]
[surfaces.top]
sources = ["popular"]
filters = []
[surfaces.late]
steps = ["diverse"]
budget_ms = 0.001
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, configured):
    folder = tmp_path_factory.mktemp("surfaces")
    (folder / "recsys.toml").write_text(configured(16) + MORE)
    done = subprocess.run([sys.executable, "-m", "recsys", "train"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def asked(client, user, **parameters):
    answer = client.get("/recommend", params={"user_id": user, **parameters})
    assert answer.status_code == 200, answer.text
    return answer.json()


def items(body):
    return [item["item_id"] for item in body["items"]]


def test_surfaces_answer_by_name(client):
    bodies = {name: asked(client, "196", surface=name) for name in ("home", "email", "top")}
    assert all(body["surface"] == name for name, body in bodies.items())
    assert len({tuple(items(body)) for body in bodies.values()}) == 3
    assert items(bodies["top"]) == items(client.get("/popular").json())
    posted = {"history": [{"item_id": "50"}], "surface": "top"}
    assert items(client.post("/recommend", json=posted).json()) == items(bodies["top"])


@pytest.mark.parametrize("body", [None, {"history": []}, {"user_ids": ["196"]}])
def test_an_unknown_surface_is_a_problem_that_lists_those_that_exist(client, body):
    if body is None:
        answer = client.get("/recommend", params={"user_id": "196", "surface": "hme"})
    else:
        answer = client.post("/recommend", json={**body, "surface": "hme"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    there = "email, home, late, popular, similar, top, trending"
    assert answer.json()["detail"] == f"unknown surface 'hme', choose one of {there}"


@pytest.mark.parametrize("surface", ["home", "email"])
def test_get_and_batch_and_library_give_one_list(client, engine, surface):
    users = ["196", "22", "nobody at all", "405", "196"]
    got = [items(asked(client, user, surface=surface, k=10)) for user in users]
    answer = client.post("/recommend", json={"user_ids": users, "k": 10, "surface": surface})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["release"] == engine.id
    assert [one["user_id"] for one in body["answers"]] == users
    assert [items(one) for one in body["answers"]] == got
    assert [one["level"] for one in body["answers"]] == ["personal", "personal", "trending", "personal", "personal"]
    rows = engine.users.ids.rows(["196", "22", "405"])
    found = engine.recommend(rows, 10, datetime.now(UTC), surface).candidates.rows
    assert [engine.items.ids(row) for row in found] == [got[0], got[1], got[3]]


def test_what_is_not_wanted_is_so_for_everybody_of_a_batch(client):
    first = items(asked(client, "22", k=3))
    body = {"user_ids": ["196", "22"], "k": 3, "exclude": first, "filter": "year<1990"}
    for one in client.post("/recommend", json=body).json()["answers"]:
        assert items(one) == items(asked(client, one["user_id"], k=3, exclude=",".join(first), filter="year<1990"))
        assert not set(first) & set(items(one))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"user_ids": []}, "body.user_ids"),
        ({"user_ids": ["u"] * 501}, "body.user_ids"),
        ({"user_ids": [""]}, "body.user_ids.0"),
        ({"user_ids": ["u"], "history": []}, "give either them or user_ids"),
        ({"user_ids": ["u"] * 500, "k": 500}, "at most 50,000 items"),
        ({"user_ids": ["u"], "surface": ""}, "body.surface"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(client, body, said):
    answer = client.post("/recommend", json=body)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_reasons_are_of_the_own_history_and_sum_to_no_more_than_one(client):
    seen = [item["item_id"] for item in client.get("/page/users/196/history", params={"limit": 200}).json()["items"]]
    body = asked(client, "196", explain="true", k=5)
    assert items(body) == items(asked(client, "196", k=5))
    for item in body["items"]:
        assert 1 <= len(item["because"]) <= 3
        assert {why["item_id"] for why in item["because"]} <= set(seen)
        shares = [why["share"] for why in item["because"]]
        assert shares == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 1.002
    (batched,) = client.post("/recommend", json={"user_ids": ["196"], "explain": True, "k": 5}).json()["answers"]
    assert batched["items"] == body["items"]
    assert "because" not in asked(client, "196")["items"][0]
    assert all(item["because"] == [] for item in asked(client, "nobody", explain="true")["items"])


def test_without_the_cited_item_the_one_that_it_speaks_for_falls(client, engine):
    entries = [{"item_id": item} for item in ("50", "181", "172", "288")]
    body = client.post("/recommend", json={"history": entries, "explain": True, "k": 5}).json()
    fold = engine.resolver.fold
    for item in body["items"]:
        row = engine.items.rows([item["item_id"]])[0]

        def score(history, row=row):
            rows = engine.items.rows(history)
            return float(fold.items[row] @ fold.fold(np.array([0, len(rows)]), rows, np.ones(len(rows), np.float32))[0])

        everything = [entry["item_id"] for entry in entries]
        for why in item["because"]:
            assert score([one for one in everything if one != why["item_id"]]) < score(everything)


def test_what_there_is_no_time_for_is_named(client):
    body = asked(client, "196", surface="late")
    assert body["degraded"] == ["diverse"]
    assert len(body["items"]) == 20


def test_similar_to_one_is_similar_and_to_several_is_like_all_of_them(client):
    one = client.post("/similar", json={"item_ids": ["50"], "k": 5}).json()
    assert items(one) == items(client.get("/items/50/similar", params={"k": 5}).json())
    body = client.post("/similar", json={"item_ids": ["50", "181", "50"], "k": 10, "filter": "year<1990"}).json()
    assert (body["item_ids"], body["level"], len(body["items"])) == (["50", "181", "50"], "similar", 10)
    assert not {"50", "181"} & set(items(body))
    assert "172" in items(body)
    missing = client.post("/similar", json={"item_ids": ["50", "no such film"]})
    assert missing.status_code == 404
    assert "no such film" in missing.json()["detail"]
    assert client.post("/similar", json={"item_ids": []}).status_code == 422


def test_what_trends_was_taken_of_late(client):
    answer = client.get("/trending", params={"k": 10})
    body = answer.json()
    assert (body["surface"], body["level"], len(body["items"])) == ("trending", "trending", 10)
    assert items(body) != items(client.get("/popular", params={"k": 10}).json())
    assert client.get("/trending", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert len(items(client.get("/trending", params={"k": 5, "filter": "year<1950"}).json())) == 5


def test_onboarding_items_are_popular_and_unlike_each_other(client, engine):
    body = client.get("/onboarding", params={"k": 20}).json()
    assert items(body)[:5] == items(client.get("/onboarding", params={"k": 5}).json())
    popular = items(client.get("/popular", params={"k": 20}).json())

    def alike(ids):
        vectors = engine.directions[engine.items.rows(ids)]
        return (vectors @ vectors.T).mean()

    assert alike(items(body)) < alike(popular)
    assert len(set(items(body))) == 20
    assert client.get("/onboarding", params={"filter": "year:1066"}).json()["level"] == "none"


@pytest.mark.parametrize("surface", ["home", "email"])
def test_pages_follow_each_other_without_a_repeat_or_a_gap(client, surface):
    pages, cursor = [], None
    for _ in range(4):
        body = asked(client, "196", surface=surface, k=7, **({} if cursor is None else {"cursor": cursor}))
        pages.append(body)
        cursor = body["cursor"]
    given = [item for body in pages for item in items(body)]
    assert len(set(given)) == 28
    assert [item["rank"] for body in pages for item in body["items"]] == list(range(1, 29))
    if surface == "home":
        assert given == items(asked(client, "196", k=28))
    again = asked(client, "196", surface=surface, k=7, cursor=pages[0]["cursor"])
    assert items(again) == items(pages[1])


def test_the_last_page_has_no_cursor(client):
    cursor, given = "", []
    while cursor is not None:
        body = asked(client, "196", k=15, filter="genres:noir", **({"cursor": cursor} if cursor else {}))
        given += items(body)
        cursor = body["cursor"]
    assert given == items(asked(client, "196", k=100, filter="genres:noir"))


def test_a_cursor_that_was_tampered_with_or_is_of_another_list_is_refused(client):
    cursor = asked(client, "196", k=3)["cursor"]
    middle = len(cursor) // 2
    changed = cursor[:middle] + ("A" if cursor[middle] != "A" else "B") + cursor[middle + 1 :]
    for user, surface, said in (
        ("196", "home", changed),
        ("22", "home", cursor),
        ("196", "email", cursor),
        ("196", "home", "AAAA"),
        ("196", "home", cursor[:-4]),
    ):
        answer = client.get("/recommend", params={"user_id": user, "surface": surface, "cursor": said})
        assert answer.status_code == 400, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert "query.cursor" in answer.json()["detail"]
    assert client.get("/recommend", params={"user_id": "196", "cursor": "!"}).status_code == 422


def test_pages_go_on_while_the_release_changes(folder, client, configured, serve, tmp_path):
    shutil.copytree(folder / "var", tmp_path / "var", ignore=shutil.ignore_patterns("*.sock"))
    (tmp_path / "recsys.toml").write_text(configured(8) + MORE + "[gate]\nbeat_popularity = false\n")
    with serve(tmp_path) as (address, _), httpx.Client(base_url=address) as own:
        first = asked(own, "196", k=10)
        done = subprocess.run([sys.executable, "-m", "recsys", "train"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        deadline = time.monotonic() + 30
        while own.get("/releases/current").json()["release"] == first["release"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        second = asked(own, "196", k=10, cursor=first["cursor"])
        assert second["release"] != first["release"]
        assert not set(items(first)) & set(items(second))
        # All that the new release puts first is on one page or the other.
        assert set(items(asked(own, "196", k=10))) <= set(items(first)) | set(items(second))


def test_a_cursor_too_old_is_told_from_one_that_was_changed():
    key, made = b"key", Cursor(1_000_000, 2**64 - 1, np.arange(3, dtype=np.uint64))
    text = made.signed(key, "u", "home")
    read = Cursor.read(text, key, "u", "home", 1_000_000 + LIFE)
    assert (read.began, read.seed, read.given.tolist()) == (1_000_000, 2**64 - 1, [0, 1, 2])
    with pytest.raises(CursorExpired):
        Cursor.read(text, key, "u", "home", 1_000_001 + LIFE)
    for other in ((b"another", "u", "home"), (key, "v", "home"), (key, "u", "similar")):
        with pytest.raises(CursorInvalid):
            Cursor.read(text, *other, 1_000_000)
