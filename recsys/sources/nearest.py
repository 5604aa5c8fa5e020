"""Items whose vectors have the largest inner product with the query's vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.candidates import EMPTY, NONE, Candidates
from recsys.errors import unknown_choice
from recsys.retrieval import Parts, Query, VectorIndex


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """Search one index; a query without a vector, or with the zero vector, gets empty slots."""

    index: VectorIndex

    @classmethod
    def of(cls, parts: Parts, index: str) -> Nearest:
        """``index`` names one of the release's indexes."""
        if index not in parts.indexes:
            raise ValueError(unknown_choice("index", index, parts.indexes))
        return cls(parts.indexes[index])

    def __call__(self, queries: Sequence[Query], k: int) -> Candidates:
        """The k nearest items of each query."""
        asking = [place for place, query in enumerate(queries) if query.vector is not None and query.vector.any()]
        if not asking:
            return Candidates.empty(len(queries))
        found = self.index.search(np.stack([queries[place].vector for place in asking]), k)  # type: ignore[misc]
        if len(asking) == len(queries):
            return found
        rows = np.full((len(queries), k), NONE)
        scores = np.full((len(queries), k), EMPTY)
        rows[asking], scores[asking] = found.rows, found.scores
        return Candidates(rows, scores)
