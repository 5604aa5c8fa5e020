"""Words of an item's texts, weighted by how rare they are, seen along the strongest directions of all texts."""

from __future__ import annotations

from typing import ClassVar

from recsys.encoding.terms import TermVectors
from recsys.encoding.words import WordsRule


class TfidfSvd(TermVectors):
    """Latent semantic analysis, Deerwester et al. (1990)."""

    __slots__ = ()

    kind: ClassVar[str] = "tfidf-svd"
    Rule: ClassVar[type[WordsRule]] = WordsRule
