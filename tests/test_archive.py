"""The archive: what comes out is what went in, once, whatever happened in between."""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from datetime import date
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.barred import Barred
from recsys.errors import LogError
from recsys.logs import Entry, open_log
from recsys.logs.archive import Archive
from recsys.logs.archiver import archive_log
from recsys.logs.records import Declared, Described, Event, Merged, Shown
from recsys.settings import Settings
from recsys.testing.logs import event, replayed
from recsys.testing.records import records

DAY = 86_400
NOON = 20_000 * DAY + DAY // 2
SHOWN = Shown("r1", NOON, "ann", ("a", "b"), "home", "2026-11-26T00-00-00", "personal", 11, (0.5, 0.25))


def entries(some, deliveries=1, first=0):
    return [Entry(f"{place}-0", record, b"", deliveries) for place, record in enumerate(some, first)]


def names(archive):
    return sorted(str(path.relative_to(archive.folder)) for path in archive.folder.rglob("*.parquet"))


def test_records_lie_by_day_and_family_in_the_columns_that_training_reads(tmp_path):
    archive = Archive(tmp_path)
    told = [
        Event("e1", NOON, "ann", "i", "rate", 4.5, "home", "r1", 3),
        Event("e2", NOON + DAY, "bob", "j", "play"),
        SHOWN,
        Described("d", NOON, "i", {"title": "T"}),
    ]
    assert archive.write(entries(told)) == 4
    assert names(archive) == [
        "day=2024-10-04/changes-3-0-3-0.parquet",
        "day=2024-10-04/events-0-0-0-0.parquet",
        "day=2024-10-04/shown-2-0-2-0.parquet",
        "day=2024-10-05/events-1-0-1-0.parquet",
    ]
    assert archive.days() == [date(2024, 10, 4), date(2024, 10, 5)]
    (row,) = pq.ParquetFile(tmp_path / "day=2024-10-04/events-0-0-0-0.parquet").read().to_pylist()
    assert row == {
        "user_id": "ann", "item_id": "i", "kind": "rate", "value": 4.5, "time": NOON, "event_id": "e1",
        "surface": "home", "request": "r1", "position": 3, "log_position": "0-0",
    }  # fmt: skip
    rows = archive.table("shown", date(2024, 10, 4)).to_pylist()
    assert [(row["item_id"], row["position"], row["propensity"]) for row in rows] == [("a", 11, 0.5), ("b", 12, 0.25)]


@settings(max_examples=25)
@given(st.lists(records(), max_size=12))
def test_whatever_goes_in_comes_out(tmp_path_factory, some):
    archive = Archive(tmp_path_factory.mktemp("archive"))
    archive.write(entries(some))
    assert Counter(map(repr, archive.records())) == Counter(map(repr, some))


def test_what_is_given_again_is_not_archived_again(tmp_path):
    """Whether the batch is the same one or another, and however the day was compacted meanwhile."""
    archive = Archive(tmp_path)
    some = [event(NOON + number) for number in range(6)] + [SHOWN]
    archive.write(entries(some[:4]))
    archive.write(entries(some[:4]))  # the log does not know that it gave them before
    assert list(archive.records()) == some[:4]
    assert archive.write(entries(some, deliveries=2)) == 3
    assert list(archive.records()) == some
    assert archive.compact(date(2024, 10, 5)) == 3
    assert archive.write(entries(some, deliveries=3)) == 0
    assert list(archive.records()) == some
    # after a crash between two lines of compact, the small files are there beside the large one
    archive.write(entries(some[2:], first=2))
    assert list(archive.records()) == some


def test_many_files_of_a_past_day_become_one_and_those_of_today_stay(tmp_path):
    archive = Archive(tmp_path)
    some = [event(NOON + number) for number in range(5)]
    for place, record in enumerate(some):
        archive.write(entries([record], first=place))
    archive.write(entries([event(NOON + DAY)], first=9))
    assert archive.compact(date(2024, 10, 5)) == 5
    assert names(archive) == ["day=2024-10-04/events.parquet", "day=2024-10-05/events-9-0-9-0.parquet"]
    assert list(archive.records()) == [*some, event(NOON + DAY)]
    assert archive.compact(date(2024, 10, 5)) == 0
    # what comes late goes into the same file
    archive.write(entries([event(NOON + 100)], first=10))
    assert archive.compact(date(2024, 10, 5)) == 1
    assert names(archive) == ["day=2024-10-04/events.parquet", "day=2024-10-05/events-9-0-9-0.parquet"]
    assert Counter(archive.records()) == Counter([*some, event(NOON + DAY), event(NOON + 100)])


def test_small_files_of_today_become_larger_ones_where_there_are_many(tmp_path):
    archive = Archive(tmp_path)
    some = [event(NOON + number) for number in range(12)]
    for place, record in enumerate(some):
        archive.write(entries([record], first=place))
        if place in {4, 11}:
            assert archive.compact(date(2024, 10, 4), many=5) in {5, 8}
    assert len(names(archive)) == 1
    assert Counter(archive.records()) == Counter(some)
    assert archive.compact(date(2024, 10, 4), many=5) == 0
    assert archive.write(entries(some, deliveries=2)) == 0
    assert Counter(archive.records()) == Counter(some)


def test_what_came_since_can_be_read_alone(tmp_path):
    """Whether it is in a file of its own or was put into another one."""
    archive = Archive(tmp_path)
    archive.write(entries([event(NOON)]))
    archive.compact(date(2024, 10, 5))
    before = archive.files()
    assert list(archive.records(before)) == []
    archive.write(entries([event(NOON + 1)], first=1))
    assert list(archive.records(before)) == [event(NOON + 1)]
    archive.compact(date(2024, 10, 5))
    assert set(archive.records(before)) == {event(NOON), event(NOON + 1)}


def test_erasing_a_user_rewrites_what_names_them_and_nothing_else(tmp_path):
    archive = Archive(tmp_path)
    of_ann = [
        event(NOON, "ann-x"), Shown("r", NOON, "ann-x", ("i", "j"), "home", "r1", "personal"),
        Declared("c", NOON, "ann-x", ("jazz",)), Merged("m", NOON, "bob", "ann-x"), event(NOON + DAY, "ann-x"),
        Event("odd\udc80", NOON, "ann-x", "i", "play"),
    ]  # fmt: skip
    of_bob = [event(NOON, "ann-xy"), SHOWN, Described("d", NOON, "i", None)]
    archive.write(entries([*of_ann[:3], *of_bob, *of_ann[3:]]))
    untouched = archive.folder / "day=2024-10-06"
    archive.write(entries([event(NOON + 2 * DAY, "bob")], first=20))
    before = {path: path.stat().st_ino for path in untouched.iterdir()}
    assert archive.erase("ann-x") == len(of_ann)
    assert archive.erase("ann-x") == 0
    assert Counter(map(repr, archive.records())) == Counter(map(repr, [*of_bob, event(NOON + 2 * DAY, "bob")]))
    assert {path: path.stat().st_ino for path in untouched.iterdir()} == before
    traces = [table for table in tables(archive) if b"ann-x\0" in table or b'"ann-x"' in table]
    assert traces == []
    assert not (archive.folder / "day=2024-10-05" / "events-8-0-8-0.parquet").exists()


def tables(archive):
    """Every cell of every file as bytes."""
    for path in archive.folder.rglob("*.parquet"):
        for row in pq.ParquetFile(path).read().to_pylist():
            yield b"".join((cell if isinstance(cell, bytes) else str(cell).encode()) + b"\0" for cell in row.values())


def test_what_an_archiver_held_while_its_user_was_erased_is_not_written(tmp_path):
    barred = Barred(tmp_path / "barred")
    archive = Archive(tmp_path / "archive", barred)
    some = [event(NOON, "ann"), event(NOON, "bob"), event(NOON + 10, "ann"), Merged("m", NOON, "bob", "ann")]
    barred.add(["ann"], NOON + 5)
    assert archive.write(entries(some)) == 2
    assert list(archive.records()) == [some[1], some[2]]


def test_bytes_that_are_no_record_are_kept_and_not_given_as_one(tmp_path):
    archive = Archive(tmp_path)
    archive.write([Entry("1", None, b'{"type":"later"}'), Entry("2", event(NOON))])
    assert archive.table("changes", date(1970, 1, 1)).column("record").to_pylist() == [b'{"type":"later"}']
    assert list(archive.records()) == [event(NOON)]


def test_a_damaged_file_is_named(tmp_path):
    archive = Archive(tmp_path)
    archive.write(entries([event(NOON)]))
    (path,) = tmp_path.rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(LogError, match=f"{path} is no segment of the archive that can be read"):
        list(archive.records())


def settings_of(folder):
    return Settings.model_validate({"log": {"url": f"file:{folder}/log", "claim_seconds": 0.5}})


def archived(folder, **more):
    async def story():
        async with open_log(settings_of(folder)) as log:
            return await archive_log(log, Archive(folder / "archive"), "me", 0.5, once=True, **more)

    return asyncio.run(story())


def test_what_is_archived_is_trimmed_once_it_is_in_the_states_too(tmp_path):
    async def story(action):
        async with open_log(settings_of(tmp_path)) as log:
            return await action(log)

    async def speed(log):
        found = await log.read("speed", "me", 100, 0.0)
        await log.acknowledge("speed", [entry.position for entry in found])

    some = [event(NOON + number) for number in range(10)]
    asyncio.run(story(lambda log: log.append(some)))
    told = archived(tmp_path)
    assert (told.archived, told.trimmed, told.waiting) == (10, 0, 0)
    assert asyncio.run(story(replayed)) == some
    asyncio.run(story(speed))
    asyncio.run(story(lambda log: log.append([event(NOON + 10)])))
    told = archived(tmp_path)
    assert (told.archived, told.trimmed) == (1, 10)
    assert asyncio.run(story(replayed)) == [event(NOON + 10)]
    assert list(Archive(tmp_path / "archive").records()) == [*some, event(NOON + 10)]
    assert archived(tmp_path).archived == 0


# Archives for ever, and is killed by the parent.
ARCHIVER = """
import asyncio, os, sys
from pathlib import Path
from recsys.logs import open_log
from recsys.logs.archive import Archive
from recsys.logs import archiver
from recsys.settings import Settings

async def main():
    async with open_log(Settings.model_validate_json(sys.argv[1])) as log:
        await archiver.archive_log(log, Archive(Path(sys.argv[2])), str(os.getpid()), 0.5, once=False, most=40,
                                   told=lambda progress: print(progress.archived, flush=True))
asyncio.run(main())
"""


def test_an_archiver_that_is_killed_loses_nothing_and_archives_nothing_twice(tmp_path):
    some = [event(NOON + number, f"user {number % 5}") for number in range(1000)]

    async def fill():
        async with open_log(settings_of(tmp_path)) as log:
            await log.append(some)

    asyncio.run(fill())
    command = [sys.executable, "-c", ARCHIVER, settings_of(tmp_path).model_dump_json(), tmp_path / "archive"]
    for batches in (1, 3, 2, 5):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            for _ in range(batches):
                assert child.stdout.readline()
            child.kill()
    asyncio.run(asyncio.sleep(0.6))  # until what they held may be given to another
    archived(tmp_path)
    found = list(Archive(tmp_path / "archive").records())
    assert Counter(found) == Counter(some)
    stored = [
        row for path in (tmp_path / "archive").rglob("events*") for row in pq.ParquetFile(path).read().to_pylist()
    ]
    assert Counter(row["event_id"] for row in stored) == Counter(record.id for record in some)


def recsys(folder, *words):
    done = subprocess.run([sys.executable, "-m", "recsys", "log", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if "--json" in words else done.stdout


def test_the_command_archives_and_says_how_far_everybody_is_and_what_was_put_aside(tmp_path):
    (tmp_path / "recsys.toml").write_text('[log]\nurl = "file:log"\narchive = "archive"\n')

    async def story():
        async with open_log(settings_of(tmp_path)) as log:
            await log.append([event(NOON), event(NOON + DAY), event(NOON + 1, "bob")])
            for entry in await log.read("speed", "me", 3, 0.0):
                if entry.record.user == "bob":
                    await log.bury("speed", entry, "no [sense]")
                else:
                    await log.acknowledge("speed", [entry.position])

    asyncio.run(story())
    told = recsys(tmp_path, "archive", "--once", "--json")
    assert (told["archived"], told["trimmed"], told["waiting"]) == (3, 3, 0)
    assert Path(told["folder"]) == tmp_path / "archive"
    told = recsys(tmp_path, "status", "--json")
    assert {name: told["groups"]["speed"][name] for name in ("length", "lag", "pending", "dead")} == {
        "length": 0, "lag": 0, "pending": 0, "dead": 1,
    }  # fmt: skip
    assert told["archive"]["days"] == 2
    assert told["archive"]["window"] == ["2024-10-04", "2024-10-05"]
    assert told["archive"]["bytes"] > 0
    (row,) = recsys(tmp_path, "dead", "--json")
    assert (row["reason"], json.loads(row["record"])["user"]) == ("no [sense]", "bob")
    assert "no [sense]" in recsys(tmp_path, "dead")
    assert "archive has put nothing aside" in recsys(tmp_path, "dead", "archive")
    assert "2 days, 2024-10-04 to 2024-10-05" in recsys(tmp_path, "status")


def test_an_archiver_that_is_told_to_stop_finishes_what_it_has(tmp_path):
    (tmp_path / "recsys.toml").write_text('[log]\nurl = "file:log"\narchive = "archive"\n')

    async def story(some):
        async with open_log(settings_of(tmp_path)) as log:
            await log.append(some)

    asyncio.run(story([event(NOON + number) for number in range(100)]))
    command = [sys.executable, "-m", "recsys", "log", "archive"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as child:
        while not (tmp_path / "log" / "groups" / "archive.json").exists():
            assert child.poll() is None
            time.sleep(0.05)
        child.terminate()
        assert "100 records archived" in child.communicate(timeout=60)[0]
        assert child.returncode == 0
    assert len(list(Archive(tmp_path / "archive").records())) == 100


def test_a_server_that_applies_events_archives_them_too(copied, tmp_path, configured, serve):
    copied(tmp_path, configured() + "[log]\nclaim_seconds = 0.6\nimpressions = 0\n")
    archive = Archive(tmp_path / "var/log")
    with serve(tmp_path) as (address, _):
        body = [{"user_id": "newcomer", "item_id": item, "kind": "like", "event_id": item} for item in ("50", "181")]
        assert httpx.post(f"{address}/events", json=body).status_code == 202
        deadline = time.monotonic() + 60
        while len(found := [record for record in archive.records() if isinstance(record, Event)]) < 2:
            assert time.monotonic() < deadline, f"only {found} was archived"
            time.sleep(0.05)
    assert [(record.user, record.item, record.kind) for record in found] == [
        ("newcomer", "50", "like"),
        ("newcomer", "181", "like"),
    ]


def test_archiving_and_erasing_import_no_pandas(tmp_path):
    """They go on inside servers, whose every worker would hold it."""
    act = f"""
import sys
from pathlib import Path
from datetime import date
from recsys.logs import Entry
from recsys.logs.archive import Archive
from recsys.logs.records import Described, Event, Shown
archive = Archive(Path({str(tmp_path)!r}))
told = [
    Event("e", 5, "ann", "i", "play"), Described("d", 5, "i", {{}}),
    Shown("r", 5, "ann", ("i",), "home", "r1", "personal", 1, (0.5,)),
]
for place in range(3):
    archive.write([Entry(f"{{place}}-{{at}}", record, deliveries=at + 1) for at, record in enumerate(told)])
archive.compact(date(2000, 1, 1))
print(len(list(archive.records())), archive.erase("ann"), len(list(archive.records())), "pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", act], capture_output=True, text=True)
    assert done.stdout == "9 6 3 False\n", done.stderr
