"""What an answer costs: a real server over a real Redis, asked by another process, beside its parts measured alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.floor import empty_route, floor_of
from benchmarks.release import publish
from benchmarks.slow import BUDGET, degraded, publish_slow

USERS = 2000
"""Different users asked for: nobody's state is warm because they asked just now."""
SECONDS = 20.0
CLIENTS = 8
PATIENCE = 120
"""Seconds after which a server or a client that does nothing is given up."""


def measure(
    *,
    items: int = 1_000_000,
    users: int = 100_000,
    dataset: str | None = None,
    rate: float = 100.0,
    seconds: float = SECONDS,
    slow_ranker: float | None = None,
) -> dict[str, Any]:
    """Publish a release, serve it by one worker, ask it.

    ``items`` and ``users``: of a synthetic release of 64 dimensions; ``dataset``: a public one in its place, trained as
    the demo is. ``rate``: requests a second of the open loop. Times in milliseconds as a client sees them;
    ``empty_open_loop``: the same of a route that does nothing, which is what the machine itself takes at this rate;
    ``stages_ms``: medians of what the server says of its stages; ``floor_ms``: the sum of the parts alone;
    ``times_floor``: the p50 of requests that nobody else disturbs, by that; ``libraries``, ``times_libraries``: that
    again with the parts as libraries do them; ``loops``: the compiled loops of an answer that belong to no part.
    ``slow_ranker``: milliseconds that a ranker takes with which, and with a budget, the release is served once more;
    ReleaseError where it has none.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        asked = publish(folder, dataset=dataset, items=items, users=users)
        paths = folder / "paths.json"
        paths.write_text(json.dumps([f"/recommend?user_id={user}&k=20" for user in asked[:USERS]]))
        with served(folder, workers=1) as (url, ready_s, _):
            alone = _load(url, paths, "closed", 1, seconds / 4)
            stages = _stages(url, asked[:USERS])
            opened = _load(url, paths, "open", rate, seconds)
            closed = _load(url, paths, "closed", CLIENTS, seconds / 2)
            floor = floor_of(folder, asked[:USERS])
            empty = empty_route("open", rate, seconds / 4)
        with served(folder, workers=2) as (url, _, server):
            _load(url, paths, "closed", CLIENTS, seconds / 4)
            private = _private_megabytes(server)
        slow = {} if slow_ranker is None else {"slow_ranker": _slowed(folder, asked, paths, slow_ranker, rate, seconds)}
    return {
        "dataset": dataset or f"synthetic:{items}x64",
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "users": len(asked),
        "open_loop": {"rate": rate, **_without_times(opened)},
        "empty_open_loop": _without_times(empty),
        "closed_loop": {"workers": 1, "clients": CLIENTS, **_without_times(closed)},
        "one_client": _without_times(alone),
        "stages_ms": stages,
        "floor": floor.own,
        "floor_ms": round(sum(floor.own.values()), 3),
        "times_floor": round(alone["p50_ms"] / sum(floor.own.values()), 2),
        "libraries": floor.libraries,
        "libraries_ms": round(sum(floor.libraries.values()), 3),
        "times_libraries": round(alone["p50_ms"] / sum(floor.libraries.values()), 2),
        "loops": floor.loops,
        "loops_ms": round(sum(floor.loops.values()), 3),
        "second_worker_private_mb": round(private, 1),
        "ready_s": round(ready_s, 2),
        **slow,
        "open_loop_ms": opened["ms"],
    }


@contextmanager
def served(folder: Path, *, workers: int) -> Iterator[tuple[str, float, int]]:
    """`recsys serve` in ``folder`` until it is left: address, seconds until it was ready, its process id."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "recsys", "serve", "--port", "0", "--workers", str(workers)]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline() if server.stdout else ""
            found = re.search(r"http://\S+", line)
            if found is None:
                raise RuntimeError(f"the server did not start: {line!r}")
            url = found.group()
            _wait(f"{url}/readyz", start)
            yield url, time.perf_counter() - start, server.pid
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=30)


def _slowed(
    folder: Path, asked: list[str], paths: Path, milliseconds: float, rate: float, seconds: float
) -> dict[str, Any]:
    """The same crowd before a ranker that takes so long, on a surface with a budget that is shorter."""
    _, took = publish_slow(folder, milliseconds)
    with served(folder, workers=1) as (url, _, _):
        without = degraded(url, asked[:USERS])
        opened = _load(url, paths, "open", rate, seconds)
    return {
        "ranker_ms": round(took, 1),
        "budget_ms": BUDGET,
        "degraded": without,
        "open_loop": {"rate": rate, **_without_times(opened)},
    }


def _wait(address: str, start: float) -> None:
    while time.perf_counter() - start < PATIENCE:
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310  our own server
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise TimeoutError(f"{address} was not ready within {PATIENCE} s")


def _load(url: str, paths: Path, how: str, amount: float, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.load", url, str(paths), how, str(amount), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + PATIENCE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _without_times(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != "ms"}


def _stages(url: str, users: list[str]) -> dict[str, float]:
    """The median of each stage over some users, as the header says."""
    told: dict[str, list[float]] = {}
    for user in users[:500]:
        with urllib.request.urlopen(f"{url}/recommend?user_id={user}&k=20", timeout=5) as answer:  # noqa: S310
            for part in answer.headers["Server-Timing"].split(", "):
                stage, _, took = part.partition(";dur=")
                told.setdefault(stage, []).append(float(took))
    return {stage: round(float(np.median(times)), 4) for stage, times in told.items()}


def _private_megabytes(parent: int) -> float:
    """What the second worker adds: pages of its own, not those of the release's files, of which there is one copy.

    A page of a file that only one worker has looked at yet counts as nobody's: whoever looks next shares it.
    """
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    workers = [child for child in children if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]
    sizes = []
    for worker in workers:
        lines = Path(f"/proc/{worker}/smaps_rollup").read_text().splitlines()
        sizes.append(sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty", "Swap:"))) / 1024)
    return max(sizes)
