"""Vectors with names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsys.arrays import Float32
from recsys.retrieval import check_vectors
from recsys.vocabulary import Vocabulary, load_mapped


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """A vector for each id.

    ``vectors``: float32 (n, d), C order, finite; row i belongs to id i of ``ids``.
    """

    ids: Vocabulary
    vectors: Float32

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.vectors):
            raise ValueError(f"{len(self.ids)} ids and {len(self.vectors)} vectors: there must be one for each")

    def save(self, folder: Path) -> None:
        """Write ``vectors.npy`` and the vocabulary into ``folder``."""
        self.ids.save(folder)
        np.save(folder / "vectors.npy", check_vectors(self.vectors), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> Embeddings:
        """Map what :meth:`save` wrote."""
        return cls(Vocabulary.load(folder), load_mapped(folder / "vectors.npy"))
