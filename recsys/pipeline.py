"""The pipeline that answers requests: online, in batch and in evaluation, the same code."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import ConfigDict

from recsys.candidates import Candidates, fill, fuse
from recsys.errors import SettingsError
from recsys.retrieval import Parts, Query, Source, Step
from recsys.settings import Section
from recsys.sources import SOURCES
from recsys.steps import STEPS

log = logging.getLogger(__name__)


class Line(Section):
    """One source or step of a surface: its name and its own options."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str


class Surface(Section):
    """How one kind of request is answered."""

    sources: tuple[Line, ...]
    """Asked together and fused by reciprocal rank."""
    steps: tuple[Line, ...] = ()
    """Applied in this order to whatever was proposed."""
    ladder: tuple[Line, ...] = ()
    """Sources asked one after the other while slots are empty; each is a level."""


DEFAULT_SURFACES: Mapping[str, Surface] = {
    "home": Surface(
        sources=(Line(name="nearest", index="items"),),
        steps=(Line(name="seen"),),
        ladder=(Line(name="popular"),),
    ),
    "similar": Surface(
        sources=(Line(name="nearest", index="similar"),),
        steps=(Line(name="seen"),),
        ladder=(Line(name="popular"),),
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """k items for each of q queries, best first, and how they came about.

    ``levels``: q names, the level of the best thing that filled each list, "none" for an empty one.
    ``degraded``: names of the sources that failed.
    """

    candidates: Candidates
    levels: tuple[str, ...]
    degraded: tuple[str, ...]

    def sources(self, query: int) -> list[list[str]]:
        """For each slot of one query, the sources that proposed its item."""
        said = {name: ~np.isnan(signal[query]) for name, signal in self.candidates.signals.items()}
        return [[name for name, proposed in said.items() if proposed[slot]] for slot in range(self.candidates.shape[1])]


@dataclass(frozen=True, slots=True, eq=False)
class Recommender:
    """One surface over one release: sources, steps, ladder.

    ``items``: how many items the catalogue has. Laws: an item that a query has seen is never answered; k items
    come back whenever the ladder ends in a source that knows k unseen ones; a source may fail, the request may
    not; a batch answers as its queries would one by one.
    """

    items: int
    sources: Mapping[str, Source]
    steps: tuple[Step, ...]
    ladder: Mapping[str, Source]

    @classmethod
    def of(cls, surface: Surface, parts: Parts) -> Recommender:
        """Build the surface over a release's parts; SettingsError names an unknown source, step or option."""
        for lines in (surface.sources, surface.ladder):
            names = [line.name for line in lines]
            if len(set(names)) < len(names):
                raise SettingsError(f"a surface names a source twice: {', '.join(names)}")

        def build(table: Mapping[str, object], line: Line) -> object:
            try:
                return table[line.name](parts, **(line.model_extra or {}))  # type: ignore[operator]
            except (ValueError, TypeError) as error:
                raise SettingsError(f"pipeline line {line.model_dump()}: {error}") from error

        return cls(
            parts.items,
            {line.name: build(SOURCES, line) for line in surface.sources},  # type: ignore[misc]
            tuple(build(STEPS, line) for line in surface.steps),  # type: ignore[misc]
            {line.name: build(SOURCES, line) for line in surface.ladder},  # type: ignore[misc]
        )

    def recommend(self, queries: Sequence[Query], k: int) -> Answer:
        """The k best items for each query."""
        if k < 1:
            raise ValueError(f"k is {k}: ask for at least 1")
        if not queries:
            return Answer(Candidates.empty(0, k), (), ())
        # Whatever has been seen is taken out later, so as much more is fetched.
        depth = min(k + max(len(query.seen) for query in queries), self.items)
        failed: list[str] = []

        proposals = {name: self._ask(name, source, queries, depth, failed) for name, source in self.sources.items()}
        found = self._after_steps(queries, fuse(proposals)).top(k)
        some = found.rows.max(axis=1, initial=-1) >= 0
        levels = [query.level if any_ else "" for query, any_ in zip(queries, some.tolist(), strict=True)]
        for rung, source in self.ladder.items():
            if found.filled.all():
                break
            proposal = fuse({rung: self._ask(rung, source, queries, depth, failed)})
            found = fill(found, self._after_steps(queries, proposal), k)
            some = found.rows.max(axis=1, initial=-1) >= 0
            levels = [level or (rung if some[place] else "") for place, level in enumerate(levels)]
        return Answer(found, tuple(level or "none" for level in levels), tuple(dict.fromkeys(failed)))

    def _after_steps(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:
        for step in self.steps:
            candidates = step(queries, candidates)
        return candidates

    def _ask(self, name: str, source: Source, queries: Sequence[Query], depth: int, failed: list[str]) -> Candidates:
        try:
            return source(queries, depth)
        except Exception:
            log.exception("source %s failed, the answer goes on without it", name)
            failed.append(name)
            return Candidates.empty(len(queries))
