"""Nothing comes back that was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
        counts = [len(query.seen) for query in queries]
        if not any(counts):
            return candidates
        # Query and item in one number, so that the whole batch is one search.
        lines = np.arange(len(queries), dtype=np.int64) << 32
        seen = np.sort(np.repeat(lines, counts) + np.concatenate([query.seen for query in queries]))
        codes = lines[:, None] + candidates.rows
        at = np.minimum(np.searchsorted(seen, codes.ravel()), len(seen) - 1).reshape(codes.shape)
        return candidates.keep(seen[at] != codes)
