"""Hierarchical navigable small worlds, Malkov & Yashunin (2016), as Faiss builds them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import faiss
import numpy as np

from index.faiss_flat import ask, flat_over
from index.files import read_record, write_record
from index.searching import Found, Searcher, Traits, at_least
from recsys.arrays import Float32, Int32
from recsys.mapping import load_mapped
from recsys.masks import Mask
from recsys.retrieval import check_vectors

FILE = "graph.faiss"
OLD_FILE, OLD_ORDER = "hnsw.faiss", "order.npy"
BATCH = 10
"""What is inserted at once is this part of what stands: a tenth. Faiss loses the order within a batch, and that of the
longest matters most: with the first 500 at once recall@10 of 0.83 was seen where one by one gives 0.99."""


@dataclass(frozen=True, slots=True, eq=False)
class FaissHnsw(Searcher):
    """An HNSW graph for inner products, over the release's own vectors.

    Inner product is no metric: a graph grown by it leaves much of a catalogue unreachable, whatever the order (recall
    of 0.7 on factors of gowalla). So each vector gets one more coordinate, √(M² - |x|²) with M the longest length,
    under which the nearest in L2 is the largest inner product, Bachrach et al. (2014), and the graph is grown there,
    longest first. The query's own coordinate there is 0, so searching needs the plain vectors only.

    ``graph``: the Faiss index, its nodes numbered by item row. ``search_width``: candidates kept while searching
    (efSearch), at least k; ``usual``: that as Faiss takes it, made once.
    """

    backend: ClassVar[str] = "faiss-hnsw"
    traits: ClassVar[Traits] = Traits(
        mapped=True,
        adds=True,
        filters=True,
        walks=True,
        crashes=True,
        memory="8 neighbours + 16 bytes, and the release's vectors",
    )
    vectors: Float32
    graph: Any
    flat: Any
    search_width: int
    usual: Any

    @classmethod
    def build(
        cls, vectors: Float32, neighbours: int = 16, build_width: int = 100, search_width: int = 200
    ) -> FaissHnsw:
        """Grow the graph. ``neighbours``: links a node (M); ``build_width``: efConstruction."""
        at_least(2, neighbours=neighbours)
        at_least(1, build_width=build_width, search_width=search_width)
        vectors = check_vectors(vectors)
        squares = np.einsum("nd,nd->n", vectors, vectors)
        order = np.argsort(-squares, kind="stable").astype(np.int32)
        lifts = np.sqrt(np.maximum(squares.max(initial=0.0) - squares, 0))
        graph = faiss.IndexHNSWFlat(vectors.shape[1] + 1, neighbours, faiss.METRIC_L2)
        graph.hnsw.efConstruction = build_width
        # Faiss shuffles what one call adds: only small batches are inserted in their order.
        start = 0
        while start < len(order):
            rows = order[start : start + max(1, start // BATCH)]
            graph.add(np.column_stack([vectors[rows], lifts[rows]]))
            start += len(rows)
        grown = faiss.IndexHNSWFlat(vectors.shape[1], neighbours, faiss.METRIC_INNER_PRODUCT)
        grown.hnsw = graph.hnsw
        grown.hnsw.is_similarity = True
        grown.ntotal = len(vectors)
        _renumber(grown.hnsw, order)
        return cls._over(vectors, grown, search_width)

    @classmethod
    def _over(cls, vectors: Float32, graph: Any, search_width: int) -> FaissHnsw:
        """The graph with the vectors beneath it, in place of any that it brought."""
        flat = flat_over(vectors)
        graph.own_fields = False
        graph.storage = flat
        return cls(vectors, graph, flat, search_width, _wide(search_width))

    def at(self, search_width: int) -> FaissHnsw:
        """The same graph, searched at another width."""
        return replace(self, search_width=search_width, usual=_wide(search_width))

    def find(self, queries: Float32, k: int, reach: float = 1.0, allowed: Mask | None = None) -> Found:
        """Walk the graph from its top, keeping ``search_width`` candidates and at least k."""
        width = max(int(self.search_width * reach), k)
        if allowed is not None:
            chosen = faiss.IDSelectorBitmap(allowed.bits)
            wide = faiss.SearchParametersHNSW(efSearch=width, sel=chosen)
        else:
            wide = self.usual if width == self.search_width else _wide(width)
        return ask(self.graph, queries, k, wide)

    def save(self, folder: Path) -> None:
        """Write the graph alone: the vectors are the release's."""
        faiss.write_index(self.graph, str(folder / FILE), faiss.IO_FLAG_SKIP_STORAGE)
        write_record(folder, self.backend, self.shape, search_width=self.search_width)

    @classmethod
    def load(cls, folder: Path, vectors: Float32) -> FaissHnsw:
        """Map the graph over the mapped vectors; workers share the pages of both."""
        if (folder / OLD_FILE).exists():
            return cls._load_old(folder, vectors)
        parameters = read_record(folder, cls.backend, vectors.shape)
        graph = faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_SKIP_STORAGE)
        return cls._over(vectors, graph, int(parameters["search_width"]))

    @classmethod
    def _load_old(cls, folder: Path, vectors: Float32) -> FaissHnsw:
        """What releases before ``index.json`` hold: a graph with its vectors, numbered in another order."""
        graph = faiss.read_index(str(folder / OLD_FILE))
        stored = load_mapped(folder / OLD_ORDER)
        if (graph.ntotal, graph.d) != vectors.shape or len(stored) != len(vectors) + 1:
            raise ValueError(
                f"the index is {(graph.ntotal, graph.d)} but the vectors are {vectors.shape}: they must match"
            )
        _renumber(graph.hnsw, stored[:-1])
        return cls._over(vectors, graph, int(stored[-1]))


def _wide(width: int) -> Any:
    return faiss.SearchParametersHNSW(efSearch=width)


def _renumber(hnsw: Any, order: Int32) -> None:
    """Give the node that was inserted as number p the number ``order[p]``, in place."""
    if not len(order):
        return
    links = faiss.rev_swig_ptr(hnsw.neighbors.data(), hnsw.neighbors.size())
    levels = faiss.vector_to_array(hnsw.levels)
    offsets = faiss.vector_to_array(hnsw.offsets).astype(np.int64)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    lengths = np.diff(offsets)[place]
    ends = np.cumsum(lengths)
    # Where each link of the new layout stood in the old one.
    source = np.arange(ends[-1]) + np.repeat(offsets[:-1][place] - (ends - lengths), lengths)
    moved = links[source]
    links[:] = np.where(moved >= 0, order[moved], -1)
    faiss.copy_array_to_vector(levels[place], hnsw.levels)
    faiss.copy_array_to_vector(np.concatenate([[0], ends]).astype(np.uint64), hnsw.offsets)
    hnsw.entry_point = int(order[hnsw.entry_point])
