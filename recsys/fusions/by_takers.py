"""Fusion of what was learned of items with what their content says, by how many took them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Float32, Int32
from recsys.candidates import Candidates, fuse, reciprocal_ranks
from recsys.retrieval import Parts, Query, Source


@dataclass(frozen=True, slots=True, eq=False)
class ByTakers:
    """Ranks among learned neighbours and among content neighbours, weighed for each pair of items.

    n takers of an item make what was learned of it worth t = n / (n + κ). Of items a, which is asked about, and b the
    learned rank counts t(a) · t(b) and the content rank the rest: Σ weight / (60 + rank). A pair of which one is new is
    compared by content alone; one that many took, by what they took with it. What counts for nothing is not proposed.

    ``takers``: float32 (n,). ``content``: what the source is called whose word is content's; every other one's is
    learned.
    """

    takers: Float32
    kappa: float
    content: str
    pool: int

    @classmethod
    def of(cls, parts: Parts, kappa: float, content: str = "content-nearest", pool: int = 100) -> ByTakers:
        """``kappa``: takers at which both count the same. ValueError if it is negative, or the pool is below 1."""
        if not 0 <= kappa < np.inf:
            raise ValueError(f"kappa is {kappa}: a number of takers was wanted, 0 or more")
        if pool < 1:
            raise ValueError(f"pool is {pool}: ask for at least 1")
        return cls(parts.popularity, kappa, content, pool)

    def __call__(
        self,
        queries: Sequence[Query],
        proposals: Mapping[str, Candidates],
        sources: Mapping[str, Source],  # noqa: ARG002  ranks say it all
    ) -> Candidates:
        """Each item once; a query asks about its newest item, and one without any goes by content."""
        asked = np.array([query.recent[0] if len(query.recent) else -1 for query in queries], np.int32)
        shares = {}
        for name, proposal in proposals.items():
            learned = self._trust(asked)[:, None] * self._trust(proposal.rows)
            shares[name] = reciprocal_ranks(proposal) * (1 - learned if name == self.content else learned)
        fused = fuse(proposals, shares)
        return fused.keep(fused.scores > 0)

    def _trust(self, rows: Int32) -> Float32:
        """What was learned is worth of items of any shape, n / (n + κ); 0 where nobody took it or there is none."""
        takers = np.where(rows >= 0, self.takers[np.maximum(rows, 0)], 0)
        trust: Float32 = np.divide(takers, takers + self.kappa, out=np.zeros(rows.shape, np.float32), where=takers > 0)
        return trust
