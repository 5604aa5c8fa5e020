"""Items like those that the user took last, each of them by itself: what a mean of tastes would lose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Float32, Int32
from recsys.candidates import EMPTY, NONE, Candidates
from recsys.errors import unknown_choice
from recsys.kernels.candidates import merged
from recsys.retrieval import NO_ROWS, SIMILAR_INDEX, Parts, Query, RememberingIndex, SearchIndex
from recsys.sources.nearest import searched


@dataclass(frozen=True, slots=True, eq=False)
class SimilarToRecent:
    """The nearest items of each of the ``last`` items that say something, each scored by the largest cosine of any.

    A query without such items gets empty slots. ``vectors``: float32 (n, d), what the index was built from, of length
    one; an item whose vector is zero says nothing. ``each``: how many neighbours are asked of an item; 0: as many as
    are wanted of all. ``known``: the index where it may remember them, None where it does not.
    """

    index: SearchIndex
    vectors: Float32
    last: int
    each: int = 0
    known: RememberingIndex | None = None

    @classmethod
    def of(cls, parts: Parts, index: str = SIMILAR_INDEX, last: int = 5, each: int = 0) -> SimilarToRecent:
        """``index`` names one of the release's indexes over unit vectors."""
        if index not in parts.indexes:
            raise ValueError(unknown_choice("index", index, parts.indexes))
        if last < 1:
            raise ValueError(f"last is {last}: at least 1 was wanted")
        if each < 0:
            raise ValueError(f"each is {each}: at least 1 was wanted, or 0 for as many as are wanted of all")
        found = parts.indexes[index]
        return cls(found, parts.vectors[index], last, each, found if isinstance(found, RememberingIndex) else None)

    def __call__(self, queries: Sequence[Query], k: int) -> Candidates:
        """The k items of the largest cosines above 0, best first; equal ones by row; fewer where each item says few."""
        # By default each item asks for all k: its neighbours may be the best of all.
        each = min(self.each or k, k)
        lines, found = self._remembered(queries, each) or self._searched(queries, each)
        if not len(lines):
            return Candidates.empty(len(queries))
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

    def _remembered(self, queries: Sequence[Query], each: int) -> tuple[Int32, Candidates] | None:
        """The query that each of m items belongs to, int32 (m,), and the item's neighbours; None to search for them."""
        if self.known is None or any(query.allowed is not None for query in queries):
            return None
        last = self._last(queries)
        found = self.known.remembered(last[0] if len(last) == 1 else np.concatenate([NO_ROWS, *last]), each)
        return None if found is None else (_lines(last), found)

    def _searched(self, queries: Sequence[Query], each: int) -> tuple[Int32, Candidates]:
        lines, vectors = self._asking(queries)
        if not len(lines):
            return lines, Candidates.empty(0)
        return lines, searched(self.index, list(range(len(lines))), vectors, [queries[line] for line in lines], each)

    def _last(self, queries: Sequence[Query]) -> list[Int32]:
        return [query.recent[query.weights > 0][: self.last] for query in queries]

    def _asking(self, queries: Sequence[Query]) -> tuple[Int32, Float32]:
        """The query that each of m items belongs to, int32 (m,), and their vectors, float32 (m, d)."""
        last = self._last(queries)
        if len(queries) == 1:
            vectors = self.vectors[last[0]]
            # Few vectors begin with a zero, so one number of each says of most of them that they are none.
            if np.count_nonzero(vectors[:, 0]) < len(vectors):
                vectors = vectors[vectors.any(axis=1)]
            return np.zeros(len(vectors), np.int32), vectors
        lines = _lines(last)
        vectors = self.vectors[np.concatenate([NO_ROWS, *last])]
        known = vectors.any(axis=1)
        return lines[known], np.ascontiguousarray(vectors[known])


def _lines(last: Sequence[Int32]) -> Int32:
    """The place of the query that each of all items belongs to."""
    if len(last) == 1:
        return np.zeros(len(last[0]), np.int32)
    return np.repeat(np.arange(len(last), dtype=np.int32), [len(rows) for rows in last])
