"""A release's parts with items that changed since it was made: nothing that is mapped is copied or written to.

An item that nobody took when the release was made gets its vectors from its content, whether it is new or not; what the
release learned of the others stays, whatever is said of them now. Content vectors follow the description.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recsys.arrays import Bool, Float32, Int32, UInt64, patched
from recsys.candidates import NONE
from recsys.folding import Fold
from recsys.masks import Mask
from recsys.retrieval import CONTENT_INDEX, ITEMS_INDEX, SIMILAR_INDEX, GrowingIndex, Parts, SearchIndex

ALIKE = 10
"""Items that a new one is taken to be like, where a fold needs to know more of it than its vector."""

Description = Mapping[str, Any]
Grow = Callable[[SearchIndex], GrowingIndex]
"""A built index → one that takes items and lets go of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Amendment:
    """What changed: ``rows``, int32 (m,), described as ``said``, and ``gone``, int32 (g,), that were deleted.

    ``rows`` are different; those that a release did not have go on behind its last, and so do their ``keys``, uint64,
    of every item that came since the release was made.
    """

    rows: Int32
    said: Sequence[Description]
    gone: Int32
    keys: UInt64

    def of(self, parts: Parts, fold: Fold | None, grow: Grow) -> tuple[Parts, Fold | None]:
        """The parts and the fold with it."""
        told = self._vectors(parts)
        indexes = {name: self._index(name, index, told, grow) for name, index in parts.indexes.items()}
        vectors = {name: patched(array, *told[name]) for name, array in parts.vectors.items()}
        if fold is not None and ITEMS_INDEX in told:
            fold = fold.amended(*told[ITEMS_INDEX], lambda: self._alike(parts, told))
        new = int((self.rows >= parts.items).sum())
        items, built = parts.items + new, parts.items + new - len(self.keys)
        available = Mask.of(np.ones(parts.items, bool)) if parts.available is None else parts.available
        available = (available.grown(new) | Mask.of_rows(self.rows, items)) & ~Mask.of_rows(self.gone, items)
        # Behind everything else, in an order that does not depend on when who heard of what.
        last = built + np.argsort(self.keys, kind="stable").astype(np.int32)
        order = None if parts.order is None else np.concatenate([parts.order[:built], last.astype(np.int32)])
        least = np.float32(min(0, parts.popularity.min(initial=0)))
        return replace(
            parts,
            items=items,
            indexes=indexes,
            vectors=vectors,
            popularity=np.concatenate([parts.popularity, np.full(new, least)]),
            lists={name: lists.grown(new) for name, lists in parts.lists.items()},
            available=None if available.count == items else available,
            order=order,
        ), fold

    def _vectors(self, parts: Parts) -> Mapping[str, tuple[Int32, Float32]]:
        """For each of the release's vectors which rows get others, and which; zeros where nothing is known."""
        new = self.rows >= parts.items
        told = {
            name: (self.rows[new], np.zeros((int(new.sum()), array.shape[1]), np.float32))
            for name, array in parts.vectors.items()
        }
        if parts.content is not None:
            content = parts.content.encode(self.said)
            told[CONTENT_INDEX] = self.rows, content
            untaken = ~self._taken(parts)
            if ITEMS_INDEX in told:
                placed = parts.content.place(content[untaken])
                told[ITEMS_INDEX] = self.rows[untaken], placed
                told[SIMILAR_INDEX] = self.rows[untaken], unit(placed)
        return told

    def _taken(self, parts: Parts) -> Bool:
        """Which of the rows the release learned of from somebody."""
        known = self.rows < parts.items
        taken = np.zeros(len(self.rows), bool)
        taken[known] = parts.popularity[self.rows[known]] > 0
        return taken

    def _index(
        self, name: str, index: SearchIndex, told: Mapping[str, tuple[Int32, Float32]], grow: Grow
    ) -> GrowingIndex:
        growing = index if isinstance(index, GrowingIndex) else grow(index)
        rows, vectors = told[name]
        growing = growing.put(rows, vectors)
        # What is nowhere is not found: it has an inner product of 0, which is more than many.
        nowhere = rows[~vectors.any(axis=1)]
        back = np.setdiff1d(self.rows, rows)
        return growing.restore(back.tolist()).remove([*nowhere.tolist(), *self.gone.tolist()])

    def _alike(self, parts: Parts, told: Mapping[str, tuple[Int32, Float32]]) -> Int32:
        """Which items each that gets a vector is like, int32 (m, 10), -1 where none."""
        _, directions = told[SIMILAR_INDEX]
        if not len(directions):
            return np.zeros((0, ALIKE), np.int32)
        found = parts.indexes[SIMILAR_INDEX].search(directions, ALIKE)
        return np.where(found.scores > 0, found.rows, NONE)


def unit(vectors: Float32) -> Float32:
    """The vectors at length one; zero stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Float32 = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return found
