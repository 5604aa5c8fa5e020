"""The whole loop under load: releases flip, the store dies, files rot; the requests do not notice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from recsys.releases import ReleaseStore

USERS = ("196", "405", "13", "22", "244")


@pytest.fixture
def own(home, tmp_path, configured):
    """A copy of the trained folder that a test may break; its server looks at the pointer often."""
    shutil.copytree(home / "var", tmp_path / "var", ignore=shutil.ignore_patterns("*.sock"))
    (tmp_path / "recsys.toml").write_text(configured())
    return tmp_path


def retrained(folder, text):
    (folder / "recsys.toml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "recsys", "train", "--json"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["id"]


def recommend(client, user):
    return client.get("/recommend", params={"user_id": user, "k": 10})


def ids(answer):
    return [item["item_id"] for item in answer.json()["items"]]


class Load:
    """Requests from several threads until it is left; every answer is kept."""

    def __init__(self, address, threads=4):
        self.answers, self.failures = [], []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(address, n)) for n in range(threads)]

    def _ask(self, address, n):
        with httpx.Client(base_url=address, timeout=30) as client:
            while not self._stop.is_set():
                user = USERS[n % len(USERS)]
                n += 1
                try:
                    answer = recommend(client, user)
                    self.answers.append((user, answer.status_code, answer.json()))
                except Exception as error:
                    self.failures.append(repr(error))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def wait_until(condition, seconds=30, what="it"):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s"
        time.sleep(0.01)


def current(client):
    return client.get("/releases/current").json()["release"]


def test_a_hundred_promotions_under_load_make_no_error_and_no_mixed_answer(own, serve, configured):
    store = ReleaseStore(own / "var/releases")
    old = store.current_id()
    new = retrained(own, configured(factors=16))
    now = store.get(new).manifest.created
    (own / "recsys.toml").write_text(configured().replace("watch_seconds = 0.1", "watch_seconds = 0.02"))
    with serve(own) as (address, _), httpx.Client(base_url=address) as client:
        expected = {}
        for release in (old, new):
            store.promote(release, now=now)
            wait_until(lambda release=release: current(client) == release, what=f"serving {release}")
            for user in USERS:
                answer = recommend(client, user)
                assert answer.json()["level"] == "personal"
                expected[release, user] = ids(answer)
        assert all(expected[old, user] != expected[new, user] for user in USERS)
        with Load(address) as load:
            for flip in range(100):
                release = (old, new)[flip % 2]
                store.promote(release, now=now)
                wait_until(lambda release=release: current(client) == release, what=f"serving {release}")
    assert load.failures == []
    assert {status for _, status, _ in load.answers} == {200}
    served = {body["release"] for _, _, body in load.answers}
    assert served == {old, new}
    for user, _, body in load.answers:
        assert [item["item_id"] for item in body["items"]] == expected[body["release"], user]
        assert body["degraded"] == []


def embedded_servers(folder):
    """The process ids of Valkey servers whose working directory is the folder's state."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if (process / "cwd").resolve() == folder and b"valkey" in (process / "cmdline").read_bytes():
                    found.append(int(process.name))
            except OSError:
                continue
    return found


def test_the_embedded_store_is_killed_under_load_and_no_request_fails(own, serve):
    state = (own / "var/state").resolve()
    with serve(own) as (address, _), httpx.Client(base_url=address) as client:
        wanted = {user: ids(recommend(client, user)) for user in USERS}
        with Load(address) as load:
            for _ in range(5):
                wait_until(lambda: embedded_servers(state), what="a running store")
                before = len(load.answers)
                for pid in embedded_servers(state):
                    os.kill(pid, signal.SIGKILL)
                wait_until(lambda before=before: len(load.answers) > before + 50, what="answers after the kill")
        wait_until(lambda: recommend(client, "196").json()["degraded"] == [], what="recovery")
        assert {user: ids(recommend(client, user)) for user in USERS} == wanted
    assert load.failures == []
    assert {status for _, status, _ in load.answers} == {200}
    degraded = [body for _, _, body in load.answers if body["degraded"]]
    assert degraded, "the store was killed five times and nobody noticed: the test killed the wrong process"
    assert all(body["degraded"] == ["user-state"] for body in degraded)
    for user, _, body in load.answers:
        assert [item["item_id"] for item in body["items"]] == wanted[user]
    wait_until(lambda: not embedded_servers(state), what="the store's end with its parent")


def test_without_any_store_everybody_is_answered_from_the_release(own, serve, configured):
    (own / "recsys.toml").write_text(configured(url=f"unix://{own}/nobody-listens.sock"))
    with serve(own) as (address, _), httpx.Client(base_url=address) as client:
        known, unknown = recommend(client, "196").json(), recommend(client, "nobody").json()
        assert (known["level"], known["degraded"]) == ("personal", ["user-state"])
        assert (unknown["level"], unknown["degraded"]) == ("trending", ["user-state"])
        assert client.get("/readyz").json()["degraded"] == ["user-state"]
        assert 'recsys_degraded_total{part="user-state"}' in client.get("/metrics").text


def test_a_store_that_comes_back_empty_is_filled_again(own, serve):
    shutil.rmtree(own / "var/state")
    with serve(own) as (address, _), httpx.Client(base_url=address) as client:
        wait_until(lambda: recommend(client, "196").json()["level"] == "personal", what="filling the store")
        assert recommend(client, "196").json()["degraded"] == []


def test_a_damaged_release_is_refused_by_name_while_the_old_one_serves(own, serve, configured):
    store = ReleaseStore(own / "var/releases")
    old = store.current_id()
    new = retrained(own, configured(factors=16))
    with serve(own) as (address, _), httpx.Client(base_url=address) as client:
        wait_until(lambda: current(client) == new, what="serving the new release")
        store.rollback(now=store.get(new).manifest.created)
        wait_until(lambda: current(client) == old, what="rolling back")
        vectors = store.folder / new / "items/vectors.npy"
        vectors.write_bytes(vectors.read_bytes()[:-100])
        store.pointer.write_text(new + "\n")
        wait_until(lambda: client.get("/releases/current").json()["refused"], what="refusing")
        body = client.get("/releases/current").json()
        assert body["release"] == old
        assert "items/vectors.npy is not the file that was published" in body["refused"]
        assert recommend(client, "196").status_code == 200
        store.pointer.write_text("2031-01-01T00-00-00\n")
        wait_until(lambda: "no release '2031" in client.get("/releases/current").json()["refused"], what="refusing")
        assert recommend(client, "196").json()["release"] == old


def test_a_server_without_a_release_says_so_and_starts_serving_when_there_is_one(tmp_path, home, serve, configured):
    (tmp_path / "recsys.toml").write_text(configured())
    with serve(tmp_path) as (address, _), httpx.Client(base_url=address) as client:
        for path in ("/readyz", "/recommend?user_id=1", "/popular"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "run `recsys train`" in answer.json()["detail"]
        assert client.get("/healthz").status_code == 200
        shutil.copytree(home / "var/releases", tmp_path / "var/releases")
        wait_until(lambda: client.get("/readyz").status_code == 200, what="serving")
