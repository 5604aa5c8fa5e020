"""What each stage of a surface adds, and what its shortcuts cost, over the same users.

The stages are surfaces themselves, over the parts of one release: each source alone, all of them fused, put in order
by the ranker, and the whole with its filters, steps and ladder. What was seen is never answered at any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from recsys.arrays import Float32, Float64, Int32
from recsys.beyond_accuracy import Shown, shown_alone
from recsys.comparison import Interval, difference, interval, jackknife, loss
from recsys.evaluation import Progress, Recommends, Report, evaluate, parse
from recsys.splits import Split
from recsys.surfaces import Line, Surface

METRICS = ("ndcg@10", "recall@20", "coverage@20", "novelty@20", "diversity@20")
MAIN = "ndcg@10"
"""What sources are compared by, and what is lost of."""
RANK_FUSION, RANKED, WITHOUT, WHOLE = "rank fusion", "ranker", "without the ranker", "whole"
REACH = 2000
"""Items asked of each source, and put in order, where nothing is to be lost: all of a small catalogue."""
SAMPLE = 1000
"""Users that the loss is measured with, at most."""

Kind = Literal["source", "fusion", "ranker", "whole"]
Ask = Callable[[Surface], Recommends]
"""Who answers by a surface, over the parts of one release."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A surface that is judged for what it adds to those before it."""

    name: str
    kind: Kind
    surface: Surface


def stages_of(surface: Surface, without: Surface | None = None) -> tuple[Stage, ...]:
    """The stages of a surface, the whole last; ``without``: what is served if its ranker is not good enough.

    Where everybody gets the ladder, its sources are those that stand alone. None has a time budget: what there is no
    time for depends on the machine.
    """
    whole = surface.model_copy(update={"budget_ms": None})
    ordered = _bare(whole)
    fused = ordered.model_copy(update={"ranker": None})
    by_rank = Line.model_validate({"name": "reciprocal-rank", **_pool(fused.fusion)})
    found = [
        Stage(f"{line.called} alone", "source", fused.model_copy(update={"sources": (line,), "fusion": by_rank}))
        for line in fused.sources or fused.ladder
    ]
    if len(fused.sources) > 1:
        found.append(Stage(RANK_FUSION, "fusion", fused.model_copy(update={"fusion": by_rank})))
        if fused.fusion.name != by_rank.name:
            found.append(Stage(f"fusion by {fused.fusion.name}", "fusion", fused))
    if without is not None:
        found.append(Stage(WITHOUT, "fusion", _bare(without)))
    if ordered.ranker is not None:
        found.append(Stage(RANKED, "ranker", ordered))
    return (*found, Stage(WHOLE, "whole", whole))


def judge_stages(
    stages: Sequence[Stage],
    ask: Ask,
    split: Split,
    rng: np.random.Generator,
    *,
    without: Surface | None = None,
    exact: Ask | None = None,
    vectors: Float32 | None = None,
    categories: Float64 | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Every stage judged by the same test: ``rows``, ``best_source``, ``refused``, ``gain`` and ``loss``.

    ``without``: the surface that is served if the ranker does not beat every fusion for certain, as the gate of
    `recsys train` has it; the whole is then this one, and ``refused`` says what it did not beat. ``exact``: who answers
    with exact search; None where ``ask`` does. ``vectors``, ``categories``: what diversity looks at, see
    :func:`recsys.evaluation.evaluate`; without any there is no diversity.

    A row has each metric with its interval over users, and ``less``: by how much it is above the best source alone,
    and above each fusion. The best source is the one of the largest NDCG@10 in this very test, which speaks against
    the whole. ``gain`` is the whole less that source.

    ``loss``: which share of NDCG@10 the whole loses against the same sources, fusion and ranker with exact search,
    :data:`REACH` candidates, no filters but ``seen`` and no steps, and what of it is lost ``by`` rules, by search and
    by too few candidates, as shares that add up to it. Below 0 nothing is lost. ValueError for stages that do not end
    in a whole.
    """
    *before, whole = stages
    if not before or whole.kind != "whole":
        raise ValueError(f"stages are {', '.join(stage.name for stage in stages)}: sources and last a whole are wanted")
    asked = _Asked(ask, split, vectors, categories, progress, len(stages) + 2)
    reports = {stage.name: asked.report(stage.surface) for stage in before}
    refused = [] if without is None else _unbeaten(before, reports, rng)
    if without is not None and refused:
        whole = Stage(WHOLE, "whole", without.model_copy(update={"budget_ms": None}))
    reports[WHOLE] = asked.report(whole.surface)
    singles = [stage.name for stage in stages if stage.kind == "source"]
    best = max(singles, key=lambda name: _quality(reports[name]))
    others = [best, *(stage.name for stage in stages if stage.kind == "fusion")]
    rows = [
        {
            "stage": stage.name,
            "kind": stage.kind,
            **asked.figures(reports[stage.name], rng),
            "less": {
                name: asked.differences(reports[stage.name], reports[name], rng)
                for name in others
                if name != stage.name
            },
        }
        for stage in (*before, whole)
    ]
    ordered = _bare(whole.surface)
    return {
        "users": len(reports[best].users),
        "best_source": best,
        "refused": refused,
        "rows": rows,
        "gain": rows[-1]["less"][best],
        "loss": _loss(ordered, asked, reports[WHOLE], asked.report(ordered), exact, rng),
    }


class _Asked:
    """Surfaces judged by one split, none twice."""

    def __init__(
        self,
        ask: Ask,
        split: Split,
        vectors: Float32 | None,
        categories: Float64 | None,
        progress: Progress | None,
        steps: int,
    ) -> None:
        self.ask, self.split, self.vectors, self.categories = ask, split, vectors, categories
        self.metrics = tuple(name for name in METRICS if vectors is not None or not name.startswith("diversity"))
        self._progress, self._steps, self._done = progress, steps, 0
        self._known: dict[str, Report] = {}

    def report(self, surface: Surface) -> Report:
        """What everybody is answered."""
        key = surface.model_dump_json()
        if key not in self._known:
            self._known[key] = evaluate(
                self.ask(surface), self.split, self.metrics, vectors=self.vectors, categories=self.categories,
                progress=self._partly,
            )  # fmt: skip
        self._done += 1
        return self._known[key]

    def values(self, surface: Surface, ask: Ask, users: Int32) -> Float64:
        """NDCG@10 of some users, by their rows."""
        test = self.split.test.where(np.isin(self.split.test.user, users))
        report = evaluate(ask(surface), replace(self.split, test=test), (MAIN,), progress=self._partly)
        self._done += 1
        return report.values[MAIN]

    def figures(self, report: Report, rng: np.random.Generator) -> dict[str, Any]:
        """Each metric with its interval."""
        return {
            **{name: _bounds(interval(values, rng)) for name, values in report.values.items()},
            **{name: _bounds(jackknife(value, self._alone(report, name))) for name, value in report.catalogue.items()},
        }

    def differences(self, ours: Report, theirs: Report, rng: np.random.Generator) -> dict[str, Any]:
        """By how much each metric of ``ours`` is above that of ``theirs``, paired by user."""
        return {
            **{name: _bounds(difference(values, theirs.values[name], rng)) for name, values in ours.values.items()},
            **{
                name: _bounds(
                    jackknife(value - theirs.catalogue[name], self._alone(ours, name) - self._alone(theirs, name))
                )
                for name, value in ours.catalogue.items()
            },
        }

    def _alone(self, report: Report, name: str) -> Float64:
        """What coverage would be less without each user."""
        return shown_alone(Shown(report.rows, items=len(self.split.train.items)), parse(name)[1])

    def _partly(self, share: float) -> None:
        if self._progress:
            self._progress(min(1.0, (self._done + share) / self._steps))


def _unbeaten(stages: Sequence[Stage], reports: Mapping[str, Report], rng: np.random.Generator) -> list[str]:
    """The fusions that the ranker is not above for certain, by NDCG@10."""
    ours = next((reports[stage.name].values[MAIN] for stage in stages if stage.kind == "ranker"), None)
    fusions = [stage.name for stage in stages if stage.kind == "fusion"]
    # An interval that is not known lies nowhere.
    return [
        name for name in fusions if ours is not None and not difference(ours, reports[name].values[MAIN], rng).low > 0
    ]


def _bare(surface: Surface) -> Surface:
    """Without rules: nothing is taken out but what was seen, and nothing moved."""
    kept = tuple(line for line in surface.filters if line.name == "seen")
    return surface.model_copy(update={"filters": kept, "steps": (), "budget_ms": None})


def _pool(fusion: Line) -> dict[str, Any]:
    return {key: value for key, value in (fusion.model_extra or {}).items() if key == "pool"}


def _deep(surface: Surface) -> Surface:
    """With as many candidates as can make a difference."""
    fusion = Line.model_validate({**surface.fusion.model_dump(), "pool": REACH})
    ranker = surface.ranker and Line.model_validate({**surface.ranker.model_dump(), "depth": REACH})
    return surface.model_copy(update={"fusion": fusion, "ranker": ranker})


def _loss(
    ordered: Surface, asked: _Asked, whole: Report, unruled: Report, exact: Ask | None, rng: np.random.Generator
) -> dict[str, Any]:
    users = np.sort(rng.permutation(whole.users)[:SAMPLE])
    among = np.isin(whole.users, users)
    served, plain = whole.values[MAIN][among], unruled.values[MAIN][among]
    searched = plain if exact is None else asked.values(ordered, exact, users)
    best = asked.values(_deep(ordered), exact or asked.ask, users)
    share = loss(served, best, rng)
    means = [float(np.mean(values)) if len(values) else float("nan") for values in (served, plain, searched, best)]
    lost = np.diff(means) / means[-1] if means[-1] else np.full(3, np.nan)
    return {
        "metric": MAIN,
        "users": len(users),
        "reach": REACH,
        "served": _number(means[0]),
        "exact": _number(means[-1]),
        "share": _number(share.mean),
        "low": _number(share.low),
        "high": _number(share.high),
        "by": dict(zip(("rules", "search", "candidates"), map(_number, lost), strict=True)),
    }


def _quality(report: Report) -> float:
    values = report.values[MAIN]
    return float(values.mean()) if len(values) else 0.0


def _bounds(found: Interval) -> dict[str, float | None]:
    return {"mean": _number(found.mean), "low": _number(found.low), "high": _number(found.high)}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)
