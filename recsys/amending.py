"""A release's parts with items that changed since it was made: nothing that is mapped is copied or written to.

An item that nobody took when the release was made gets its vectors from its content, whether it is new or not; what the
release learned of the others stays, whatever is said of them now. Content vectors follow the description.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recsys.arrays import Bool, Float32, Int32, UInt64, patched, unit
from recsys.folding import Fold
from recsys.masks import Mask
from recsys.retrieval import CONTENT_INDEX, ITEMS_INDEX, SIMILAR_INDEX, GrowingIndex, Parts, SearchIndex

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
        content = None if parts.content is None else parts.content.encode(self.said)
        # Those whose place is said by their content; without any, new ones have none.
        moved = self.rows >= parts.items
        if content is not None:
            moved |= ~self._taken(parts)
        placed = {} if parts.content is None or content is None else parts.content.placed(content[moved])
        told = self._vectors(parts, content, moved, placed)
        indexes = {name: self._index(index, *told[name], grow) for name, index in parts.indexes.items()}
        vectors = {name: patched(array, *told[name]) for name, array in parts.vectors.items()}
        if fold is not None:
            kept, nowhere = fold.per_item(), np.zeros((int(moved.sum()), fold.items.shape[1]), np.float32)
            rows = self.rows[moved]
            fold = fold.replaced({name: patched(kept[name], rows, placed.get(name, nowhere)) for name in kept})
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

    def _vectors(
        self, parts: Parts, content: Float32 | None, moved: Bool, placed: Mapping[str, Float32]
    ) -> Mapping[str, tuple[Int32, Float32]]:
        """For each of the release's vectors which rows get others, and which; zeros where nothing is known."""
        rows = self.rows[moved]
        told = {
            name: (rows, np.zeros((len(rows), array.shape[1]), np.float32)) for name, array in parts.vectors.items()
        }
        if content is not None:
            told[CONTENT_INDEX] = self.rows, content
        if ITEMS_INDEX in placed:
            told[ITEMS_INDEX], told[SIMILAR_INDEX] = (rows, placed[ITEMS_INDEX]), (rows, unit(placed[ITEMS_INDEX]))
        return told

    def _taken(self, parts: Parts) -> Bool:
        """Which of the rows the release learned of from somebody."""
        known = self.rows < parts.items
        taken = np.zeros(len(self.rows), bool)
        taken[known] = parts.popularity[self.rows[known]] > 0
        return taken

    def _index(self, index: SearchIndex, rows: Int32, vectors: Float32, grow: Grow) -> GrowingIndex:
        growing = index if isinstance(index, GrowingIndex) else grow(index)
        growing = growing.put(rows, vectors)
        # What is nowhere is not found: it has an inner product of 0, which is more than many.
        nowhere = rows[~vectors.any(axis=1)]
        back = np.setdiff1d(self.rows, rows)
        return growing.restore(back.tolist()).remove([*nowhere.tolist(), *self.gone.tolist()])
