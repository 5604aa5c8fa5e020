"""What it costs to look at random places of a mapped file that came piece by piece, and of one that was read anew."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.turns import by_turns
from recsys.durable import sync
from recsys.kernels.vectors import products
from recsys.mapping import load_mapped, reread

ITEMS, DIMENSIONS = 1_000_000, 64
LOOKED_AT = (20, 200, 1000)
"""Rows of one look."""
ROUNDS = 500
PIECE = 128 * 2**10
"""Bytes that are written at once."""
ELSEWHERE = 8 * 2**20
"""Bytes that a request looks at between two looks: what is near the processor by then is something else."""


def measure() -> dict[str, Any]:
    """Median microseconds of the inner products of random rows with one vector, and megabytes that lie in large pages.

    Both files hold the same. Where a system has no large pages for files, both take the same too.
    """
    rng = np.random.default_rng(0)
    vectors = rng.random((ITEMS, DIMENSIONS), np.float32)
    with TemporaryDirectory() as name:
        files = {way: Path(name) / f"{way}.npy" for way in ("written", "anew")}
        np.save(files["anew"], vectors)
        _copied(files["anew"], files["written"])
        sync(files["anew"])
        reread(files["anew"])
        arrays = {way: load_mapped(file) for way, file in files.items()}
        for array in arrays.values():
            np.add.reduce(array[:, 0])  # everything is in memory
        looks = [_look(arrays, rows, rng) for rows in LOOKED_AT]
        large = {way: _large_megabytes(file) for way, file in files.items()}
    return {"items": ITEMS, "dimensions": DIMENSIONS, "rounds": ROUNDS, "large_mb": large, "looks": looks}


def _copied(file: Path, to: Path) -> None:
    """Write a file as copies of releases are written."""
    with file.open("rb") as source, to.open("wb", buffering=0) as target:
        while some := source.read(PIECE):
            target.write(some)
    sync(to)


def _look(arrays: dict[str, np.ndarray], rows: int, rng: np.random.Generator) -> dict[str, Any]:
    query = rng.random((1, DIMENSIONS), np.float32)
    ways = {way: partial(products, array, asking=query) for way, array in arrays.items()}
    wanted = (rng.integers(0, ITEMS, (1, rows), dtype=np.int32) for _ in range(ROUNDS))
    taken, _ = by_turns(ways, wanted, elsewhere=ELSEWHERE)
    return {
        "rows": rows,
        "us": {way: round(1e6 * each, 1) for way, each in taken.items()},
        "written_to_anew": round(taken["written"] / taken["anew"], 2),
    }


def _large_megabytes(file: Path) -> int:
    """How much of a mapped file the processor finds by large pages, as Linux says."""
    maps = Path("/proc/self/smaps")
    if not maps.exists():
        return 0
    found = re.findall(rf"{re.escape(str(file))}\n(?:.*\n)*?FilePmdMapped: +(\d+) kB", maps.read_text())
    return sum(map(int, found)) // 1024
