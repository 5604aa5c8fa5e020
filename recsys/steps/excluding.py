"""Steps that take items away for what they are, whoever proposed them and wherever they stand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from recsys.arrays import Int32
from recsys.candidates import Candidates, Unwanted
from recsys.kernels import candidates as kernels
from recsys.retrieval import Query


class Excluding(ABC):
    """Empties the slots of what each query does not want; says so beforehand, so that nobody needs to propose it."""

    __slots__ = ()

    @abstractmethod
    def unwanted(self, query: Query) -> Unwanted:
        """What must not be answered to a query."""

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:
        """The candidates without what each query does not want."""
        unwanted = [self.unwanted(query) for query in queries]
        for rows in zip(*(each.rows for each in unwanted), strict=True):
            candidates = without(candidates, rows)
        if not any(each.masks for each in unwanted):
            return candidates
        held = np.ones(candidates.shape, bool)
        for line, each in enumerate(unwanted):
            for mask in each.masks:
                held[line] &= mask.holds(candidates.rows[line])
        return candidates.keep(held)


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
