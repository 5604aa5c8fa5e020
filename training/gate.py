"""What a release must have been measured to do before anybody is served from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recsys.arrays import Float64
from recsys.comparison import difference
from recsys.releases import GateReport
from recsys.sections import Gate


def judge(gate: Gate, metrics: Mapping[str, Any], indexes: Mapping[str, Any], *, force: bool = False) -> GateReport:
    """Compare the manifest's measurements with the thresholds.

    ``metrics``: "pipeline" and "popularity", each as :meth:`recsys.evaluation.Report.means` gives them, and "content"
    with NDCG@10 over warm items "with" it and "without" where a release has content. ``indexes``: name → index report.
    A measurement that could not be made (nobody to judge by) is a finding too.
    """
    findings = []
    for name, report in indexes.items():
        recall = report["recall"]["100"]
        if recall < gate.index_recall:
            findings.append(f"recall@100 of index {name!r} is {recall:.3f}, below {gate.index_recall:g}")
    if gate.beat_popularity:
        ours, theirs = (metrics[system]["ndcg@10"]["all"] for system in ("pipeline", "popularity"))
        if ours is None or theirs is None:
            findings.append("NDCG@10 could not be measured: no user has a new item in the test period")
        elif ours < theirs:
            findings.append(f"NDCG@10 is {ours:.4f}, below popularity's {theirs:.4f}")
    if content := metrics.get("content"):
        ours, theirs = (content[part]["ndcg@10"]["warm"] for part in ("with", "without"))
        if ours is None or theirs is None:
            findings.append("NDCG@10 over warm items could not be measured: nobody has a new one in the test period")
        elif ours < (1 - gate.warm_loss) * theirs:
            findings.append(
                f"NDCG@10 over warm items is {ours:.4f} with content and {theirs:.4f} without: it falls by "
                f"{1 - ours / theirs:.1%}, more than {gate.warm_loss:.1%} (gate.warm_loss)"
            )
    return GateReport(passed=not findings, findings=tuple(findings), forced=force and bool(findings))


def judge_ranker(
    ranked: Float64, others: Mapping[str, Float64], rng: np.random.Generator
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Reasons why a ranker is not used, none if its lists beat all ``others``; and by how much, with intervals.

    ``ranked``, ``others``: NDCG@10 by user, float64 (u,). It must not be a matter of chance: the interval of the paired
    difference has to lie above 0.
    """
    findings, against = [], {}
    for name, theirs in others.items():
        between = difference(ranked, theirs, rng)
        told = {"difference": between.mean, "low": between.low, "high": between.high}
        against[name] = {key: None if np.isnan(value) else round(value, 6) for key, value in told.items()}
        if np.isnan(between.mean):
            findings.append("the ranker could not be measured: no user has a new item in the test period")
        elif between.low <= 0:
            findings.append(
                f"NDCG@10 with the ranker is {between.mean:+.4f} beside {name}, with an interval from "
                f"{between.low:+.4f} to {between.high:+.4f}: all of it must lie above 0"
            )
    return tuple(findings), against
