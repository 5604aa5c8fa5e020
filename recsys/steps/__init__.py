"""What is done to proposals before they become an answer. To add a step: one file and one line."""

from __future__ import annotations

from recsys.retrieval import PartBuilder
from recsys.tables import Table

STEPS: Table[PartBuilder] = Table(
    "step",
    {
        "available": "recsys.steps.available:Available.of",
        "content-outlier": "recsys.steps.content_outlier:ContentOutlier.of",
        "seen": "recsys.steps.seen:Seen.of",
    },
)
