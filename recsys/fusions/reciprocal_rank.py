"""Fusion by rank alone: sources' scores share no scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recsys.candidates import Candidates, Unwanted, blend, fuse
from recsys.retrieval import Parts, Query, Source


@dataclass(frozen=True, slots=True)
class ReciprocalRank:
    """Σ 1 / (60 + rank) over the sources that proposed the item. Cormack, Clarke & Büttcher (2009)."""

    pool: int

    @classmethod
    def of(cls, parts: Parts, pool: int = 100) -> ReciprocalRank:  # noqa: ARG003  every part is built from the parts
        """``pool``: items wanted of each source at least, where there are several."""
        if pool < 1:
            raise ValueError(f"pool is {pool}: ask for at least 1")
        return cls(pool)

    def __call__(
        self,
        queries: Sequence[Query],  # noqa: ARG002  ranks say it all
        proposals: Mapping[str, Candidates],
        sources: Mapping[str, Source],  # noqa: ARG002
    ) -> Candidates:
        """Each item once."""
        return fuse(proposals)

    def blend(
        self, proposals: Mapping[str, Candidates], unwanted: Sequence[Unwanted], pool: int | None, most: int | None
    ) -> Candidates:
        """The same of what is wanted, best first."""
        return blend(proposals, unwanted, pool, most)
