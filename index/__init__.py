"""Approximate nearest-neighbour indexes: building, measuring, loading. To add one: one file and one line."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from index.remembering import recalled
from recsys.arrays import Float32
from recsys.retrieval import VectorIndex
from recsys.tables import Table


class Backend(Protocol):
    """What the table lists: a class that builds and loads one kind of index."""

    def build(self, vectors: Float32, **options: object) -> VectorIndex:
        """Build over item vectors, float32 (n, d); the options are the backend's own."""
        ...

    def load(self, folder: Path, vectors: Float32) -> VectorIndex:
        """Open what ``save`` wrote; ``vectors`` are the mapped item vectors that it was built from."""
        ...


BACKENDS: Table[Backend] = Table(
    "index backend",
    {
        "annoy": "index.annoy_forest:AnnoyForest",
        "exact": "index.exact:Exact",
        "faiss-hnsw": "index.faiss_hnsw:FaissHnsw",
        "faiss-ivf": "index.faiss_ivf:FaissIvf",
        "sharded": "index.sharded:Sharded",
        "voyager": "index.voyager_hnsw:VoyagerHnsw",
    },
    extra="serve",
)


def load(backend: str, folder: Path, vectors: Float32) -> VectorIndex:
    """Open a saved index over the mapped vectors that it was built from.

    ReleaseDamaged if the files are not what was written. Files without a record of that are tried in a child first.
    """
    if (folder / "hnsw.faiss").exists() and not (folder / "index.json").exists():
        from index.check import survive  # noqa: PLC0415  it reads the table above

        survive(backend, folder, (vectors.shape[0], vectors.shape[1]))
    return recalled(BACKENDS[backend].load(folder, vectors), folder, vectors)
