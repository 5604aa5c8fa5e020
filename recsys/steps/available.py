"""Nothing is answered that is not there any more."""

from __future__ import annotations

from dataclasses import dataclass

from recsys.candidates import Unwanted
from recsys.masks import Mask
from recsys.retrieval import Parts, Query
from recsys.steps.excluding import Excluding


@dataclass(frozen=True, slots=True, eq=False)
class Available(Excluding):
    """Empty the slots of items that may not be answered; every surface begins with it as soon as there are any."""

    allowed: Mask | None

    @classmethod
    def of(cls, parts: Parts) -> Available:
        """No options."""
        return cls(parts.available)

    def unwanted(self, query: Query) -> Unwanted:  # noqa: ARG002  all alike
        """What is not there."""
        return Unwanted(masks=() if self.allowed is None else (self.allowed,))
