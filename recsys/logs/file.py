"""A log in a folder: for tests, laptops, and one machine.

What stands in it:

    lock                   whoever reads or writes holds it
    log.json               where the log begins, the lowest number that was never given, and how often it was rewritten
    events-<number>.log    segments of recsys.logs.segments, named by the lowest number that they may hold
    groups/<name>.json     how far a group has come, and what it was given and has not acknowledged
    dead/<name>.jsonl      what it put aside

A batch is on the disk (fsync) before it is acknowledged. A crash leaves whole batches and perhaps a torn one at the
end, which the next writer cuts off. Everything is done under one lock, in threads: as many processes as like may share
the folder, one after the other.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from recsys.durable import replace_file, sync
from recsys.errors import LogError, LogFull, SettingsError
from recsys.logs import Entry, EventLog, Status, entry_of
from recsys.logs.letters import opened as opened_letter
from recsys.logs.letters import sealed, stored_of
from recsys.logs.records import Record, encode, mentions
from recsys.logs.segments import Line, Segment, alone, framed
from recsys.settings import Settings

SEGMENT_BYTES = 8 * 2**20
PAGE = 1000
# How often somebody who waits for records looks for them, in seconds.
LOOK = 0.02

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Given:
    """A record that a group was given: when last, and how often."""

    time: float
    deliveries: int


@dataclass(slots=True)
class _Group:
    """``next``: the lowest number that the group was not given. ``pending``: by number, what it was given."""

    next: int = 0
    pending: dict[int, _Given] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Extent:
    """``first``: the lowest number that still counts. ``next``: every number given is below it, or in a segment."""

    first: int = 0
    next: int = 0
    rewritten: int = 0


class FileLog:
    """The log in ``folder``. ``clock``: seconds, which processes on one machine share."""

    def __init__(self, folder: Path, claim_seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._claim_seconds, self._clock = folder, claim_seconds, clock
        self._segments: dict[Path, Segment] = {}
        self._rewritten = 0
        self._thread_lock = threading.Lock()
        for part in (folder, folder / "groups", folder / "dead"):
            part.mkdir(parents=True, exist_ok=True)

    async def append(self, records: Sequence[Record]) -> list[str]:
        """Write records as one batch and wait until they are on the disk."""
        if not records:
            return []
        return await self._do(lambda: self._append([encode(record) for record in records]))

    async def read(self, group: str, reader: str, most: int, wait: float) -> list[Entry]:  # noqa: ARG002
        """Up to ``most`` entries; who reads does not matter here, because what is given is noted by its number."""
        until = time.monotonic() + wait
        while True:
            # the mark before the look: what is appended between them changes the next mark
            mark, looked = self._mark(), time.monotonic()
            if found := await self._do(lambda: self._take(group, most)):
                return found
            while self._mark() == mark and time.monotonic() - looked < self._claim_seconds / 4:
                if (left := until - time.monotonic()) <= 0:
                    return []
                await asyncio.sleep(min(LOOK, left))

    async def acknowledge(self, group: str, positions: Sequence[str]) -> None:
        """Strike positions from what the group was given."""
        await self._do(lambda: self._acknowledge(group, positions))

    async def bury(self, group: str, entry: Entry, reason: str) -> None:
        """Write an entry to the dead of its group, and acknowledge it."""

        def write() -> None:
            _append_line(self._dead_path(group), sealed(entry, reason))
            self._acknowledge(group, [entry.position])

        await self._do(write)

    async def dead(self, group: str) -> AsyncIterator[tuple[Entry, str]]:
        """What the group put aside, oldest first."""
        for letter in await self._do(lambda: _dead_in(self._dead_path(group))):
            yield letter

    async def replay(self) -> AsyncIterator[Entry]:
        """Everything that counts, a page at a time."""
        least = 0
        while page := await self._do(partial(self._lines, least, PAGE)):
            for line in page:
                yield _entry(line)
            least = page[-1].sequence + 1

    async def status(self, group: str) -> Status:
        """How far the group has come."""
        return await self._do(lambda: self._status(group))

    async def trim(self, groups: Sequence[str]) -> int:
        """Let the log begin later; segments of which nothing counts any more are removed."""
        return await self._do(lambda: self._trim(groups))

    async def erase(self, user: str) -> int:
        """Write the segments and the dead that mention ``user`` anew without those lines."""
        return await self._do(lambda: self._erase(user))

    def _mark(self) -> tuple[int, int]:
        """Another one when something was appended, found out without waiting for the lock."""
        newest = max(self._segments, default=self._folder)
        try:
            return self._folder.stat().st_mtime_ns, newest.stat().st_size
        except OSError:
            return 0, 0

    # Under the lock

    async def _do(self, action: Callable[[], T]) -> T:
        """What ``action`` gives, done under the lock and in a thread."""

        def locked() -> T:
            try:
                with self._thread_lock, _lock(self._folder / "lock"):
                    return action()
            except OSError as error:
                full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
                raise (LogFull if full else LogError)(
                    f"the log in {self._folder} cannot be used ({error}): "
                    + ("make room, or archive and trim it" if full else "see the rights of the folder and its disk")
                ) from error

        return await asyncio.to_thread(locked)

    def _append(self, stored: Sequence[bytes]) -> list[str]:
        extent, segments = self._refreshed()
        last = segments[-1] if segments else None
        number = max([extent.next, *(segment.last + 1 for segment in segments if segment.last is not None)])
        if last is None or last.end >= SEGMENT_BYTES:
            path = self._folder / f"events-{number:020d}.log"
            path.touch()
            sync(self._folder)
            last = self._segments[path] = Segment(path)
        with last.path.open("r+b") as file:
            if torn := file.seek(0, os.SEEK_END) - last.end:
                logger.warning("%s ends in %d bytes that were never acknowledged, which are cut off", last.path, torn)
                file.truncate(last.end)
            file.seek(last.end)
            try:
                file.write(framed(number, stored))
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                # what is there of the batch must not be read by anybody: its sender is told that it was refused
                os.ftruncate(file.fileno(), last.end)
                raise
        return [str(number + place) for place in range(len(stored))]

    def _take(self, group: str, most: int) -> list[Entry]:
        extent, segments = self._refreshed()
        state, now = self._group(group), self._clock()
        stale = [number for number, given in state.pending.items() if now - given.time >= self._claim_seconds]
        stale = sorted(stale)[:most]
        # what was trimmed or erased meanwhile is not found any more, and waits for nobody
        found = [line for segment in segments for line in segment.find(stale) if line.sequence >= extent.first]
        gone = set(stale) - {line.sequence for line in found}
        fresh = self._lines(state.next, most - len(found))
        if not found and not fresh and not gone:
            return []
        for number in gone:
            del state.pending[number]
        for line in (*found, *fresh):
            before = state.pending.get(line.sequence)
            state.pending[line.sequence] = _Given(now, 1 if before is None else before.deliveries + 1)
        if fresh:
            state.next = fresh[-1].sequence + 1
        self._keep(group, state)
        return [_entry(line, state.pending[line.sequence].deliveries) for line in (*found, *fresh)]

    def _acknowledge(self, group: str, positions: Sequence[str]) -> None:
        state = self._group(group)
        struck = [state.pending.pop(int(position), None) for position in positions]
        if any(struck):
            self._keep(group, state)

    def _lines(self, least: int, most: int) -> list[Line]:
        """Up to ``most`` lines that count, from the number ``least`` on."""
        extent, segments = self._refreshed()
        found: list[Line] = []
        for segment in segments:
            if len(found) >= most:
                break
            found += segment.lines(max(least, extent.first), most - len(found))
        return found

    def _status(self, group: str) -> Status:
        extent, segments = self._refreshed()
        if not self._group_path(group).exists():
            self._keep(group, _Group())
        state, now = self._group(group), self._clock()
        waiting = {number: given for number, given in state.pending.items() if number >= extent.first}
        return Status(
            length=sum(segment.count(extent.first) for segment in segments),
            lag=sum(segment.count(max(extent.first, state.next)) for segment in segments),
            pending=len(waiting),
            dead=len(_dead_in(self._dead_path(group))),
            oldest_pending=max((now - given.time for given in waiting.values()), default=0.0),
        )

    def _trim(self, groups: Sequence[str]) -> int:
        extent, segments = self._refreshed()
        states = [self._group(group) for group in groups]
        until = min((min([state.next, *state.pending]) for state in states), default=extent.first)
        if until <= extent.first:
            return 0
        gone = sum(segment.count(extent.first) - segment.count(until) for segment in segments)
        end = max([extent.next, *(segment.last + 1 for segment in segments if segment.last is not None)])
        _write(self._folder / "log.json", asdict(replace(extent, first=until, next=end)))
        for segment in segments:
            if segment.count(until) == 0:
                segment.path.unlink()
        sync(self._folder)
        return gone

    def _erase(self, user: str) -> int:
        extent, segments = self._refreshed()
        end = max([extent.next, *(segment.last + 1 for segment in segments if segment.last is not None)])
        extent = replace(extent, next=end, rewritten=extent.rewritten + 1)
        _write(self._folder / "log.json", asdict(extent))
        erased: set[int] = set()
        for segment in segments:
            lines = segment.lines(0, len(segment))
            left = [line for line in lines if not mentions(line.stored, user)]
            if len(left) < len(lines) or segment.path.stat().st_size > segment.end:
                replace_file(segment.path, alone(left))
            erased |= {line.sequence for line in lines} - {line.sequence for line in left}
        for path in (self._folder / "groups").glob("*.json"):
            state = _read_group(path)
            if pending := erased & state.pending.keys():
                _write(
                    path, _told(replace(state, pending={n: g for n, g in state.pending.items() if n not in pending}))
                )
        dead = 0
        for path in (self._folder / "dead").glob("*.jsonl"):
            letters = _dead_in(path)
            others = [letter for letter in letters if not mentions(stored_of(letter[0]), user)]
            if len(others) < len(letters):
                replace_file(path, b"".join(sealed(*letter) + b"\n" for letter in others))
            dead += len(letters) - len(others)
        return sum(number >= extent.first for number in erased) + dead

    def _refreshed(self) -> tuple[_Extent, list[Segment]]:
        """Where the log begins, and its segments, oldest first, as they are now."""
        told = _read(self._folder / "log.json")
        extent = _Extent() if told is None else _Extent(**told)
        if extent.rewritten != self._rewritten:
            self._segments, self._rewritten = {}, extent.rewritten
        paths = sorted(self._folder.glob("events-*.log"))
        self._segments = {path: self._segments.get(path) or Segment(path) for path in paths}
        for segment in self._segments.values():
            segment.refresh()
        return extent, list(self._segments.values())

    def _group_path(self, group: str) -> Path:
        return self._folder / "groups" / f"{_file_name(group)}.json"

    def _dead_path(self, group: str) -> Path:
        return self._folder / "dead" / f"{_file_name(group)}.jsonl"

    def _group(self, group: str) -> _Group:
        return _read_group(self._group_path(group))

    def _keep(self, group: str, state: _Group) -> None:
        _write(self._group_path(group), _told(state))


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[EventLog]:
    """The log in the folder that ``log.url`` names, ``file:folder``."""
    _, _, folder = (settings.log.url or "").partition("file:")
    if not folder:
        raise SettingsError("log.url: a folder is wanted after file:, as in file:var/events")
    try:
        log = await asyncio.to_thread(FileLog, Path(folder), settings.log.claim_seconds)
    except OSError as error:
        raise LogError(f"the log cannot be kept in {folder} ({error}): make the folder writable") from error
    yield log


# Entries


def _entry(line: Line, deliveries: int = 1) -> Entry:
    if not line.sound:
        return Entry(str(line.sequence), None, line.stored, deliveries)
    return entry_of(str(line.sequence), line.stored, deliveries)


# Files


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _file_name(group: str) -> str:
    return quote(group, safe="", errors="surrogatepass").replace(".", "%2E")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        told = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LogError(f"{path} is damaged ({error}): restore it, or remove it") from error
    return dict(told)


def _write(path: Path, told: Mapping[str, Any]) -> None:
    replace_file(path, json.dumps(told, separators=(",", ":")).encode())


def _append_line(path: Path, line: bytes) -> None:
    """Append a line, after cutting off one that a crash left without its end."""
    with path.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


def _dead_in(path: Path) -> list[tuple[Entry, str]]:
    """What a file of the dead holds. What was written twice, before and after a crash, is one."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    return list({letter[0].position: letter for letter in map(opened_letter, lines)}.values())


def _read_group(path: Path) -> _Group:
    told = _read(path)
    if told is None:
        return _Group()
    return _Group(told["next"], {int(number): _Given(*given) for number, given in told["pending"].items()})


def _told(state: _Group) -> dict[str, Any]:
    pending = {number: (given.time, given.deliveries) for number, given in state.pending.items()}
    return {"next": state.next, "pending": pending}
