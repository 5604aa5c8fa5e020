"""More of what the house wants to be seen, within a share that it states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.candidates import Candidates
from recsys.filters import parse
from recsys.masks import Mask
from recsys.retrieval import Parts, Query


@dataclass(frozen=True, slots=True, eq=False)
class Boosted:
    """Multiply the scores of items that fulfil a filter, as far as they may take more of the first places.

    A score below 0 is divided instead. Of the first ``length`` places at most ``share`` go to such items, or
    as many as had them anyway: only the best of them, as many as that, are lifted.
    Laws: the same items; what fulfils the filter never falls; a factor of 1 changes nothing.

    ``wanted``: the items that fulfil the filter as they are described when the release is opened or amended.
    """

    wanted: Mask
    factor: float
    most: int
    length: int

    @classmethod
    def of(cls, parts: Parts, where: str, factor: float = 1.2, share: float = 0.3, length: int = 10) -> Boosted:
        """``where``: a filter, as requests have them. ``factor``: from 1. ``share``: from 0 to 1, rounded down."""
        if not 1 <= factor < np.inf:
            raise ValueError(f"factor is {factor}: at least 1 was wanted")
        check_share(share, length)
        return cls(parts.fulfilling(parse(where)), factor, places(share, length), length)

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:  # noqa: ARG002  all alike
        """The candidates, best first, after the lift."""
        found = candidates.top(candidates.shape[1])
        fulfils = self.wanted.holds(found.rows)
        anyway = fulfils[:, : self.length].sum(axis=1, keepdims=True)
        lifted = fulfils & (fulfils.cumsum(axis=1) <= np.maximum(anyway, self.most))
        more = np.where(found.scores > 0, self.factor, 1 / self.factor)
        scores = np.where(lifted, found.scores * more, found.scores)
        return Candidates(found.rows, scores.astype(np.float32), found.signals).top(found.shape[1])


def places(share: float, length: int) -> int:
    """So many of ``length`` places are no more than ``share`` of them, whatever the digits of a float say.

    >>> places(0.29, 100)
    29
    """
    return int(share * length + 1e-9)


def check_share(share: float, length: int) -> None:
    """ValueError unless ``share`` is one and there are places."""
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}: it must lie between 0 and 1")
    if length < 1:
        raise ValueError(f"length is {length}: at least 1 was wanted")
