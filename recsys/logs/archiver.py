"""What reads the log and archives it, and then lets the log go of what everybody has read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from recsys.logs import Entry, EventLog
from recsys.logs.archive import Archive

GROUP = "archive"
# Whose acknowledgement a record needs before it is trimmed: it is in the archive, and in the states.
NEEDED = (GROUP, "speed")
# Records that go into one set of files, at most; and seconds that are waited for them where there are fewer, a part of
# those after which another archiver would be given them.
MOST = 50_000
WAIT = 10.0
PART = 1 / 3
# Seconds between two looks at past days whose files may be made one.
COMPACT = 3600.0


@dataclass(frozen=True, slots=True)
class Progress:
    """What was done so far: records that were ``archived``, and ``trimmed`` from the log; files ``merged`` into others.

    ``waiting``: records that were given to an archiver and not acknowledged, perhaps by one that was killed.
    """

    archived: int = 0
    trimmed: int = 0
    merged: int = 0
    waiting: int = 0


async def archive_log(
    log: EventLog,
    archive: Archive,
    reader: str,
    claim_seconds: float,
    *,
    once: bool,
    most: int | None = None,
    stopping: asyncio.Event | None = None,
    told: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Archive what comes until ``stopping`` is set; ``once``: what is there now.

    A record is acknowledged when it is on the disk of the archive, and trimmed when the speed layer has applied it too.
    ``most``: records that go into one set of files. ``told``: called after each batch.
    """
    most = MOST if most is None else most
    progress = Progress()
    compacted = -COMPACT
    while stopping is None or not stopping.is_set():
        archived, merged = progress.archived, progress.merged
        entries = await log.read(GROUP, reader, most, 1.0)
        if entries and not once and len(entries) < most:
            # a file for each handful of records would be many files
            entries += await _more(log, reader, most - len(entries), min(WAIT, PART * claim_seconds), stopping)
        if entries:
            archived += await asyncio.to_thread(archive.write, entries)
            await log.acknowledge(GROUP, [entry.position for entry in entries])
        if time.monotonic() - compacted >= COMPACT:
            merged += await asyncio.to_thread(archive.compact, datetime.now(UTC).date())
            compacted = time.monotonic()
        trimmed = progress.trimmed + (await log.trim(NEEDED) if entries or once else 0)
        status = await log.status(GROUP)
        progress = Progress(archived, trimmed, merged, status.pending)
        told(progress)
        if once and not entries and status.lag == 0:
            break
    return progress


async def _more(log: EventLog, reader: str, most: int, wait: float, stopping: asyncio.Event | None) -> list[Entry]:
    """What comes within ``wait`` seconds, up to ``most``."""
    entries: list[Entry] = []
    until = time.monotonic() + wait
    while len(entries) < most and (left := until - time.monotonic()) > 0:
        if stopping is not None and stopping.is_set():
            break
        entries += await log.read(GROUP, reader, most - len(entries), min(left, 1.0))
    return entries
