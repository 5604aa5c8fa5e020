"""A release's files into something that answers, and back: the only module that knows their names.

::

    items/        vocabulary, vectors, unit vectors, popularity, Gram matrix, catalogue
    users/        vocabulary, vectors, histories
    indexes/NAME/ backend.json and the backend's own files
    model.json    how to fold in, what event kinds weigh, how much a user state keeps
    pipeline.json the surfaces
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from recsys.arrays import Float32
from recsys.catalogue import Catalogue
from recsys.embeddings import Embeddings
from recsys.errors import ReleaseDamaged, SettingsError
from recsys.folding import FoldIn, FoldRule
from recsys.pipeline import Recommender, Surface
from recsys.releases import Release
from recsys.retrieval import Parts, VectorIndex
from recsys.settings import Kind, Section, describe
from recsys.users import History, Resolver, Users
from recsys.vocabulary import Vocabulary, load_mapped

LoadIndex = Callable[[str, Path, Float32], VectorIndex]
"""(backend, folder, the vectors it was built from) → index."""

ITEMS_INDEX = "items"
"""The index over item vectors as they were learned: inner product with a user's vector is the score."""
SIMILAR_INDEX = "similar"
"""The index over unit item vectors: inner product is the cosine of two items."""


class ModelCard(Section):
    """``model.json``: the numbers that serving shares with training."""

    fold: FoldRule
    recent_items: int
    kinds: dict[str, Kind]


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """Everything that answers requests from one release."""

    id: str
    items: Embeddings
    directions: Float32
    catalogue: Catalogue
    popularity: Float32
    users: Users
    resolver: Resolver
    indexes: Mapping[str, VectorIndex]
    card: ModelCard
    surfaces: Mapping[str, Surface]
    recommenders: Mapping[str, Recommender]

    @classmethod
    def of(
        cls,
        release: str,
        *,
        items: Embeddings,
        directions: Float32,
        catalogue: Catalogue,
        popularity: Float32,
        users: Users,
        fold: FoldIn,
        indexes: Mapping[str, VectorIndex],
        card: ModelCard,
        surfaces: Mapping[str, Surface],
    ) -> Engine:
        """Put the parts together. ``directions``: float32 (n, d), the item vectors at length one."""
        parts = Parts(len(items.ids), indexes, popularity)
        return cls(
            id=release,
            items=items,
            directions=directions,
            catalogue=catalogue,
            popularity=popularity,
            users=users,
            resolver=Resolver(items.ids, fold),
            indexes=indexes,
            card=card,
            surfaces=surfaces,
            recommenders={name: Recommender.of(surface, parts) for name, surface in surfaces.items()},
        )

    def save(self, folder: Path) -> None:
        """Write every file of a release but its manifest into ``folder``."""
        self.items.save(folder / "items")
        np.save(folder / "items/directions.npy", self.directions, allow_pickle=False)
        np.save(folder / "items/popularity.npy", self.popularity, allow_pickle=False)
        np.save(folder / "items/gram.npy", self.resolver.fold.gram, allow_pickle=False)
        self.catalogue.save(folder / "items/catalogue.arrow")
        self.users.embeddings.save(folder / "users")
        self.users.history.save(folder / "users")
        for name, index in self.indexes.items():
            home = folder / "indexes" / name
            home.mkdir(parents=True)
            (home / "backend.json").write_text(json.dumps({"backend": index.backend}) + "\n")
            index.save(home)
        (folder / "model.json").write_text(self.card.model_dump_json(indent=2) + "\n")
        surfaces = {name: surface.model_dump(mode="json") for name, surface in self.surfaces.items()}
        (folder / "pipeline.json").write_text(json.dumps(surfaces, indent=2) + "\n")


def assemble(release: Release, load_index: LoadIndex) -> Engine:
    """Map a release's files; ReleaseDamaged names what cannot be read. Checksums are ``verify``'s work."""
    folder = release.folder
    try:
        card = ModelCard.model_validate_json((folder / "model.json").read_bytes())
        surfaces = json.loads((folder / "pipeline.json").read_bytes())
        items = Embeddings.load(folder / "items")
        directions = load_mapped(folder / "items/directions.npy")
        vectors = {ITEMS_INDEX: items.vectors, SIMILAR_INDEX: directions}
        indexes = {}
        for name, built_from in vectors.items():
            home = folder / "indexes" / name
            backend = json.loads((home / "backend.json").read_bytes())["backend"]
            indexes[name] = load_index(backend, home, built_from)
        users = Vocabulary.load(folder / "users")
        return Engine.of(
            release.id,
            items=items,
            directions=directions,
            catalogue=Catalogue.load(folder / "items/catalogue.arrow"),
            popularity=load_mapped(folder / "items/popularity.npy"),
            users=Users(
                Embeddings(users, load_mapped(folder / "users/vectors.npy")),
                History.load(folder / "users"),
                items.ids,
                card.recent_items,
            ),
            fold=FoldIn(items.vectors, load_mapped(folder / "items/gram.npy"), card.fold),
            indexes=indexes,
            card=card,
            surfaces={name: Surface.model_validate(surface) for name, surface in surfaces.items()},
        )
    except ValidationError as error:
        raise ReleaseDamaged(f"release {release.id} cannot be loaded: {error.title}: {describe(error)}") from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SettingsError) as error:
        raise ReleaseDamaged(f"release {release.id} cannot be loaded: {error}") from error
