"""Items put and deleted, and interests declared, over HTTP: a real server, a real release, a real store."""

import shutil
import time

import httpx
import pytest

STALKER = {
    "title": "Stalker, uncut",
    "text": "A guide leads two men through an area known as the Zone to find a room that grants wishes.",
    "tags": ["science fiction", "slow"],
    "year": 1979,
    "languages": ["ru"],
    "director": None,
}


@pytest.fixture(scope="module")
def own(copied, tmp_path_factory, configured):
    """A copy of the trained folder, whose items this module changes."""
    return copied(tmp_path_factory.mktemp("own"), configured())


@pytest.fixture(scope="module")
def client(own, serve):
    with serve(own) as (address, _), httpx.Client(base_url=address) as client:
        yield client


def items(answer):
    return [item["item_id"] for item in answer.json()["items"]]


def described(client, *ids):
    return client.get("/page/items", params={"ids": ids}).json()["items"]


def similar(client, item, k=500):
    return items(client.get(f"/items/{item}/similar", params={"k": k}))


def everything(client):
    return set(items(client.post("/recommend", json={"history": [], "k": 500})))


def test_an_item_that_is_put_is_described_found_and_gone_when_it_is_deleted(client):
    answer = client.put("/items/films/stalker", json=STALKER)
    release = client.get("/releases/current").json()["release"]
    assert answer.status_code == 201
    assert answer.json() == {"item_id": "films/stalker", "release": release, "placed": "no-encoder", "problems": {}}
    assert answer.headers["cache-control"] == "no-store"
    wanted = {name: value for name, value in STALKER.items() if value is not None}
    assert described(client, "films/stalker") == [{"item_id": "films/stalker", **wanted, "new_item": True}]
    assert [item["item_id"] for item in client.get("/page/items", params={"q": "stalker, unc"}).json()["items"]] == [
        "films/stalker"
    ]
    assert client.get("/items/films/stalker/similar").status_code == 200
    assert client.get("/releases/current").json()["added"] == 1
    assert client.put("/items/films/stalker", json={"title": "Сталкер"}).status_code == 200
    assert described(client, "films/stalker")[0]["title"] == "Сталкер"
    assert client.delete("/items/films/stalker").status_code == 204
    assert client.get("/page/items", params={"q": "Сталк"}).json()["items"] == []
    for method, path in (("GET", "/items/films/stalker/similar"), ("DELETE", "/items/films/stalker")):
        answer = client.request(method, path)
        assert answer.status_code == 404
        assert "item 'films/stalker' was deleted: PUT it to have it again" in answer.json()["detail"]
    assert client.put("/items/films/stalker", json=STALKER).status_code == 201


def test_a_deleted_item_of_the_release_is_answered_nowhere_and_comes_back(client):
    # Return of the Jedi, which half of all users took.
    before = similar(client, 50, 20)
    assert "181" in before
    tag = client.get("/items/50/similar").headers["etag"]
    assert client.delete("/items/181").status_code == 204
    assert client.get("/items/50/similar", headers={"If-None-Match": tag}).status_code == 200
    assert "181" not in similar(client, 50)
    assert len(similar(client, 50, 20)) == 20
    assert "181" not in items(client.get("/popular", params={"k": 500}))
    assert "181" not in everything(client)
    for user in ("196", "22", "244", "405"):
        assert "181" not in items(client.get("/recommend", params={"user_id": user, "k": 500}))
    folded = client.post("/recommend", json={"history": [{"item_id": "50"}], "k": 500})
    assert folded.json()["level"] == "recent"
    assert "181" not in items(folded)
    assert client.get("/releases/current").json()["deleted"] == 1
    answer = client.put("/items/181", json={"title": "Return of the Jedi"})
    assert (answer.status_code, answer.json()["placed"]) == (201, "learned")
    assert similar(client, 50, 20) == before
    assert client.get("/releases/current").json()["deleted"] == 0


def test_what_was_learned_of_an_item_stays_when_it_is_described_anew(client):
    before = similar(client, 174, 20)
    answer = client.put("/items/174", json={"title": "Indy", "tags": ["hat"]})
    assert (answer.status_code, answer.json()["placed"]) == (200, "learned")
    assert described(client, "174") == [{"item_id": "174", "title": "Indy", "tags": ["hat"]}]
    assert similar(client, 174, 20) == before


def test_lists_that_may_be_kept_are_asked_for_again_when_an_item_changes(client):
    tag = client.get("/popular").headers["etag"]
    assert client.get("/popular", headers={"If-None-Match": tag}).status_code == 304
    client.put("/items/another", json={})
    assert client.get("/popular", headers={"If-None-Match": tag}).status_code == 200


def test_interests_are_kept_for_anybody_and_beside_what_was_learned(client):
    known = items(client.get("/recommend", params={"user_id": "196"}))
    for user in ("196", "somebody/new"):
        answer = client.put(f"/users/{user}", json={"interests": ["science fiction", "Ä"]})
        assert answer.status_code == 200
        assert answer.json()["interests"] == ["science fiction", "Ä"]
        # The release of this test has no encoder that could.
        assert answer.json()["understood"] is False
    assert items(client.get("/recommend", params={"user_id": "196"})) == known
    assert client.get("/recommend", params={"user_id": "somebody/new"}).json()["level"] == "trending"
    assert client.put("/users/196", json={"interests": []}).status_code == 200


BAD = {
    "no JSON": (b'{"title": ', "body"),
    "a list": (b"[1]", "body"),
    "a title that is a number": (b'{"title": 5}', "body.title"),
    "an empty tag": (b'{"tags": [""]}', "body.tags.0"),
    "tags that are a text": (b'{"tags": "slow"}', "body.tags"),
    "a tag with NUL": (b'{"tags": ["a\\u0000"]}', "body.tags.0"),
    "NaN in a vector": (b'{"vector": [1.0, NaN]}', "body.vector.1"),
    "a vector of texts": (b'{"vector": ["1"]}', "body.vector.0"),
    "an empty vector": (b'{"vector": []}', "body.vector"),
    "infinity in an attribute": (b'{"price": Infinity}', "body.price"),
    "an object as an attribute": (b'{"size": {"w": 1}}', "body.size"),
    "another id": (b'{"item_id": "y"}', "body.item_id: the path names 'x', leave it out or give the same"),
    "lone surrogate": (b'{"title": "\\ud800"}', "body"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_description_that_is_none_is_refused_and_named(client, name):
    content, said = BAD[name]
    answer = client.put("/items/x", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]
    assert client.get("/items/x/similar").status_code == 404


@pytest.mark.parametrize("character", ["%0A", "%0D", "%00", "%7F"])
def test_an_id_with_a_control_character_is_refused_wherever_it_stands_in_a_path(client, character):
    asked = [
        ("PUT", f"/items/a{character}b", {"title": "A"}),
        ("DELETE", f"/items/a{character}b", None),
        ("GET", f"/items/a{character}b/similar", None),
        ("PUT", f"/users/a{character}b", {"interests": []}),
        ("POST", f"/users/a{character}b/merge", {"anonymous_id": "b"}),
        ("DELETE", f"/users/a{character}b", None),
        ("GET", f"/playlists/a{character}b", None),
    ]
    for method, path, body in asked:
        answer = client.request(method, path, json=body)
        assert answer.status_code == 422, (method, path, answer.text)
        assert "it must not hold control characters" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": ""},
        {"title": "x", "text": "<p onclick='x'>1 < 2 &amp; 3</p>"},
        {"text": "ა" * 200_000},
        {"tags": []},
    ],
    ids=["nothing", "empty text", "HTML", "long", "no tags"],
)
def test_a_description_that_says_little_is_kept_as_it_is(client, body):
    answer = client.put("/items/dull", json=body)
    assert answer.status_code in {200, 201}
    assert described(client, "dull")[0] | body == described(client, "dull")[0] | body
    assert client.get("/items/dull/similar").json()["level"] == "popular"


def test_a_megabyte_of_text_is_too_much(client):
    answer = client.put("/items/long", json={"text": "x" * 1_000_000})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("body", "said"),
    [(b"{}", "body.interests"), (b'{"interests": "jazz"}', "body.interests"), (b'{"interests": [""]}', "interests.0")],
)
def test_interests_that_are_none_are_refused_and_named(client, body, said):
    answer = client.put("/users/u", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_a_server_that_starts_later_knows_what_was_put_and_its_workers_tell_each_other(own, serve, client):
    def soon(address, item, status):
        deadline = time.monotonic() + 5
        # A connection each, so that the kernel deals them out to both workers.
        while any(httpx.get(f"{address}/items/{item}/similar").status_code != status for _ in range(8)):
            assert time.monotonic() < deadline, f"not every worker answered {item} with {status} within 5 s"

    assert client.put("/items/early", json={"title": "Early"}).status_code == 201
    assert client.put("/items/gone", json={"title": "Gone"}).status_code == 201
    assert client.delete("/items/gone").status_code == 204
    with serve(own, "--workers", "2") as (address, _):
        soon(address, "early", 200)
        soon(address, "gone", 404)
        assert httpx.put(f"{address}/items/shared", json={"title": "Shared"}).status_code == 201
        soon(address, "shared", 200)
        assert client.get("/items/shared/similar").status_code == 200
        assert httpx.delete(f"{address}/items/shared").status_code == 204
        soon(address, "shared", 404)


def test_without_the_store_nothing_is_changed_and_everything_answered(own, serve, configured, tmp_path):
    shutil.copytree(own / "var/releases", tmp_path / "var/releases")
    (tmp_path / "recsys.toml").write_text(configured(url=f"unix://{tmp_path}/nobody-listens.sock"))
    with serve(tmp_path) as (address, _), httpx.Client(base_url=address) as client:
        for method, path, body in (
            ("PUT", "/items/x", {"title": "X"}),
            ("DELETE", "/items/50", None),
            ("PUT", "/users/u", {"interests": ["x"]}),
        ):
            answer = client.request(method, path, json=body)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "this could not be kept: " in answer.json()["detail"]
            assert "nobody-listens.sock" in answer.json()["detail"]
        assert client.get("/items/50/similar").status_code == 200
        assert client.get("/items/x/similar").status_code == 404
