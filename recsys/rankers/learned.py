"""The order that a release learned: features of each candidate, boosted trees, a probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Float64, Int32
from recsys.candidates import EMPTY, Candidates, along
from recsys.features import check_features, features_of
from recsys.kernels import candidates as kernels
from recsys.ranking import Ranker
from recsys.retrieval import Parts, Query

CHUNK = 64
"""Queries whose features are held at once."""


@dataclass(frozen=True, slots=True, eq=False)
class LearnedOrder:
    """The best ``depth`` candidates by the probability that they are taken; the others behind them as they stood.

    Laws: the same items, each once; the score of one of the first ``depth`` is a probability, of those behind it is
    less than the least of them; a batch answers as its queries would one by one.
    """

    ranker: Ranker
    parts: Parts
    depth: int

    @classmethod
    def of(cls, parts: Parts, sources: Sequence[str], depth: int = 200) -> LearnedOrder:
        """``depth``: how many candidates are looked at. ValueError if it is below 1, and for features that are missing.

        ``sources``: what those of the surface are called.
        """
        if depth < 1:
            raise ValueError(f"depth is {depth}: look at 1 candidate or more")
        if parts.ranker is None:
            raise ValueError("this release holds no ranker: train it with [ranker]")
        check_features(parts.ranker.features, parts, sources)
        return cls(parts.ranker, parts, depth)

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:
        """The candidates in their order, best first."""
        ordered = candidates.top(candidates.shape[1])
        head = ordered.part(slots=slice(0, self.depth))
        scores = np.full(head.shape, EMPTY)
        for start in range(0, len(queries), CHUNK):
            block = slice(start, start + CHUNK)
            filled = head.filled[block]
            rows = features_of(self.ranker.features, queries[block], head.part(block), self.parts)
            if np.count_nonzero(filled) == filled.size:
                scores[block] = self.ranker.score(rows.reshape(-1, rows.shape[2])).reshape(filled.shape)
            else:
                scores[block][filled] = self.ranker.score(rows[filled])
        order, scores = kernels.ranked(np.ascontiguousarray(ordered.rows), scores)
        signals = {name: along(signal, order) for name, signal in ordered.signals.items()}
        return Candidates(along(ordered.rows, order), scores, signals)

    @property
    def reads_shown(self) -> bool:
        """Whether it looks at what was shown to a user."""
        return "shown" in self.features

    @property
    def features(self) -> Sequence[str]:
        """The names of what it looks at."""
        return self.ranker.features

    def explain(self, query: Query, candidates: Candidates, rows: Int32) -> Float64:
        """What each feature adds to the log-odds of items, int32 (m,), among a query's candidates, (1, n).

        float64 (m, features); 0 for one that is not among the first ``depth``, which nothing was asked about.
        """
        head = candidates.top(candidates.shape[1]).part(slots=slice(0, self.depth))
        places = {row: place for place, row in enumerate(head.rows[0].tolist()) if row >= 0}
        asked = [line for line, row in enumerate(rows.tolist()) if row in places]
        found = np.zeros((len(rows), len(self.features)))
        if asked:
            looked_at = features_of(self.features, [query], head, self.parts)[0]
            found[asked] = self.ranker.explain(looked_at[[places[int(rows[line])] for line in asked]])[0]
        return found
