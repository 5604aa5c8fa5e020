"""Artists, authors, playlists, genres: what groups items is a vector in their space, and can be searched for.

An entity is a value of a catalogue column, and its vector the weighted mean of its members' vectors, those that users
are multiplied with. An inner product is linear, so a user's score of an entity is the weighted mean of their scores of
its members. Entities are likened by the angle between them: the length of a mean says how much its members agree and
how popular they are, not what they are.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import scipy.sparse as sp

from recsys.arrays import Float32, Float64, Int32, Int64
from recsys.assembly import Engine
from recsys.candidates import Candidates
from recsys.errors import ReleaseDamaged, ReleaseError
from recsys.mapping import load_mapped
from recsys.retrieval import SIMILAR_INDEX, VectorIndex, check_queries
from recsys.vocabulary import Vocabulary

BuildIndex = Callable[[Float32], VectorIndex]
"""Vectors, float32 (g, d) → an index over them, such as ``index.BACKENDS["exact"].build``."""

Weights = Literal["takers", "equal"] | Float32
"""What members weigh: how many took them, an item that nobody took as one with a single taker; all alike; or given."""

CANCELLED = 1e-6
"""A mean shorter than this share of its members' lengths is what rounding left of members that cancel out."""


def mean_vectors(membership: sp.csr_matrix, vectors: Float32, weights: Float64) -> Float32:
    """The weighted mean of each group's vectors, float32 (g, d); the zero vector where nothing is known.

    ``membership``: (g, n), not zero where item n is in group g. ``vectors``: float32 (n, d). ``weights``: float64 (n,).
    A zero vector is an item of which nothing is known: it has no part in the mean, nor has an item of weight 0.
    Laws: a group of one has its item's vector; neither the order of the members nor the scale of the weights counts;
    members that cancel each other out are nothing known, never a direction that rounding made.
    """
    lengths = np.linalg.norm(vectors, axis=1)
    count = (lengths > 0) & (weights > 0)
    shares = membership.astype(np.float64)
    shares.eliminate_zeros()
    shares.data[:] = 1
    # by the largest first, so that no sum is lost to a weight of 1e300 beside it
    largest = weights[count].max(initial=0)
    shares = (shares @ sp.diags(np.where(count, weights, 0) / (largest or 1))).tocsr()
    shares.eliminate_zeros()
    # each by its own group's sum, whose inverse may be more than a float holds
    shares.data /= np.repeat(np.asarray(shares.sum(axis=1)).ravel(), np.diff(shares.indptr))
    means: Float32 = np.asarray(shares.astype(np.float32) @ vectors, np.float32)
    usual = shares @ lengths
    means[np.linalg.norm(means, axis=1) <= CANCELLED * usual] = 0
    return means


@dataclass(frozen=True, slots=True, eq=False)
class Entities:
    """The g entities of one column of a release's catalogue, as it was when the release was made.

    ``vectors``: float32 (g, d), none of them zero. ``indptr``: int64 (g + 1,), ``rows``: int32, the items of entity g
    are ``rows[indptr[g]:indptr[g + 1]]``. ``left_out``: how many values of the column have no item with a vector, so
    that nothing is known of them. ``scoring`` and ``angles``: indexes over the vectors and over the vectors at length
    one.
    """

    FILES = ("vectors", "indptr", "rows")

    engine: Engine
    column: str
    ids: Vocabulary
    vectors: Float32
    indptr: Int64
    rows: Int32
    left_out: int
    scoring: VectorIndex
    angles: VectorIndex

    @classmethod
    def of(cls, engine: Engine, column: str, build: BuildIndex, weights: Weights = "takers") -> Entities:
        """The entities of a column of texts, or of lists of texts.

        ``build``: makes the indexes. ``weights``: or float (items,), finite and not negative, what each item weighs.
        ValueError for a release without item vectors, a column that is no text, or weights that are none.
        """
        vectors = _item_vectors(engine)
        names, places, rows = engine.catalogue.groups(column)
        ones = np.ones(len(places), np.float32)
        membership = sp.csr_matrix((ones, (places, rows)), shape=(len(names), len(vectors)))
        membership.sum_duplicates()
        means = mean_vectors(membership, vectors, _weights(engine, weights))
        known = np.flatnonzero(means.any(axis=1))
        kept = membership[known]
        return cls._indexed(
            engine,
            column,
            Vocabulary.of([names[place] for place in known]),
            (means[known], kept.indptr.astype(np.int64), kept.indices.astype(np.int32)),
            len(names) - len(known),
            build,
        )

    @classmethod
    def _indexed(
        cls,
        engine: Engine,
        column: str,
        ids: Vocabulary,
        arrays: tuple[Float32, Int64, Int32],
        left_out: int,
        build: BuildIndex,
    ) -> Entities:
        vectors, indptr, rows = arrays
        directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return cls(engine, column, ids, vectors, indptr, rows, left_out, build(vectors), build(directions))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def release(self) -> str:
        """The id of the release in whose space the vectors lie."""
        return self.engine.id

    def row(self, name: str) -> int:
        """The place of an entity; ValueError for one that is unknown."""
        (row,) = self.ids.rows([name])
        if row < 0:
            raise ValueError(
                f"no {self.column} {name!r} among the {len(self):,} of release {self.release}: names are those of the "
                f"catalogue, and the {self.left_out:,} without an item that has a vector are left out"
            )
        return int(row)

    def members(self, name: str) -> list[str]:
        """The ids of an entity's items, in the order of the catalogue."""
        row = self.row(name)
        return self.engine.items.ids(self.rows[self.indptr[row] : self.indptr[row + 1]])

    def like(self, name: str, k: int) -> list[tuple[str, float]]:
        """The k entities most like one, itself left out, best first, with the cosine."""
        row = self.row(name)
        if k < 1:
            raise ValueError(f"k is {k}: ask for at least 1")
        found = self.angles.search(self._directions(np.array([row])), min(k + 1, len(self)))
        others = found.keep(found.rows != row).top(min(k, len(self) - 1))
        return _named(self.ids, others)

    def for_user(self, vector: Float32, k: int) -> list[tuple[str, float]]:
        """The k entities that a user's vector, float32 (d,), scores highest, best first, with the score.

        None for the zero vector: of such a user nothing is known.
        """
        asked = check_queries(np.atleast_2d(vector), (len(self), self.vectors.shape[1]), k)
        return _named(self.ids, self.scoring.search(asked, min(k, len(self)))) if asked.any() and len(self) else []

    def items(self, name: str, k: int, *, members: bool = True) -> list[tuple[str, float]]:
        """The k items nearest to an entity by the angle, best first, with the cosine.

        ``members``: whether its own items are among them; without them it is what would continue a playlist.
        """
        row, index = self.row(name), self.engine.indexes[SIMILAR_INDEX]
        own = self.rows[self.indptr[row] : self.indptr[row + 1]]
        depth = k if members else k + len(own)
        found = index.search(self._directions(np.array([row])), min(depth, index.shape[0]))
        if not members:
            found = found.keep(~np.isin(found.rows, own)).top(min(k, found.shape[1]))
        return _named(self.engine.items, found)

    def save(self, folder: Path) -> None:
        """Write the entities and the id of their release into a new folder, which is there whole or not at all.

        ValueError if it is there already. Indexes are not kept: they are built again in what it takes to read.
        """
        if folder.exists():
            raise ValueError(f"{folder} is there already: give a folder of its own to each release and column")
        staging = folder.with_name(f".staging-{folder.name}")
        shutil.rmtree(staging, ignore_errors=True)
        self.ids.save(staging)
        for name in self.FILES:
            np.save(staging / f"{name}.npy", getattr(self, name), allow_pickle=False)
        said = {"release": self.release, "column": self.column, "left_out": self.left_out}
        (staging / "entities.json").write_text(json.dumps(said) + "\n")
        staging.rename(folder)

    @classmethod
    def load(cls, folder: Path, engine: Engine, build: BuildIndex) -> Entities:
        """What :meth:`save` wrote, mapped, beside the engine of the same release.

        ReleaseError for another release's, whose space this engine does not share. ReleaseDamaged for what cannot be
        read or does not fit together.
        """
        try:
            said = json.loads((folder / "entities.json").read_bytes())
            release, column, left_out = str(said["release"]), str(said["column"]), int(said["left_out"])
            ids = Vocabulary.load(folder)
            vectors, indptr, rows = (load_mapped(folder / f"{name}.npy") for name in cls.FILES)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ReleaseDamaged(f"{folder} holds no entities that can be read: {error}; save them anew") from error
        if release != engine.id:
            raise ReleaseError(
                f"the entities in {folder} are of release {release}, the engine is of {engine.id}: vectors of two "
                "releases share no space; make them anew with Entities.of"
            )
        wide = _item_vectors(engine).shape[1]
        if vectors.shape != (len(ids), wide) or indptr.shape != (len(ids) + 1,) or len(rows) != indptr[-1]:
            raise ReleaseDamaged(
                f"{folder}: {len(ids)} names, vectors {vectors.shape}, {len(rows)} members for {indptr.shape} bounds; "
                f"({len(ids)}, {wide}) vectors were wanted; save them anew"
            )
        return cls._indexed(engine, column, ids, (vectors, indptr, rows), left_out, build)

    def _directions(self, rows: Int64) -> Float32:
        vectors = self.vectors[rows]
        unit: Float32 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit


def _item_vectors(engine: Engine) -> Float32:
    if engine.resolver.fold is None:
        raise ValueError(
            f"release {engine.id} learned no item vectors, which entities are made of: train a model that has them"
        )
    # as one array, also where items came in after the release was made
    return np.asarray(engine.resolver.fold.items)


def _weights(engine: Engine, weights: Weights) -> Float64:
    items = len(engine.items)
    if isinstance(weights, str):
        if weights not in ("takers", "equal"):
            raise ValueError(f"weights are {weights!r}: choose takers or equal, or give one for each item")
        return np.maximum(engine.popularity, 1).astype(np.float64) if weights == "takers" else np.ones(items)
    given = np.asarray(weights, np.float64)
    if given.shape != (items,):
        raise ValueError(f"weights are {given.shape} for {items} items: one for each was wanted")
    if not np.isfinite(given).all() or given.min(initial=0) < 0:
        raise ValueError("weights must be finite and not negative: 0 for an item that is to have no say")
    return given


def _named(ids: Vocabulary, found: Candidates) -> list[tuple[str, float]]:
    filled = found.filled[0]
    return list(zip(ids.ids(found.rows[0, filled]), found.scores[0, filled].tolist(), strict=True))
