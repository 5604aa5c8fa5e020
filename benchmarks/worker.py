"""A second worker's memory: a process that loads an index, searches, and says what it does not share."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from index import BACKENDS
from recsys.mapping import load_mapped


def private_megabytes(backend: str, folder: Path, vectors: Path, queries: Path) -> float:
    """What loading and 100 searches add to a process beyond pages that it shares with others."""
    command = [sys.executable, "-m", "benchmarks.worker", backend, str(folder), str(vectors), str(queries)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def _anonymous() -> float:
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Anonymous:")) / 1024


def main(backend: str, folder: str, vectors: str, queries: str) -> None:
    """Load, search, print the difference."""
    items, asked, chosen = load_mapped(Path(vectors)), np.load(queries), BACKENDS[backend]
    before = _anonymous()
    index = chosen.load(Path(folder), items)
    for query in asked[:100]:
        index.search(query[None], 100)
    print(json.dumps(round(_anonymous() - before, 1)))


if __name__ == "__main__":
    main(*sys.argv[1:])
