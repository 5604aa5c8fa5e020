"""What the parts of an answer cost, and which are done without when there is no time for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

RETRY = 200
"""A part that is left out is tried again after so many answers: less than one in a hundred is late for it."""
PATIENCE = 250
"""And not before so many times as long as it takes have gone by: who asks meanwhile waits as well."""
NEWEST = 0.2
"""How much the newest time counts in the estimate."""


class Costs:
    """A running estimate of the seconds that each part takes for a query.

    What takes less than half of what it was thought to is believed at once: the first time touches pages that are never
    waited for again. ``clock``: seconds of a clock that never goes back.
    """

    __slots__ = ("_clock", "_refused", "_seconds", "_tried")

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._seconds: dict[str, float] = {}
        self._refused: dict[str, int] = {}
        self._tried: dict[str, float] = {}

    def of(self, part: str) -> float:
        """The estimate; 0 for what never ran."""
        return self._seconds.get(part, 0.0)

    def took(self, part: str, seconds: float) -> None:
        """Learn how long a part took for a query."""
        known = self._seconds.get(part)
        self._seconds[part] = (
            seconds if known is None or seconds < known / 2 else (1 - NEWEST) * known + NEWEST * seconds
        )
        self._refused[part] = 0
        self._tried[part] = self._clock()

    def left_out(self, parts: Sequence[str], seconds: float, always: float = 0.0) -> list[str]:
        """Those that are done without so that the others fit into ``seconds``, which may be none or all.

        ``parts``: what may be left out, the most dispensable first; ``always``: what all else takes. They go in this
        order until the rest fits; what would fit after all then comes back, the least dispensable first. A part that
        was left out :data:`RETRY` times in a row, and for :data:`PATIENCE` times as long as it takes, stays in once, so
        that it is known when it has become faster.

        >>> costs = Costs()
        >>> for part, seconds in {"explored": 0.001, "ranker": 0.050}.items():
        ...     costs.took(part, seconds)
        >>> costs.left_out(["explored", "ranker"], 0.020)
        ['ranker']
        """
        need = always + sum(self.of(part) for part in parts)
        out: list[str] = []
        for part in parts:
            if need <= seconds:
                break
            need -= self.of(part)
            out.append(part)
        for part in reversed(out[:]):
            if need + self.of(part) <= seconds:
                need += self.of(part)
                out.remove(part)
        for part in out[:]:
            self._refused[part] = self._refused.get(part, 0) + 1
            if self._refused[part] > RETRY and self._clock() - self._tried[part] >= PATIENCE * self.of(part):
                self._refused[part] = 0
                out.remove(part)
        return out

    def as_dict(self) -> Mapping[str, float]:
        """The estimates by part."""
        return dict(self._seconds)
