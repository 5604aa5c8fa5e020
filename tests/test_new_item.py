"""A film that no release has seen, from its overview to lists and the page: real ratings, overviews, server, browser.

Toy Story 2 is taken out of MovieLens, the rest is trained on, and then it is put.
"""

import json
import subprocess
import sys
import time
from types import SimpleNamespace

import httpx
import pytest
from playwright.sync_api import expect

from recsys.datasets import load

UNSEEN = "3114"
TOY_STORY, TOY_STORY_3, BUGS_LIFE, MONSTERS = "1", "78499", "2355", "4886"
EXORCIST, SHINING, PSYCHO, EXORCIST_3 = "1997", "1258", "1219", "1999"
SETTINGS = """
[data]
events = "events.parquet"
items = "items.parquet"
[data.kinds]
rating = 1
[model]
name = "als"
factors = 16
regularization = 20.0
alpha = 2.0
[content]
kappa = 5.0
prior = 3.0
[content.encoder]
name = "tfidf-svd"
columns = ["title", "text", "genres", "tags", "keywords"]
width = 64
[gate]
beat_popularity = false
warm_loss = 1.0
[state]
timeout_ms = 5000
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data_folder):
    """A release of the films with an overview but for one, and what is known of that one."""
    folder = tmp_path_factory.mktemp("films")
    log = load("ml-latest-small", {"RECSYS_DATA": str(data_folder)})
    films = log.items[(log.items["text"] != "") & log.items["text"].notna()]
    (film,) = films[films["item_id"] == UNSEEN].to_dict("records")
    films = films[films["item_id"] != UNSEEN]
    films.to_parquet(folder / "items.parquet", index=False)
    log.events[log.events["item_id"].isin(films["item_id"])].to_parquet(folder / "events.parquet", index=False)
    (folder / "recsys.toml").write_text(SETTINGS)
    done = subprocess.run([sys.executable, "-m", "recsys", "train"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = {name: film[name] for name in ("title", "text", "year")}
    return SimpleNamespace(folder=folder, film={**said, "tags": list(film["tags"]), "genres": list(film["genres"])})


@pytest.fixture(scope="module")
def address(trained, serve):
    """A server of it, to which the film has been put; it was unknown before."""
    with serve(trained.folder, "--workers", "2") as (address, _):
        assert httpx.get(f"{address}/items/{UNSEEN}/similar").status_code == 404
        answer = httpx.put(f"{address}/items/{UNSEEN}", json=trained.film)
        assert (answer.status_code, answer.json()["placed"]) == (201, "content")
        every_worker_answers(200, f"{address}/items/{UNSEEN}/similar")
        yield address


def every_worker_answers(code, url):
    """Wait until it does: each request is a connection of its own, so that ten in a row meet both workers."""
    end = time.monotonic() + 5
    while any(httpx.get(url).status_code != code for _ in range(10)):
        assert time.monotonic() < end, f"a worker did not answer {code} within 5 s"


SERVING = """
import asyncio, httpx, json, sys
from pathlib import Path
from api.server import worker_app
from recsys.sections import LogSettings
from recsys.settings import load_settings
settings = load_settings(Path("recsys.toml"), {"RECSYS_STATE_URL": "memory://"})
app = worker_app(settings.model_copy(update={"log": LogSettings(url="file:var/events")}))

async def ask():
    async with app.router.lifespan_context(app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            answer = await client.put("/items/new", json={"title": "Woody", "text": "Toys in a toy store."})
            assert answer.json()["placed"] == "content", answer.text
            answer = await client.post("/recommend", json={"history": [], "interests": ["toys"]})
            assert answer.json()["level"] == "declared-interests", answer.text

asyncio.run(ask())
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_it_is_placed_without_any_library_that_trains(trained):
    done = subprocess.run([sys.executable, "-c", SERVING], cwd=trained.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules = set(json.loads(done.stdout))
    assert not {"torch", "implicit", "lightgbm", "training", "pandera", "pandas", "scipy", "sklearn"} & modules


def ids(answer):
    return [item["item_id"] for item in answer.json()["items"]]


def recommended(address, *history, k=500, **options):
    entries = [{"item_id": item, "event": "rating"} for item in history]
    return httpx.post(f"{address}/recommend", json={"history": entries, "k": k, **options})


def test_it_is_like_films_that_are_like_it(address):
    assert {TOY_STORY, TOY_STORY_3, BUGS_LIFE} & set(ids(httpx.get(f"{address}/items/{UNSEEN}/similar?k=10")))
    for film in (TOY_STORY, TOY_STORY_3):
        answer = httpx.get(f"{address}/items/{film}/similar?k=10").json()
        (found,) = [item for item in answer["items"] if item["item_id"] == UNSEEN]
        assert "content-nearest" in found["sources"]
        assert answer["degraded"] == []


def test_it_is_recommended_to_those_who_like_such_films_and_not_to_others(address):
    for_likers = recommended(address, TOY_STORY, TOY_STORY_3, BUGS_LIFE, MONSTERS)
    assert for_likers.json()["level"] == "recent"
    assert UNSEEN in ids(for_likers)
    for_others = ids(recommended(address, EXORCIST, SHINING, PSYCHO, EXORCIST_3))
    assert UNSEEN not in for_others or for_others.index(UNSEEN) > ids(for_likers).index(UNSEEN)


def test_who_watches_it_is_answered_from_it(address):
    answer = recommended(address, UNSEEN, k=50)
    assert answer.json()["level"] == "recent"
    assert UNSEEN not in ids(answer)
    assert {TOY_STORY, BUGS_LIFE} & set(ids(answer))


def test_what_the_encoder_cannot_use_is_named_by_its_field(address):
    def put(**said):
        answer = httpx.put(f"{address}/items/odd", json=said).json()
        return answer["placed"], answer["problems"]

    known, none = "no word in it that is known", "no word in it"
    assert put(title="Toys", text="qwxzk") == ("content", {"text": known})
    silent = dict.fromkeys(("genres", "tags", "keywords"), "nothing said")
    assert put(title="qwxzk", text="%%%") == ("no-information", {"title": known, "text": none, **silent})
    assert put(title="Toys", text="The story of a toy") == ("content", {})
    assert httpx.delete(f"{address}/items/odd").status_code == 204
    every_worker_answers(404, f"{address}/items/odd/similar")  # what is asked for next is not to find it


def test_who_names_what_it_is_about_is_offered_it(address):
    answer = recommended(address, interests=["toy", "Woody", "Buzz Lightyear"], k=5)
    assert answer.json()["level"] == "declared-interests"
    assert {UNSEEN, TOY_STORY, TOY_STORY_3} & set(ids(answer))
    stored = httpx.put(f"{address}/users/newcomer", json={"interests": ["toy", "Woody", "Buzz Lightyear"]})
    assert stored.json()["understood"] is True
    assert ids(httpx.get(f"{address}/recommend?user_id=newcomer&k=5")) == ids(answer)
    assert recommended(address, interests=["qwertyuiop"], k=5).json()["level"] == "trending"


def test_what_says_nothing_is_nowhere_but_in_the_catalogue(address):
    for said in ({}, {"title": "", "text": ""}, {"text": "ξένη γλώσσα"}, {"tags": ["xyzzyplugh"]}):
        answer = httpx.put(f"{address}/items/dull", json=said)
        assert answer.json()["placed"] == "no-information", said
    assert "dull" not in ids(recommended(address, TOY_STORY, UNSEEN))
    assert httpx.get(f"{address}/items/dull/similar").json()["level"] in {"popular", "similar"}


def test_the_page_shows_it_and_puts_another(address, trained, browser):
    page = browser.new_context().new_page()
    said = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"{address}/#anonymous=&similar={TOY_STORY}")
    row = page.locator(f"#similar-body .item[data-id='{UNSEEN}']")
    expect(row.locator(".title")).to_have_text("Toy Story 2")
    expect(row.locator(".new")).to_have_text("new")
    page.get_by_label("Find items").fill("toy story 2")
    page.get_by_role("button", name="Add Toy Story 2", exact=True).first.click()
    expect(page.locator("#list-body .badge")).to_have_text("recent")
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Interests").fill("Woody, Buzz Lightyear")
    expect(page.locator("#list-body .badge")).to_have_text("declared-interests")
    assert page.url.endswith("&interests=Woody,Buzz%20Lightyear&similar=1")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")

    page.get_by_role("button", name="Add an item").click()
    page.get_by_label("Id", exact=True).fill("films/4")
    page.get_by_label("Title").fill("Toy Story 4")
    page.get_by_label("Text", exact=True).fill("Woody and Buzz Lightyear go on a road trip with a toy named Forky.")
    page.get_by_label("Tags, by commas").fill("Pixar, sequel, animation")
    page.get_by_role("button", name="Put").click()
    expect(page.locator("#added")).to_have_text("Toy Story 4: placed by what its description says.")
    expect(page.locator("#similar-note")).to_contain_text("to Toy Story 4")
    expect(page.locator("#similar-body .item").filter(has_text="Toy Story").first).to_be_visible()
    page.get_by_role("button", name="Add an item").click()
    page.get_by_label("Id", exact=True).fill("x")
    page.get_by_label("Tags, by commas").fill("y" * 201)
    page.get_by_role("button", name="Put").click()
    expect(page.locator("#adding-problem").get_by_role("alert")).to_contain_text("body.tags.0")
    page.keyboard.press("Escape")
    expect(page.locator("#adding")).to_be_hidden()
    expect(page.locator("#similar")).to_be_visible()
    assert said == []
    page.context.close()
