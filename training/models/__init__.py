"""What learns from interactions. To add a model: one file and one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recsys.arrays import Float32
from recsys.folding import FoldRule
from recsys.interactions import Interactions
from recsys.settings import Section
from recsys.tables import Table

Progress = Callable[[float], None]
"""Told the share that is done, 0 to 1."""


def silent(share: float) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """Users and items in one space: the inner product is the score.

    ``users``: float32 (users, d); ``items``: float32 (items, d). ``rule``: how a user is folded in against them.
    """

    users: Float32
    items: Float32
    rule: FoldRule


@dataclass(frozen=True, slots=True, eq=False)
class ItemScores:
    """One score for each item, the same for everybody: float32 (items,)."""

    scores: Float32


class Model(Protocol):
    """A frozen configuration that can fit; it keeps no state.

    Laws: the same interactions, configuration, generator state and one thread give the same bits; nothing is
    written into the interactions. TrainingError where nothing can be learned.
    """

    def fit(
        self, data: Interactions, rng: np.random.Generator, *, threads: int, progress: Progress = silent
    ) -> Factors | ItemScores:
        """Learn from ``data`` with this many threads, 0 for all cores."""
        ...


MODELS: Table[type[Section]] = Table(
    "model",
    {
        "als": "training.models.als:Als",
        "ials": "training.models.ials:Ials",
        "popular": "training.models.popular:Popular",
    },
    extra="train",
)
