"""`recsys stream` and what it must survive: afterwards the states are those of a clean replay, to the bit.

Marked `soak`, the same goes on for longer: `make soak`.
"""

import asyncio
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import pytest
from redis import Redis
from redis.exceptions import RedisError
from threadpoolctl import threadpool_limits

import index
from index.growing import Growing
from recsys.assembly import assemble
from recsys.errors import LogError, LogFull, StoreError
from recsys.logs import open_log
from recsys.logs.records import Declared, Event, Merged, Shown
from recsys.releases import ReleaseStore
from recsys.settings import load_settings
from recsys.speed import GROUP, Applier
from recsys.stores import open_store
from recsys.stores.memory import MemoryStore

NOW = 1_790_000_000
USERS = ("196", "405", "22", "244", "guest", *(f"new {n}" for n in range(40)))


class RedisServer:
    """A server with an append-only file, which can be killed and started again on what it wrote."""

    def __init__(self, folder):
        folder.mkdir()
        self.path, self._folder, self._process = folder / "redis.sock", folder, None

    @property
    def url(self):
        return f"unix://{self.path}"

    def start(self):
        command = ["redis-server", "--port", "0", "--unixsocket", self.path, "--dir", self._folder, "--save", ""]
        self._process = subprocess.Popen(
            [*command, "--appendonly", "yes", "--appendfsync", "always"], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                self.client().ping()
            except RedisError:
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.02)
            else:
                return

    def client(self):
        return Redis(unix_socket_path=str(self.path))

    def kill(self):
        self._process.kill()
        self._process.wait()

    def states(self, release):
        """Everything that is kept of users, to the bit, vectors of one release."""
        client, found = self.client(), {}
        for kind in (b"s", b"w", b"i", b"v:" + release.encode()):
            for key in client.scan_iter(b"recsys:" + kind + b":{u*", count=1000):
                found[key] = client.get(key)
        return found


@pytest.fixture
def redis(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("r") / "data")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def own(home, tmp_path, redis):
    """A folder with the trained release whose states and log are on that server; little is waited for."""
    shutil.copytree(home / "var/releases", tmp_path / "var/releases")
    (tmp_path / "recsys.toml").write_text(
        f'[state]\nurl = "{redis.url}"\ntimeout_ms = 5000\n[log]\nclaim_seconds = 0.5\n[serve]\nwatch_seconds = 0.05\n'
        "[stream]\nbatch = 100\nseen = 60\nshown = 20\ntries = 3\n[train]\nrecent_items = 20\n"
    )
    return tmp_path


def settings_of(own):
    return load_settings(own / "recsys.toml", {})


@contextmanager
def worker(own, *options):
    """`recsys stream` from when it applies events; killed if it has not ended."""
    command = [sys.executable, "-m", "recsys", "stream", *options]
    with subprocess.Popen(command, cwd=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert "applying events" in process.stdout.readline(), process.stderr.read()
            yield process
        finally:
            process.kill()
            process.communicate()


def stopped(process):
    """End a worker in order; what it says at last."""
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return said


def events(count, seed):
    """What many users do, with clocks that jump by days and a half, everything twice or more, in no order."""
    rng = random.Random(seed)  # noqa: S311
    told = [Merged("m1", NOW, "244", "guest"), Declared("d1", NOW, "22", ("jazz",)), Declared("d2", NOW + 1, "22", ())]
    for n in range(count):
        jump = rng.choice([0] * 8 + [-400_000, 130_000])
        user, item = rng.choice(USERS), str(rng.randrange(1, 400))
        told.append(Event(f"e{n}", NOW + n + jump, user, item, rng.choice(["play", "like", "skip", "dismiss"])))
        if n % 20 == 0:
            told.append(Shown(f"r{n}", NOW + n, user, (item, "1", "2"), "home", "r", "personal"))
    told += rng.choices(told, k=count // 4) + rng.choices(told, k=10) * 10
    rng.shuffle(told)
    return told


def in_log(own, act):
    """What ``act`` gives of the log of a folder."""

    async def story():
        async with open_log(settings_of(own)) as log:
            return await act(log)

    return asyncio.run(story())


def appended(own, records):
    async def act(log):
        for start in range(0, len(records), 500):
            await log.append(records[start : start + 500])
        await log.status(GROUP)

    in_log(own, act)


def left(own):
    """How many records are to be applied."""

    async def act(log):
        found = await log.status(GROUP)
        return found.lag + found.pending

    return in_log(own, act)


def wait_until(condition, seconds=120, what="it"):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s"
        time.sleep(0.02)


def clean(own, records):
    """What is kept of users after a clean replay, by the keys of the server."""
    settings = settings_of(own)
    engine = assemble(ReleaseStore(settings.releases.folder).current(), index.load, Growing.of)
    store = MemoryStore()
    with threadpool_limits(1):
        asyncio.run(Applier(store, lambda: engine, settings).apply(records))
    kinds = {
        "s": store._states,
        "w": store._shown,
        "i": {user: value for user, (_, value) in store._interests.items()},
        f"v:{engine.id}": store._vectors[engine.id],
    }
    return {
        f"recsys:{kind}:{{u{user}}}".encode(): value for kind, part in kinds.items() for user, value in part.items()
    }


def released(own):
    return ReleaseStore(settings_of(own).releases.folder).current_id()


def survives_kills_of_the_worker(own, redis, seed, count, kills):
    """SIGKILL at random points, with duplicates, shuffled, and clocks that jump; the records that count."""
    rng = random.Random(seed)  # noqa: S311
    told = events(count, seed)
    bad = Event("bad", NOW, "196", "50", "no such kind")
    appended(own, [*told[:count], bad, *told[count:]])
    everything = left(own)
    for kill in range(kills):
        goal = everything * (kills - kill) // (kills + 1) + rng.randrange(100)
        with worker(own) as process:
            wait_until(lambda goal=goal: left(own) < goal, what="half of the work")
            time.sleep(rng.random() / 20)
            process.kill()
            process.wait()
    with worker(own) as process:
        wait_until(lambda: not left(own), what="the rest")
        assert "0 buried" not in stopped(process)
    assert redis.states(released(own)) == clean(own, told)
    return told


def test_a_worker_that_is_killed_again_and_again_loses_nothing_and_counts_nothing_twice(own, redis):
    told = survives_kills_of_the_worker(own, redis, seed=1, count=2000, kills=2)
    status = subprocess.run(
        [sys.executable, "-m", "recsys", "stream", "status", "--json"], cwd=own, capture_output=True
    )
    assert status.returncode == 0, status.stderr
    body = json.loads(status.stdout)
    assert (body["lag"], body["pending"], body["dead"]) == (0, 0, 1)
    assert body["dead_letters"][0]["record"]["id"] == "bad"
    assert "unknown kind of event 'no such kind'" in body["dead_letters"][0]["reason"]
    # Made again from the log alone, whatever was there.
    live = redis.states(released(own))
    redis.client().set(b"recsys:s:{u196}", b"garbage")
    redis.client().set(b"recsys:s:{uno such user}", b"garbage")
    again = subprocess.run(
        [sys.executable, "-m", "recsys", "stream", "rebuild", "--json"], cwd=own, capture_output=True
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["records"] == len(told)
    assert redis.states(released(own)) == live


async def appending(log, told, kept, refused):
    """Append twenty at a time, again and again where that is refused."""
    for at in range(0, len(told), 20):
        while kept[-1:] != told[at + 19 : at + 20]:
            try:
                await log.append(told[at : at + 20])
                kept.extend(told[at : at + 20])
            except LogError as error:
                refused.append(error)
                await asyncio.sleep(0.01)


async def killing(redis, kept, refused, goals):
    """Kill the server once so much is kept, and start it again when somebody has noticed."""
    for goal in goals:
        while len(kept) < goal:  # noqa: ASYNC110  another task appends
            await asyncio.sleep(0)
        redis.kill()
        known = len(refused)
        while len(refused) == known:  # noqa: ASYNC110  the same
            await asyncio.sleep(0.01)
        await asyncio.to_thread(redis.start)


def test_a_server_that_is_killed_and_comes_back_has_all_that_was_acknowledged(own, redis):
    told = events(1500, seed=2)
    told, kept, refused = told[: len(told) // 20 * 20], [], []

    async def story():
        async with open_log(settings_of(own)) as log:
            await asyncio.gather(appending(log, told, kept, refused), killing(redis, kept, refused, (300, 1000)))

    async def replayed(log):
        return [entry.record async for entry in log.replay()]

    with worker(own) as process:
        asyncio.run(story())
        wait_until(lambda: not left(own), what="the rest")
        stopped(process)
    found = in_log(own, replayed)
    assert {record.id for record in kept} == {record.id for record in told} == {record.id for record in found}
    assert redis.states(released(own)) == clean(own, found)


def test_a_full_server_refuses_by_name_and_lists_are_answered_all_the_same(own, redis):
    told, client = events(600, seed=3), redis.client()
    appended(own, told[:300])
    with worker(own) as process:
        wait_until(lambda: not left(own), what="the first half")
        appended(own, told[300:])
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        with pytest.raises(LogFull):
            appended(own, told[:1])

        async def read_and_written():
            async with open_store(settings_of(own).state) as store:
                (stored,) = await store.load(["196"], released(own))
                assert stored.state is not None
                assert (await store.get(["196"], released(own)))[0] is not None
                with pytest.raises(StoreError, match="has no room: give it more memory"):
                    await store.swap([(stored.state, stored.token)], released(own))

        asyncio.run(read_and_written())
        assert process.poll() is None
        client.config_set("maxmemory", 0)
        wait_until(lambda: not left(own), what="the rest")
        stopped(process)
    assert redis.states(released(own)) == clean(own, told)


def test_a_release_that_is_published_in_the_middle_takes_everybody_over(tmp_path, redis):
    """Trained and promoted by `recsys train` while events come and a worker applies them."""
    rows = [f"u{u},i{i},{NOW - 10_000 + u * 60 + i}" for u in range(12) for i in range(12) if (u + i) % 3]
    (tmp_path / "log.csv").write_text("user_id,item_id,time\n" + "\n".join(rows) + "\n")
    (tmp_path / "recsys.toml").write_text(
        f'[data]\nevents = "log.csv"\n[model]\nfactors = 4\n[state]\nurl = "{redis.url}"\ntimeout_ms = 5000\n'
        "[gate]\nbeat_popularity = false\n[log]\nclaim_seconds = 0.5\n[serve]\nwatch_seconds = 0.05\n"
    )
    rng = random.Random(5)  # noqa: S311
    told = [Event(f"e{n}", NOW + n, f"u{rng.randrange(20)}", f"i{rng.randrange(14)}", "play") for n in range(900)]

    def train():
        done = subprocess.run([sys.executable, "-m", "recsys", "train"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    async def coming(log, training):
        at = 300
        while not training.done() or at < len(told):
            await log.append(told[at : at + 10])
            at += 10 if at < len(told) else 0
            await asyncio.sleep(0.02)

    async def story():
        async with open_log(settings_of(tmp_path)) as log:
            training = asyncio.create_task(asyncio.to_thread(train))
            await coming(log, training)
            await training

    train()
    old = released(tmp_path)
    with worker(tmp_path) as process:
        appended(tmp_path, told[:300])
        asyncio.run(story())
        wait_until(lambda: not left(tmp_path), what="the rest")
        stopped(process)
    new = released(tmp_path)
    assert new > old
    wanted, found = clean(tmp_path, told), redis.states(new)
    vectors = {key for key in wanted if key.startswith(b"recsys:v:")}
    assert {key: found[key] for key in wanted.keys() - vectors} == {key: wanted[key] for key in wanted.keys() - vectors}
    # Whoever was written under the old release once more at the very last is folded in by the next request.
    assert all(found[key] == wanted[key] for key in vectors if found.get(key, b"")[8:12] == wanted[key][8:12])
    assert len([key for key in vectors if found.get(key) == wanted[key]]) > len(vectors) // 2


def test_prometheus_is_told_how_far_it_has_come(own):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = events(100, seed=4)
    appended(own, told)
    with worker(own, "--metrics-port", str(port)) as process:
        found = {}

        def applied():
            try:
                text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
            except httpx.TransportError:
                return False
            told_of = re.findall(r"^recsys_stream_(\w+) (\S+)$", text, re.MULTILINE)
            found.update({name: float(value) for name, value in told_of})
            return found.get("records") == len(told)

        wait_until(applied, what="gauges that tell of everything")
        stopped(process)
    assert found["lag"] == found["pending"] == found["dead"] == 0
    assert found["length"] == len(told)
    assert found["events"] + found["repeated"] == sum(isinstance(record, Event) for record in told)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(int(os.environ.get("RECSYS_SOAK", "5"))))
def test_it_survives_for_longer(own, redis, seed):
    survives_kills_of_the_worker(own, redis, seed=100 + seed, count=20_000, kills=10)
