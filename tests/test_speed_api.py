"""What happens is in the next list: events, merges, deletions and erasures, over HTTP, by a server that applies."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import httpx
import pytest
import redis

from recsys.logs import open_log
from recsys.logs.archive import Archive
from recsys.playlists.delivery import key_of
from recsys.settings import load_settings
from recsys.stores import open_store
from recsys.stores.embedded import EmbeddedServer
from recsys.trends import Trends


@pytest.fixture(scope="module")
def own(tmp_path_factory, configured, copied):
    return copied(tmp_path_factory.mktemp("speed"), configured())


@pytest.fixture(scope="module")
def client(own, serve):
    with serve(own) as (address, _), httpx.Client(base_url=address) as client:
        yield client


def listed(client, user, k=10, **more):
    answer = client.get("/recommend", params={"user_id": user, "k": k, **more})
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def level(client, user):
    return client.get("/recommend", params={"user_id": user}).json()["level"]


def seen(client, user):
    answer = client.get(f"/page/users/{user}/history", params={"limit": 200}).json()
    return [item["item_id"] for item in answer["items"]]


def post(client, *events):
    answer = client.post("/events", json=list(events))
    assert (answer.status_code, answer.json()) == (202, {"accepted": len(events), "refused": []})


def event(user, item, kind="play", **more):
    return {"user_id": user, "item_id": item, "kind": kind, **more}


def soon(true, within=10):
    """Wait until it is so: events are applied in the background."""
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, f"it was not so within {within} s"
        time.sleep(0.01)


def test_what_a_known_user_likes_leaves_the_list_and_changes_what_is_left(client):
    before = listed(client, "196")
    post(client, event("196", before[0], "like"))
    soon(lambda: before[0] not in listed(client, "196"))
    after = listed(client, "196")
    assert set(after) != set(listed(client, "196", 11, exclude=before[0])) - {before[0]} or after != before[1:]
    assert seen(client, "196")[0] == before[0]
    assert [one for one in after if one in before] != before[1:], "only the item itself has gone"


def test_a_newcomer_is_answered_by_what_they_just_did(client):
    assert level(client, "newcomer") not in {"personal", "recent"}
    post(client, event("newcomer", "50"), event("newcomer", "181"))
    soon(lambda: level(client, "newcomer") == "recent")
    assert "172" in listed(client, "newcomer")
    assert not {"50", "181"} & set(listed(client, "newcomer", 500))
    folded = client.post("/recommend", json={"history": [{"item_id": "181"}, {"item_id": "50"}], "k": 10}).json()
    assert listed(client, "newcomer") == [item["item_id"] for item in folded["items"]]


def test_what_is_dismissed_is_gone_and_teaches_nothing(client):
    before = listed(client, "22", 20)
    post(client, event("22", before[2], "dismiss"))
    soon(lambda: before[2] not in listed(client, "22", 500))
    assert listed(client, "22", 19) == [item for item in before if item != before[2]]


def test_an_event_that_comes_ten_times_counts_once(client, own):
    same = event("tenfold", "50", event_id="tenfold-1", time=int(time.time()) - 5)
    for _ in range(10):
        post(client, same, event("tenfold", "181", event_id="tenfold-2", time=int(time.time()) - 60))
    post(client, event("onefold", "50", time=int(time.time()) - 5), event("onefold", "181", time=int(time.time()) - 60))
    soon(lambda: len(seen(client, "tenfold")) == len(seen(client, "onefold")) == 2)
    assert listed(client, "tenfold", 100) == listed(client, "onefold", 100)


def test_a_million_events_of_one_user_are_bounded(client, own):
    """Not quite a million: enough that every bound is met."""
    start = int(time.time()) - 100_000
    for batch in range(12):
        post(client, *(event("busy", f"x{batch * 1000 + n}", time=start + batch * 1000 + n) for n in range(1000)))
    post(client, event("busy", "50"))
    soon(lambda: seen(client, "busy") == ["50"], within=30)
    with EmbeddedServer(load_settings(own / "recsys.toml", {}).state) as server, connected(server) as database:
        assert database.strlen("recsys:s:{ubusy}") < 100_000


def test_what_was_done_without_a_name_counts_for_who_logs_in_once_and_from_then_on(client):
    post(client, event("session-1", "50"))
    soon(lambda: seen(client, "session-1") == ["50"])
    for _ in range(2):
        answer = client.post("/users/ann/merge", json={"anonymous_id": "session-1"})
        assert (answer.status_code, answer.json()) == (200, {"user_id": "ann", "anonymous_id": "session-1"})
    assert seen(client, "ann") == ["50"]
    post(client, event("session-1", "181"))
    soon(lambda: set(seen(client, "ann")) == {"181", "50"})
    post(client, event("whole", "50"), event("whole", "181"))
    soon(lambda: set(seen(client, "whole")) == {"181", "50"})
    assert listed(client, "ann") == listed(client, "whole")


@pytest.mark.parametrize("body", [{}, {"anonymous_id": ""}, {"anonymous_id": "bob"}, {"anonymous_id": 5}, {"who": "x"}])
def test_nobody_is_merged_into_themselves_or_from_nothing(client, body):
    answer = client.post("/users/bob/merge", json=body)
    assert answer.status_code == 422
    assert "body." in answer.json()["detail"]


def test_interests_and_items_are_in_the_log_and_the_later_word_stays(client, own):
    for interests in (["jazz"], ["war"], ["slow"]):
        assert client.put("/users/teller", json={"interests": interests}).status_code == 200
    for title in ("One", "Two"):
        client.put("/items/told", json={"title": title})
    assert client.delete("/items/told").status_code == 204
    settings = load_settings(own / "recsys.toml", {})

    async def read():
        async with open_log(settings) as log, open_store(settings.state) as store:
            # What is archived is in the log until it is trimmed.
            archived = {record.id: record for record in Archive(settings.log.archive).records()}
            records = list((archived | {entry.record.id: entry.record async for entry in log.replay()}).values())
            changes = {change.item_id: change.description for change in (await store.item_changes()).changes}
            (state,) = await store.get(["teller"], "")
            return records, changes, state

    records, changes, state = asyncio.run(read())
    said = [record for record in records if getattr(record, "user", "") == "teller"]
    assert [record.interests for record in said] == [("jazz",), ("war",), ("slow",)]
    told = [record.description for record in records if getattr(record, "item", "") == "told"]
    assert told == [{"title": "One"}, {"title": "Two"}, None]
    # All of it was said within a second or two, and applied twice.
    soon(lambda: asyncio.run(lag(settings)) == 0)
    assert asyncio.run(read())[1:] != (None, None)
    assert changes["told"] is None
    assert state.interests == ("slow",)


async def lag(settings):
    async with open_log(settings) as log:
        status = await log.status("speed")
        return status.lag + status.pending


def test_two_workers_share_the_events_and_neither_serves_what_was_deleted_two_seconds_ago(serve, tmp_path, copied):
    folder = copied(tmp_path, "[state]\ntimeout_ms = 5000\n")

    def everywhere(*users):
        # A connection each, so that the kernel deals them out to both workers.
        answers = [httpx.get(f"{address}/recommend?user_id={user}&k=500").json() for user in users for _ in range(6)]
        answers += [httpx.get(f"{address}/{path}?k=500").json() for path in ("popular", "trending") for _ in range(6)]
        return {item["item_id"] for answer in answers for item in answer["items"]}

    with serve(folder, "--workers", "2") as (address, _), httpx.Client(base_url=address) as client:
        for batch in range(20):
            answer = httpx.post(
                f"{address}/events", json=[event(f"crowd{n}", "50") for n in range(batch * 20, batch * 20 + 20)]
            )
            assert answer.json()["accepted"] == 20
        soon(lambda: all(seen(client, f"crowd{n}") == ["50"] for n in range(0, 400, 57)))
        assert "181" in everywhere("crowd1", "crowd2")
        assert httpx.delete(f"{address}/items/181").status_code == 204
        time.sleep(2)
        assert "181" not in everywhere("crowd1", "crowd2", "nobody")


def test_a_full_store_refuses_events_by_name_and_goes_on_answering(serve, configured, tmp_path, copied):
    folder = copied(tmp_path, configured())
    with serve(folder) as (address, _), httpx.Client(base_url=address) as client:
        server = EmbeddedServer(load_settings(folder / "recsys.toml", {}).state)
        before = listed(client, "196")
        with connected(server) as database:
            database.config_set("maxmemory", 1)
            answer = client.post("/events", json=event("196", before[0], "like"))
            assert (answer.status_code, answer.headers["content-type"]) == (507, "application/problem+json")
            assert "the event log has no room, so nothing of this was kept" in answer.json()["detail"]
            assert listed(client, "196") == before
            assert client.put("/items/full", json={"title": "Full"}).status_code == 507
            database.config_set("maxmemory", 0)
        post(client, event("196", before[0], "like"))
        soon(lambda: before[0] not in listed(client, "196"))


def test_how_far_the_speed_layer_has_come_is_measured(client):
    def gauge(name):
        lines = client.get("/metrics").text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"recsys_stream_{name} ")), None)

    soon(lambda: gauge("events") is not None)
    before = gauge("events")
    post(client, event("measured", "50"))
    soon(lambda: gauge("events") == before + 1)
    soon(lambda: (gauge("lag"), gauge("pending"), gauge("dead")) == (0, 0, 0))


class Gate:
    """A socket in front of Redis whose answers can be held back, as they are when one dies between append and reply."""

    def __init__(self, path, server):
        self.passing = threading.Event()
        self.passing.set()
        self._server = server
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self):
        """Let everything through and wait for the end."""
        self.passing.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join()

    def _accept(self):
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._server)
                ways = ((near, far, None), (far, near, self.passing))
                self._threads += [threading.Thread(target=self._pass, args=way) for way in ways]
                for thread in self._threads[-2:]:
                    thread.start()

    def _pass(self, source, target, gate):
        with suppress(OSError):
            while content := source.recv(65536):
                if gate is not None:
                    gate.wait()
                target.sendall(content)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()


def test_a_server_that_dies_between_append_and_reply_has_accepted_what_is_sent_again_once(
    serve, configured, tmp_path, copied
):
    folder = copied(tmp_path, configured())
    settings = load_settings(folder / "recsys.toml", {})
    with EmbeddedServer(settings.state) as server:
        gate = Gate(tmp_path / "gate.sock", server.url.removeprefix("unix://"))
        (folder / "recsys.toml").write_text(configured() + f'[log]\nurl = "unix://{tmp_path}/gate.sock"\n')
        sent = event("survivor", "50", "like", event_id="once", time=int(time.time()))
        failures = []

        def post_once(address):
            try:
                httpx.post(f"{address}/events", json=sent, timeout=30)
            except httpx.HTTPError as error:
                failures.append(error)

        with serve(folder) as (address, process):
            with httpx.Client(base_url=address) as client:
                post(client, event("warm", "50"))
            gate.passing.clear()
            posting = threading.Thread(target=post_once, args=(address,))
            posting.start()
            with connected(server) as database:
                soon(
                    lambda: b'"once"' in b"".join(fields[b"r"] for _, fields in database.xrange("recsys:{log}:events"))
                )
            os.kill(process.pid, signal.SIGKILL)
            posting.join()
        assert failures, "the server had answered before it died"
        gate.close()
        (folder / "recsys.toml").write_text(configured())
        with serve(folder) as (address, _), httpx.Client(base_url=address) as client:
            post(client, sent)
            soon(lambda: seen(client, "survivor") == ["50"])
            soon(lambda: asyncio.run(lag(settings.model_copy(update={"state": server.state}))) == 0, within=60)

            async def kept():
                async with open_store(server.state) as store:
                    (stored,) = await store.load(["survivor"], "")
                    return stored.state, await Trends(7).largest(store, time.time())

            state, trending = asyncio.run(kept())
    assert state.weights.tolist() == [2.0]
    # One like of 2 and the play that warmed the server up.
    assert trending["50"] == pytest.approx(3, rel=1e-3)


@contextmanager
def connected(server):
    with redis.Redis(unix_socket_path=server.url.removeprefix("unix://")) as database:
        yield database


USER, BEFORE = "somebody-quite-unmistakable", "an-anonymous-visitor-of-before"


def stored_in(database):
    """Every key of a Redis server with its value, as bytes."""
    read = {
        b"string": database.get,
        b"hash": lambda key: [part for pair in database.hgetall(key).items() for part in pair],
        b"set": database.smembers,
        b"zset": lambda key: database.zrange(key, 0, -1),
        b"list": lambda key: database.lrange(key, 0, -1),
        b"stream": lambda key: [value for _, fields in database.xrange(key) for value in fields.values()],
    }
    for key in database.scan_iter(count=1000):
        value = read[database.type(key)](key)
        yield key, value if isinstance(value, bytes) else b"\n".join(value)


@pytest.fixture
def small(tmp_path):
    """Even users take even items, odd ones odd; one of them has a name of their own."""
    pairs = [(u, i) for u in range(12) for i in range(12) if u % 2 == i % 2 and u != i]
    rows = [f"u{u},i{i},{1_600_000_000 + 1000 * i + u}" for u, i in pairs]
    rows += [f"{USER},i{i},{1_700_000_000 + i}" for i in (1, 3, 5)]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,time", *rows]) + "\n")
    (tmp_path / "recsys.toml").write_text(
        '[data]\nevents = "log.csv"\n[gate]\nbeat_popularity = false\n[state]\ntimeout_ms = 5000\n'
        "[log]\nclaim_seconds = 3\n"
    )
    run(tmp_path, "train")
    return tmp_path


def run(folder, *command):
    done = subprocess.run([sys.executable, "-m", "recsys", *command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_who_is_erased_leaves_no_trace_and_is_not_learned_again(small, serve):
    run(small, "train")
    settings = load_settings(small / "recsys.toml", {})

    def traces(server, *names):
        with connected(server) as database:
            stored = [(key, key + b"\n" + value) for key, value in stored_in(database)]
        # The append-only file forgets when it is rewritten, of which the documentation speaks.
        files = [path for path in (small / "var").rglob("*") if path.is_file() and "state" not in path.parts]
        stored += [(path, path.read_bytes()) for path in files]
        return [where for where, content in stored if any(name.encode() in content for name in names)]

    with serve(small) as (address, _), httpx.Client(base_url=address, timeout=30) as client:
        server = EmbeddedServer(settings.state)
        post(client, event(BEFORE, "i9"), event(USER, "i7", "like"), event("u1", "i7"))
        assert client.put(f"/users/{USER}", json={"interests": ["odd"]}).status_code == 200
        assert client.post(f"/users/{USER}/merge", json={"anonymous_id": BEFORE}).status_code == 200
        soon(lambda: set(seen(client, USER)) == {"i1", "i3", "i5", "i7", "i9"})
        listed(client, USER)
        # The server archives by itself.
        soon(lambda: sum(USER in repr(record) for record in Archive(settings.log.archive).records()) >= 3, 60)
        post(client, event(USER, "i11"))
        soon(lambda: "i11" in seen(client, USER))
        with connected(server) as database:
            database.set(key_of("2026-W48", USER), f'{{"user_id": "{USER}"}}')
        assert len(traces(server, USER, BEFORE)) > 9
        receipt = client.delete(f"/users/{USER}").json()
        assert traces(server, USER, BEFORE) == []
        assert (receipt["user_id"], receipt["ids"]) == (USER, 2)
        removed = receipt["removed"]
        assert removed["releases"] == 2
        assert min(removed[part] for part in ("log", "archive", "lists", "states", "vectors", "interests")) >= 1
        assert (seen(client, USER), seen(client, "u1")[0]) == ([], "i7")
        again = client.delete(f"/users/{USER}").json()["removed"]
        assert not any(again.values())
        late = client.post("/events", json=event(USER, "i2", time=int(time.time()) - 600))
        assert late.status_code == 422
        assert "user_id: this user was erased after that" in late.json()["detail"]
        run(small, "train")
        released = load_settings(small / "recsys.toml", {}).releases.folder / "CURRENT"
        soon(lambda: client.get("/releases/current").json()["release"] == released.read_text().strip())
        assert client.get("/releases/current").json()["users"] == 12
        assert traces(server, USER, BEFORE) == []
        # Who comes back begins anew.
        time.sleep(1.1)
        post(client, event(USER, "i2"))
        soon(lambda: seen(client, USER) == ["i2"])
