"""What a release learned of how candidates are to be ordered: features of each go in, a probability comes out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from recsys.arrays import Float32, Float64
from recsys.kernels import trees as kernels
from recsys.sections import Section
from recsys.settings import describe
from recsys.tree_paths import paths_of
from recsys.trees import Trees


class Card(Section):
    """``ranker.json``: the features that the trees were grown on, in their order, and what makes a probability."""

    features: tuple[str, ...]
    slope: float
    offset: float


@dataclass(frozen=True, slots=True, eq=False)
class Ranker:
    """Boosted trees over named features, and Platt's (1999) sigmoid over their sum.

    ``text``: the booster as LightGBM wrote it, which the release keeps. Laws: more of the sum is more of a
    probability; what stands in other rows changes nothing; nan is a value like any other.
    """

    card: Card
    trees: Trees
    text: str

    @classmethod
    def of(cls, text: str, card: Card) -> Ranker:
        """ValueError for a booster that cannot be evaluated, or one of other features than the card names."""
        trees = Trees.of(text)
        if trees.columns != len(card.features) or len(set(card.features)) < len(card.features):
            raise ValueError(
                f"the booster was grown on {trees.columns} columns, the card names {len(set(card.features))} features: "
                "one each was wanted"
            )
        if not (np.isfinite(card.slope) and np.isfinite(card.offset)) or card.slope <= 0:
            raise ValueError(f"slope {card.slope:g} and offset {card.offset:g}: both must be finite, the slope above 0")
        return cls(card, trees, text)

    @property
    def features(self) -> tuple[str, ...]:
        """The features that it asks for, in this order."""
        return self.card.features

    def score(self, rows: Float32) -> Float32:
        """The probability that a candidate is taken, float32 (m,), of float32 (m, features)."""
        return kernels.sigmoid(self.trees.score(rows), self.card.slope, self.card.offset).astype(np.float32)

    def explain(self, rows: Float32) -> tuple[Float64, float]:
        """What each feature adds to the log-odds of each candidate, float64 (m, features), and what there is without.

        Exact Shapley values, see :mod:`recsys.tree_paths`. Law: both together add up to the log-odds of the score.
        """
        paths = paths_of(self.text)
        return self.card.slope * paths.contributions(rows), self.card.slope * paths.expected + self.card.offset

    def save(self, folder: Path) -> None:
        """Write ``booster.txt`` and ``ranker.json`` into ``folder``, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "booster.txt").write_text(self.text, encoding="utf-8")
        (folder / "ranker.json").write_text(self.card.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Ranker:
        """What :meth:`save` wrote; ValueError where it is damaged."""
        try:
            card = Card.model_validate_json((folder / "ranker.json").read_bytes())
        except ValidationError as error:
            raise ValueError(f"ranker.json: {describe(error)}") from error
        return cls.of((folder / "booster.txt").read_text(encoding="utf-8"), card)


def sigmoid(values: Float64) -> Float64:
    """1 / (1 + e^−x)."""
    return kernels.sigmoid(np.ascontiguousarray(values, np.float64), 1, 0)
