"""The redis store when the world is not as it should be."""

import asyncio
import itertools
import socket
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from recsys.errors import SettingsError, StoreError
from recsys.sections import State
from recsys.stores import connection, redis, redis_items
from recsys.stores.embedded import EmbeddedServer
from recsys.stores.line import MOST, Line
from recsys.stores.server import Breaker
from recsys.testing.stores import running, user_state


@contextmanager
def opened(state):
    with running(lambda: redis.opened(state)) as (run, store):
        yield run, store


@pytest.fixture
def server(tmp_path_factory):
    with EmbeddedServer(State(folder=tmp_path_factory.mktemp("s"), timeout_ms=10_000)) as server:
        yield server


def outcomes(answer, *calls, timeout_ms=60, login=""):
    """What each call gives on one store whose server answers everything with ``answer``, and how often it connected.

    ``answer`` may be a function of the connection's number.
    """

    async def accepted(reader, writer):
        said = answer(len(connections)) if callable(answer) else answer
        connections.append(asyncio.current_task())
        with suppress(ConnectionError):
            while await reader.read(10_000):
                writer.write(said)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def story():
        server = await asyncio.start_server(accepted, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        found = []
        async with server:
            async with redis.opened(State(url=f"redis://{login}127.0.0.1:{port}", timeout_ms=timeout_ms)) as store:
                for call in calls:
                    try:
                        found.append(await call(store))
                    except StoreError as error:
                        found.append(str(error))
            await asyncio.sleep(0.05)  # what has connected is accepted by now
            await asyncio.wait(connections)
        return found

    connections = []
    return asyncio.run(story()), len(connections)


def get(store):
    return store.get(["u"], "r1")


def test_a_server_that_is_down_is_named_without_its_password():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    state = State(url=f"redis://me:hush@127.0.0.1:{port}/1", timeout_ms=5000)
    with opened(state) as (run, store):
        for call in (
            lambda: store.get(["u"], "r1"),
            lambda: store.put([user_state("u")], "r1"),
            lambda: store.seal("r1"),
            lambda: store.sealed("r1"),
            lambda: store.forget("r1"),
            store.ping,
        ):
            with pytest.raises(StoreError, match=f"redis://127.0.0.1:{port}/1 cannot be reached") as caught:
                run(call())
            assert "hush" not in str(caught.value)
            assert "start the server, or correct state.url" in str(caught.value)


def test_a_missing_socket_is_named(tmp_path):
    with (
        opened(State(url=f"unix://{tmp_path}/none.sock", timeout_ms=5000)) as (run, store),
        pytest.raises(StoreError, match=r"unix://.*none\.sock cannot be reached"),
    ):
        run(store.ping())


def test_a_server_that_never_answers_is_given_up_in_time_and_then_left_alone():
    (first, second, ping), connections = outcomes(b"", get, get, lambda store: store.ping())
    assert "did not answer within 60 ms" in first
    assert "did not answer a moment ago and is given 0.25 s" in second
    assert "did not answer within 60 ms" in ping
    assert connections == 2, "the second get should not have connected"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16" * 3,
        b"+OK\r\n",
        b"+OK\r\n+OK\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"*1\r\n$1\r\nx\r\n",
        b"*2\r\n:1\r\n$-1\r\n",
        b"*2\r\n-ERR x\r\n-ERR x\r\n",
    ],
)
def test_a_server_that_speaks_another_language_is_a_store_error(nonsense):
    found, _ = outcomes(nonsense, get, get, timeout_ms=300)
    assert all(isinstance(error, str) for error in found)


def test_a_wrong_password_or_a_missing_right_is_the_servers_refusal():
    for login in ("", "me:hush@"):
        (found,), _ = outcomes(b"-NOAUTH Authentication required.\r\n", get, timeout_ms=5000, login=login)
        assert "Authentication required" in found
        assert "hush" not in found


def test_garbage_under_a_key_is_named_and_the_next_request_is_served(server):
    with opened(server.state) as (run, store):
        run(store.put([user_state("u"), user_state("v")], "r1"))
        run(store._server.client.set("recsys:s:{uu}", "garbage"))
        with pytest.raises(StoreError, match="state of user 'u' was not written by this program"):
            run(store.get(["v", "u"], "r1"))
        assert run(store.get(["v"], "r1"))[0].user == "v"
        run(store._server.client.set("recsys:v:r1:{uv}", "garbage"))
        with pytest.raises(StoreError, match="vector of user 'v' was not written by this program"):
            run(store.get(["v"], "r1"))


def test_a_key_of_another_type_is_an_unknown_user(server):
    with opened(server.state) as (run, store):
        run(store._server.client.lpush("recsys:s:{uu}", "1"))
        assert run(store.get(["u"], "r1")) == [None]


def test_get_is_one_round_trip(server):
    with opened(server.state) as (run, store):
        run(store.put([user_state(f"u{n}") for n in range(50)], "r1"))
        run(store._server.client.config_resetstat())
        run(store.get([f"u{n}" for n in range(50)], "r1"))
        after = run(store._server.client.info("commandstats"))
        called = {name: stats["calls"] for name, stats in after.items() if "config" not in name and "info" not in name}
        assert called == {"cmdstat_mget": 1}


def test_put_takes_what_it_is_given_a_batch_at_a_time(server):
    pulled = itertools.count()

    with opened(server.state) as (run, store):

        def states():
            for n in range(3 * redis_items.BATCH_LENGTH):
                next(pulled)
                yield user_state(f"u{n}", 1, 1)

        batches = redis_items.batches(redis._parts(state, redis._vector_keys("r1")) for state in states())
        assert len(next(batches)) == redis_items.BATCH_LENGTH
        assert next(pulled) == redis_items.BATCH_LENGTH
        assert run(store.put(states(), "r1")) == 3 * redis_items.BATCH_LENGTH


def test_large_states_make_small_batches():
    large = [user_state(f"u{n}", 1, redis_items.BATCH_BYTES // 16 + 1) for n in range(4)]
    batches = redis_items.batches(redis._parts(state, redis._vector_keys("r1")) for state in large)
    assert [len(batch) for batch in batches] == [2, 2]


def test_a_connection_that_the_server_closed_is_replaced(server):
    with opened(server.state) as (run, store):
        run(store.put([user_state("u")], "r1"))
        run(store._server.client.client_kill_filter(_type="normal", skipme=False))
        assert run(store.get(["u"], "r1"))[0].user == "u"


def test_many_requests_at_once_are_all_served(server):
    async def together(store):
        return await asyncio.gather(*(store.get([f"u{n}"], "r1") for n in range(500)))

    with opened(server.state) as (run, store):
        run(store.put([user_state(f"u{n}", 1, 1) for n in range(500)], "r1"))
        assert [state.user for (state,) in run(together(store))] == [f"u{n}" for n in range(500)]


def test_a_request_that_is_given_up_leaves_no_answer_for_the_next(server):
    async def given_up(store):
        for n in range(50):
            task = asyncio.create_task(store.get(["a"] * 50, "r1"))
            for _ in range(n % 7):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            (found,) = await store.get(["b"], "r1")
            assert found.user == "b"

    with opened(server.state) as (run, store):
        run(store.put([user_state("a"), user_state("b")], "r1"))
        run(given_up(store))


@given(st.text(), st.text(), st.text(), st.text())
def test_keys_of_different_users_and_releases_differ(user, other, release, another):
    one, two = redis._vector_keys(release)(user), redis._vector_keys(another)(other)
    assert (one == two) == ((user, release) == (other, another))
    tag = redis._state_key(user).partition(b"{")[2].partition(b"}")[0]
    assert tag
    assert tag == one.partition(b"{")[2].partition(b"}")[0], "Redis Cluster keeps a user's keys on one machine"


@pytest.mark.parametrize("url", ["redis://me:hu/sh@db:6379", "redis://:hush@db:port", "redis://me:hush@db?speed=1"])
def test_an_address_that_cannot_be_understood_is_refused_without_its_password(url):
    with (
        pytest.raises(SettingsError, match=r"state\.url redis://db.* cannot be used: redis://") as caught,
        opened(State(url=url)),
    ):
        pass
    assert "hu" not in str(caught.value)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_breaker_lets_everything_through_until_something_fails():
    breaker = Breaker(0.25, Clock())
    assert [breaker.allows() for _ in range(3)] == [True, True, True]


def test_a_breaker_lets_one_request_try_after_each_rest():
    clock = Clock()
    breaker = Breaker(0.25, clock)
    breaker.failed()
    assert not breaker.allows()
    clock.now += 0.25
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    clock.now += 0.25
    assert breaker.allows(), "the probe never reported back"
    breaker.failed()
    assert not breaker.allows()


def test_a_breaker_closes_when_the_probe_succeeds():
    clock = Clock()
    breaker = Breaker(0.25, clock)
    breaker.failed()
    clock.now += 0.3
    assert breaker.allows()
    breaker.succeeded()
    assert [breaker.allows() for _ in range(3)] == [True, True, True]


def test_questions_of_many_requests_go_over_one_connection_and_each_gets_its_own_answer(server):
    async def asked(store):
        users = [f"u{n}" for n in range(200)]
        before = (await store._server.client.info("clients"))["connected_clients"]
        found = await asyncio.gather(*(store.get([user], "r1") for user in users))
        assert [state.user for (state,) in found] == users
        assert (await store._server.client.info("clients"))["connected_clients"] == before + 1

    with opened(server.state) as (run, store):
        run(store.put([user_state(f"u{n}") for n in range(200)], "r1"))
        run(asked(store))


def test_a_connection_over_which_nothing_comes_any_more_is_replaced():
    answers = b"*4\r\n" + 4 * b"$-1\r\n"
    (first, second, third), connections = outcomes(lambda number: answers if number else b"", get, rested, get)
    assert "did not answer within 60 ms" in first
    assert (second, third) == ([None], [None])
    assert connections == 2


def test_each_of_those_who_wait_is_told_in_their_time_also_behind_one_who_was_answered():
    async def accepted(reader, writer):
        """Answer those who ask first, nobody else."""
        while said := await reader.read(1000):
            writer.write(b"+PONG\r\n" * said.count(b"FIRST"))
        writer.close()

    async def story():
        server = await asyncio.start_server(accepted, "127.0.0.1", 0)
        url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, connection.client(url, "state.url") as client:
            line = Line(client.connection_pool, 0.2)
            await line.ask((b"FIRST",))
            assert await line.ask((b"FIRST",)) == b"PONG"
            await asyncio.sleep(0.1)
            second = asyncio.create_task(line.ask((b"SECOND",)))
            await asyncio.sleep(0.15)
            assert not second.done(), "the watch that was set for the first is not the second's"
            third = asyncio.create_task(line.ask((b"SECOND",)))
            with pytest.raises(TimeoutError):
                await second
            # Nothing came at all since, so the connection is given up, and who waits asks over another one.
            with pytest.raises(TimeoutError):
                await third
            assert await line.ask((b"FIRST",)) == b"PONG"
            line.close()

    asyncio.run(asyncio.wait_for(story(), 10))


async def rested(store):
    """Ask once the breaker lets one through again."""
    await asyncio.sleep(0.3)
    return await get(store)


def test_one_refusal_among_many_questions_is_told_and_the_connection_goes_on(server):
    async def asked(store):
        line = store._server.line
        assert await line.ask_all([(b"SET", b"a", b"1"), (b"GET", b"a")]) == [b"OK", b"1"]
        with pytest.raises(ResponseError, match="not an integer"):
            await line.ask_all([(b"SET", b"a", b"x"), (b"INCR", b"a"), (b"INCR", b"a"), (b"SET", b"b", b"2")])
        assert await line.ask((b"GET", b"b")) == b"2", "what stood behind it was carried out"
        with pytest.raises(RedisConnectionError, match="too many wait"):
            await line.ask_all([(b"PING",)] * (MOST + 1))
        assert (await store._server.client.info("clients"))["connected_clients"] == 2

    with opened(server.state) as (run, store):
        run(asked(store))


@pytest.mark.parametrize(("again", "connections"), [(True, 2), (False, 1)])
def test_what_must_be_done_once_is_not_asked_again_when_the_connection_is_lost(again, connections):
    async def accepted(reader, writer):
        """Answer the first question, or all of whoever comes later; hang up at the second."""
        first = not heard
        heard.append(asyncio.current_task())
        while await reader.read(1000):
            writer.write(b"+PONG\r\n")
            if first and not await reader.read(1000):
                break
            if first:
                writer.transport.abort()
                return
        writer.close()

    async def story():
        server = await asyncio.start_server(accepted, "127.0.0.1", 0)
        url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, connection.client(url, "state.url") as client:
            line = Line(client.connection_pool)
            assert await line.ask_all([(b"PING",)], again=again) == [b"PONG"]
            if again:
                assert await line.ask_all([(b"PING",)]) == [b"PONG"]
            else:
                with pytest.raises(RedisConnectionError):
                    await line.ask_all([(b"PING",)], again=False)
            line.close()
            await asyncio.wait(heard)

    heard = []
    asyncio.run(story())
    assert len(heard) == connections
