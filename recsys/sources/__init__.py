"""What proposes items. To add a source: one file and one line."""

from __future__ import annotations

from recsys.retrieval import PartBuilder
from recsys.tables import Table

SOURCES: Table[PartBuilder] = Table(
    "source",
    {
        "content-nearest": "recsys.sources.content_nearest:ContentNearest.of",
        "declared-interests": "recsys.sources.declared_interests:DeclaredInterests.of",
        "fresh": "recsys.sources.fresh:Fresh.of",
        "item-item": "recsys.sources.item_item:ItemItem.of",
        "multi-interest": "recsys.sources.multi_interest:MultiInterest.of",
        "nearest": "recsys.sources.nearest:Nearest.of",
        "pinned": "recsys.sources.pinned:Pinned.of",
        "popular": "recsys.sources.popular:Popular.of",
        "segment": "recsys.sources.segment:Segment.of",
        "similar-to-recent": "recsys.sources.similar_to_recent:SimilarToRecent.of",
        "together": "recsys.sources.together:Together.of",
        "trending": "recsys.sources.trending:Trending.of",
    },
)
