"""Nothing comes back that a request or its user does not want."""

from __future__ import annotations

from dataclasses import dataclass

from recsys.candidates import Unwanted
from recsys.retrieval import Parts, Query
from recsys.steps.excluding import Excluding


@dataclass(frozen=True, slots=True)
class Wanted(Excluding):
    """Empty the slots of items that the query excludes or does not allow, or that its user dismissed.

    Every surface begins with it.
    """

    @classmethod
    def of(cls, parts: Parts) -> Wanted:  # noqa: ARG003  every step is built from the parts
        """No options."""
        return cls()

    def unwanted(self, query: Query) -> Unwanted:
        """What it excludes, what its user dismissed, and all that it does not allow."""
        return Unwanted((query.excluded, query.dismissed), () if query.allowed is None else (query.allowed,))
