"""Nothing comes back that was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Int32
from recsys.candidates import Candidates
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
    if len(rows) == 1:
        hidden, codes = np.sort(rows[0]), candidates.rows
    else:
        # Query and item in one number, so that the whole batch is one search.
        lines = np.arange(len(rows), dtype=np.int64) << 32
        hidden, codes = np.sort(np.repeat(lines, counts) + np.concatenate(rows)), lines[:, None] + candidates.rows
    at = np.minimum(hidden.searchsorted(codes), len(hidden) - 1)
    left = hidden[at] != codes
    return candidates if left.all() else candidates.keep(left)
