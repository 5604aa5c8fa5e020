"""Loading an index in a process of its own: a library that a damaged file brings down takes nobody with it.

Files with a record beside them (:mod:`index.files`) are known to be what was written before a library reads them. This
is for those without one, which releases of schema 1 hold, and for whoever doubts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from index import BACKENDS
from recsys.errors import ReleaseDamaged

SECONDS = 120
"""A child that takes longer is taken to hang."""


def survive(backend: str, folder: Path, shape: tuple[int, int]) -> None:
    """Load and search the index in a child; ReleaseDamaged says what became of it."""
    home = str(Path(__file__).resolve().parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", "index.check", backend, str(folder), *map(str, shape)]
    try:
        done = subprocess.run(  # noqa: S603  this program itself
            command,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ReleaseDamaged(f"the index in {folder} did not load in {SECONDS} s: build it anew") from error
    if not done.returncode:
        return
    said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
    ended = signal.Signals(-done.returncode).name if done.returncode < 0 else f"code {done.returncode}"
    raise ReleaseDamaged(f"a process that loaded the index in {folder} ended with {ended} ({said}): build it anew")


def main(backend: str, folder: str, items: str, dimensions: str) -> None:
    """What the child does: load over vectors of zeros, and search."""
    vectors = np.zeros((int(items), int(dimensions)), np.float32)
    index = BACKENDS[backend].load(Path(folder), vectors)
    found = index.search(np.ones((2, index.shape[1]), np.float32), 10)
    if found.rows.max() >= len(vectors):
        sys.exit(f"row {found.rows.max()} was found among {len(vectors)} items")


if __name__ == "__main__":
    main(*sys.argv[1:])
