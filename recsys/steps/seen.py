"""Nothing comes back that was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from recsys.arrays import Int32
from recsys.candidates import Candidates
from recsys.kernels import candidates as kernels
from recsys.retrieval import Parts, Query


@dataclass(frozen=True, slots=True)
class Seen:
    """Empty the slots of items that the query has seen."""

    @classmethod
    def of(cls, parts: Parts) -> Seen:  # noqa: ARG003  every step is built from the parts
        """No options."""
        return cls()

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:
        """The candidates without what each query has seen."""
        return without(candidates, [query.seen for query in queries])


def without(candidates: Candidates, rows: Sequence[Int32]) -> Candidates:
    """The candidates of q queries without the ``rows``, q times int32, of each."""
    counts = [len(some) for some in rows]
    if not any(counts):
        return candidates
    gone = rows[0] if len(rows) == 1 else np.concatenate(rows)
    ends = np.fromiter(accumulate(counts), np.int64, len(counts))
    left = kernels.without(np.ascontiguousarray(candidates.rows), np.ascontiguousarray(candidates.scores), gone, ends)
    if left is None:
        return candidates
    signals = {name: np.where(left[2], signal, np.float32(np.nan)) for name, signal in candidates.signals.items()}
    return Candidates(left[0], left[1], signals)
