"""Words of an item's texts, weighted by how rare they are, seen along the strongest directions of all texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from recsys.arrays import Float32, Float64, UInt64
from recsys.encoding import Description
from recsys.encoding.terms import Counted, look_up, projected, unit_weights
from recsys.encoding.words import text_of, words
from recsys.settings import Section


class WordsRule(Section):
    """Which words are read."""

    columns: tuple[str, ...] = ("title", "text")
    """Columns of text, or of lists of text."""
    ngrams: int = Field(default=1, ge=1, le=2)
    """2: every two neighbouring words count as one as well."""

    def count(self, items: Sequence[Description]) -> list[Counter[str]]:
        """How often each item has each word."""
        return [Counter(words(text_of(item, self.columns), self.ngrams)) for item in items]


def log_counts(counted: Counted, idf: Float32) -> Float64:
    """(1 + ln times) · idf for each word of each item, scaled to length one an item."""
    return unit_weights(counted, (1 + np.log(counted.counts)) * idf[counted.terms])


@dataclass(frozen=True, slots=True, eq=False)
class TfidfSvd:
    """x V, x being an item's (1 + ln times) · idf at length one: latent semantic analysis, Deerwester et al. (1990).

    ``keys``: uint64 (t,), of the words, ascending. ``idf``: float32 (t,). ``components``: float32 (t, w), V.
    """

    kind: ClassVar[str] = "tfidf-svd"
    Rule: ClassVar[type[WordsRule]] = WordsRule

    rule: WordsRule
    keys: UInt64
    idf: Float32
    components: Float32

    @classmethod
    def of(cls, rule: WordsRule, arrays: Mapping[str, np.ndarray]) -> TfidfSvd:
        """ValueError unless the arrays are as long as each other."""
        keys, idf, components = arrays["keys"], arrays["idf"], arrays["components"]
        if not len(keys) == len(idf) == len(components):
            raise ValueError(f"there are {len(keys)} keys, {len(idf)} idf and {len(components)} components of words")
        return cls(rule, keys, idf, components)

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The words and their vectors."""
        return {"keys": self.keys, "idf": self.idf, "components": self.components}

    @property
    def width(self) -> int:
        """How many directions there are."""
        return int(self.components.shape[1])

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of text."""
        return self.rule.columns

    def encode(self, items: Sequence[Description]) -> Float32:
        """Vectors of length one at most, float32 (m, w); zeros for an item without a known word."""
        counted = look_up(self.keys, self.rule.count(items))
        return projected(counted, log_counts(counted, self.idf), self.components)
