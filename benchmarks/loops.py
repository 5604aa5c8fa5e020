"""What the compiled loops of an answer take that are no part of the floor: features, fusion, rules, ids.

With the parts of the floor, they are what an answer would take if nothing at all stood between them.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from recsys.arrays import Int32
from recsys.assembly import HOME, Engine

LOOPS = ("candidates", "features", "trees", "vectors", "vocabulary")
"""The modules of :mod:`recsys.kernels` that an answer goes through from the state of a user to the ids of a list.

Cells of an index are a part of the floor; states that are taken apart and JSON that is written are not among these."""
OF_FLOOR = frozenset({"trees.score", "candidates.largest", "vectors.nearest"})
"""What the floor has: the trees, and the best of an exact search."""


def loops_ms(engine: Engine, rows: Int32) -> dict[str, float]:
    """Milliseconds of an answer in each compiled loop: medians over users, int32 (q,), each given a list of home.

    They are timed where they run, between all that Python does for it; no HTTP and no store stand between two answers.
    """
    took: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(rows))
    with _timed() as spent:
        for place, state in enumerate(engine.users.states(rows)):
            spent.clear()
            query = engine.resolver.known(state.user, state, datetime.now(UTC))
            found = engine.recommenders[HOME].recommend([query], 20).candidates.rows[0]
            engine.items.ids(found[found >= 0])
            for name, seconds in spent.items():
                took[name][place] = seconds
    medians = {name: 1000 * float(np.median(each)) for name, each in sorted(took.items())}
    return {name: round(median, 4) for name, median in medians.items() if name not in OF_FLOOR and median}


@contextmanager
def _timed() -> Iterator[dict[str, float]]:
    """Seconds spent in each loop, by module and name, while this is entered; cleared by whoever looks."""
    spent: dict[str, float] = {}
    modules = [import_module(f"recsys.kernels.{name}") for name in LOOPS]
    loops: dict[int, Any] = {
        id(loop): _watched(loop, f"{name}.{called}", spent)
        for name, module in zip(LOOPS, modules, strict=True)
        for called, loop in vars(module).items()
        if callable(loop) and not isinstance(loop, type) and not called.startswith("_")
    }
    # Some hold the module and some the loop.
    loops |= {id(module): SimpleNamespace(**_in_place(module, loops)) for module in modules}
    before = []
    for holder in [module for name, module in sys.modules.items() if name.startswith(("recsys.", "index."))]:
        if holder.__name__.startswith("recsys.kernels"):
            continue
        for called, new in _in_place(holder, loops).items():
            if new is not vars(holder)[called]:
                before.append((holder, called, vars(holder)[called]))
                setattr(holder, called, new)
    try:
        yield spent
    finally:
        for holder, called, old in before:
            setattr(holder, called, old)


def _in_place(module: ModuleType, loops: dict[int, Any]) -> dict[str, Any]:
    """What a module holds, loops as those that are watched."""
    return {called: loops.get(id(held), held) for called, held in vars(module).items()}


def _watched(loop: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    @wraps(loop)
    def watched(*given: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return loop(*given, **options)
        finally:
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - start

    return watched
