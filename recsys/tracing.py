"""How an answer came about: how long each stage took and, for who wants to know, what it took out or brought."""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from recsys.arrays import Int32
from recsys.candidates import Candidates


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """What one part of a pipeline made of the candidates of q queries.

    ``kind``: "source" or "rung", which propose; "filter", "cut", "fusion", "ranker", "step", "fill". ``of``: the source
    or rung whose proposals they were; empty for the one list. ``why``: what the part does. ``before``: none for what
    proposes, several lists where they were made into one.
    """

    kind: str
    name: str
    of: str
    why: str
    seconds: float
    before: Sequence[Candidates]
    after: Candidates

    def came(self, query: int) -> Int32:
        """The items that it was given, int32 (m,), each once, ascending."""
        return np.unique(np.concatenate([NO_ITEMS, *(_items(part, query) for part in self.before)]))

    def left(self, query: int) -> Int32:
        """The items that went on, int32 (m,), best first."""
        return _items(self.after, query)

    def removed(self, query: int) -> Int32:
        """The items that went no further, int32 (m,), ascending."""
        return np.setdiff1d(self.came(query), self.left(query))

    def added(self, query: int) -> Int32:
        """The items that it brought, int32 (m,), best first."""
        left = self.left(query)
        return left[~np.isin(left, self.came(query))]


class Watch:
    """Says of each stage how long it took since the one before.

    ``keeps``: whether it is told of filters, cuts and fusion one by one, and not only once all is done.
    """

    keeps: ClassVar[bool] = False
    __slots__ = ("_last", "seconds")

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """A stage has ended."""
        now = time.perf_counter()
        self.seconds[stage] = now - self._last
        self._last = now

    def went(
        self, kind: str, name: str, part: object, before: Sequence[Candidates], after: Candidates, of: str = ""
    ) -> None:
        """What a part made of its candidates. Nobody wants to know: see :class:`Trace`."""


class Trace(Watch):
    """A watch that keeps every stage.

    Laws: what a source proposed is removed by some stage or answered; each stage of a source's proposals is given what
    the one before it left.
    """

    keeps: ClassVar[bool] = True
    __slots__ = ("_since", "stages")

    def __init__(self) -> None:
        super().__init__()
        self.stages: list[Stage] = []
        self._since = time.perf_counter()

    def went(
        self, kind: str, name: str, part: object, before: Sequence[Candidates], after: Candidates, of: str = ""
    ) -> None:
        """Keep it, with the time since the one before."""
        now = time.perf_counter()
        self.stages.append(Stage(kind, name, of, _said(part), now - self._since, tuple(before), after))
        self._since = time.perf_counter()


NO_ITEMS: Int32 = np.zeros(0, np.int32)


def _items(candidates: Candidates, query: int) -> Int32:
    order = np.argsort(-candidates.scores[query], kind="stable")
    rows: Int32 = candidates.rows[query][order]
    return rows[rows >= 0]


def _said(part: object) -> str:
    """A sentence, or the first one of what a part's class says of itself."""
    text = part if isinstance(part, str) else inspect.getdoc(type(part)) or ""
    return text.split("\n")[0]


@lru_cache(maxsize=256)
def _in_words(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def name_of(part: object) -> str:
    """What a step is called: as its class is, in the way in which lines are.

    >>> class ContentOutlier: ...
    >>> name_of(ContentOutlier())
    'content-outlier'
    """
    return _in_words(type(part).__name__)
