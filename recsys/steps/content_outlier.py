"""Neighbours that content calls absurd: what people take together need not be alike.

Dieleman (2014) found intros, covers and remixes among the nearest tracks of a latent space. One track's content says
little of one neighbour; what all the neighbours have in common says much. So a neighbour is held against its company:
the item asked about and the other neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Bool, Float32
from recsys.candidates import Candidates
from recsys.errors import unknown_choice
from recsys.retrieval import Parts, Query

CONTENT = "content"
"""The vectors it looks at."""
LOOKED_AT = 1024
"""Rows, evenly spread over the catalogue, that stand for what an item is like at random."""
TOO_FEW = 8
"""With fewer neighbours of known content, company says nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class ContentOutlier:
    """Empty the slots of items whose content is no nearer to their company's than that of an item at random.

    Content vectors are taken less their mean and at length one. A neighbour's company are the items that the query is
    about and its other neighbours: the mean of their vectors. The neighbour goes if its inner product with that mean is
    below the ``quantile`` of what items at random have with it.
    Laws: an item of unknown content stays, and one that is the mean itself; so does everything where the content of
    the items asked about is unknown, or that of all but a few neighbours; no more than ``share`` of the neighbours of
    known content go, the least alike first; what the other queries of the batch are changes nothing.

    ``vectors``: float32 (n, w), zero rows where nothing is known. ``mean``: float32 (w,). ``usual``: float32 (m, w),
    items at random, less the mean and at length one.
    """

    vectors: Float32
    mean: Float32
    usual: Float32
    quantile: float
    share: float

    @classmethod
    def of(cls, parts: Parts, quantile: float = 0.5, share: float = 0.3, vectors: str = CONTENT) -> ContentOutlier:
        """``quantile`` and ``share``: from 0, nothing goes, to 1. ``vectors`` names the release's vectors."""
        for name, value in (("quantile", quantile), ("share", share)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}: it must lie between 0 and 1")
        if vectors not in parts.vectors:
            raise ValueError(unknown_choice("vectors", vectors, parts.vectors))
        content = parts.vectors[vectors]
        spread = np.unique(np.linspace(0, max(len(content) - 1, 0), LOOKED_AT).astype(np.int64))
        sample = np.asarray(content[spread[: len(content)]], np.float32)
        sample = _unit(sample[sample.any(axis=1)])
        mean = sample.mean(axis=0) if len(sample) else np.zeros(content.shape[1], np.float32)
        return cls(content, mean, _unit(sample - mean), quantile, share)

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:
        """The candidates without what is out of place."""
        if not self.quantile or not self.share or not len(self.usual):
            return candidates
        absurd = np.zeros(candidates.shape, bool)
        for place, query in enumerate(queries):
            asked, known = self._content(query.recent)
            if known.any():
                absurd[place] = self._absurd(asked[known], candidates.rows[place])
        return candidates.keep(candidates.filled & ~absurd) if absurd.any() else candidates

    def _absurd(self, asked: Float32, rows: np.ndarray) -> Bool:
        """Which of one query's slots, bool (n,), hold what has nothing to do with the others."""
        found, known = self._content(rows)
        count = int(known.sum())
        if count < TOO_FEW:
            return np.zeros(len(rows), bool)
        total = found.sum(axis=0) + asked.sum(axis=0)
        others = count + len(asked)
        # Each neighbour is taken out of its own company: with itself it has an inner product of one.
        alike = np.where(known, (found @ total - 1) / (others - 1), np.inf)
        usual = np.quantile(self.usual @ total / others, self.quantile)
        absurd: Bool = alike < usual
        most = int(self.share * count)
        if absurd.sum() > most:
            absurd = np.zeros(len(rows), bool)
            absurd[np.argsort(alike, kind="stable")[:most]] = True
        return absurd

    def _content(self, rows: np.ndarray) -> tuple[Float32, Bool]:
        """Vectors of items less the mean and at length one, and which are known; zeros for the others and for -1."""
        if not len(rows):
            return np.zeros((0, len(self.mean)), np.float32), np.zeros(0, bool)
        vectors = np.asarray(self.vectors[np.maximum(rows, 0)], np.float32)
        there = (rows >= 0) & vectors.any(axis=1)
        vectors = _unit(np.where(there[:, None], _unit(vectors) - self.mean, np.float32(0)))
        return vectors, np.asarray(vectors.any(axis=1))


def _unit(vectors: Float32) -> Float32:
    """At length one; zeros for what is no longer than rounding makes the difference of two equal vectors."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Float32 = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-5)
    return unit
