"""Nothing is answered that is not there any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recsys.candidates import Candidates
from recsys.masks import Mask
from recsys.retrieval import Parts, Query


@dataclass(frozen=True, slots=True, eq=False)
class Available:
    """Empty the slots of items that may not be answered; every surface begins with it as soon as there are any."""

    allowed: Mask | None

    @classmethod
    def of(cls, parts: Parts) -> Available:
        """No options."""
        return cls(parts.available)

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:  # noqa: ARG002  all alike
        """The candidates without them."""
        return candidates if self.allowed is None else candidates.keep(self.allowed.holds(candidates.rows))
