"""Several ways to do the same, timed by turns: what the machine does meanwhile, it does to all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import numpy as np

A = TypeVar("A")
B = TypeVar("B")


def by_turns(
    ways: Mapping[str, Callable[[A], B]], arguments: Iterable[A], *, elsewhere: int = 0
) -> tuple[dict[str, float], list[dict[str, B]]]:
    """Median seconds of each way over all arguments, and what each way found of each argument.

    Who begins changes with every argument: whoever comes second finds in the cache what both look at. ``elsewhere``:
    bytes that are looked at before each call, as a request does between two of its parts: what is near the processor by
    then is something else.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    found, other = [], np.ones(elsewhere // 8)
    for turn, argument in enumerate(arguments):
        said = {}
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            np.add.reduce(other)
            start = time.perf_counter()
            said[name] = ways[name](argument)
            times[name].append(time.perf_counter() - start)
        found.append(said)
    return {name: statistics.median(each) for name, each in times.items()}, found
