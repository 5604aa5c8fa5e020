"""An order to listen in: neighbours are near each other, and the first one is by somebody the user knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Bool, Float32, Int32, Int64, ranges
from recsys.candidates import Candidates
from recsys.errors import unknown_choice
from recsys.retrieval import SIMILAR_INDEX, Parts, Query

CHUNK = 128
"""Lists whose vectors are gathered at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Put the first ``length`` places into another order: from the opener, always on to the nearest that is left.

    The opener is the best item that shares a value of ``column`` with any of the recent items: a familiar artist; the
    best item where there is none, or no column. Equally near ones go by their places.
    Laws: the same items, the same ones among the first ``length``; a zero vector is near none.

    ``vectors``: float32 (n, d), of length one or zero. Item i's values are ``groups[starts[i]:starts[i + 1]]``.
    """

    vectors: Float32
    length: int
    starts: Int64
    groups: Int64

    @classmethod
    def of(cls, parts: Parts, length: int = 30, column: str = "", vectors: str = SIMILAR_INDEX) -> Flow:
        """``column``: of texts or of lists of texts. ``vectors`` names the release's unit vectors."""
        if length < 1:
            raise ValueError(f"length is {length}: at least 1 was wanted")
        if vectors not in parts.vectors:
            raise ValueError(unknown_choice("vectors", vectors, parts.vectors))
        if column and parts.catalogue is None:
            raise ValueError(f"column {column!r} is asked for, and there is no catalogue")
        nothing = np.zeros(1, np.int64), np.zeros(0, np.int64)
        memberships = parts.catalogue.memberships(column) if column and parts.catalogue else nothing
        return cls(parts.vectors[vectors], length, *memberships)

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:
        """The candidates, best first, the first places in another order."""
        found = candidates.top(candidates.shape[1])
        length = min(self.length, found.shape[1])
        if length < 2:
            return found
        order = np.tile(np.arange(found.shape[1]), (found.shape[0], 1))
        openers = self._openers(queries, found.rows[:, :length])
        for start in range(0, len(order), CHUNK):
            part = slice(start, start + CHUNK)
            order[part, :length] = self._chained(found.rows[part, :length], openers[part])
        return found.reordered(order)

    def _openers(self, queries: Sequence[Query], rows: Int32) -> Int64:
        """The place that each list begins with, int64 (q,)."""
        recent = np.concatenate([query.recent for query in queries])
        lines = np.repeat(np.arange(len(queries)), [len(query.recent) for query in queries])
        known, _ = self._codes(lines, recent)
        codes, at = self._codes(np.repeat(np.arange(len(rows)), rows.shape[1]), rows.ravel())
        familiar = np.zeros(rows.size, bool)
        familiar[at[np.isin(codes, known)]] = True
        openers: Int64 = familiar.reshape(rows.shape).argmax(axis=1)
        return openers

    def _codes(self, lines: Int64, rows: Int32) -> tuple[Int64, Int64]:
        """Query and value in one number, for each value that an item has; and the place of that item in ``rows``."""
        # Items that came after the catalogue was grouped have no value, nor have empty slots.
        has: Bool = (rows >= 0) & (rows < len(self.starts) - 1)
        places = np.flatnonzero(has)
        starts = self.starts[rows[places]]
        lengths = self.starts[rows[places] + 1] - starts
        values = self.groups[np.repeat(starts, lengths) + ranges(lengths)]
        at = np.repeat(places, lengths)
        return (lines[at] << 32) + values, at

    def _chained(self, rows: Int32, openers: Int64) -> Int64:
        """Places of (q, m) items in the order in which they are heard."""
        vectors = np.asarray(self.vectors[np.maximum(rows, 0)])
        likeness = np.matmul(vectors, vectors.transpose(0, 2, 1))
        lines = np.arange(len(rows))
        order = np.empty(rows.shape, np.int64)
        # What is empty stays behind everything.
        left = np.where(rows >= 0, np.float32(0), np.float32(-4))
        now = openers
        for place in range(rows.shape[1]):
            order[:, place] = now
            left[lines, now] = -np.inf
            now = (likeness[lines, now] + left).argmax(axis=1)
        return order
