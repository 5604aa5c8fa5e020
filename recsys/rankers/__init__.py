"""What gives the candidates of a surface another order. To add a way: one file and one line."""

from __future__ import annotations

from recsys.retrieval import RankerBuilder
from recsys.tables import Table

RANKERS: Table[RankerBuilder] = Table("ranker", {"learned": "recsys.rankers.learned:LearnedOrder.of"})
