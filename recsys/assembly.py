"""A release's files into something that answers, and back: the only module that knows their names.

::

    items/        vocabulary, popularity, catalogue; vectors, unit vectors and what folds in, where vectors were learned
    items/content/ content vectors, the encoding that made them and the map from there, where content was learned
    lists/NAME/   for each item what goes with it, where item lists were learned
    users/        vocabulary, histories, vectors
    indexes/NAME/ backend.json and the backend's own files
    model.json    how to fold in, what event kinds weigh, how much a user state keeps
    pipeline.json the surfaces
    ranker/       booster.txt, ranker.json and what features ask of items, where candidates are ranked
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from pydantic import ValidationError

from recsys.amending import Amendment, Description, Grow
from recsys.arrays import Float32, Int32
from recsys.attributes import Attributes
from recsys.catalogue import Catalogue, known
from recsys.content import Content
from recsys.errors import ReleaseDamaged, SettingsError
from recsys.filters import Filter
from recsys.folding import Fold, describe_fold, load_fold, save_arrays
from recsys.item_facts import ItemFacts
from recsys.item_lists import ItemLists
from recsys.mapping import load_mapped
from recsys.masks import Mask
from recsys.pipeline import Answer, Recommender
from recsys.ranking import Ranker
from recsys.recency import Moving, Recency
from recsys.releases import Release
from recsys.retrieval import (
    CONTENT_INDEX,
    ITEMS_INDEX,
    SIMILAR_INDEX,
    ContentSpace,
    Parts,
    VectorIndex,
    by_popularity,
    check_vectors,
)
from recsys.sections import Kind, Section
from recsys.settings import describe
from recsys.sources.declared_interests import encoded
from recsys.stores import ItemChange
from recsys.surfaces import Line, Surface, unseen
from recsys.users import History, Resolver, Users
from recsys.vocabulary import Vocabulary

LoadIndex = Callable[[str, Path, Float32], VectorIndex]
"""(backend, folder, the vectors it was built from) → index."""

HOME, SIMILAR, TRENDING, POPULAR = "home", "similar", "trending", "popular"
"""The surfaces that every release has."""
USUAL: Mapping[str, Surface] = MappingProxyType({TRENDING: unseen(Line(name="trending")), POPULAR: unseen()})
"""What a surface is where a release describes none of that name."""


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
    learned no vectors. ``lists``: name → what goes with each item. ``parts``: what the recommenders were built from;
    ``indexes`` are those of the release, whatever changed since, and so are ``attributes``. ``grow``: what makes an
    index take items; None where nothing is going to change. ``mark``: of the last change of an item that is in it;
    ``trends``: of the last look at what is taken since.
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
    parts: Parts
    attributes: Attributes
    grow: Grow | None = None
    mark: str = ""
    trends: str = ""

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
        content: ContentSpace | None = None,
        facts: ItemFacts | None = None,
        ranker: Ranker | None = None,
        grow: Grow | None = None,
    ) -> Engine:
        """Put the parts together. ValueError if there is not one vector and one list for each item."""
        vectors = {} if fold is None or directions is None else {ITEMS_INDEX: fold.items, SIMILAR_INDEX: directions}
        if content is not None:
            vectors[CONTENT_INDEX] = content.vectors
        counts = {name: len(array) for name, array in {**vectors, "popularity": popularity}.items()}
        for name, count in {**counts, **{name: len(part) for name, part in lists.items()}}.items():
            if count != len(items):
                raise ValueError(f"{name!r} speaks of {count} items, the vocabulary of {len(items)}")
        order, attributes = by_popularity(popularity), Attributes(catalogue)
        parts = Parts(
            len(items),
            indexes,
            popularity,
            vectors,
            lists,
            content,
            order=order,
            catalogue=catalogue,
            facts=facts,
            ranker=ranker,
            attributes=attributes,
            recency=Recency(len(items), users.history.rows, users.history.times),
        )
        return cls(
            id=release,
            items=items,
            directions=directions,
            lists=lists,
            catalogue=catalogue,
            popularity=popularity,
            users=users,
            resolver=Resolver(items, fold, users),
            indexes=indexes,
            card=card,
            surfaces=surfaces,
            recommenders=_recommenders(surfaces, parts),
            parts=parts,
            attributes=attributes,
            grow=grow,
        )

    @property
    def tag(self) -> str:
        """What an answer that depends on nothing else depends on: release, last change of an item, what trends."""
        return "+".join(part for part in (self.id, self.mark, self.trends) if part)

    def ranked(self, ranker: Ranker | None, facts: ItemFacts, home: Surface) -> Engine:
        """With what orders candidates, and the surface that asks it; over the same parts otherwise."""
        return replace(self, parts=replace(self.parts, facts=facts, ranker=ranker)).over({**self.surfaces, HOME: home})

    def over(self, surfaces: Mapping[str, Surface]) -> Engine:
        """The same parts under these surfaces. SettingsError for one that they cannot make."""
        return replace(self, surfaces=surfaces, recommenders=_recommenders(surfaces, self.parts))

    def amended(self, changes: Mapping[str, Description | None], mark: str = "") -> Engine:
        """With items as they are described now, known ones and new ones; without those for which there is None.

        Another engine over the same mapped parts, in milliseconds. What the release knows by the same description is
        left as it is. Nothing is asked of who took an item since: an item that nobody took when the release was made
        stays where its content puts it. ValueError for an engine without ``grow``.
        """
        if self.grow is None:
            raise ValueError("this engine does not change: assemble it with `grow`, the maker of growing indexes")
        said = {id_: {"item_id": id_, **known(about.items())} for id_, about in changes.items() if about is not None}
        said = {id_: about for id_, about in said.items() if not self._as_it_is(id_, about)}
        items = self.items.grown([id_ for id_, row in zip(said, self.items.rows(list(said)), strict=True) if row < 0])
        rows = items.rows(list(said))
        gone = items.rows([id_ for id_, about in changes.items() if about is None])
        keys = items.row_keys[np.arange(len(self.users.items), len(items))]
        amendment = Amendment(rows, list(said.values()), gone[gone >= 0], keys)
        parts, fold = amendment.of(self.parts, self.resolver.fold, self.grow)
        catalogue = self.catalogue.amended(dict(zip(rows.tolist(), said.values(), strict=True)))
        parts = replace(parts, catalogue=catalogue)
        return replace(
            self,
            items=items,
            directions=parts.vectors.get(SIMILAR_INDEX),
            lists=parts.lists,
            catalogue=catalogue,
            popularity=parts.popularity,
            resolver=Resolver(items, fold, self.users),
            recommenders=_recommenders(self.surfaces, parts, self.recommenders),
            parts=parts,
            mark=mark or self.mark,
        )

    def moved(self, taken: Mapping[str, float], now: int) -> Engine:
        """With how often items were taken since, as far as that has not faded by ``now``, unix seconds.

        Another engine over the same parts. What the release was not made of is left out.
        """
        known = self.parts.recency
        rows = self.items.rows(list(taken))
        there = (rows >= 0) & (rows < (0 if known is None else known.items))
        if known is None or not there.any():
            return self
        amounts = np.array(list(taken.values()), np.float32)[there]
        parts = replace(self.parts, recency=Moving.since(known, rows[there], amounts, now))
        recommenders = _recommenders(self.surfaces, parts, self.recommenders)
        return replace(self, parts=parts, recommenders=recommenders, trends=f"t{now}")

    def allowed(self, wanted: Filter) -> Mask:
        """The items that fulfil a filter, as they are described now. ValueError for a column that there is not."""
        return self.parts.fulfilling(wanted)

    def holds(self, *items: str) -> bool:
        """Whether items are there, known to the release or put since, and not deleted."""
        rows = self.items.rows(items)
        there = rows >= 0 if self.parts.available is None else self.parts.available.holds(rows)
        return bool(there.all())

    def placed(self, item: str) -> str:
        """What an item that is there lies by: "learned", "content", "no-information" or, lacking one, "no-encoder"."""
        row = self.items.rows([item])
        if self.popularity[row][0] > 0:
            return "learned"
        if self.parts.content is None:
            return "no-encoder"
        return "content" if self.parts.vectors[CONTENT_INDEX][row].any() else "no-information"

    def understands(self, interests: tuple[str, ...]) -> bool:
        """Whether the encoder knows any of these words."""
        return self.parts.content is not None and bool(encoded(self.parts.content, [interests]).any())

    def _as_it_is(self, item: str, about: Description) -> bool:
        row = self.items.rows([item])
        return self.holds(item) and self.catalogue.describe(row) == [about]

    def recommend(self, users: Int32, k: int, now: datetime, surface: str = HOME) -> Answer:
        """What known users, by their rows, would be answered from what the release learned of them."""
        queries = [self.resolver.learned(row, now) for row in users.tolist()]
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
        if self.parts.content is not None:
            self.parts.content.save(folder / "items/content")
        if self.parts.ranker is not None and self.parts.facts is not None:
            self.parts.ranker.save(folder / "ranker")
            self.parts.facts.save(folder / "ranker")
        for name, lists in self.lists.items():
            lists.save(folder / "lists" / name)
        for name, index in self.indexes.items():
            home = folder / "indexes" / name
            home.mkdir(parents=True)
            (home / "backend.json").write_text(json.dumps({"backend": index.backend}) + "\n")
            index.save(home)
        (folder / "model.json").write_text(self.card.model_dump_json(indent=2) + "\n")
        # Without a key for what a surface does not have: a program that does not know of rankers reads those without.
        surfaces = {name: surface.model_dump(mode="json", exclude_none=True) for name, surface in self.surfaces.items()}
        (folder / "pipeline.json").write_text(json.dumps(surfaces, indent=2) + "\n")


def _recommenders(
    surfaces: Mapping[str, Surface], parts: Parts, before: Mapping[str, Recommender] | None = None
) -> dict[str, Recommender]:
    """The pipelines of a release and the usual ones, with what is known of their costs from ``before``."""
    costs = {name: recommender.costs for name, recommender in (before or {}).items()}
    return {name: Recommender.of(surface, parts, costs.get(name)) for name, surface in {**USUAL, **surfaces}.items()}


def card_of(
    fold: Fold | None, lists: Mapping[str, ItemLists], recent_items: int, kinds: Mapping[str, Kind]
) -> ModelCard:
    """What ``model.json`` says of these parts."""
    described = None if fold is None else describe_fold(fold)
    return ModelCard(fold=described, lists=tuple(lists), recent_items=recent_items, kinds=dict(kinds))


def settled(release: Release, changes: Sequence[ItemChange]) -> list[ItemChange]:
    """The changes that make no difference to a release: it knows the item by that very description.

    A deletion always does: of what was deleted events are left, and the next release would have it back.
    ReleaseDamaged where the items cannot be read.
    """
    try:
        items = Vocabulary.load(release.folder / "items")
        catalogue = Catalogue.load(release.folder / "items/catalogue.arrow")
    except (OSError, ValueError) as error:
        raise ReleaseDamaged(f"release {release.id} is damaged: its items cannot be read ({error})") from error
    rows = items.rows([change.item_id for change in changes])
    there = [(change, row) for change, row in zip(changes, rows, strict=True) if row >= 0 and change.description]
    described = catalogue.describe(np.array([row for _, row in there], np.int32))
    return [
        change
        for (change, _), about in zip(there, described, strict=True)
        if about == {"item_id": change.item_id, **known((change.description or {}).items())}
    ]


def assemble(release: Release, load_index: LoadIndex, grow: Grow | None = None) -> Engine:
    """Map a release's files; ReleaseDamaged names what cannot be read. Checksums are ``verify``'s work.

    ``grow``: what makes an index take items, for an engine that is going to be amended.
    """
    folder = release.folder
    try:
        card = ModelCard.model_validate_json((folder / "model.json").read_bytes())
        surfaces = json.loads((folder / "pipeline.json").read_bytes())
        items = Vocabulary.load(folder / "items")
        fold, directions, vectors = None, None, None
        indexed: dict[str, Float32] = {}
        if card.fold is not None:
            fold = load_fold(card.fold, load_mapped(folder / "items/vectors.npy"), folder / "items")
            directions = load_mapped(folder / "items/directions.npy")
            vectors = load_mapped(release.users / "vectors.npy")
            indexed |= {ITEMS_INDEX: fold.items, SIMILAR_INDEX: directions}
        content = Content.load(folder / "items/content") if (folder / "items/content").is_dir() else None
        if content is not None:
            indexed[CONTENT_INDEX] = content.vectors
        indexes = {}
        for name, built_from in indexed.items():
            home = folder / "indexes" / name
            backend = json.loads((home / "backend.json").read_bytes())["backend"]
            indexes[name] = load_index(backend, home, built_from)
        ranks = (folder / "ranker").is_dir()
        return Engine.of(
            release.id,
            items=items,
            fold=fold,
            directions=directions,
            lists={name: ItemLists.load(folder / "lists" / name) for name in card.lists},
            catalogue=Catalogue.load(folder / "items/catalogue.arrow"),
            popularity=load_mapped(folder / "items/popularity.npy"),
            users=Users(Vocabulary.load(release.users), vectors, History.load(release.users), items, card.recent_items),
            indexes=indexes,
            card=card,
            surfaces={name: Surface.model_validate(surface) for name, surface in surfaces.items()},
            content=content,
            facts=ItemFacts.load(folder / "ranker", len(items)) if ranks else None,
            ranker=Ranker.load(folder / "ranker") if ranks else None,
            grow=grow,
        )
    except ValidationError as error:
        raise ReleaseDamaged(f"release {release.id} cannot be loaded: {error.title}: {describe(error)}") from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SettingsError) as error:
        raise ReleaseDamaged(f"release {release.id} cannot be loaded: {error}") from error
