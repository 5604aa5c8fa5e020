"""What is taken most lately: counts that fade, for everybody or in the categories of the user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recsys.arrays import Float32, Int32, Int64, ranges
from recsys.candidates import EMPTY, NONE, Candidates
from recsys.catalogue import Catalogue
from recsys.kernels.candidates import merged
from recsys.masks import Mask
from recsys.recency import Recency
from recsys.retrieval import Parts, Query
from recsys.sources.popular import first


@dataclass(frozen=True, slots=True, eq=False)
class Categories:
    """A column of the catalogue as this source asks for it.

    Item i's are ``groups[starts[i]:starts[i + 1]]``, and category c's items, those that trend most first,
    ``members[bounds[c]:bounds[c + 1]]``.
    """

    starts: Int64
    groups: Int64
    members: Int32
    bounds: Int64

    @classmethod
    def of(cls, catalogue: Catalogue, column: str, recency: Recency, half_life: float) -> Categories:
        """ValueError for a column that does not hold texts or lists of them."""
        starts, groups = catalogue.memberships(column)
        return cls(starts, groups, *recency.grouped(half_life, column, starts, groups))

    def liked(self, query: Query, most: int) -> list[tuple[int, float]]:
        """The categories that the query's recent items weigh most in, at most so many, with their shares of it."""
        told = (query.weights > 0) & (query.recent < len(self.starts) - 1)
        rows = query.recent[told]
        lengths = np.diff(self.starts)[rows]
        inside = np.repeat(self.starts[rows], lengths) + ranges(lengths)
        worth = np.repeat(query.weights[told] / np.maximum(lengths, 1), lengths)
        named, at = np.unique(self.groups[inside], return_inverse=True)
        amounts = np.bincount(at, worth, len(named))
        order = np.argsort(-amounts, kind="stable")[:most]
        return list(zip(named[order].tolist(), (amounts[order] / amounts.sum()).tolist(), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Trending:
    """Items by how often they were taken, each time counting half after ``half_life`` days, and so on.

    With ``categories``, a query is proposed those of the few that its recent items weigh most in: count times the
    category's share of them. Without, or for a query of which no category is known, the same ones for everybody. What
    nobody took is not proposed.

    ``order``: int32 (m,), and ``counts``: float32 (n,). ``available``: which items may be answered at all.
    """

    personal: ClassVar[bool] = False

    order: Int32
    counts: Float32
    available: Mask | None
    categories: Categories | None
    most: int

    @classmethod
    def of(cls, parts: Parts, half_life: float = 7.0, column: str = "", categories: int = 3) -> Trending:
        """``half_life``: in days. ``column``: of texts or of lists of texts. ``categories``: how many of a user's."""
        check_half_life(half_life)
        if categories < 1:
            raise ValueError(f"categories is {categories}: at least 1 was wanted")
        if parts.recency is None:
            raise ValueError("nobody knows when items were taken: the release has no histories")
        if column and parts.catalogue is None:
            raise ValueError(f"column {column!r} is asked for, and there is no catalogue")
        return cls(
            parts.recency.ranked(half_life),
            parts.recency.decayed(half_life),
            parts.available,
            Categories.of(parts.catalogue, column, parts.recency, half_life) if column and parts.catalogue else None,
            categories,
        )

    def __call__(self, queries: Sequence[Query], k: int) -> Candidates:
        """The k items that trend most, of those that each query allows."""
        rows = np.full((len(queries), k), NONE)
        scores = np.full((len(queries), k), EMPTY)
        shared: dict[int, Int32] = {}
        for line, query in enumerate(queries):
            liked = [] if self.categories is None else self.categories.liked(query, self.most)
            if liked:
                rows[line], scores[line] = self._of(liked, query, k)
                continue
            if id(query.allowed) not in shared:
                shared[id(query.allowed)] = first(self.order, k, self.available, query.allowed)
            found = shared[id(query.allowed)]
            rows[line, : len(found)], scores[line, : len(found)] = found, self.counts[found]
        return Candidates(rows, scores)

    def _of(self, liked: list[tuple[int, float]], query: Query, k: int) -> tuple[Int32, Float32]:
        assert self.categories is not None  # noqa: S101  they say what is liked
        found, scores = [], []
        for group, share in liked:
            part = slice(*self.categories.bounds[group : group + 2])
            best = first(self.categories.members[part], k, self.available, query.allowed)
            found.append(best)
            scores.append(self.counts[best] * np.float32(share))
        return merged(np.concatenate(found), np.concatenate(scores), k)


def check_half_life(half_life: float) -> None:
    """ValueError unless it is a number of days."""
    if not 0 < half_life < np.inf:
        raise ValueError(f"half_life is {half_life}: days were wanted, more than 0")
