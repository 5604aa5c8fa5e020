"""``make bench``: run the benchmarks, print their tables, keep their JSON in ``benchmarks/results/``."""

from __future__ import annotations

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import als, loop
from recsys.errors import unknown_choice

BENCHMARKS = {"als": als.measure, "loop": loop.measure}
RESULTS = Path(__file__).parent / "results"


def main(names: list[str]) -> None:
    """Run the named benchmarks, all without names."""
    for name in names or BENCHMARKS:
        if name not in BENCHMARKS:
            sys.exit(f"{unknown_choice('benchmark', name, BENCHMARKS)}: make bench ARGS='als loop'")
        figures = BENCHMARKS[name]()
        result = {
            "benchmark": name,
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            **figures,
        }
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
        print(json.dumps(result, indent=2))


main(sys.argv[1:])
