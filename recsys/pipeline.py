"""The pipeline that answers requests: online, in batch and in evaluation, the same code."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from recsys.arrays import Int32
from recsys.budget import Costs
from recsys.candidates import PROPENSITY, Candidates, Unwanted, fill, fuse
from recsys.errors import SettingsError
from recsys.fusions import FUSIONS
from recsys.kernels import answers as kernels
from recsys.masks import Mask
from recsys.rankers import RANKERS
from recsys.retrieval import Blending, Fusion, Parts, Query, Source, Step
from recsys.sources import SOURCES
from recsys.steps import STEPS
from recsys.steps.excluding import Excluding
from recsys.surfaces import Line, Surface
from recsys.tracing import Watch, name_of

log = logging.getLogger(__name__)

RANKER = "ranker"
OPTIONAL = ("exploration", "diversity")
"""What steps may say of themselves under ``optional``: the first is left out first where time is short."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """k items for each of q queries, best first, and how they came about.

    ``levels``: q names, the level of the best thing that filled each list, "none" for an empty one.
    ``degraded``: names of the sources that failed, "fusion" and "ranker" if those did, and of what there was no time
    for. ``seconds``: how long each stage took: every source under its name, then "fusion", "ranker", "steps" and
    "ladder", as far as there are any. Filters count with the fusion that sees to them, else with their source.
    """

    candidates: Candidates
    levels: tuple[str, ...]
    degraded: tuple[str, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)

    def proposers(self, query: int) -> tuple[tuple[str, ...], list[int]]:
        """The sources of one query, and of each slot a number whose bit i is set where the i-th proposed its item."""
        signals = self.candidates.signals
        names = tuple([name for name in signals if name != PROPENSITY])
        return names, kernels.proposers([signals[name][query] for name in names], self.candidates.shape[1])

    def sources(self, query: int) -> list[list[str]]:
        """For each slot of one query, the sources that proposed its item."""
        names, proposed = self.proposers(query)
        return [among(names, bits) for bits in proposed]


@dataclass(frozen=True, eq=False)
class Recommender:
    """One surface over one release: sources, filters, fusion, ranker, steps, ladder.

    ``items``: how many items the catalogue has. Laws: an item that a query has seen is never answered; k items
    come back whenever the ladder ends in a source that knows k unseen ones; a source may fail, the request may
    not; a batch answers as its queries would one by one, where time suffices.

    ``budget``: seconds that an answer may take, a batch as many times as long; ``costs``: what its parts are known to
    take. What is thought not to fit is left out before it runs: exploration, then diversity, then the ranker.
    """

    items: int
    sources: Mapping[str, Source]
    filters: tuple[Step, ...]
    fusion: Fusion
    ranker: Step | None
    steps: tuple[Step, ...]
    ladder: Mapping[str, Source]
    budget: float | None = None
    costs: Costs = field(default_factory=Costs)

    @classmethod
    def of(cls, surface: Surface, parts: Parts, costs: Costs | None = None) -> Recommender:
        """Build the surface over a release's parts; SettingsError names an unknown source, step or option.

        ``costs``: what the same surface is known to take.
        """
        for lines in (surface.sources, surface.ladder):
            names = [line.called for line in lines]
            if len(set(names)) < len(names):
                raise SettingsError(f"a surface names a source twice: {', '.join(names)}; tell them apart by `label`")
        if (many := len(surface.sources) + len(surface.ladder)) > kernels.MOST:
            raise SettingsError(f"a surface has {many} sources and rungs: at most {kernels.MOST} can be told apart")

        def build(table: Mapping[str, Callable[..., Any]], line: Line, **more: Any) -> Any:
            try:
                return table[line.name](parts, **more, **(line.model_extra or {}))
            except (ValueError, TypeError) as error:
                raise SettingsError(f"pipeline line {line.model_dump()}: {error}") from error

        # Whatever a surface says, what was deleted is gone, and what a request does not want it does not get.
        gone = () if parts.available is None else (Line(name="available"),)
        always = (*gone, Line(name="wanted"))
        return cls(
            parts.items,
            {line.called: build(SOURCES, line) for line in surface.sources},
            tuple(build(STEPS, line) for line in (*always, *surface.filters)),
            build(FUSIONS, surface.fusion),
            None
            if surface.ranker is None
            else build(RANKERS, surface.ranker, sources=[line.called for line in surface.sources]),
            tuple(build(STEPS, line) for line in surface.steps),
            {line.called: build(SOURCES, line) for line in surface.ladder},
            None if surface.budget_ms is None else surface.budget_ms / 1000,
            costs or Costs(),
        )

    def recommend(
        self, queries: Sequence[Query], k: int, began: float | None = None, watch: Watch | None = None
    ) -> Answer:
        """The k best items for each query.

        ``began``: when the time of the budget did, by ``time.perf_counter``. ``watch``: is told of every stage.
        """
        if k < 1:
            raise ValueError(f"k is {k}: ask for at least 1")
        if not queries:
            return Answer(Candidates.empty(0, k), (), ())
        failed: list[str] = []
        watch = watch or Watch()
        end = None if self.budget is None else (began or time.perf_counter()) + self.budget * len(queries)
        fused = self._retrieved(queries, k, failed, watch)
        out = () if end is None else self._left_out(end, len(queries))
        failed += out
        if self.ranker is not None and RANKER not in out:
            start, before = time.perf_counter(), fused
            fused = self._ranked(self.ranker, queries, fused, failed)
            self.costs.took(RANKER, (time.perf_counter() - start) / len(queries))
            watch.lap(RANKER)
            watch.went("ranker", RANKER, self.ranker, (before,), fused)
        steps = tuple(step for step in self.steps if name_of(step) not in out) if out else self.steps
        listed = self._stepped(steps, queries, fused, failed, end, watch)
        found = listed.top(k)
        watch.lap("steps")
        watch.went("cut", "k", f"No more than the best {k} are asked for.", (listed,), found)
        levels = self._levels(queries, found)
        for rung, source in self.ladder.items():
            if not np.count_nonzero(found.rows < 0):
                break
            proposal = self._ask(rung, source, queries, self._depth(queries, k), failed)
            watch.went("rung", rung, source, (), proposal, rung)
            proposal = _after(self.filters, queries, proposal, watch, "filter", rung)
            # As below: what steps choose from must not depend on what others of the batch have seen.
            proposal = self._cut(proposal, k, watch, rung) if self.steps else proposal
            rest = _after(steps, queries, fuse({rung: proposal}), watch, "step", rung)
            before, found = found, fill(found, rest, k)
            watch.went(
                "fill",
                rung,
                "What was still empty; the others stand there already or are more than k.",
                (before, rest),
                found,
            )
            some = found.rows.max(axis=1, initial=-1) >= 0
            levels = [level or (rung if some[place] else "") for place, level in enumerate(levels)]
        watch.lap("ladder")
        return Answer(found, tuple(level or "none" for level in levels), tuple(dict.fromkeys(failed)), watch.seconds)

    def _left_out(self, end: float, queries: int) -> list[str]:
        """The optional steps and the ranker, as far as there is no time for them before ``end``."""
        names = [name_of(step) for kind in OPTIONAL for step in self.steps if optional(step) == kind]
        names += [] if self.ranker is None else [RANKER]
        always = sum(self.costs.of(name_of(step)) for step in self.steps if not optional(step))
        return self.costs.left_out(list(dict.fromkeys(names)), (end - time.perf_counter()) / queries, always)

    def _stepped(
        self,
        steps: Sequence[Step],
        queries: Sequence[Query],
        found: Candidates,
        failed: list[str],
        end: float | None,
        watch: Watch,
    ) -> Candidates:
        """After the steps; what is optional is left out from when the time is up."""
        if end is None:
            return _after(steps, queries, found, watch, "step")
        for step in steps:
            name, start = name_of(step), time.perf_counter()
            if start > end and optional(step):
                failed.append(name)
                continue
            left = step(queries, found)
            self.costs.took(name, (time.perf_counter() - start) / len(queries))
            watch.went("step", name, step, (found,), left)
            found = left
        return found

    def _levels(self, queries: Sequence[Query], found: Candidates) -> list[str]:
        """What a list is called: after the user if their taste proposed any of it, else after who proposed its best."""
        personal = [name for name, source in self.sources.items() if getattr(source, "personal", True)]
        all_are = len(personal) == len(self.sources)
        levels = []
        for place, query in enumerate(queries):
            if found.rows[place, 0] < 0:
                levels.append("")
                continue
            known = query.vector is not None or len(query.recent)
            told = found.signals
            if known and (all_are or any(not np.isnan(told[name][place]).all() for name in personal if name in told)):
                levels.append(query.level)
            else:
                best = (name for name, said in told.items() if name != PROPENSITY and not np.isnan(said[place, 0]))
                levels.append(next(best, query.level))
        return levels

    @property
    def reads_shown(self) -> bool:
        """Whether a list depends on what was shown to the user: for others it need not be fetched."""
        return any(getattr(part, "reads_shown", False) for part in (*self.filters, *self.steps, self.ranker))

    def retrieve(self, queries: Sequence[Query], k: int) -> Candidates:
        """What the ranker is given when k items are asked for: the fused proposals, (q, n)."""
        return self._retrieved(queries, k, [], Watch())

    def _pool(self, k: int) -> int:
        """How many items are wanted of each source."""
        # One source has nobody to agree with, so what it would say further down is asked for only where somebody may
        # take things out or move them: then the source's next ones follow, not what is popular.
        return max(k, self.fusion.pool) if self._further else k

    @property
    def _further(self) -> bool:
        return len(self.sources) > 1 or bool(self.steps) or self.ranker is not None

    def _depth(self, queries: Sequence[Query], k: int) -> int:
        """How many items each source is asked for."""
        # Whatever has been seen or is not wanted is taken out later, so as much more is fetched.
        return min(self._pool(k) + max(len(query.seen) + len(query.excluded) for query in queries), self.items)

    def _retrieved(self, queries: Sequence[Query], k: int, failed: list[str], watch: Watch) -> Candidates:
        depth = self._depth(queries, k)
        proposals, at_once = {}, None if watch.keeps else self._at_once
        for name, source in self.sources.items():
            proposals[name] = self._ask(name, source, queries, depth, failed)
            if at_once is None:
                watch.went("source", name, source, (), proposals[name], name)
                proposals[name] = self._narrowed(name, proposals[name], queries, k, watch)
            watch.lap(name)
        if not proposals:
            fused = Candidates.empty(len(queries))
        elif at_once is None:
            fused = self._fused(queries, proposals, failed)
        else:
            fused = self._blended(*at_once, queries, proposals, k, failed)
        watch.lap("fusion")
        watch.went("fusion", name_of(self.fusion), self.fusion, tuple(proposals.values()), fused)
        return fused

    def _narrowed(self, name: str, proposed: Candidates, queries: Sequence[Query], k: int, watch: Watch) -> Candidates:
        """What of a source's proposals goes on."""
        left = _after(self.filters, queries, proposed, watch, "filter", name)
        # The same pool for everybody, however much the others of the batch have seen.
        return self._cut(left, k, watch, name) if self._further else left

    @cached_property
    def _at_once(self) -> tuple[Blending, list[Excluding]] | None:
        """What makes one loop of filters, cuts and fusion: none of these filters looks at who proposed an item."""
        fusion, filters = self.fusion, [step for step in self.filters if isinstance(step, Excluding)]
        return (fusion, filters) if isinstance(fusion, Blending) and len(filters) == len(self.filters) else None

    def _blended(
        self,
        fusion: Blending,
        filters: Sequence[Excluding],
        queries: Sequence[Query],
        proposals: Mapping[str, Candidates],
        k: int,
        failed: list[str],
    ) -> Candidates:
        unwanted = [_of_all(filters, query) for query in queries]
        pool, most = (self._pool(k), None) if self._further else (None, k)
        try:
            return fusion.blend(proposals, unwanted, pool, most)
        except Exception:
            log.exception("the fusion failed at once, the answer is made step by step")
        left = {name: self._narrowed(name, part, queries, k, Watch()) for name, part in proposals.items()}
        return self._fused(queries, left, failed)

    def _cut(self, left: Candidates, k: int, watch: Watch, of: str) -> Candidates:
        best = left.top(self._pool(k))
        watch.went("cut", "pool", "No more than the best of each source go on.", (left,), best, of)
        return best

    def _ask(self, name: str, source: Source, queries: Sequence[Query], depth: int, failed: list[str]) -> Candidates:
        try:
            return source(queries, depth)
        except Exception:
            log.exception("source %s failed, the answer goes on without it", name)
            failed.append(name)
            return Candidates.empty(len(queries))

    def _fused(self, queries: Sequence[Query], proposals: Mapping[str, Candidates], failed: list[str]) -> Candidates:
        try:
            return self.fusion(queries, proposals, self.sources)
        except Exception:
            log.exception("the fusion failed, the answer goes by ranks alone")
            failed.append("fusion")
            return fuse(proposals)

    def _ranked(self, ranker: Step, queries: Sequence[Query], fused: Candidates, failed: list[str]) -> Candidates:
        try:
            return ranker(queries, fused)
        except Exception:
            log.exception("the ranker failed, the answer keeps the fusion's order")
            failed.append("ranker")
            return fused


def among(names: Sequence[str], bits: int) -> list[str]:
    """The names whose bits are set, as :meth:`Answer.proposers` gives both."""
    return [name for bit, name in enumerate(names) if bits >> bit & 1]


def _of_all(filters: Sequence[Excluding], query: Query) -> Unwanted:
    """What any of the filters keeps from a query."""
    rows: list[Int32] = []
    masks: list[Mask] = []
    for step in filters:
        some, among = step.unwanted(query)
        rows += some
        masks += among
    return Unwanted(tuple(rows), tuple(masks))


def optional(step: Step) -> str:
    """What of :data:`OPTIONAL` a step is for; empty for one that is never left out."""
    return str(getattr(step, "optional", ""))


def _after(
    steps: Sequence[Step], queries: Sequence[Query], candidates: Candidates, watch: Watch, kind: str, of: str = ""
) -> Candidates:
    for step in steps:
        left = step(queries, candidates)
        watch.went(kind, name_of(step), step, (candidates,), left, of)
        candidates = left
    return candidates
