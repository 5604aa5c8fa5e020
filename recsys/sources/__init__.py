"""What proposes items. To add a source: one file and one line."""

from __future__ import annotations

from recsys.retrieval import PartBuilder
from recsys.tables import Table

SOURCES: Table[PartBuilder] = Table(
    "source",
    {
        "item-item": "recsys.sources.item_item:ItemItem.of",
        "nearest": "recsys.sources.nearest:Nearest.of",
        "popular": "recsys.sources.popular:Popular.of",
    },
)
