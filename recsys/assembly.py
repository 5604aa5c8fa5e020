"""A release's files into something that answers, and back: the only module that knows their names.

::

    items/        vocabulary, popularity, catalogue; vectors, unit vectors and what folds in, where vectors were learned
    lists/NAME/   for each item what goes with it, where item lists were learned
    users/        vocabulary, histories, vectors
    indexes/NAME/ backend.json and the backend's own files
    model.json    how to fold in, what event kinds weigh, how much a user state keeps
    pipeline.json the surfaces
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from recsys.arrays import Float32, Int32
from recsys.catalogue import Catalogue
from recsys.errors import ReleaseDamaged, SettingsError
from recsys.folding import Fold, describe_fold, load_fold, save_arrays
from recsys.item_lists import ItemLists
from recsys.pipeline import Answer, Line, Recommender, Surface, unseen
from recsys.releases import Release
from recsys.retrieval import Parts, VectorIndex, check_vectors
from recsys.settings import Kind, Section, describe
from recsys.users import History, Resolver, Users
from recsys.vocabulary import Vocabulary, load_mapped

LoadIndex = Callable[[str, Path, Float32], VectorIndex]
"""(backend, folder, the vectors it was built from) → index."""

ITEMS_INDEX = "items"
"""The index over item vectors as they were learned: inner product with a user's vector is the score."""
SIMILAR_INDEX = "similar"
"""The index over unit item vectors: inner product is the cosine of two items."""
HOME, SIMILAR = "home", "similar"
"""The surfaces that every release has."""


class ModelCard(Section):
    """``model.json``: the numbers that serving shares with training."""

    fold: dict[str, Any] | None
    """Kind and numbers of the fold; None where no vectors were learned."""
    lists: tuple[str, ...] = ()
    """Names of the item lists."""
    recent_items: int
    kinds: dict[str, Kind]


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """Everything that answers requests from one release.

    ``directions``: float32 (n, d), the item vectors at length one; with ``resolver.fold`` None where the release
    learned no vectors. ``lists``: name → what goes with each item.
    """

    id: str
    items: Vocabulary
    directions: Float32 | None
    lists: Mapping[str, ItemLists]
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
        items: Vocabulary,
        fold: Fold | None,
        directions: Float32 | None,
        lists: Mapping[str, ItemLists],
        catalogue: Catalogue,
        popularity: Float32,
        users: Users,
        indexes: Mapping[str, VectorIndex],
        card: ModelCard,
        surfaces: Mapping[str, Surface],
    ) -> Engine:
        """Put the parts together. ValueError if there is not one vector and one list for each item."""
        vectors = {} if fold is None or directions is None else {ITEMS_INDEX: fold.items, SIMILAR_INDEX: directions}
        counts = {name: len(array) for name, array in {**vectors, "popularity": popularity}.items()}
        for name, count in {**counts, **{name: len(part) for name, part in lists.items()}}.items():
            if count != len(items):
                raise ValueError(f"{name!r} speaks of {count} items, the vocabulary of {len(items)}")
        parts = Parts(len(items), indexes, popularity, vectors, lists)
        return cls(
            id=release,
            items=items,
            directions=directions,
            lists=lists,
            catalogue=catalogue,
            popularity=popularity,
            users=users,
            resolver=Resolver(items, fold),
            indexes=indexes,
            card=card,
            surfaces=surfaces,
            recommenders={name: Recommender.of(surface, parts) for name, surface in surfaces.items()},
        )

    def recommend(self, users: Int32, k: int, now: datetime, surface: str = HOME) -> Answer:
        """What known users, by their rows, would be answered from what the release learned of them."""
        queries = [self.resolver.known(state.user, state, now) for state in self.users.states(users)]
        return self.recommenders[surface].recommend(queries, k)

    def save(self, folder: Path) -> None:
        """Write every file of a release but its manifest into ``folder``."""
        self.items.save(folder / "items")
        np.save(folder / "items/popularity.npy", self.popularity, allow_pickle=False)
        self.catalogue.save(folder / "items/catalogue.arrow")
        self.users.ids.save(folder / "users")
        self.users.history.save(folder / "users")
        fold = self.resolver.fold
        if fold is not None and self.directions is not None and self.users.vectors is not None:
            np.save(folder / "items/vectors.npy", check_vectors(fold.items), allow_pickle=False)
            np.save(folder / "items/directions.npy", self.directions, allow_pickle=False)
            save_arrays(fold, folder / "items")
            np.save(folder / "users/vectors.npy", self.users.vectors, allow_pickle=False)
        for name, lists in self.lists.items():
            lists.save(folder / "lists" / name)
        for name, index in self.indexes.items():
            home = folder / "indexes" / name
            home.mkdir(parents=True)
            (home / "backend.json").write_text(json.dumps({"backend": index.backend}) + "\n")
            index.save(home)
        (folder / "model.json").write_text(self.card.model_dump_json(indent=2) + "\n")
        surfaces = {name: surface.model_dump(mode="json") for name, surface in self.surfaces.items()}
        (folder / "pipeline.json").write_text(json.dumps(surfaces, indent=2) + "\n")


def card_of(
    fold: Fold | None, lists: Mapping[str, ItemLists], recent_items: int, kinds: Mapping[str, Kind]
) -> ModelCard:
    """What ``model.json`` says of these parts."""
    described = None if fold is None else describe_fold(fold)
    return ModelCard(fold=described, lists=tuple(lists), recent_items=recent_items, kinds=dict(kinds))


def similar_surface(fold: Fold | None, lists: Mapping[str, ItemLists]) -> Surface:
    """Items like one item: by the angle between vectors, else by the first item lists, else what is popular."""
    if fold is not None:
        return unseen(Line(name="nearest", index=SIMILAR_INDEX))
    if lists:
        return unseen(Line(name="item-item", lists=next(iter(lists))))
    return unseen()


def assemble(release: Release, load_index: LoadIndex) -> Engine:
    """Map a release's files; ReleaseDamaged names what cannot be read. Checksums are ``verify``'s work."""
    folder = release.folder
    try:
        card = ModelCard.model_validate_json((folder / "model.json").read_bytes())
        surfaces = json.loads((folder / "pipeline.json").read_bytes())
        items = Vocabulary.load(folder / "items")
        fold, directions, vectors, indexes = None, None, None, {}
        if card.fold is not None:
            fold = load_fold(card.fold, load_mapped(folder / "items/vectors.npy"), folder / "items")
            directions = load_mapped(folder / "items/directions.npy")
            vectors = load_mapped(folder / "users/vectors.npy")
            for name, built_from in ((ITEMS_INDEX, fold.items), (SIMILAR_INDEX, directions)):
                home = folder / "indexes" / name
                backend = json.loads((home / "backend.json").read_bytes())["backend"]
                indexes[name] = load_index(backend, home, built_from)
        return Engine.of(
            release.id,
            items=items,
            fold=fold,
            directions=directions,
            lists={name: ItemLists.load(folder / "lists" / name) for name in card.lists},
            catalogue=Catalogue.load(folder / "items/catalogue.arrow"),
            popularity=load_mapped(folder / "items/popularity.npy"),
            users=Users(
                Vocabulary.load(folder / "users"), vectors, History.load(folder / "users"), items, card.recent_items
            ),
            indexes=indexes,
            card=card,
            surfaces={name: Surface.model_validate(surface) for name, surface in surfaces.items()},
        )
    except ValidationError as error:
        raise ReleaseDamaged(f"release {release.id} cannot be loaded: {error.title}: {describe(error)}") from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SettingsError) as error:
        raise ReleaseDamaged(f"release {release.id} cannot be loaded: {error}") from error
