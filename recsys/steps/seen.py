"""Nothing comes back that was seen."""

from __future__ import annotations

from dataclasses import dataclass

from recsys.candidates import Unwanted
from recsys.retrieval import Parts, Query
from recsys.steps.excluding import Excluding


@dataclass(frozen=True, slots=True)
class Seen(Excluding):
    """Empty the slots of items that the query has seen."""

    @classmethod
    def of(cls, parts: Parts) -> Seen:  # noqa: ARG003  every step is built from the parts
        """No options."""
        return cls()

    def unwanted(self, query: Query) -> Unwanted:
        """What it has seen."""
        return Unwanted((query.seen,))
