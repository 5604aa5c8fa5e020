"""What a release must have been measured to do before anybody is served from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsys.releases import GateReport
from recsys.settings import Gate


def judge(gate: Gate, metrics: Mapping[str, Any], indexes: Mapping[str, Any], *, force: bool = False) -> GateReport:
    """Compare the manifest's measurements with the thresholds.

    ``metrics``: "pipeline" and "popularity", each as :meth:`recsys.evaluation.Report.means` gives them.
    ``indexes``: name → index report. A measurement that could not be made (nobody to judge by) is a finding too.
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
    return GateReport(passed=not findings, findings=tuple(findings), forced=force and bool(findings))
