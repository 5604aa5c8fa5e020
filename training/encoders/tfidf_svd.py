"""Latent semantic analysis of titles and texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from recsys.encoding import Description
from recsys.encoding.tfidf_svd import TfidfSvd
from recsys.encoding.words import WordsRule
from training.encoders import Encoder
from training.encoders.terms import Bounds, read_terms, strongest_directions
from training.models import Progress, silent


class TfidfSvdEncoder(Encoder):
    """(1 + ln times) · idf of an item's words at length one, along the strongest directions of all items."""

    columns: tuple[str, ...] = Field(default=("title", "text"), min_length=1)
    """Columns of text, or of lists of text."""
    ngrams: int = Field(default=1, ge=1, le=2)
    """2: every two neighbouring words are a term as well."""
    width: int = Field(default=256, ge=1, le=4096)
    """w, how many directions are kept; no more than there are items or words."""
    min_items: int = Field(default=2, ge=1)
    """Words that fewer items have are left away."""
    max_share: float = Field(default=0.5, gt=0, le=1)
    """So are those that a larger share of the items with text has."""
    max_features: int = Field(default=100_000, ge=1)
    """How many words are kept at most: those of most items."""
    iterations: int = Field(default=4, ge=0)
    """Multiplications with the matrix and its transpose, beside the first."""

    def fit(
        self, items: Sequence[Description], rng: np.random.Generator, *, threads: int, progress: Progress = silent
    ) -> TfidfSvd:
        """Count and decompose. TrainingError where no word is left."""
        rule = WordsRule(columns=self.columns, ngrams=self.ngrams)
        known = read_terms(items, rule, Bounds(self.min_items, self.max_share, self.max_features), progress)
        components = strongest_directions(known, rule, self.width, self.iterations, rng, threads)
        progress(1.0)
        return TfidfSvd(rule, known.keys, known.idf, components)
