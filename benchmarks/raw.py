"""The bare library call that each backend wraps, with its parameters made beforehand: what our call is held against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from recsys.arrays import Float32

Call = Callable[[Float32], object]
BLOCK = 2**24
"""Scores held at once, as many as our own search holds."""


def raw_call(index: Any, k: int) -> Call:
    """The library's own search for k items, for queries float32 (q, d)."""
    return CALLS[index.backend](index, k)


def _exact(index: Any, k: int) -> Call:
    block = max(1, BLOCK // len(index.vectors))

    def call(queries: Float32) -> object:
        found = []
        for start in range(0, len(queries), block):
            scores = queries[start : start + block] @ index.vectors.T
            places = np.argpartition(scores, -k, axis=1)[:, -k:]
            values = np.take_along_axis(scores, places, axis=1)
            order = np.argsort(-values, axis=1)
            found.append((np.take_along_axis(places, order, axis=1), np.take_along_axis(values, order, axis=1)))
        return found

    return call


def _hnsw(index: Any, k: int) -> Call:
    return lambda queries: index.graph.search(queries, k, params=index.usual)


def _ivf(index: Any, k: int) -> Call:
    return lambda queries: index.asked.search(queries, k, params=index.usual)


def _annoy(index: Any, k: int) -> Call:
    def call(queries: Float32) -> object:
        lifted = np.column_stack([queries, np.zeros(len(queries), np.float32)])
        return [index.forest.get_nns_by_vector(query, k, index.search_nodes * k, True) for query in lifted]

    return call


def _voyager(index: Any, k: int) -> Call:
    return lambda queries: index.graph.query(queries, k, num_threads=1, query_ef=max(index.search_width, k))


CALLS: dict[str, Callable[[Any, int], Call]] = {
    "annoy": _annoy,
    "exact": _exact,
    "faiss-hnsw": _hnsw,
    "faiss-ivf": _ivf,
    "voyager": _voyager,
}
