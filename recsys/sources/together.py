"""What goes with what the request is about: a basket, an album that plays, a page that is open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from recsys.arrays import Float32, Int32
from recsys.candidates import Candidates
from recsys.retrieval import SIMILAR_INDEX, Parts, Query
from recsys.sources.item_item import ItemItem
from recsys.sources.similar_to_recent import SimilarToRecent


@dataclass(frozen=True, slots=True, eq=False)
class Together:
    """Another source, asked with the context in place of the recent items, each alike; never the context itself.

    A query without a context gets empty slots.
    """

    personal: ClassVar[bool] = False

    by: ItemItem | SimilarToRecent

    @classmethod
    def of(cls, parts: Parts, lists: str = "", index: str = SIMILAR_INDEX, last: int = 20) -> Together:
        """``lists`` names item lists, which are added up: bought together. Without, the ``last`` items' neighbours.

        ``index`` names one of the release's indexes over unit vectors.
        """
        return cls(ItemItem.of(parts, lists) if lists else SimilarToRecent.of(parts, index, last))

    def __call__(self, queries: Sequence[Query], k: int) -> Candidates:
        """The k items that go best with each context, best first."""
        most = max((len(query.context) for query in queries), default=0)
        if not most:
            return Candidates.empty(len(queries))
        found = self.by(_about(queries), k + most)
        kept = [~np.isin(found.rows[line], query.context) for line, query in enumerate(queries)]
        return found.keep(found.filled & np.array(kept)).top(k)

    def score(self, queries: Sequence[Query], rows: Int32) -> Float32:
        """What items, int32 (q, n), have to do with each context; nan where either is missing."""
        return self.by.score(_about(queries), rows)


def _about(queries: Sequence[Query]) -> list[Query]:
    ones = [np.ones(len(query.context), np.float32) for query in queries]
    return [replace(query, recent=query.context, weights=some) for query, some in zip(queries, ones, strict=True)]
