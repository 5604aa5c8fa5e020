"""What a record costs each log: accepted alone, in batches, read and acknowledged, archived.

``python -m benchmarks.logs``: JSON on standard output. Kafka is not among them: the brokers that come with a wheel keep
everything in memory, and say nothing of what a cluster costs.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from recsys.logs import Entry, EventLog, open_log
from recsys.logs.archive import Archive
from recsys.logs.records import Event, Record
from recsys.settings import Settings

ALONE = 1000
BATCHES, BATCH = 40, 1000
AT_ONCE = 32


def records(count: int, start: int = 0) -> list[Record]:
    """Plays of a hundred users over a few days, with what the API adds."""
    return [
        Event(f"0190c2f3-{number:012x}", 1_790_000_000 + number, f"user-{number % 100}", f"item-{number % 977}", "play",
              surface="home", request=f"r{number // 20:012x}", position=number % 20 + 1)
        for number in range(start, start + count)
    ]  # fmt: skip


async def measured(log: EventLog) -> dict[str, Any]:
    """Seconds of appends one after the other and side by side, records a second in batches, both ways."""
    alone = [await _seconds(log, record) for record in records(ALONE)]
    side = time.perf_counter()
    waiting = asyncio.Semaphore(AT_ONCE)

    async def one(record: Record) -> None:
        async with waiting:
            await log.append([record])

    await asyncio.gather(*(one(record) for record in records(ALONE, ALONE)))
    side = time.perf_counter() - side
    started = time.perf_counter()
    for batch in range(BATCHES):
        await log.append(records(BATCH, batch * BATCH))
    appended = time.perf_counter() - started
    started, count = time.perf_counter(), 0
    while found := await log.read("bench", "reader", 500, 0.0):
        await log.acknowledge("bench", [entry.position for entry in found])
        count += len(found)
    read = time.perf_counter() - started
    return {
        "append_ms": {f"p{share}": round(1000 * float(np.percentile(alone, share)), 3) for share in (50, 95, 99)},
        f"append_{AT_ONCE}_at_once_per_s": round(ALONE / side),
        "batch_per_s": round(BATCHES * BATCH / appended),
        "read_per_s": round(count / read),
    }


def archived(folder: Path) -> dict[str, Any]:
    """Records a second into the archive and out of it, and bytes a record."""
    archive = Archive(folder)
    some = [Entry(str(place), record) for place, record in enumerate(records(50_000))]
    started = time.perf_counter()
    archive.write(some)
    written = time.perf_counter() - started
    started = time.perf_counter()
    count = sum(1 for _ in archive.records())
    read = time.perf_counter() - started
    size = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
    return {
        "archive_per_s": round(count / written),
        "records_per_s": round(count / read),
        "bytes_per_event": round(size / count, 1),
    }


async def _seconds(log: EventLog, record: Record) -> float:
    started = time.perf_counter()
    await log.append([record])
    return time.perf_counter() - started


async def _of(settings: Settings) -> dict[str, Any]:
    async with open_log(settings) as log:
        return await measured(log)


def main() -> None:
    """Measure all of them in a folder that is removed."""
    folder = Path(tempfile.mkdtemp(prefix="bench-logs-"))
    try:
        logs = {
            "embedded, everysec": {"state": {"folder": folder / "everysec"}},
            "embedded, always": {"state": {"folder": folder / "always", "fsync": "always"}},
            "file": {"log": {"url": f"file:{folder / 'file'}"}},
        }
        told = {name: asyncio.run(_of(Settings.model_validate(settings))) for name, settings in logs.items()}
        told["archive"] = archived(folder / "archive")
    finally:
        shutil.rmtree(folder)
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
