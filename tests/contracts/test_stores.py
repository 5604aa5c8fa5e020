"""The contracts of stores, against every store of the table and against Debian's Redis."""

import asyncio
import shutil
import subprocess
import time
from contextlib import contextmanager

import pytest

from recsys.errors import SettingsError, StoreError
from recsys.sections import State
from recsys.stores import STORES, ItemChange, ItemChanges, open_store, redis
from recsys.testing.stores import ItemChangeStoreContract, UserStateStoreContract, running
from recsys.testing.swaps import SwapContract

# a test machine may be busy; how long a request waits is tested elsewhere
PATIENT = 10_000


@contextmanager
def debian_redis(folder):
    """Debian's redis-server on a socket in ``folder``; gives its URL."""
    binary = shutil.which("redis-server")
    assert binary, "redis-server is not on the PATH: install it (`apt-get install redis-server`), these tests need it"
    folder.mkdir(exist_ok=True)
    path = folder / "redis.sock"
    with subprocess.Popen(
        [binary, "--port", "0", "--unixsocket", path, "--dir", folder, "--save", ""], stdout=subprocess.DEVNULL
    ) as process:
        try:
            state = State(url=f"unix://{path}", timeout_ms=PATIENT)
            deadline = time.monotonic() + 20
            while not answers(state):
                assert process.poll() is None, "redis-server ended"
                assert time.monotonic() < deadline, "redis-server does not answer"
            yield state
        finally:
            process.terminate()


def answers(state):
    with running(lambda: redis.opened(state)) as (run, store):
        try:
            run(store.ping())
        except StoreError:
            return False
        return True


@pytest.fixture(params=sorted(STORES))
def open_empty(request, short_folder):
    if request.param == "redis":
        with debian_redis(short_folder) as state:
            yield lambda: STORES["redis"](state)
    else:
        state = State(folder=short_folder, timeout_ms=PATIENT)
        yield lambda: STORES[request.param](state)


class TestUserStates(UserStateStoreContract):
    pass


class TestSwaps(SwapContract):
    pass


class TestItemChanges(ItemChangeStoreContract):
    pass


@pytest.fixture
def short_folder(tmp_path_factory):
    """A folder for sockets, whose paths may not be long."""
    return tmp_path_factory.mktemp("s")


@pytest.mark.parametrize("kind", ["redis", "embedded"])
def test_an_emptied_server_is_not_sealed(kind, short_folder):
    async def story(state):
        async with STORES[kind](state) as store:
            await store.seal("r1")
            sealed = await store.sealed("r1")
            await store._server.client.flushall()
            return sealed, await store.sealed("r1")

    with debian_redis(short_folder) as debian:
        state = debian if kind == "redis" else State(folder=short_folder / "own", timeout_ms=PATIENT)
        assert asyncio.run(story(state)) == (True, False)


@pytest.mark.parametrize("kind", ["redis", "embedded"])
def test_an_emptied_server_gives_marks_that_were_never_given(kind, short_folder):
    """So that a reader notices, and does not take it for the one it has read."""

    async def story(state):
        async with STORES[kind](state) as store:
            await store.change_items([ItemChange("a", {}), ItemChange("b", {})])
            before = await store.item_changes()
            await store._server.client.flushall()
            emptied = await store.item_changes(before.mark)
            await store.change_items([ItemChange("c", {}), ItemChange("d", {})])
            return before, emptied, await store.item_changes(before.mark)

    with debian_redis(short_folder) as debian:
        state = debian if kind == "redis" else State(folder=short_folder / "own", timeout_ms=PATIENT)
        before, emptied, after = asyncio.run(story(state))
    assert emptied == ItemChanges("", (), whole=True)
    assert after.whole
    assert [change.item_id for change in after.changes] == ["c", "d"]
    assert after.mark != before.mark


def test_no_url_is_the_embedded_server_and_a_scheme_names_a_store(short_folder):
    async def kind(state):
        async with open_store(state) as store:
            await store.ping()
            return type(store).__name__

    assert asyncio.run(kind(State(folder=short_folder / "own"))) == "RedisStore"
    assert (short_folder / "own" / "appendonlydir").is_dir()
    assert asyncio.run(kind(State(url="memory://"))) == "MemoryStore"
    with debian_redis(short_folder) as state:
        assert asyncio.run(kind(state)) == "RedisStore"


def test_an_address_without_a_known_scheme_is_refused_and_not_quoted():
    with pytest.raises(SettingsError, match="unknown scheme 'valkey', choose one of memory, redis, rediss, unix"):
        open_store(State(url="valkey://:hush@localhost"))
    with pytest.raises(SettingsError, match="an address such as redis://localhost:6379 is wanted") as caught:
        open_store(State(url="hush@localhost"))
    assert "hush" not in str(caught.value)
