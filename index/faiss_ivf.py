"""Inverted lists: vectors in cells round centres, of which a search opens a few. Jégou et al. (2011), by Faiss."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import faiss
import numpy as np

from index.faiss_flat import ask, flat_over
from index.files import read_record, write_record
from index.searching import Found, Searcher, Traits, at_least
from recsys.arrays import Float32
from recsys.errors import ReleaseDamaged
from recsys.kernels.cells import Cells
from recsys.masks import Mask
from recsys.retrieval import check_vectors

FILE = "lists.faiss"
CENTRES = 16
"""Those of a code of 4 bits."""
POINTS = 50
"""Vectors that each centre is fitted to."""
ALONE = 16
"""Queries that are not worth a thread."""
CODES = {"flat": "Flat", "sq8": "SQ8", "pq": "PQ{halves}x4fs"}
Storage = Literal["flat", "sq8", "pq"]


@dataclass(frozen=True, slots=True, eq=False)
class FaissIvf(Searcher):
    """Cells of k-means over the vectors as they are, opened by the inner product of query and centre.

    Long vectors lie far from all others, so k-means gives them cells of their own, which inner products open first:
    on factors this beats cells by direction and the lift to L2. ``storage``: what a cell holds of a vector: ``flat``
    all of it, ``sq8`` a byte a dimension, ``pq`` 4 bits for every two (fast scan, André et al. 2017). Coded vectors
    only choose ``refine`` · k candidates, which are scored by the release's own vectors: no second copy of those.
    Faiss fills the cells and keeps them; those of ``sq8`` are searched by :mod:`recsys.kernels.cells`.

    ``lists``: the Faiss index; ``asked``: it, or it with refinement around it; ``usual``: how it is asked, made once;
    ``cells``: those of ``sq8``.
    """

    backend: ClassVar[str] = "faiss-ivf"
    traits: ClassVar[Traits] = Traits(
        mapped=True,
        adds=True,
        filters=True,
        walks=False,
        crashes=True,
        memory="flat 4 d + 8, sq8 d + 8, pq d/4 + 8 bytes; sq8 and pq also read k · refine of the release's vectors",
    )
    vectors: Float32
    lists: Any
    asked: Any
    flat: Any
    storage: Storage
    probes: int
    refine: int
    usual: Any
    cells: Cells | None

    @classmethod
    def build(
        cls, vectors: Float32, storage: Storage = "sq8", cells: int = 0, probes: int = 192, refine: int = 4
    ) -> FaissIvf:
        """Find the centres and fill the cells. ``cells`` 0: 4 √n, the nearest power of two."""
        at_least(0, cells=cells)
        at_least(1, probes=probes, refine=refine)
        if storage not in CODES:
            raise ValueError(f"storage={storage!r}: choose one of {', '.join(CODES)}")
        vectors = check_vectors(vectors)
        n, d = vectors.shape
        cells = min(cells or 2 ** round(np.log2(4 * np.sqrt(max(n, 1)))), max(n // 8, 1))
        centres = _centres(vectors, cells)
        # Cells are filled by distance and opened by inner product, so there are two quantizers over one set of centres.
        nearest, best = faiss.IndexFlatL2(d), faiss.IndexFlatIP(d)
        nearest.add(centres)
        best.add(centres)
        halves = d // 2 if d % 2 == 0 else d
        lists = faiss.index_factory(d, f"IVF{cells},{CODES[storage].format(halves=halves)}", faiss.METRIC_INNER_PRODUCT)
        lists.own_fields = False
        lists.quantizer = nearest
        if storage == "pq":
            # A residual is short whatever the vector's length, so the few codes spend themselves on directions.
            lists.by_residual = True
        if n:
            sample = vectors if storage == "sq8" else vectors[:: max(1, n // 100_000)]
            # The codes have 16 centres, and Faiss wants a vector for each.
            lists.train(sample if n >= CENTRES else np.resize(sample, (CENTRES, d)))
            lists.add(vectors)
        lists.quantizer = best
        best.this.disown()
        lists.own_fields = True
        return cls._over(vectors, lists, storage, probes, refine)

    @classmethod
    def _over(cls, vectors: Float32, lists: Any, storage: Storage, probes: int, refine: int) -> FaissIvf:
        flat = flat_over(vectors)
        asked = lists if storage == "flat" else faiss.IndexRefine(lists, flat)
        usual = _opened(lists, storage, probes, refine)
        cells = cells_of(vectors, lists) if storage == "sq8" and len(vectors) else None
        return cls(vectors, lists, asked, flat, storage, probes, refine, usual, cells)

    def at(self, probes: int, refine: int | None = None) -> FaissIvf:
        """The same cells, more or fewer of them opened, and of what they hold more or less refined."""
        refine = refine or self.refine
        return replace(self, probes=probes, refine=refine, usual=_opened(self.lists, self.storage, probes, refine))

    def find(self, queries: Float32, k: int, reach: float = 1.0, allowed: Mask | None = None) -> Found:
        """Open the best cells, and refine what was found by codes."""
        if self.cells is not None:
            return self._look(queries, k, max(1, int(self.probes * reach)), allowed)
        opened = self.usual
        if reach != 1 or allowed is not None:
            chosen = None if allowed is None else faiss.IDSelectorBitmap(allowed.bits)
            opened = _opened(self.lists, self.storage, int(self.probes * reach), self.refine, chosen)
        return ask(self.asked, queries, k, opened)

    def _look(self, queries: Float32, k: int, probes: int, allowed: Mask | None) -> Found:
        """In cells of bytes, by as many threads as Faiss would take."""
        bits, cells = None if allowed is None else allowed.bits, self.cells
        assert cells is not None  # noqa: S101  asked by whoever has some

        def some(part: Float32) -> Found:
            return cells.search(part, k, probes, self.refine * k, bits)

        threads = min(faiss.omp_get_max_threads(), len(queries) // ALONE)
        if threads < 2:
            return some(queries)
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(some, np.array_split(queries, threads)))
        return np.concatenate([rows for rows, _ in found]), np.concatenate([scores for _, scores in found])

    def save(self, folder: Path) -> None:
        """Write the cells; what refines them is the release's."""
        faiss.write_index(self.lists, str(folder / FILE))
        write_record(folder, self.backend, self.shape, storage=self.storage, probes=self.probes, refine=self.refine)

    @classmethod
    def load(cls, folder: Path, vectors: Float32) -> FaissIvf:
        """Map the cells; those of fast scan are copied, being small."""
        parameters = read_record(folder, cls.backend, vectors.shape)
        lists = faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP_IFC)
        if (lists.ntotal, lists.d) != vectors.shape:
            raise ReleaseDamaged(f"{folder / FILE} is {(lists.ntotal, lists.d)}, the vectors are {vectors.shape}")
        return cls._over(vectors, lists, parameters["storage"], int(parameters["probes"]), int(parameters["refine"]))


def cells_of(vectors: Float32, lists: Any, *, by_bytes: bool = True) -> Cells:
    """The cells where Faiss keeps them; ``by_bytes`` as :class:`Cells` has it."""
    held, count, d = faiss.downcast_InvertedLists(lists.invlists), lists.nlist, lists.d
    sizes = np.array([held.list_size(cell) for cell in range(count)])
    at = [(int(held.get_codes(cell)), int(held.get_ids(cell))) if sizes[cell] else (0, 0) for cell in range(count)]
    codes, ids = np.array(at, np.int64).T
    # Behind the lows of the codes stand how far they reach.
    low, reach = faiss.vector_to_array(lists.sq.trained).reshape(2, d)
    centres = lists.quantizer.reconstruct_n(0, count)
    codes, ids = np.ascontiguousarray(codes), np.ascontiguousarray(ids)
    return Cells(lists, centres, low.copy(), reach / np.float32(255), sizes, codes, ids, vectors, by_bytes)


def _opened(lists: Any, storage: Storage, probes: int, refine: int, chosen: Any = None) -> Any:
    """How Faiss is told to search: never to open more cells than there are, which fast scan answers with nonsense."""
    opened = faiss.SearchParametersIVF(nprobe=min(max(probes, 1), lists.nlist), sel=chosen)
    if storage == "flat":
        return opened
    return faiss.IndexRefineSearchParameters(k_factor=refine, base_index_params=opened)


def _centres(vectors: Float32, cells: int) -> Float32:
    if not len(vectors):
        return np.zeros((cells, vectors.shape[1]), np.float32)
    sample = vectors[:: max(1, len(vectors) // (POINTS * cells))]
    means = faiss.Kmeans(vectors.shape[1], cells, niter=8, seed=1, min_points_per_centroid=1)
    means.train(sample)
    centres: Float32 = means.centroids
    return centres
