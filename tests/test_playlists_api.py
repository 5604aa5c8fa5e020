"""Playlists as they are served: from Redis, from files, from when they may be heard, and not what was deleted since."""

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import httpx
import numpy as np
import pytest
from redis import Redis
from typer.testing import CliRunner

from recsys.cli import app
from recsys.playlists.delivery import key_of, values
from recsys.playlists.editions import EditionStore
from recsys.releases import ReleaseStore
from recsys.settings import load_settings
from recsys.stores import UserState, open_store
from recsys.vocabulary import keys_of

WEEK = "2026-W48"


@contextlib.contextmanager
def redis_server(folder):
    """A real Redis on a socket of its own."""
    folder.mkdir(exist_ok=True)
    path = folder / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        client = Redis(unix_socket_path=str(path))
        deadline = time.monotonic() + 20
        while True:
            try:
                client.ping()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            except Exception:
                time.sleep(0.02)
        try:
            yield client, f"unix://{path}", server
        finally:
            server.terminate()


def settings_text(configured, url):
    more = "[playlists]\nlength = 10\ncanaries = ['196']\n[playlists.gate]\nmost_share = 1\n"
    return configured(url=url) + more


@pytest.fixture(scope="module")
def night(copied, configured, tmp_path_factory):
    """A folder in which this week's edition was made and not published, and what was said meanwhile."""
    folder = tmp_path_factory.mktemp("night")
    with redis_server(folder / "redis") as (_, url, _):
        copied(folder, settings_text(configured, url))
        return folder, done(folder, "playlists", "--week", WEEK)


@pytest.fixture
def shop(night, configured, tmp_path):
    """A folder with a release, a Redis, and an edition of this week that is made and not published."""
    shutil.copytree(night[0] / "var", tmp_path / "var")
    with redis_server(tmp_path / "redis") as (client, url, server):
        (tmp_path / "recsys.toml").write_text(settings_text(configured, url))
        yield tmp_path, client, server


def recsys(folder, *arguments):
    return subprocess.run([sys.executable, "-m", "recsys", *arguments], cwd=folder, capture_output=True, text=True)


def done(folder, *arguments):
    run = recsys(folder, *arguments)
    assert run.returncode == 0, run.stderr
    return run.stdout


def told(folder, *arguments):
    """What a command says that only reads: in this process, as another would import everything anew."""
    with contextlib.chdir(folder):
        run = CliRunner().invoke(app, ["playlists", *arguments], catch_exceptions=False)
    assert run.exit_code == 0, run.output
    return run.stdout


def test_a_night_from_the_run_to_the_listener_and_back(night, shop, serve):
    folder, client, _ = shop
    said = night[1]
    assert "canary 196:" in said
    assert "not published yet" in said
    with serve(folder) as (address, _), httpx.Client(base_url=address, timeout=30) as server:
        get = server.get
        nothing = get("/playlists/196")
        assert (nothing.status_code, nothing.json()["detail"]) == (404, "no playlists are published yet")
        assert "943 lists in Redis" in done(folder, "playlists", "publish", WEEK)
        answer = get("/playlists/196")
        body = answer.json()
        assert (body["edition"], body["week"], body["level"]) == (WEEK, WEEK, "personal")
        assert [item["position"] for item in body["items"]] == list(range(1, 11))
        edition = EditionStore(folder / "var/playlists").get(WEEK)
        rows = edition.read("196")
        assert [(item["item_id"], item["because"]) for item in body["items"]] == [
            (row["item"], row["reason"]) for row in rows
        ]
        assert answer.headers["cache-control"] == "private, no-cache"
        assert get("/playlists/196", params={"week": WEEK}).headers["cache-control"] == "private, max-age=86400"
        assert get("/playlists/196", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
        assert client.ttl(key_of(WEEK, "196")) > 20 * 86400
        # Without Redis the files say the same.
        client.flushall()
        assert get("/playlists/196").json() == body
        for path, params, status, why in (
            ("nobody", {}, 404, "user 'nobody' has no list in 2026-W48"),
            ("196", {"week": "2026-W47"}, 404, "no edition of 2026-W47 is published: there are 2026-W48"),
            ("196", {"week": "2026-W54"}, 404, "there is no week 2026-W54: those of 2026 run from W01 to W53"),
            ("196", {"week": "x"}, 404, "an ISO week such as 2026-W48 is wanted"),
            ("196", {"week": "x" * 21}, 422, "query.week"),
        ):
            refused = get(f"/playlists/{path}", params=params)
            assert refused.status_code == status
            assert why in refused.json()["detail"]
        gone = body["items"][0]["item_id"]
        httpx.delete(f"{address}/items/{gone}").raise_for_status()
        later = get("/playlists/196")
        assert [item["item_id"] for item in later.json()["items"]] == [item["item_id"] for item in body["items"][1:]]
        assert later.headers["etag"] != answer.headers["etag"]
        # A correction takes its place, and undoing brings the first one back.
        toml = (folder / "recsys.toml").read_text()
        (folder / "recsys.toml").write_text(toml.replace("length = 10", "length = 10\nseed = 7"))
        assert "2026-W48.2 is published" in done(folder, "playlists", "--week", WEEK, "--publish")
        assert get("/playlists/196").json()["edition"] == "2026-W48.2"
        assert "2026-W48 is the newest that is" in done(folder, "playlists", "undo")
        assert get("/playlists/196").json()["edition"] == WEEK, "the very next request is answered from it"


def test_next_weeks_list_waits_until_the_week_begins_where_the_user_lives(shop, serve):
    folder, *_ = shop
    done(folder, "playlists", "publish", WEEK)
    done(folder, "playlists", "--week", "2027-W01", "--publish")
    with serve(folder) as (address, _):
        assert httpx.get(f"{address}/playlists/196").json()["edition"] == WEEK
        early = httpx.get(f"{address}/playlists/196", params={"week": "2027-W01"})
        assert early.status_code == 404
        assert early.json()["detail"] == "the list of 2027-W01 may be heard from 2027-01-04T00:00:00+00:00"


def test_redis_down_publishes_nothing_and_again_does(shop):
    folder, _, server = shop
    server.terminate()
    server.wait()
    refused = recsys(folder, "playlists", "publish")
    assert refused.returncode == 1
    assert "Nothing was published, readers keep what they have" in refused.stderr
    assert EditionStore(folder / "var/playlists").published() == []
    begun = recsys(folder, "playlists", "--week", "2026-W49")
    assert begun.returncode == 1
    assert "so nothing was begun" in begun.stderr
    with redis_server(folder / "redis"):
        assert "943 lists in Redis" in done(folder, "playlists", "publish")


def test_a_redis_without_room_publishes_nothing_and_says_what_to_do(shop):
    folder, client, _ = shop
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    refused = recsys(folder, "playlists", "--week", WEEK, "--publish")
    assert refused.returncode == 1
    assert "has no room: give it more memory (maxmemory)" in refused.stderr
    assert "Nothing was published, readers keep what they have" in refused.stderr
    client.config_set("maxmemory", 0)
    assert "943 lists in Redis" in done(folder, "playlists", "publish")


def test_what_was_heard_or_dismissed_since_the_release_is_in_no_list(shop):
    folder, *_ = shop
    before = [row["item"] for row in json.loads(told(folder, "show", "196", "--json"))["items"]]
    settings = load_settings(folder / "recsys.toml", {})

    async def remember():
        keys = keys_of(before)
        weights = np.repeat(np.array([1, -1], np.float32), 5)
        state = UserState("196", None, keys, weights, np.full(10, int(time.time())), np.zeros(0, np.uint64))
        async with open_store(settings.state) as store:
            await store.put([state], ReleaseStore(settings.releases.folder).current_id())

    asyncio.run(remember())
    again = json.loads(done(folder, "playlists", "--week", WEEK, "--json"))
    assert again["edition"] == "2026-W48.2", "other inputs, another revision"
    now = json.loads(told(folder, "show", "196", "--week", "2026-W48.2", "--json"))["items"]
    assert len(now) == 10
    assert not {row["item"] for row in now} & set(before)
    other = json.loads(told(folder, "compare", WEEK, "2026-W48.2", "--json"))
    assert other["same"] == 942, "nobody else's list is another one"


def test_hooks_hear_of_what_is_published_and_their_failure_takes_nothing_back(shop):
    folder, *_ = shop
    heard = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        toml = (folder / "recsys.toml").read_text()
        hooks = f"command = 'touch'\nwebhook = 'http://127.0.0.1:{server.server_address[1]}/'\n"
        (folder / "recsys.toml").write_text(toml.replace("[playlists]\n", f"[playlists]\n{hooks}"))
        done(folder, "playlists", "publish")
        server.shutdown()
    assert (folder / WEEK).exists(), "the command was given the edition's id"
    assert heard[0]["edition"] == WEEK
    assert heard[0]["lists"] == 943
    toml = toml.replace("[playlists]\n", "[playlists]\ncommand = 'false'\nwebhook = 'http://127.0.0.1:9/'\nseed = 3\n")
    (folder / "recsys.toml").write_text(toml)
    said = done(folder, "playlists", "--week", WEEK, "--publish")
    assert "playlists.command failed" in said
    assert "playlists.webhook was not told" in said
    assert EditionStore(folder / "var/playlists").published() == [WEEK, "2026-W48.2"]


def test_what_is_put_into_redis_is_what_stands_in_the_file(shop):
    folder, *_ = shop
    done(folder, "playlists", "--week", "2026-W49", "--sample", "50")
    edition = EditionStore(folder / "var/playlists").get("2026-W49")
    lists = dict(values(edition, 0))
    assert len(lists) == 50
    for user, value in lists.items():
        rows = edition.read(user)
        put = json.loads(value)
        assert (put["level"], put["release"]) == (rows[0]["level"], rows[0]["release"])
        assert [(item, source, why) for item, _, source, why in put["items"]] == [
            (row["item"], row["source"], row["reason"]) for row in rows
        ]
        assert [score for _, score, _, _ in put["items"]] == pytest.approx([row["score"] for row in rows], rel=1e-5)


def test_the_command_line_says_what_there_is(shop):
    folder, *_ = shop
    assert "say which week to make" in recsys(folder, "playlists").stderr
    assert recsys(folder, "playlists", "--week", "2026-W54").returncode == 1
    done(folder, "playlists", "publish", WEEK)
    done(folder, "playlists", "--week", "2026-W49")
    (folder / "var/playlists/.making-2026-W50").mkdir()
    status = json.loads(told(folder, "status", "--json"))
    assert [(row["edition"], row["served"]) for row in status["editions"]] == [(WEEK, True), ("2026-W49", False)]
    assert status["waiting"] == ["2026-W50"]
    assert "2026-W50 waits" in told(folder, "status")
    assert json.loads(told(folder, "compare", WEEK, "2026-W49", "--json"))["overlap"] == 0
    assert "943 users have a list in both" in told(folder, "compare", WEEK, "2026-W49")
    assert "196, 2026-W48, personal" in told(folder, "show", "196", "--week", WEEK)
    assert "'nobody' has no list" in recsys(folder, "playlists", "show", "nobody").stderr
    assert "10 items" in told(folder, "export", str(folder / "x.m3u"), "--user", "196")
    assert Path(folder / "x.m3u").exists()
    assert "0 editions removed" in told(folder, "prune", "--keep", "1"), "what must not be repeated stays"
    refused = recsys(folder, "playlists", "--week", WEEK, "--engine", "abacus")
    assert "unknown engine 'abacus', choose one of local, spark" in refused.stderr
