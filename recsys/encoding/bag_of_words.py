"""Words of an item's texts, each with a place of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recsys.arrays import Float32, UInt64
from recsys.encoding import Description
from recsys.encoding.terms import BLOCK, look_up, unit_weights, unknown_terms
from recsys.encoding.words import WordsRule


@dataclass(frozen=True, slots=True, eq=False)
class BagOfWords:
    """1 + ln(times) of each word that was chosen, scaled to length one.

    ``keys``: uint64 (w,), of the words, ascending, as the numbers of a vector.
    """

    kind: ClassVar[str] = "bag-of-words"
    Rule: ClassVar[type[WordsRule]] = WordsRule

    rule: WordsRule
    keys: UInt64

    @classmethod
    def of(cls, rule: WordsRule, arrays: Mapping[str, np.ndarray]) -> BagOfWords:
        """The words are all there is."""
        return cls(rule, arrays["keys"])

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The words."""
        return {"keys": self.keys}

    @property
    def width(self) -> int:
        """How many words there are."""
        return len(self.keys)

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of text."""
        return self.rule.columns

    def problems(self, item: Description) -> dict[str, str]:
        """See :class:`recsys.encoding.problems.Explains`."""
        return unknown_terms(self.keys, self.rule, item)

    def encode(self, items: Sequence[Description]) -> Float32:
        """Vectors of length one, float32 (m, w); zeros for an item without a known word."""
        vectors = np.zeros((len(items), self.width), np.float32)
        for low in range(0, len(items), BLOCK):
            counted = look_up(self.keys, self.rule, items[low : low + BLOCK])
            owners = low + np.repeat(np.arange(len(counted)), np.diff(counted.indptr))
            vectors[owners, counted.terms] = unit_weights(counted, self.rule)
        return vectors
