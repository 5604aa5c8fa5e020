"""Fusions by scores: what sources say of each other's proposals, weighted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Float32
from recsys.candidates import EMPTY, Candidates, fuse
from recsys.retrieval import Query, Scorer, Source

POOL = 200
"""Items wanted of each source unless something else is said."""


def scored(
    queries: Sequence[Query], proposals: Mapping[str, Candidates], sources: Mapping[str, Source]
) -> tuple[Candidates, dict[str, Float32]]:
    """The union of all proposals, (q, n), and each source's scores of it, float32 (q, n).

    Every source that can score is asked for every item that any of them proposed; one that cannot gives what it did
    not propose the least of what it did. nan in empty slots and where a source has nothing to say of a query; a source
    that proposed nothing to anybody is left out.
    """
    union = fuse(proposals)
    scores = {}
    for name, proposal in proposals.items():
        source = sources[name]
        if not proposal.filled.any():
            continue
        if isinstance(source, Scorer):
            said = source.score(queries, union.rows)
        else:
            least = np.where(proposal.filled, proposal.scores, np.inf).min(axis=1, initial=np.inf, keepdims=True)
            known = np.where(np.isfinite(least), least, np.nan).astype(np.float32)
            said = np.where(np.isnan(union.signals[name]), known, union.signals[name])
        scores[name] = np.where(union.filled & np.isfinite(said), said, np.float32(np.nan))
    return union, scores


@dataclass(frozen=True, slots=True, eq=False)
class Weighted:
    """Σ weight · score over the sources, once ``comparable`` has made their scores so.

    ``weights``: name of a source → its weight. ``pool``: items wanted of each source. ``comparable``: scores of each
    query, float32 (q, n), nan where there is none, to as many on a common scale, 0 where there is none.
    """

    weights: Mapping[str, float]
    pool: int
    comparable: Callable[[Float32], Float32]

    @classmethod
    def of(cls, weights: Mapping[str, float], pool: int, comparable: Callable[[Float32], Float32]) -> Weighted:
        """ValueError if a weight is negative, none is above 0, or the pool is below 1."""
        if any(not 0 <= weight < np.inf for weight in weights.values()) or not any(weights.values()):
            raise ValueError(f"weights are {dict(weights)}: none may be negative and one must be above 0")
        if pool < 1:
            raise ValueError(f"pool is {pool}: ask for at least 1")
        return cls(dict(weights), pool, comparable)

    def __call__(
        self, queries: Sequence[Query], proposals: Mapping[str, Candidates], sources: Mapping[str, Source]
    ) -> Candidates:
        """Each item once. ValueError for a source without a weight."""
        missing = [name for name in proposals if name not in self.weights]
        if missing:
            raise ValueError(f"no weight for {', '.join(missing)}, only for {', '.join(self.weights)}")
        union, scores = scored(queries, proposals, sources)
        total = np.zeros(union.shape, np.float32)
        for name, said in scores.items():
            total += np.float32(self.weights[name]) * self.comparable(said)
        return Candidates(union.rows, np.where(union.filled, total, EMPTY), union.signals)
