"""The contract of event logs, against every log of the table, and what outlives kill -9."""

import asyncio
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given

from recsys.errors import LogError, LogFull, SettingsError
from recsys.logs import open_log
from recsys.logs.records import decode, encode, mentions
from recsys.settings import Settings
from recsys.testing.logs import EventLogContract, event, replayed, taken
from recsys.testing.records import records


def of(url, claim_seconds=30.0):
    return Settings.model_validate({"log": {"url": url, "claim_seconds": claim_seconds}})


def beside(state, claim_seconds=30.0):
    return Settings.model_validate({"log": {"claim_seconds": claim_seconds}, "state": state})


@pytest.fixture
def short_folder(tmp_path_factory):
    """A folder for sockets, whose paths may not be long."""
    return tmp_path_factory.mktemp("l")


@pytest.fixture
def redis_url(short_folder, redis_server):
    with redis_server(short_folder) as (url, _):
        yield url


class TestFile(EventLogContract):
    @pytest.fixture
    def open_log(self, tmp_path):
        return lambda claim_seconds=30.0: open_log(of(f"file:{tmp_path}/log", claim_seconds))


class TestEmbedded(EventLogContract):
    """A stream on the Valkey of the wheel."""

    @pytest.fixture
    def open_log(self, short_folder):
        return lambda claim_seconds=30.0: open_log(beside({"folder": short_folder}, claim_seconds))


class TestRedis(EventLogContract):
    """A stream on Debian's Redis 7."""

    @pytest.fixture
    def open_log(self, redis_url):
        return lambda claim_seconds=30.0: open_log(of(redis_url, claim_seconds))


class TestRecords:
    @given(records())
    def test_any_record_is_decoded_as_it_was_encoded(self, record):
        found = decode(encode(record))
        assert found == record
        assert repr(found) == repr(record)  # also where 1 and 1.0 are equal
        assert b"\n" not in encode(record)

    @given(records())
    def test_a_record_mentions_whoever_it_is_of(self, record):
        whose = {getattr(record, "user", None), getattr(record, "anonymous", None)} - {None}
        stored = encode(record)
        assert {user for user in (*whose, "nobody at all") if mentions(stored, user)} == whose

    @pytest.mark.parametrize(
        "stored",
        [
            b"",
            b"{}",
            b"[]",
            b"null",
            b'{"type":"event"}',
            b'{"type":"later","id":"x"}',
            b"\xff",
            b'{"type":[]}',
            b"[" * 10**5,
        ],
    )
    def test_bytes_that_are_no_record_are_refused_by_name(self, stored):
        with pytest.raises(LogError, match="no record of this program"):
            decode(stored)


def test_an_address_names_a_log_and_one_that_does_not_is_refused_and_not_quoted(tmp_path, redis_url):
    async def kind(settings):
        async with open_log(settings) as log:
            await log.status("g")
            return type(log).__name__

    assert asyncio.run(kind(of(f"file:{tmp_path}/log"))) == "FileLog"
    assert asyncio.run(kind(of(redis_url))) == "RedisLog"
    assert asyncio.run(kind(beside({"url": redis_url}))) == "RedisLog"
    for url, said in (
        (
            "valkey://:hush@localhost",
            "log.url: unknown scheme 'valkey', choose one of file, kafka, redis, rediss, unix",
        ),
        ("hush@localhost", "log.url: an address such as redis://localhost:6379 or file:var/events is wanted"),
        ("redis://localhost:hush", "log.url redis://localhost:hush cannot be used"),
        ("file:", "log.url: a folder is wanted after file:"),
    ):
        with pytest.raises(SettingsError, match=said):
            asyncio.run(kind(of(url)))
    with pytest.raises(SettingsError, match="memory:// can hold no log"):
        asyncio.run(kind(beside({"url": "memory://"})))


# Appends batches of its own for ever, and says of each that it was accepted.
APPENDER = """
import asyncio, sys
from recsys.logs import open_log
from recsys.settings import Settings
from recsys.testing.logs import event

async def main(settings, name):
    async with open_log(settings) as log:
        number = 0
        while True:
            size = number % 9 + 1
            await log.append([event(place, f"{name} {number} {size}") for place in range(size)])
            print(f"{name} {number} {size}", flush=True)
            number += 1

asyncio.run(main(Settings.model_validate_json(sys.argv[1]), sys.argv[2]))
"""


def appender(settings, name):
    command = [sys.executable, "-c", APPENDER, settings.model_dump_json(), name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def lines_of(process, count):
    """What it said until ``count`` lines were heard; then it is killed, and what it had said meanwhile counts too."""
    heard = [process.stdout.readline() for _ in range(count)]
    process.kill()
    heard += process.communicate()[0].splitlines(keepends=True)
    return [line.strip() for line in heard if line.endswith("\n")]


def assert_all_there(settings, accepted):
    async def story():
        async with open_log(settings) as log:
            return Counter(record.user for record in await replayed(log))

    found = asyncio.run(story())
    # each batch as a whole, those that were on the way as well
    assert {user: int(user.split()[-1]) for user in found} == found
    assert set(accepted) <= set(found)
    assert len(accepted) >= 100


@pytest.mark.parametrize("kind", ["file", "embedded", "redis"])
def test_whatever_was_accepted_outlives_a_writer_that_is_killed(kind, tmp_path, short_folder, request):
    if kind == "embedded":
        settings = beside({"folder": short_folder / "s"})
    else:
        settings = of(f"file:{tmp_path}/log" if kind == "file" else request.getfixturevalue("redis_url"))
    accepted = []
    for count in (7, 40, 30):
        writers = [appender(settings, f"{count}-{name}") for name in "ab"]
        accepted += lines_of(writers[0], count)
        accepted += lines_of(writers[1], count)
    assert_all_there(settings, accepted)


def test_whatever_was_accepted_outlives_a_redis_that_is_killed(short_folder, redis_server):
    """Where it syncs before it answers; with everysec it writes later than it answers while the disk is busy."""
    options = ("--appendonly", "yes", "--appendfsync", "always")
    accepted = []
    for count in (60, 70):
        with redis_server(short_folder, *options) as (url, server):
            writer = appender(of(url), str(count))
            accepted += [writer.stdout.readline().strip() for _ in range(count)]
            server.kill()
            accepted += [line for line in writer.communicate()[0].split("\n")[:-1] if line]
    with redis_server(short_folder, *options) as (url, _):
        assert_all_there(of(url), accepted)


async def filled(log, size):
    """How many records go in, so many at a time, before one batch is refused; and what is said of that."""
    length = 0
    while True:
        try:
            await log.append([event(number, "u" * 1000) for number in range(size)])
        except LogFull as error:
            return length, str(error)
        length += size


def test_a_redis_without_memory_refuses_batches_as_a_whole_and_goes_on_reading(short_folder, redis_server):
    async def story(url):
        async with open_log(of(url)) as log:
            assert (await log.status("g")).length == 0
            length, said = await filled(log, 500)
            assert "has no memory for another record: archive and trim the log, or raise its maxmemory" in said
            length += (await filled(log, 1))[0]
            assert length > 500
            assert (await log.status("g")).length == length
            assert len(await replayed(log)) == length
            await taken(log, "g", length)
            assert await log.trim(["g"]) == length
            await log.append([event(2)])
            assert await replayed(log) == [event(2)]

    with redis_server(short_folder, "--maxmemory", "6mb", "--maxmemory-policy", "noeviction") as (url, _):
        asyncio.run(story(url))


def test_a_redis_that_is_not_there_is_said_so(short_folder):
    async def story():
        async with open_log(of(f"unix://{short_folder}/none.sock")) as log:
            for ask in (log.append([event(1)]), log.read("g", "r", 1, 0.0), log.status("g"), log.erase("u")):
                with pytest.raises(LogError, match="cannot be reached"):
                    await ask

    asyncio.run(story())


@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_the_embedded_server_syncs_as_it_is_told(short_folder, fsync):
    async def story():
        async with open_log(beside({"folder": short_folder, "fsync": fsync})) as log:
            return await log._client.config_get("append*")

    told = asyncio.run(story())
    assert (told["appendonly"], told["appendfsync"]) == ("yes", fsync)
