"""Items like those that the user took last, each of them by itself: what a mean of tastes would lose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Float32, Int32
from recsys.candidates import EMPTY, NONE, Candidates
from recsys.errors import unknown_choice
from recsys.kernels.candidates import merged
from recsys.retrieval import NO_ROWS, SIMILAR_INDEX, Parts, Query, SearchIndex
from recsys.sources.nearest import searched


@dataclass(frozen=True, slots=True, eq=False)
class SimilarToRecent:
    """The nearest items of each of the ``last`` items that say something, each scored by the largest cosine of any.

    A query without such items gets empty slots. ``vectors``: float32 (n, d), what the index was built from, of length
    one; an item whose vector is zero says nothing. ``each``: how many neighbours are asked of an item; 0: as many as
    are wanted of all.
    """

    index: SearchIndex
    vectors: Float32
    last: int
    each: int = 0

    @classmethod
    def of(cls, parts: Parts, index: str = SIMILAR_INDEX, last: int = 5, each: int = 0) -> SimilarToRecent:
        """``index`` names one of the release's indexes over unit vectors."""
        if index not in parts.indexes:
            raise ValueError(unknown_choice("index", index, parts.indexes))
        if last < 1:
            raise ValueError(f"last is {last}: at least 1 was wanted")
        if each < 0:
            raise ValueError(f"each is {each}: at least 1 was wanted, or 0 for as many as are wanted of all")
        return cls(parts.indexes[index], parts.vectors[index], last, each)

    def __call__(self, queries: Sequence[Query], k: int) -> Candidates:
        """The k items of the largest cosines above 0, best first; equal ones by row; fewer where each item says few."""
        lines, vectors = self._asking(queries)
        if not len(lines):
            return Candidates.empty(len(queries))
        # By default each item asks for all k: its neighbours may be the best of all.
        each = min(self.each or k, k)
        found = searched(self.index, list(range(len(lines))), vectors, [queries[line] for line in lines], each)
        if len(queries) == 1:
            rows, scores = merged(found.rows.ravel(), found.scores.ravel(), k)
            return Candidates(rows[None], scores[None])
        rows = np.full((len(queries), k), NONE)
        scores = np.full((len(queries), k), EMPTY)
        for line in np.unique(lines):
            own = lines == line
            rows[line], scores[line] = merged(found.rows[own].ravel(), found.scores[own].ravel(), k)
        return Candidates(rows, scores)

    def score(self, queries: Sequence[Query], rows: Int32) -> Float32:
        """The largest cosine of items, int32 (q, n), with any of the query's; nan where either is missing."""
        scores = np.full(rows.shape, np.nan, np.float32)
        lines, vectors = self._asking(queries)
        for line in np.unique(lines):
            named = rows[line] >= 0
            scores[line, named] = (self.vectors[rows[line][named]] @ vectors[lines == line].T).max(axis=1, initial=0)
        return scores

    def _asking(self, queries: Sequence[Query]) -> tuple[Int32, Float32]:
        """The query that each of m items belongs to, int32 (m,), and their vectors, float32 (m, d)."""
        last = [query.recent[query.weights > 0][: self.last] for query in queries]
        if len(queries) == 1:
            vectors = self.vectors[last[0]]
            # Few vectors begin with a zero, so one number of each says of most of them that they are none.
            if np.count_nonzero(vectors[:, 0]) < len(vectors):
                vectors = vectors[vectors.any(axis=1)]
            return np.zeros(len(vectors), np.int32), vectors
        lines = np.repeat(np.arange(len(queries), dtype=np.int32), [len(rows) for rows in last])
        vectors = self.vectors[np.concatenate([NO_ROWS, *last])]
        known = vectors.any(axis=1)
        return lines[known], np.ascontiguousarray(vectors[known])
