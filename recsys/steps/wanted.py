"""Nothing comes back that a request or its user does not want."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.candidates import Candidates
from recsys.retrieval import Parts, Query
from recsys.steps.seen import without


@dataclass(frozen=True, slots=True)
class Wanted:
    """Empty the slots of items that the query excludes or does not allow, or that its user dismissed.

    Every surface begins with it.
    """

    @classmethod
    def of(cls, parts: Parts) -> Wanted:  # noqa: ARG003  every step is built from the parts
        """No options."""
        return cls()

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:
        """The candidates without them."""
        if not any(len(query.excluded) or len(query.dismissed) or query.allowed is not None for query in queries):
            return candidates
        candidates = without(candidates, [query.excluded for query in queries])
        candidates = without(candidates, [query.dismissed for query in queries])
        if all(query.allowed is None for query in queries):
            return candidates
        held = np.ones(candidates.shape, bool)
        for line, query in enumerate(queries):
            if query.allowed is not None:
                held[line] = query.allowed.holds(candidates.rows[line])
        return candidates.keep(held)
