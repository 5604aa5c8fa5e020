"""How the proposals of several sources become one list. To add a fusion: one file and one line."""

from __future__ import annotations

from recsys.retrieval import PartBuilder
from recsys.tables import Table

FUSIONS: Table[PartBuilder] = Table(
    "fusion",
    {
        "by-takers": "recsys.fusions.by_takers:ByTakers.of",
        "reciprocal-rank": "recsys.fusions.reciprocal_rank:ReciprocalRank.of",
        "weighted-sum": "recsys.fusions.weighted_sum:weighted_sum",
        "z-score": "recsys.fusions.z_score:z_score",
    },
)
