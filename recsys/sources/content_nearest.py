"""Items whose content is like that of what the user has taken lately, whoever else took them or nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Float32, Int32
from recsys.candidates import Candidates
from recsys.errors import unknown_choice
from recsys.retrieval import CONTENT_INDEX, Parts, Query, SearchIndex
from recsys.sources.nearest import scored, searched


@dataclass(frozen=True, slots=True, eq=False)
class ContentNearest:
    """Search the content index with a profile: the mean of the recent items' content vectors by their weights.

    A query of whose items no content is known, or all of weight 0, gets empty slots. ``vectors``: float32 (n, w), of
    length one, zero where nothing is known.
    """

    index: SearchIndex
    vectors: Float32

    @classmethod
    def of(cls, parts: Parts, index: str = CONTENT_INDEX) -> ContentNearest:
        """``index`` names one of the release's indexes."""
        if index not in parts.indexes:
            raise ValueError(unknown_choice("index", index, parts.indexes))
        return cls(parts.indexes[index], parts.vectors[index])

    def __call__(self, queries: Sequence[Query], k: int) -> Candidates:
        """The k items nearest to each profile, as far as they are on its side: cosines above 0."""
        found = searched(self.index, *self._profiles(queries), queries, k)
        return found.keep(found.scores > 0)

    def score(self, queries: Sequence[Query], rows: Int32) -> Float32:
        """Cosines of items, int32 (q, n), with each profile; nan where either is missing."""
        return scored(self.vectors, *self._profiles(queries), rows)

    def _profiles(self, queries: Sequence[Query]) -> tuple[list[int], Float32]:
        """The places of the queries that have a profile, and the profiles, float32 (asking, w), of length one."""
        asking, profiles = [], []
        for place, query in enumerate(queries):
            weights = np.maximum(query.weights, 0)
            if not weights.any():
                continue
            profile = weights @ self.vectors[query.recent]
            if length := np.linalg.norm(profile):
                asking.append(place)
                profiles.append(profile / length)
        return asking, np.array(profiles, np.float32)
