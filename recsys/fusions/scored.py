"""What sources say of each other's proposals: what every fusion by scores begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from recsys.arrays import Float32
from recsys.candidates import Candidates, fuse
from recsys.retrieval import Query, Scorer, Source


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


def check_weights(weights: Mapping[str, float], pool: int) -> dict[str, float]:
    """The weights of a fusion; ValueError if one is negative, none is above 0, or the pool is below 1."""
    if any(not 0 <= weight < np.inf for weight in weights.values()) or not any(weights.values()):
        raise ValueError(f"weights are {dict(weights)}: none may be negative and one must be above 0")
    if pool < 1:
        raise ValueError(f"pool is {pool}: ask for at least 1")
    return dict(weights)


def check_named(proposals: Mapping[str, Candidates], weights: Mapping[str, float]) -> None:
    """ValueError for a source without a weight."""
    missing = [name for name in proposals if name not in weights]
    if missing:
        raise ValueError(f"no weight for {', '.join(missing)}, only for {', '.join(weights)}")
