"""What is done to proposals before they become an answer. To add a step: one file and one line."""

from __future__ import annotations

from recsys.retrieval import PartBuilder
from recsys.tables import Table

STEPS: Table[PartBuilder] = Table(
    "step",
    {
        "available": "recsys.steps.available:Available.of",
        "boosted": "recsys.steps.boosted:Boosted.of",
        "calibrated": "recsys.steps.calibrated:Calibrated.of",
        "capped": "recsys.steps.capped:Capped.of",
        "content-outlier": "recsys.steps.content_outlier:ContentOutlier.of",
        "discounted": "recsys.steps.discounted:Discounted.of",
        "dithered": "recsys.steps.dithered:Dithered.of",
        "diverse": "recsys.steps.diverse:Diverse.of",
        "explored": "recsys.steps.explored:Explored.of",
        "flow": "recsys.steps.flow:Flow.of",
        "pinned": "recsys.steps.pinned:Pinned.of",
        "portioned": "recsys.steps.portioned:Portioned.of",
        "seen": "recsys.steps.seen:Seen.of",
        "unrepeated": "recsys.steps.unrepeated:Unrepeated.of",
        "wanted": "recsys.steps.wanted:Wanted.of",
    },
)
