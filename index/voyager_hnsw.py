"""Spotify's Voyager: an HNSW graph that is quick to search and lives in memory of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import voyager

from index.files import read_record, write_record
from index.searching import Found, Searcher, Traits, at_least
from recsys.arrays import Float32, Int64, unit
from recsys.errors import ReleaseDamaged
from recsys.masks import Mask
from recsys.retrieval import check_vectors

FILE = "graph.voyager"
SHORT = 0.01
"""A query none of whose values is larger may be short."""
FEW = 10_000
"""Items below which one thread grows the graph, the same each time."""


@dataclass(frozen=True, slots=True, eq=False)
class VoyagerHnsw(Searcher):
    """A Voyager graph over its inner-product space, which lifts vectors to equal length as Bachrach et al. (2014) do.

    The lift of a vector is measured against the longest so far, so the longest goes in first. A distance is 1 less the
    inner product in float32, which loses what is much smaller than 1: vectors are kept by the longest, and short
    queries are asked at length one. ``graph``: the Voyager index, its labels item rows. ``longest``: the length that
    all were divided by. ``search_width``: candidates kept while searching (query_ef), at least k.
    """

    backend: ClassVar[str] = "voyager"
    traits: ClassVar[Traits] = Traits(
        mapped=False,
        adds=True,
        filters=False,
        walks=False,
        crashes=True,
        memory="4 d + 8 neighbours + 24 bytes, in each worker",
    )
    vectors: Float32
    graph: Any
    longest: float
    search_width: int

    @classmethod
    def build(
        cls, vectors: Float32, neighbours: int = 16, build_width: int = 100, search_width: int = 200
    ) -> VoyagerHnsw:
        """Grow the graph. ``neighbours``: links a node (M); ``build_width``: ef_construction."""
        at_least(2, neighbours=neighbours)
        at_least(1, build_width=build_width, search_width=search_width)
        vectors = check_vectors(vectors)
        graph = _blank(vectors.shape[1], neighbours, build_width, len(vectors))
        squares = np.einsum("nd,nd->n", vectors, vectors)
        longest = math.sqrt(squares.max(initial=0.0)) or 1.0
        order = np.argsort(-squares, kind="stable")
        # The longest alone, so that every thread measures against it. Threads also lose a link now and then.
        for rows in (order[:1], order[1:]):
            if len(rows):
                graph.add_items(vectors[rows] / np.float32(longest), ids=rows, num_threads=1 if len(rows) < FEW else -1)
        return cls(vectors, graph, longest, search_width)

    def at(self, search_width: int) -> VoyagerHnsw:
        """The same graph, searched at another width."""
        return replace(self, search_width=search_width)

    def find(self, queries: Float32, k: int, reach: float = 1.0, allowed: Mask | None = None) -> Found:  # noqa: ARG002
        """Walk the graph from its top."""
        width = max(int(self.search_width * reach), k)
        if (queries.max() if len(queries) == 1 else queries.max(axis=1).min()) > SHORT:
            labels, distances = self._nearest(queries, k, width)
            return labels, (1 - distances) * self.longest
        lengths = np.linalg.norm(queries, axis=1, keepdims=True)
        labels, distances = self._nearest(unit(queries), k, width)
        return labels, (1 - distances) * (lengths * np.float32(self.longest))

    def _nearest(self, queries: Float32, k: int, width: int) -> tuple[Int64, Float32]:
        """What the graph answers; nothing to any query where one of them reaches less than k."""
        try:
            labels, distances = self.graph.query(queries, k, num_threads=1, query_ef=width)
        except voyager.RecallError:
            # Threads that grow a graph over equal vectors may leave some of them behind.
            return np.full((len(queries), k), -1), np.full((len(queries), k), np.inf, np.float32)
        return labels.view(np.int64), distances

    def save(self, folder: Path) -> None:
        """Write the graph with its vectors."""
        if len(self.vectors):
            self.graph.save(str(folder / FILE))
        write_record(folder, self.backend, self.shape, longest=self.longest, search_width=self.search_width)

    @classmethod
    def load(cls, folder: Path, vectors: Float32) -> VoyagerHnsw:
        """Read the graph into memory."""
        parameters = read_record(folder, cls.backend, vectors.shape)
        graph = voyager.Index.load(str(folder / FILE)) if len(vectors) else _blank(vectors.shape[1], 2, 1, 0)
        if (len(graph), graph.num_dimensions) != vectors.shape:
            raise ReleaseDamaged(
                f"{folder / FILE} is {(len(graph), graph.num_dimensions)}, the vectors are {vectors.shape}"
            )
        return cls(vectors, graph, float(parameters["longest"]), int(parameters["search_width"]))


def _blank(dimensions: int, neighbours: int, build_width: int, items: int) -> Any:
    return voyager.Index(
        voyager.Space.InnerProduct, dimensions, M=neighbours, ef_construction=build_width, max_elements=max(items, 1)
    )
