"""Tags and genres, by which of them go together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from recsys.encoding import Description
from recsys.encoding.tags import Tags, TagsRule
from training.encoders import Encoder
from training.encoders.terms import Bounds, read_terms, strongest_directions
from training.models import Progress, silent


class TagsEncoder(Encoder):
    """ln(1 + weight) · idf of an item's tags at length one, along the strongest directions of all items."""

    columns: tuple[str, ...] = Field(default=("tags", "genres"), min_length=1)
    """Columns of lists of tags; a text is one tag. The same tag in two columns is one."""
    weight_columns: dict[str, str] = Field(default_factory=dict)
    """For a column of tags, the column with as many numbers: how often or how strongly each was given."""
    width: int = Field(default=128, ge=1, le=4096)
    """w, how many directions are kept; no more than there are items or tags."""
    min_items: int = Field(default=2, ge=1)
    """Tags that fewer items have are left away."""
    max_features: int = Field(default=100_000, ge=1)
    """How many tags are kept at most: those of most items."""
    iterations: int = Field(default=4, ge=0)
    """Multiplications with the matrix and its transpose, beside the first."""

    def fit(
        self, items: Sequence[Description], rng: np.random.Generator, *, threads: int, progress: Progress = silent
    ) -> Tags:
        """Count and decompose. TrainingError where no tag is left."""
        rule = TagsRule(columns=self.columns, weight_columns=self.weight_columns)
        known = read_terms(items, rule, Bounds(self.min_items, 1.0, self.max_features), progress)
        components = strongest_directions(known, rule, self.width, self.iterations, rng, threads)
        progress(1.0)
        return Tags(rule, known.keys, known.idf, components)
