"""What an index answers about its own items, found once for all when it is built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from index.files import read_record, write_record
from recsys.arrays import Float32, Int32
from recsys.candidates import EMPTY, NONE, Candidates
from recsys.item_lists import ItemLists
from recsys.masks import Mask
from recsys.retrieval import VectorIndex

FOLDER = "remembered"
BLOCK = 20_000
"""Items searched for at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Remembering:
    """An index and the K nearest of each of its n items, the item itself among them, so that nobody searches for them.

    ``vectors``: float32 (n, d), what it is over. ``lists``: rows and inner products, (n, K), best first. Laws: what is
    :meth:`remembered` is what the index found when it was built; all else is the index's.
    """

    built: VectorIndex
    vectors: Float32
    lists: ItemLists

    @classmethod
    def of(cls, built: VectorIndex, vectors: Float32, depth: int) -> Remembering:
        """Search for the ``depth`` nearest of every item."""
        rows = np.full((len(vectors), depth), NONE)
        scores = np.full((len(vectors), depth), EMPTY)
        for start in range(0, len(vectors), BLOCK):
            found = built.search(np.ascontiguousarray(vectors[start : start + BLOCK]), depth)
            rows[start : start + BLOCK], scores[start : start + BLOCK] = found.rows, found.scores
        # A file of item lists holds numbers, and an empty slot's is never looked at.
        return cls(built, vectors, ItemLists(rows, np.where(rows >= 0, scores, np.float32(0))))

    @property
    def backend(self) -> str:
        """The built index's."""
        return self.built.backend

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return self.built.shape

    def search(self, queries: Float32, k: int, allowed: Mask | None = None) -> Candidates:
        """The built index's."""
        return self.built.search(queries, k, allowed)

    def remembered(self, rows: Int32, k: int) -> Candidates | None:
        """The k nearest of items, int32 (m,); None where fewer are remembered."""
        depth = self.lists.rows.shape[1]
        if k > depth:
            return None
        near, scores = self.lists.rows[rows], self.lists.weights[rows]
        if k < depth:
            near, scores = near[:, :k], scores[:, :k]
        # What is missing stands last, so the last column says whether anything is.
        if min(near[:, -1].tolist(), default=0) < 0:
            scores = np.where(near >= 0, scores, EMPTY)
        return Candidates(near, scores)

    def save(self, folder: Path) -> None:
        """Write the built index, and the lists into a folder beside its files."""
        self.built.save(folder)
        self.lists.save(folder / FOLDER)
        write_record(folder / FOLDER, self.backend, self.shape)


def recalled(built: VectorIndex, folder: Path, vectors: Float32) -> VectorIndex:
    """The index that was read from ``folder`` with the lists that lie beside its files; as it is where none do.

    ReleaseDamaged for lists that are not what was written, or that are over other vectors.
    """
    if not (folder / FOLDER).is_dir():
        return built
    read_record(folder / FOLDER, built.backend, vectors.shape)
    return Remembering(built, vectors, ItemLists.load(folder / FOLDER))
