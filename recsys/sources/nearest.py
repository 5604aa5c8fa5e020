"""Items whose vectors have the largest inner product with the query's vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Float32, Int32, at_hand
from recsys.candidates import EMPTY, NONE, Candidates
from recsys.errors import unknown_choice
from recsys.kernels.vectors import products
from recsys.retrieval import Parts, Query, SearchIndex

CHUNK = 128
"""Queries whose items' vectors are gathered at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """Search one index; a query without a vector, or with the zero vector, gets empty slots.

    ``vectors``: float32 (n, d), what the index was built from; None where only searching is asked for.
    """

    index: SearchIndex
    vectors: Float32 | None = None

    @classmethod
    def of(cls, parts: Parts, index: str) -> Nearest:
        """``index`` names one of the release's indexes."""
        if index not in parts.indexes:
            raise ValueError(unknown_choice("index", index, parts.indexes))
        return cls(parts.indexes[index], parts.vectors.get(index))

    def __call__(self, queries: Sequence[Query], k: int) -> Candidates:
        """The k nearest items of each query."""
        return searched(self.index, *_asking(queries), queries, k)

    def score(self, queries: Sequence[Query], rows: Int32) -> Float32:
        """Inner products of items, int32 (q, n), with each query; nan where either is missing."""
        if self.vectors is None:
            raise ValueError("the index came without its vectors, so it can search but not score")
        return scored(self.vectors, *_asking(queries), rows)


def searched(index: SearchIndex, asking: list[int], vectors: Float32, queries: Sequence[Query], k: int) -> Candidates:
    """The k nearest items that each of ``queries`` allows, empty slots for those that are not asking.

    ``asking``: places of those that are, and ``vectors``: float32 (asking, d), what they ask with.
    """
    if not asking:
        return Candidates.empty(len(queries))
    if len(queries) == 1:
        return index.search(vectors, k, queries[0].allowed)
    # Those who allow the same are searched for at once: usually all of them.
    masks = {id(queries[place].allowed): queries[place].allowed for place in asking}
    if len(masks) == 1 and len(asking) == len(queries):
        return index.search(vectors, k, *masks.values())
    rows = np.full((len(queries), k), NONE)
    scores = np.full((len(queries), k), EMPTY)
    for key, mask in masks.items():
        lines = [line for line, place in enumerate(asking) if id(queries[place].allowed) == key]
        found = index.search(vectors[lines], k, mask)
        places = [asking[line] for line in lines]
        rows[places], scores[places] = found.rows, found.scores
    return Candidates(rows, scores)


def scored(items: Float32, asking: list[int], vectors: Float32, rows: Int32) -> Float32:
    """Inner products of ``rows``, int32 (q, n), with what their queries ask with; nan where either is missing."""
    scores = np.full(rows.shape, np.nan, np.float32)
    for start in range(0, len(asking), CHUNK):
        part = asking[start : start + CHUNK]
        named = rows[part]
        near, at = at_hand(items, named)
        said = products(near, at, vectors[start : start + CHUNK])
        scores[part] = np.where(named >= 0, said, np.float32(np.nan))
    return scores


def _asking(queries: Sequence[Query]) -> tuple[list[int], Float32]:
    """The places of the queries that have a vector, and the vectors, float32 (asking, d)."""
    if len(queries) == 1:
        vector = queries[0].vector
        if vector is not None and np.count_nonzero(vector):
            return [0], np.ascontiguousarray(vector)[None]
        return [], np.zeros((0, 0), np.float32)
    asking = [
        (place, q.vector) for place, q in enumerate(queries) if q.vector is not None and np.count_nonzero(q.vector)
    ]
    if not asking:
        return [], np.zeros((0, 0), np.float32)
    places, vectors = zip(*asking, strict=True)
    return list(places), np.stack(vectors)
