"""Fusion by weighted scores, once each source's are put on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Bool, Float32
from recsys.candidates import EMPTY, Candidates, fuse
from recsys.retrieval import Parts, Query, Scorer, Source

POOL = 200


@dataclass(frozen=True, slots=True, eq=False)
class ZScore:
    """Σ weight · z over the sources, z being a source's scores over the query's whole union, centred and scaled to one.

    Every source that can score is asked for every item that any of them proposed; one that cannot gives what it did
    not propose the least of what it did. A source with nothing to say of a query counts for nothing there.

    Laws: a source's scale and zero do not matter, nor does the order of the sources; one source alone keeps its order.
    """

    weights: Mapping[str, float]
    pool: int = POOL

    @classmethod
    def of(cls, parts: Parts, weights: Mapping[str, float], pool: int = POOL) -> ZScore:  # noqa: ARG003
        """``weights``: name of a source → its weight, not negative; ``pool``: items wanted of each source."""
        wrong = {name: weight for name, weight in weights.items() if not 0 <= weight < np.inf}
        if wrong or not any(weights.values()):
            raise ValueError(f"weights are {dict(weights)}: none may be negative and one must be above 0")
        if pool < 1:
            raise ValueError(f"pool is {pool}: ask for at least 1")
        return cls(dict(weights), pool)

    def __call__(
        self, queries: Sequence[Query], proposals: Mapping[str, Candidates], sources: Mapping[str, Source]
    ) -> Candidates:
        """Each item once. ValueError for a source without a weight."""
        missing = [name for name in proposals if name not in self.weights]
        if missing:
            raise ValueError(f"no weight for {', '.join(missing)}, only for {', '.join(self.weights)}")
        union, standard = standardized(queries, proposals, sources)
        total = np.zeros(union.shape, np.float32)
        for name, scores in standard.items():
            total += np.float32(self.weights[name]) * scores
        return Candidates(union.rows, np.where(union.filled, total, EMPTY), union.signals)


def standardized(
    queries: Sequence[Query], proposals: Mapping[str, Candidates], sources: Mapping[str, Source]
) -> tuple[Candidates, dict[str, Float32]]:
    """The union of all proposals, (q, n), and each source's z-scores of it, float32 (q, n)."""
    union = fuse(proposals)
    standard = {}
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
        standard[name] = _standard(said, union.filled)
    return union, standard


def _standard(said: Float32, filled: Bool) -> Float32:
    """Scores of each query, centred and scaled over what is filled and said; 0 where it is not, or all are alike."""
    known = filled & np.isfinite(said)
    values = np.where(known, said, 0).astype(np.float64)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    centred = np.where(known, values - values.sum(axis=1, keepdims=True) / count, 0)
    spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    # What differs by rounding alone says nothing.
    flat = spread <= 1e-6 * np.abs(values).max(axis=1, initial=0, keepdims=True)
    standard: Float32 = np.divide(centred, spread, out=np.zeros_like(centred), where=~flat).astype(np.float32)
    return standard
