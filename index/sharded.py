"""Items in shards by row, each with an index of its own: several on this machine now, the same merge on many."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import index as backends
from index.files import read_record, write_record
from index.merging import merge
from index.searching import Traits, at_least
from recsys.arrays import Float32
from recsys.candidates import Candidates
from recsys.masks import Mask
from recsys.retrieval import VectorIndex, check_mask, check_queries, check_vectors


@dataclass(frozen=True, slots=True, eq=False)
class Sharded:
    """Every shard answers every query with its k best, and the k best of those are the answer.

    ``shards``: indexes over consecutive rows, and ``starts``: the row at which each begins. ``threads``: how many
    shards are searched at once; 1 leaves the cores to other requests.
    """

    backend: ClassVar[str] = "sharded"
    traits: ClassVar[Traits] = Traits(
        mapped=True, adds=False, filters=True, walks=True, crashes=True, memory="what its shards' backend takes"
    )
    vectors: Float32
    shards: tuple[VectorIndex, ...]
    starts: tuple[int, ...]
    threads: int

    @classmethod
    def build(
        cls,
        vectors: Float32,
        of: str = "faiss-hnsw",
        shards: int = 2,
        threads: int = 1,
        options: Mapping[str, Any] | None = None,
    ) -> Sharded:
        """Build one index of the backend ``of``, with its ``options``, for each shard."""
        at_least(1, shards=shards, threads=threads)
        vectors = check_vectors(vectors)
        edges = _edges(len(vectors), shards)
        built = [backends.BACKENDS[of].build(vectors[a:b], **(options or {})) for a, b in _pairs(edges)]
        return cls(vectors, tuple(built), edges[:-1], threads)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return self.vectors.shape[0], self.vectors.shape[1]

    def search(self, queries: Float32, k: int, allowed: Mask | None = None) -> Candidates:
        """Ask every shard, merge."""
        queries = check_queries(queries, self.shape, k)
        edges = (*self.starts, len(self.vectors))
        masks: list[Mask | None] = [None] * len(self.shards)
        if allowed is not None:
            check_mask(allowed, len(self.vectors))
            masks = [allowed.part(a, b) for a, b in _pairs(edges)]

        def ask(place: int) -> Candidates:
            return self.shards[place].search(queries, k, masks[place])

        places = range(len(self.shards))
        if self.threads == 1:
            found = [ask(place) for place in places]
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                found = list(pool.map(ask, places))
        return merge(list(zip(found, self.starts, strict=True)), k)

    def save(self, folder: Path) -> None:
        """Each shard in a folder of its own."""
        for place, shard in enumerate(self.shards):
            home = folder / f"shard-{place}"
            home.mkdir()
            shard.save(home)
        of = self.shards[0].backend
        write_record(folder, self.backend, self.shape, of=of, shards=len(self.shards), threads=self.threads)

    @classmethod
    def load(cls, folder: Path, vectors: Float32) -> Sharded:
        """Open each shard over its part of the mapped vectors."""
        parameters = read_record(folder, cls.backend, vectors.shape)
        edges = _edges(len(vectors), int(parameters["shards"]))
        loaded = [
            backends.load(parameters["of"], folder / f"shard-{place}", vectors[a:b])
            for place, (a, b) in enumerate(_pairs(edges))
        ]
        return cls(vectors, tuple(loaded), edges[:-1], int(parameters["threads"]))


def _edges(items: int, shards: int) -> tuple[int, ...]:
    return tuple(int(edge) for edge in np.linspace(0, items, shards + 1).round())


def _pairs(edges: tuple[int, ...]) -> list[tuple[int, int]]:
    return list(pairwise(edges))
