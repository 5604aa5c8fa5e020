"""The HTTP contract, asked of a real server with a real release and a real store."""

import subprocess
import sys
from urllib.parse import unquote

import httpx
import pytest


@pytest.fixture(scope="module")
def client(address):
    with httpx.Client(base_url=address) as client:
        yield client


def items(answer):
    return [item["item_id"] for item in answer.json()["items"]]


def history(client, user):
    return [
        item["item_id"] for item in client.get(f"/page/users/{user}/history", params={"limit": 200}).json()["items"]
    ]


def test_a_known_user_is_answered_personally(client):
    answer = client.get("/recommend", params={"user_id": "196", "k": 7})
    body = answer.json()
    assert answer.status_code == 200
    assert (body["user_id"], body["surface"], body["level"], body["degraded"]) == ("196", "home", "personal", [])
    assert [item["rank"] for item in body["items"]] == list(range(1, 8))
    assert len(set(items(answer))) == 7
    scores = [item["score"] for item in body["items"]]
    assert scores == sorted(scores, reverse=True)
    assert all(item["sources"] == ["nearest"] for item in body["items"])
    assert body["release"] == client.get("/releases/current").json()["release"]
    assert answer.headers["cache-control"] == "no-store"


def test_scores_say_places_and_never_what_a_model_computed(tmp_path, serve):
    """A blend adds up inner products, which would give its vectors away in d + 1 questions."""
    (tmp_path / "recsys.toml").write_text(
        '[model]\nname = "blend"\nfusion = "weighted-sum"\nweights = { als = 0.5, item-knn = 0.5 }\n'
        "[model.parts.als]\nfactors = 16\n[model.parts.item-knn]\n[gate]\nbeat_popularity = false\n"
    )
    done = subprocess.run([sys.executable, "-m", "recsys", "train"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with serve(tmp_path) as (address, _):
        body = httpx.get(f"{address}/recommend", params={"user_id": "196", "k": 5}).json()
        alike = httpx.get(f"{address}/items/50/similar", params={"k": 5}).json()
    assert {source for item in body["items"] for source in item["sources"]} <= {"als", "item-knn"}
    assert body["degraded"] == []
    for answer in (body, alike):
        assert [item["score"] for item in answer["items"]] == [round(1 / (60 + rank), 6) for rank in range(1, 6)]


def test_an_answer_says_how_long_its_stages_took(client):
    answer = client.get("/recommend", params={"user_id": "196"})
    stages = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert list(stages) == ["state", "nearest", "fusion", "steps", "ladder"]
    assert all(0 <= float(took) < 10_000 for took in stages.values())
    assert 'recsys_stage_seconds_count{stage="nearest",surface="home"}' in client.get("/metrics").text


def test_two_users_get_different_lists(client):
    lists = {tuple(items(client.get("/recommend", params={"user_id": user}))) for user in ("196", "22", "244")}
    assert len(lists) == 3


def test_an_unknown_user_is_answered_from_the_ladder(client):
    answer = client.get("/recommend", params={"user_id": "nobody at all", "k": 5})
    assert answer.status_code == 200
    assert answer.json()["level"] == "trending"
    assert len(items(answer)) == 5


def test_seen_items_never_come_back(client):
    for user in ("405", "13", "1"):
        seen = set(history(client, user))
        assert seen
        assert not seen & set(items(client.get("/recommend", params={"user_id": user, "k": 500})))


def test_k_items_come_back_to_a_user_who_has_seen_hundreds(client):
    assert len(items(client.get("/recommend", params={"user_id": "405", "k": 500}))) == 500


def test_what_is_not_wanted_does_not_come_and_what_is_does(client):
    def asked(**parameters):
        answer = client.get("/recommend", params={"user_id": "196", "k": 20, **parameters})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def of(body):
        return [item["item_id"] for item in body["items"]]

    first = of(asked())
    without = asked(exclude=",".join([*first[:3], "nobody has this"]))
    assert without["level"] == "personal"
    assert of(without)[:17] == first[3:]
    jazzy = asked(filter="genres:musical and year<1970")
    described = client.get("/page/items", params={"ids": of(jazzy)}).json()["items"]
    assert len(described) == 20
    assert all("Musical" in item["genres"] and item["year"] < 1970 for item in described)
    both = asked(filter=["genres:musical", "year<1970"])
    assert of(both) == of(jazzy), "of several filters all must hold"
    few = asked(filter="genres:noir and genres:comedy or genres:noir and year:1944")
    assert len(few["items"]) < 20
    assert "fulfil the filter" in few["reason"]
    none = asked(filter="year:1066")
    assert (none["items"], none["level"]) == ([], "none")
    assert none["reason"].endswith("items are left: 0 fulfil the filter, without what was seen or is excluded")
    history = {"history": [{"item_id": "50"}], "filter": "genres:musical and year<1970", "exclude": of(jazzy)[:1]}
    posted = client.post("/recommend", json=history).json()
    assert of(jazzy)[0] not in of(posted)
    assert not set(of(posted)) - set(of(asked(filter="genres:musical and year<1970", k=500))) - {of(jazzy)[0]}
    alike = client.get("/items/50/similar", params={"filter": "genres:western", "k": 5}).json()
    assert alike["level"] == "similar"
    assert len(alike["items"]) == 5


def test_an_anonymous_history_is_folded_in(client):
    body = {"history": [{"item_id": "50", "event": "play"}, {"item_id": "181"}], "k": 10}
    answer = client.post("/recommend", json=body)
    assert answer.json()["level"] == "recent"
    assert answer.json()["user_id"] is None
    assert len(items(answer)) == 10
    assert not {"50", "181"} & set(items(answer))
    # The Empire Strikes Back belongs to whoever took Star Wars and Return of the Jedi.
    assert "172" in items(answer)


def test_the_event_kind_of_a_history_matters(client):
    # A dismissed item is seen, and teaches nothing.
    answer = client.post("/recommend", json={"history": [{"item_id": "50", "event": "dismiss"}], "k": 5})
    assert answer.json()["level"] == "trending"
    assert "50" not in items(answer)


def test_an_empty_or_unknown_history_is_answered_from_the_ladder(client):
    for entries in ([], [{"item_id": "no such film"}]):
        answer = client.post("/recommend", json={"history": entries})
        assert (answer.status_code, answer.json()["level"]) == (200, "trending")
        assert len(items(answer)) == 20


def test_similar_items_are_similar_and_not_the_item_itself(client):
    answer = client.get("/items/50/similar", params={"k": 5})
    assert answer.json()["level"] == "similar"
    assert "50" not in items(answer)
    assert {"172", "181"} <= set(items(answer))


@pytest.mark.parametrize("path", ["no%20such%20thing", "a/b", "a%2Fb", "similar", "é"])
def test_an_item_id_may_hold_slashes_and_spaces(client, path):
    answer = client.get(f"/items/{path}/similar")
    assert answer.status_code == 404
    assert f"does not know item {unquote(path)!r}" in answer.json()["detail"]


def test_a_browser_asks_for_the_page_again_after_an_upgrade(client):
    first = client.get("/main.js")
    assert first.headers["cache-control"] == "no-cache"
    assert client.get("/main.js", headers={"If-None-Match": first.headers["etag"]}).status_code == 304


def test_lists_of_the_release_may_be_kept_while_it_is_current(client):
    for path in ("/popular", "/items/50/similar"):
        first = client.get(path)
        assert first.headers["cache-control"] == "no-cache"
        again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert client.get(path, headers={"If-None-Match": '"another"'}).status_code == 200


def test_health_and_readiness(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz").json()
    assert ready["release"] == client.get("/releases/current").json()["release"]
    assert ready["degraded"] == []


def test_metrics_count_requests_by_route_and_level(client):
    client.get("/items/50/similar")
    text = client.get("/metrics").text
    assert 'route="/items/{item_id:id}/similar"' in text
    assert 'recsys_answers_total{level="similar",surface="similar"}' in text
    assert "recsys_request_seconds_bucket" in text


def test_the_openapi_document_has_examples(client):
    document = client.get("/openapi.json").json()
    assert {"/recommend", "/items/{item_id}/similar", "/popular", "/releases/current"} <= set(document["paths"])
    assert document["components"]["schemas"]["RecommendRequest"]["examples"]
    assert not any(path.startswith("/page") for path in document["paths"])


LONG = "x" * 10_000
ENTRY = b'{"item_id":"3"}'

BAD = {
    "k of 0": ("GET", "/recommend?user_id=1&k=0", None, 422, "query.k"),
    "k of 501": ("GET", "/recommend?user_id=1&k=501", None, 422, "query.k"),
    "k that is no number": ("GET", "/recommend?user_id=1&k=ten", None, 422, "query.k"),
    "no user": ("GET", "/recommend", None, 422, "query.user_id"),
    "empty user": ("GET", "/recommend?user_id=", None, 422, "query.user_id"),
    "user of 10,000 characters": ("GET", f"/recommend?user_id={LONG}", None, 422, "query.user_id"),
    "NUL in a user": ("GET", "/recommend?user_id=a%00b", None, 422, "query.user_id"),
    "NUL in an item": ("GET", "/items/a%00b/similar", None, 422, "path.item_id"),
    "item of 10,000 characters": ("GET", f"/items/{LONG}/similar", None, 422, "path.item_id"),
    "malformed JSON": ("POST", "/recommend", b'{"history": [', 422, "body"),
    "JSON of another shape": ("POST", "/recommend", b"[1, 2]", 422, "body"),
    "no history": ("POST", "/recommend", b"{}", 422, "body.history"),
    "history of another type": ("POST", "/recommend", b'{"history": "i3"}', 422, "body.history"),
    "item id of another type": ("POST", "/recommend", b'{"history": [{"item_id": 3}]}', 422, "body.history.0.item_id"),
    "NUL in a history": ("POST", "/recommend", b'{"history": [{"item_id": "\\u0000"}]}', 422, "body.history.0.item_id"),
    "unknown kind": ("POST", "/recommend", b'{"history": [{"item_id":"3","event":"x"}]}', 422, "body.history.0.event"),
    "NaN value": ("POST", "/recommend", b'{"history": [{"item_id": "3", "value": NaN}]}', 422, "body"),
    "k as text": ("POST", "/recommend", b'{"history": [], "k": "5"}', 422, "body.k"),
    "unknown field": ("POST", "/recommend", b'{"history": [], "n": 5}', 422, "body.n"),
    "history of 1,001": ("POST", "/recommend", b'{"history": [' + b",".join([ENTRY] * 1001) + b"]}", 422, "history"),
    "body of 10 MB": ("POST", "/recommend", b'{"history": "' + b"x" * 10_000_000 + b'"}', 413, "1,000,000 bytes"),
    "deep JSON": ("POST", "/recommend", b"[" * 100_000, 400, "body"),
    "not UTF-8": ("POST", "/recommend", b'{"history": "\xff"}', 400, "body"),
    "lone surrogate": ("POST", "/recommend", b'{"history": [{"item_id": "\\ud800"}]}', 422, "body"),
    "no filter": ("GET", "/recommend?user_id=1&filter=genres", None, 422, "'genres' stands where a term such as"),
    "filter by no column": ("GET", "/popular?filter=genre:jazz", None, 422, "unknown column 'genre', choose one of"),
    "long filter": ("GET", f"/recommend?user_id=1&filter={LONG}", None, 422, "query.filter"),
    "filter in a body": ("POST", "/recommend", b'{"history": [], "filter": "year>"}', 422, "filter 'year>'"),
    "exclude of another type": ("POST", "/recommend", b'{"history": [], "exclude": "50"}', 422, "body.exclude"),
    "unknown path": ("GET", "/recommendations", None, 404, "Not Found"),
    "wrong method": ("DELETE", "/recommend", None, 405, "Method Not Allowed"),
    "unknown item": ("GET", "/items/99999999/similar", None, 404, "99999999"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_a_problem_document_that_names_it(client, name):
    method, path, content, status, said = BAD[name]
    answer = client.request(method, path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert said in body["detail"]


def test_a_body_that_hides_its_length_is_refused_too(client):
    chunks = (b"x" * 100_000 for _ in range(50))
    answer = client.post("/recommend", content=chunks, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_two_workers_answer_alike_and_count_together(home, serve):
    with serve(home, "--workers", "2") as (address, _):
        lists = {tuple(items(httpx.get(f"{address}/recommend?user_id=196"))) for _ in range(20)}
        assert len(lists) == 1
        counted = next(
            line
            for line in httpx.get(f"{address}/metrics").text.splitlines()
            if line.startswith("recsys_requests_total") and 'route="/recommend"' in line
        )
        assert float(counted.split()[-1]) >= 20
