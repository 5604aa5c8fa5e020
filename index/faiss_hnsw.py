"""Hierarchical navigable small worlds, Malkov & Yashunin (2016), as Faiss builds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import faiss
import numpy as np

from recsys.arrays import Float32, Int32
from recsys.candidates import Candidates
from recsys.retrieval import check_queries, check_vectors, pad
from recsys.vocabulary import load_mapped

FILE = "hnsw.faiss"
ORDER = "order.npy"


@dataclass(frozen=True, slots=True, eq=False)
class FaissHnsw:
    """An HNSW graph over inner products, its vectors inserted by falling norm.

    Inner product is no metric: a graph grown in arbitrary order leaves most of a catalogue whose norms vary
    unreachable (recall@10 of 0.17 was seen at a million items). With the largest norms first, the layers that a
    search enters by are made of the vectors that most queries want, and later ones attach below them.

    ``graph``: the Faiss index over rows in insertion order; ``order``: int32 (n,), the item row of each.
    ``search_width``: candidates kept while searching (efSearch), at least k.
    """

    backend: ClassVar[str] = "faiss-hnsw"
    graph: Any
    order: Int32
    search_width: int

    @classmethod
    def build(
        cls, vectors: Float32, neighbours: int = 32, build_width: int = 200, search_width: int = 200
    ) -> FaissHnsw:
        """Grow the graph. ``neighbours``: links a node (M); ``build_width``: efConstruction."""
        if neighbours < 2 or build_width < 1 or search_width < 1:
            raise ValueError(
                f"neighbours={neighbours}, build_width={build_width}, search_width={search_width}: "
                "neighbours must be at least 2, the widths at least 1"
            )
        vectors = check_vectors(vectors)
        order = np.argsort(-np.einsum("nd,nd->n", vectors, vectors), kind="stable").astype(np.int32)
        graph = faiss.IndexHNSWFlat(vectors.shape[1], neighbours, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = build_width
        # The first few alone, so that the threads that add the rest find the same start every time.
        head = min(len(vectors), 1000)
        graph.add(vectors[order[:head]])
        if head < len(vectors):
            graph.add(vectors[order[head:]])
        return cls(graph, order, search_width)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return self.graph.ntotal, self.graph.d

    def search(self, queries: Float32, k: int) -> Candidates:
        """Walk the graph from its top, keeping ``max(search_width, k)`` candidates."""
        queries = check_queries(queries, self.shape, k)
        best = min(k, len(self.order))
        if not best or not len(queries):
            return Candidates.empty(len(queries), k)
        wide = faiss.SearchParametersHNSW(efSearch=max(self.search_width, best))  # type: ignore[attr-defined]
        scores, places = self.graph.search(queries, best, params=wide)
        rows = np.where(places >= 0, self.order[places], np.int32(-1))
        return pad(rows, cast("Float32", scores), k)

    def save(self, folder: Path) -> None:
        """Write the graph with its vectors, and the order."""
        faiss.write_index(self.graph, str(folder / FILE))
        np.save(folder / ORDER, np.append(self.order, np.int32(self.search_width)), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, vectors: Float32) -> FaissHnsw:
        """Map the graph and the vectors inside it; workers share their pages."""
        graph = faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP_IFC)
        *order, search_width = (stored := load_mapped(folder / ORDER))[:-1], int(stored[-1])
        loaded = cls(graph, order[0], search_width)
        if loaded.shape != vectors.shape or len(loaded.order) != len(vectors):
            raise ValueError(f"the index is {loaded.shape} but the vectors are {vectors.shape}: they must match")
        return loaded
