"""Tags of items, weighted by how rare they are, seen along the strongest directions of all items."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from recsys.arrays import Float64
from recsys.encoding import Description
from recsys.encoding.terms import Terms, TermsRule, TermVectors
from recsys.encoding.words import written

LIMIT = 10_000
"""Tags of one item that are read."""
LENGTH = 1_000
"""Characters of a tag that are read."""


class TagsRule(TermsRule):
    """Which tags are read. A tag is the same in whichever column, case and spacing it stands."""

    noun: ClassVar[str] = "tag"
    columns: tuple[str, ...] = Field(default=("tags", "genres"), min_length=1)
    """Columns of lists of tags; a text is one tag."""
    weight_columns: dict[str, str] = Field(default_factory=dict)
    """For a column of tags, the column with as many numbers: how often or how strongly each was given."""

    def terms(self, item: Description) -> Terms:
        """What each tag weighs: 1, or what the column of its weights says, if that is as many numbers."""
        found: dict[str, float] = {}
        for column in self.columns:
            tags = _listed(item.get(column))
            weights = _numbers(item.get(self.weight_columns[column])) if column in self.weight_columns else None
            if weights is None or len(weights) != len(tags):
                weights = [1.0] * len(tags)
            for tag, weight in zip(tags[:LIMIT], weights, strict=False):
                name = tag_name(tag)
                if name and weight > 0:
                    found[name] = found.get(name, 0.0) + weight
        return found

    def weights(self, counts: Float64) -> Float64:
        """ln(1 + weight)."""
        logs: Float64 = np.log1p(counts)
        return logs


class Tags(TermVectors):
    """Weighted multi-hot rows through a truncated SVD."""

    __slots__ = ()

    kind: ClassVar[str] = "tags"
    Rule: ClassVar[type[TagsRule]] = TagsRule

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of tags, and of their weights."""
        rule = self.rule
        return (*rule.columns, *rule.weight_columns.values()) if isinstance(rule, TagsRule) else rule.columns


def tag_name(tag: Any) -> str:
    """A tag as it is compared: Unicode's compatible form, folded in case, single spaces; "" for what is none.

    >>> tag_name("  Film  NOIR ")
    'film noir'
    """
    text = written(tag)[:LENGTH]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def _listed(value: Any) -> list[Any]:
    if value is None or isinstance(value, Mapping):
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _numbers(value: Any) -> list[float] | None:
    """All of them finite; None otherwise."""
    try:
        numbers = [float(each) for each in _listed(value)]
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if all(map(math.isfinite, numbers)) else None
