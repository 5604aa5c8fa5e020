"""Items that are what the user said they like: words and tags, encoded as if they described an item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from recsys.arrays import Float32
from recsys.candidates import Candidates
from recsys.errors import unknown_choice
from recsys.retrieval import CONTENT_INDEX, ContentSpace, Parts, Query, SearchIndex
from recsys.sources.nearest import searched

KEPT = 1024
"""Interests whose vectors are kept."""
NOT_SAID = frozenset({"item_id"})
"""What a description has that no interest is."""


@dataclass(frozen=True, slots=True, eq=False)
class DeclaredInterests:
    """Search the content index with what the release's encoder makes of the interests.

    A query without interests, or with none that the encoder has ever seen, gets empty slots.
    """

    personal: ClassVar[bool] = False

    index: SearchIndex
    encode: Callable[[tuple[str, ...]], Float32]

    @classmethod
    def of(cls, parts: Parts, index: str = CONTENT_INDEX) -> DeclaredInterests:
        """``index`` names one of the release's indexes. ValueError where the release has no encoder."""
        if index not in parts.indexes:
            raise ValueError(unknown_choice("index", index, parts.indexes))
        if parts.content is None:
            raise ValueError("the release has no encoder of content: train it with [content]")
        content = parts.content
        # Some encoders take longer than the search, and who comes back asks for the same.
        return cls(parts.indexes[index], lru_cache(KEPT)(lambda interests: encoded(content, [interests])[0]))

    def __call__(self, queries: Sequence[Query], k: int) -> Candidates:
        """The k items nearest to the interests, as far as they are on their side: cosines above 0."""
        named = [place for place, query in enumerate(queries) if query.interests]
        if not named:
            return Candidates.empty(len(queries))
        vectors = np.stack([self.encode(queries[place].interests) for place in named])
        known = np.flatnonzero(vectors.any(axis=1))
        found = searched(self.index, [named[at] for at in known], vectors[known], queries, k)
        return found.keep(found.scores > 0)


def encoded(content: ContentSpace, interests: Sequence[Sequence[str]]) -> Float32:
    """Interests as the content vector of an item that is them, float32 (q, w), zero where the encoder knows none.

    Nobody says which column of the catalogue a word belongs to, so each that the encoder reads is given all of them.
    """
    columns = [column for column in content.reads if column not in NOT_SAID]
    return content.encode([{column: list(named) for column in columns} for named in interests])
