"""Exact search: one matrix product, in tiles. The referee, and the right backend for small catalogues."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from index.batches import nearest
from index.searching import Found, Searcher, Traits, over_subset
from recsys.arrays import Float32
from recsys.candidates import Candidates
from recsys.masks import Mask
from recsys.retrieval import check_queries, check_vectors


@dataclass(frozen=True, slots=True, eq=False)
class Exact(Searcher):
    """The k largest inner products, computed. Keeps no files: it searches the release's own vectors in place.

    Equal scores come in the order of rows.
    """

    backend: ClassVar[str] = "exact"
    traits: ClassVar[Traits] = Traits(
        mapped=True,
        adds=True,
        filters=True,
        walks=True,
        crashes=False,
        memory="nothing but the release's vectors",
    )
    vectors: Float32

    @classmethod
    def build(cls, vectors: Float32) -> Exact:
        """Nothing to build; the vectors are checked."""
        return cls(check_vectors(vectors))

    def find(self, queries: Float32, k: int, reach: float = 1.0, allowed: Mask | None = None) -> Found:  # noqa: ARG002
        """Score what is allowed."""
        if allowed is not None:
            return over_subset(self.vectors, queries, k, allowed)
        found = self.search(queries, k)
        return found.rows, found.scores

    def search(self, queries: Float32, k: int, allowed: Mask | None = None) -> Candidates:
        """Score everything that is allowed, keep the k best."""
        if allowed is not None:
            return Searcher.search(self, queries, k, allowed)
        queries = check_queries(queries, self.shape, k)
        return Candidates(*nearest(queries, self.vectors, k))

    def save(self, folder: Path) -> None:
        """Nothing: the vectors are the release's."""

    @classmethod
    def load(cls, folder: Path, vectors: Float32) -> Exact:  # noqa: ARG003  other backends have files
        """Search the mapped vectors; workers share their pages."""
        return cls(vectors)


def load_exact(backend: str, folder: Path, vectors: Float32) -> Exact:  # noqa: ARG001  as index.load
    """In place of whatever index was built over these vectors: a batch of many queries is searched fastest so."""
    return Exact.load(folder, vectors)
