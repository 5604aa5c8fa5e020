"""The words of titles and texts, each with a place of its own in the vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from recsys.encoding import Description
from recsys.encoding.bag_of_words import BagOfWords
from recsys.encoding.words import WordsRule
from training.encoders import Encoder
from training.encoders.terms import Bounds, read_terms
from training.models import Progress, silent


class BagOfWordsEncoder(Encoder):
    """1 + ln(times) of the words that tell items apart best, at length one.

    Those with the largest items · ln(n / items) are chosen. A vector has a float32 for each, 8 kB for 2,000 words.
    """

    columns: tuple[str, ...] = Field(default=("title", "text"), min_length=1)
    """Columns of text, or of lists of text."""
    ngrams: int = Field(default=1, ge=1, le=2)
    """2: every two neighbouring words are a term as well."""
    features: int = Field(default=2000, ge=1)
    """w, how many words are chosen; no more than there are."""
    min_items: int = Field(default=2, ge=1)
    """Words that fewer items have are left away."""
    max_share: float = Field(default=0.5, gt=0, le=1)
    """So are those that a larger share of the items with text has."""

    def fit(
        self,
        items: Sequence[Description],
        rng: np.random.Generator,  # noqa: ARG002
        *,
        threads: int,  # noqa: ARG002
        progress: Progress = silent,
    ) -> BagOfWords:
        """Count and choose. TrainingError where no word is left."""
        rule = WordsRule(columns=self.columns, ngrams=self.ngrams)
        bounds = Bounds(self.min_items, self.max_share, self.features)
        known = read_terms(items, rule, bounds, progress, rare_counts=True)
        progress(1.0)
        return BagOfWords(rule, known.keys)
