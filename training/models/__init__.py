"""What learns from interactions. To add a model: one file and one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import scipy.sparse as sp

from recsys.arrays import Float32
from recsys.errors import TrainingError
from recsys.folding import Fold
from recsys.interactions import Interactions
from recsys.item_lists import ItemLists
from recsys.retrieval import ITEMS_INDEX
from recsys.sections import Section
from recsys.surfaces import Line, Surface, unseen
from recsys.tables import Table
from training.config import configured

Progress = Callable[[float], None]
"""Told the share that is done, 0 to 1."""
Family = Literal["vector", "item-item", "sequence", "blend", "baseline"]
"""What kind of model it is, as tables of results sort them."""
Served = Literal["vectors", "lists", "scores"]
"""What a model can serve: item vectors and a way to fold users in, item-item lists, one score an item."""


def silent(share: float) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """What a model gives the engine, and the surface that answers from it.

    ``fold``: how a user's vector comes from their items, and with it the item vectors; None without vectors.
    ``lists``: name → for each item what goes with it. ``scores``: float32 (items,), the same for everybody; None
    without.
    """

    home: Surface
    fold: Fold | None = None
    lists: Mapping[str, ItemLists] = field(default_factory=dict)
    scores: Float32 | None = None

    @classmethod
    def of_fold(cls, fold: Fold) -> Learned:
        """Item vectors, searched for the nearest to the user's."""
        return cls(unseen(Line(name="nearest", index=ITEMS_INDEX)), fold=fold)

    @classmethod
    def of_lists(cls, name: str, lists: ItemLists) -> Learned:
        """Item lists, added up over what the user has taken."""
        return cls(unseen(Line(name="item-item", lists=name)), lists={name: lists})

    @classmethod
    def of_scores(cls, scores: Float32) -> Learned:
        """One list for everybody."""
        return cls(unseen(), scores=scores)

    @property
    def serves(self) -> frozenset[Served]:
        """What of it there is."""
        there: dict[Served, bool] = {
            "vectors": self.fold is not None,
            "lists": bool(self.lists),
            "scores": self.scores is not None,
        }
        return frozenset(what for what, is_there in there.items() if is_there)

    def vectors(self) -> Fold:
        """The item vectors and the way to fold in; TrainingError if none were learned."""
        if self.fold is None:
            raise TrainingError(
                f"vectors were asked for, but the model has only {', '.join(sorted(self.serves))}: "
                f"choose one of {', '.join(name for name in MODELS if 'vectors' in MODELS[name].serves)}"
            )
        return self.fold


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from ``low`` to ``high``, both included, whole ones if both are; on a logarithmic scale if ``log``."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these."""

    of: tuple[str | int | float | bool, ...]


class Model(Section):
    """A frozen configuration that can fit; it keeps no state.

    ``family`` and ``serves`` are declared on the class, and so is ``space``: which keys `recsys tune` varies, and how.

    Laws: the same interactions, configuration, generator state and one thread give the same bits; nothing is
    written into the interactions; what is learned serves what ``serves`` declares. TrainingError where nothing can be
    learned.
    """

    family: ClassVar[Family]
    serves: ClassVar[frozenset[Served]]
    space: ClassVar[Mapping[str, Range | Choice]] = {}

    def fit(
        self, data: Interactions, rng: np.random.Generator, *, threads: int, progress: Progress = silent
    ) -> Learned:
        """Learn from ``data`` with this many threads, 0 for all cores."""
        raise NotImplementedError


def matrix_to_learn(data: Interactions) -> sp.csr_matrix:
    """The weights of ``data``, float32 CSR (users, items); TrainingError if there is none above 0."""
    matrix = data.matrix()
    if not matrix.nnz:
        raise TrainingError(f"none of {len(data):,} events teaches anything: all have weight 0 under [data.kinds]")
    return matrix


VECTORS: frozenset[Served] = frozenset({"vectors"})
LISTS: frozenset[Served] = frozenset({"lists"})
SCORES: frozenset[Served] = frozenset({"scores"})


MODELS: Table[type[Model]] = Table(
    "model",
    {
        "als": "training.models.als:Als",
        "ials": "training.models.ials:Ials",
        "bpr": "training.models.bpr:Bpr",
        "svd": "training.models.svd:Svd",
        "item2vec": "training.models.item2vec:Item2Vec",
        "item-knn": "training.models.item_knn:ItemKnn",
        "rp3beta": "training.models.rp3beta:Rp3beta",
        "graph-filter": "training.models.graph_filter:GraphFilter",
        "ease": "training.models.ease:Ease",
        "slim": "training.models.slim:Slim",
        "sasrec": "training.models.sasrec:Sasrec",
        "two-tower": "training.models.two_tower:TwoTower",
        "blend": "training.models.blend:Blend",
        "popular": "training.models.popular:Popular",
        "trending": "training.models.trending:Trending",
        "random": "training.models.chance:Random",
    },
    extra="train",
)


def model_of(options: Mapping[str, Any]) -> Model:
    """The model of ``[model]``, ``als`` if unnamed; SettingsError as ``configured`` has it."""
    return configured(MODELS, options, "als", "model")
