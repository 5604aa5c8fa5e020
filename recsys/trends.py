"""What is taken most lately, counted as it happens: forward decay, Cormode, Shkapenyuk, Srivastava & Xu (2009).

An event is worth more the later it is, 2^(time / half-life), so that adding up is all there is to do and the order does
not matter; whoever reads divides by what an event of that moment would be worth. Numbers stay small because time is cut
into eras, each with a tally of its own that is counted from its beginning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from recsys.stores import Counts

DAY = 86_400
LENGTH = 100
"""Half-lives in an era: what an event is worth stays below 2^100, and what an era before it was worth is nothing."""


@dataclass(frozen=True, slots=True)
class Trends:
    """Counts of events that fade by half in ``half_life`` days."""

    half_life: float

    def amounts(self, events: Iterable[tuple[str, int, float]]) -> Mapping[str, Mapping[str, float]]:
        """What events of an item, a time in unix seconds and a weight add to which tally."""
        found: dict[str, dict[str, float]] = {}
        for item, time, weight in events:
            era, start = self._era(time)
            tally = found.setdefault(self._tally(era), {})
            tally[item] = tally.get(item, 0.0) + weight * 2.0 ** ((time - start) / self._seconds)
        return found

    async def count(self, store: Counts, events: Iterable[tuple[str, int, float]]) -> None:
        """Count events."""
        for tally, amounts in self.amounts(events).items():
            await store.count(tally, amounts, int(2 * LENGTH * self._seconds))

    async def largest(self, store: Counts, now: float, most: int = 10_000) -> dict[str, float]:
        """What the items that trend most amount to, each event at its weight as far as it has not faded by ``now``."""
        era, _ = self._era(now)
        found: dict[str, float] = {}
        for each in (era, era - 1):
            left = 2.0 ** (-(now - each * LENGTH * self._seconds) / self._seconds)
            for item, amount in (await store.largest(self._tally(each), most)).items():
                found[item] = found.get(item, 0.0) + amount * left
        return found

    @property
    def _seconds(self) -> float:
        return self.half_life * DAY

    def _era(self, time: float) -> tuple[int, float]:
        """The number of an era, and when it began."""
        era = int(time // (LENGTH * self._seconds))
        return era, era * LENGTH * self._seconds

    def _tally(self, era: int) -> str:
        return f"trends-{self.half_life:g}-{era}"
