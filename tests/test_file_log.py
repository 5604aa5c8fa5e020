"""The log in a folder: what a crash or a bad disk leaves of it, and what it does then."""

import asyncio
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import LogError
from recsys.logs import file
from recsys.logs.file import FileLog
from recsys.logs.records import decode
from recsys.testing.logs import event, records_of, replayed, taken


def run(folder, story, claim_seconds=30.0):
    return asyncio.run(story(FileLog(folder, claim_seconds)))


def batches(folder, sizes):
    """A log of batches of these sizes, and its one segment."""

    async def story(log):
        number = 0
        for size in sizes:
            await log.append([event(number + place) for place in range(size)])
            number += size

    run(folder, story)
    (segment,) = folder.glob("events-*")
    return segment


@settings(max_examples=60)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.floats(0, 1), st.binary(max_size=40))
def test_a_torn_end_is_cut_to_whole_batches_and_writing_goes_on(tmp_path_factory, sizes, share, dirt):
    """Wherever the crash cut the file, and whatever it left behind the cut."""
    folder = tmp_path_factory.mktemp("log")
    segment = batches(folder, sizes)
    whole = segment.read_bytes()
    kept = whole[: round(share * len(whole))]
    segment.write_bytes(kept + dirt)
    # a batch whose last line break alone was cut off may have been mended by the dirt
    ends = [sum(sizes[:count]) for count in range(len(sizes) + 1)]
    found = run(folder, replayed)
    assert found == [event(number) for number in range(len(found))]
    assert len(found) in ends
    lines = (kept + dirt).count(b"\n")
    assert len(found) <= lines
    assert len(found) >= max(end for end in ends if end <= kept.count(b"\n"))

    async def go_on(log):
        await log.append([event(1000), event(1001)])
        return records_of(await taken(log, "g", len(found) + 2))

    assert run(folder, go_on) == [*found, event(1000), event(1001)]
    assert run(folder, replayed) == [*found, event(1000), event(1001)]


def test_a_damaged_line_in_the_middle_is_given_as_its_bytes_and_blocks_nothing(tmp_path):
    segment = batches(tmp_path, [1, 1, 1])
    lines = segment.read_bytes().split(b"\n")
    lines[1] = lines[1].replace(b"ann", b"bob")
    segment.write_bytes(b"\n".join(lines))

    async def story(log):
        found = await taken(log, "g", 3, acknowledge=False)
        await log.bury("g", found[1], "damaged")
        await log.acknowledge("g", [found[0].position, found[2].position])
        ((entry, _),) = [one async for one in log.dead("g")]
        return records_of(found), found[1].stored, entry, await log.status("g"), await log.trim(["g"])

    found, stored, entry, status, trimmed = run(tmp_path, story)
    assert found == [event(0), None, event(2)]
    assert stored == entry.stored == lines[1]
    with pytest.raises(LogError):
        decode(stored)
    assert (status.pending, status.dead, trimmed) == (0, 1, 3)


def test_a_damaged_line_stays_where_it_is_when_the_segment_is_written_anew(tmp_path):
    segment = batches(tmp_path, [1, 1, 1, 1])
    segment.write_bytes(segment.read_bytes().replace(b'"e1"', b'"eX"'))

    async def story(log):
        await log.append([event(4, "bob")])
        assert await log.erase("bob") == 1
        return await replayed(log)

    assert run(tmp_path, story) == [event(0), None, event(2), event(3)]


def test_segments_are_begun_when_one_is_full_and_removed_when_nothing_of_them_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "SEGMENT_BYTES", 500)

    async def story(log):
        for number in range(40):
            await log.append([event(number)])
        segments = len(list(tmp_path.glob("events-*")))
        assert records_of(await taken(log, "g", 30)) == [event(number) for number in range(30)]
        assert await log.trim(["g"]) == 30
        left = len(list(tmp_path.glob("events-*")))
        assert 1 < left < segments / 2
        assert await replayed(log) == [event(number) for number in range(30, 40)]
        await taken(log, "g", 10)
        assert await log.trim(["g"]) == 10
        assert list(tmp_path.glob("events-*")) == []
        # numbers go on, or a group would take new records for old ones
        assert await log.append([event(40)]) == ["40"]
        return records_of(await taken(log, "g", 1))

    assert run(tmp_path, story) == [event(40)]


# Appends under a limit of the size of files, as a full disk would have it.
FULL = """
import asyncio, resource, signal, sys
from pathlib import Path
from recsys.errors import LogFull
from recsys.logs.file import FileLog
from recsys.testing.logs import event

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

async def main():
    log, count = FileLog(Path(sys.argv[1]), 30.0), 0
    try:
        while True:
            await log.append([event(count + place) for place in range(70)])
            count += 70
    except LogFull as error:
        print(count, error)

asyncio.run(main())
"""


def test_a_full_disk_refuses_the_batch_and_leaves_nothing_of_it(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, _, said = done.stdout.partition(" ")
    assert int(count) > 0
    assert said.startswith(f"the log in {tmp_path} cannot be used")
    assert "make room, or archive and trim it" in said
    (segment,) = tmp_path.glob("events-*")
    assert segment.read_bytes().count(b"\n") == int(count)
    assert run(tmp_path, replayed) == [event(number) for number in range(int(count))]


def test_a_folder_that_cannot_be_used_is_said_so(tmp_path):
    (tmp_path / "log.json").write_text("{")
    with pytest.raises(LogError, match=r"log\.json is damaged"):
        run(tmp_path, replayed)
    (tmp_path / "log.json").unlink()
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").mkdir()
    with pytest.raises(LogError, match=r"cannot be used .*see the rights of the folder and its disk"):
        run(tmp_path, replayed)


def test_names_of_groups_lead_nowhere_else(tmp_path):
    async def story(log):
        await log.append([event(1)])
        for group in ("../out", ".", "a/b", "NUL\0", "ü"):
            (entry,) = await taken(log, group, 1, acknowledge=False)
            await log.bury(group, entry, "why not")
            assert (await log.status(group)).dead == 1

    run(tmp_path / "log", story)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert len(list((tmp_path / "log/groups").iterdir())) == 5


def test_reading_in_one_process_and_writing_in_another_see_each_other(tmp_path):
    """Each has an index of the segments of its own, which an erasure by the other makes useless."""

    async def story(_):
        one, other = FileLog(tmp_path, 30.0), FileLog(tmp_path, 30.0)
        await one.append([event(1), event(2, "bob"), event(3)])
        assert await replayed(other) == [event(1), event(2, "bob"), event(3)]
        assert await other.erase("bob") == 1
        await one.append([event(4)])
        await other.append([event(5)])
        assert await replayed(one) == await replayed(other) == [event(1), event(3), event(4), event(5)]

    run(tmp_path, story)
