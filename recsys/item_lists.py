"""For each item the items that go with it: what item-item models learn and serve."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsys.arrays import Float32, Float64, Int32, Patched, patched
from recsys.candidates import NONE
from recsys.kernels import candidates as kernels
from recsys.mapping import load_mapped


@dataclass(frozen=True, slots=True, eq=False)
class ItemLists:
    """The K items that each of n items speaks for.

    ``rows``: int32 (n, K), -1 where empty. ``weights``: float32 (n, K), 0 where empty. A user's score of an item is
    Σ over the user's items i of weight of i · weight of the item in the list of i.
    """

    rows: Int32
    weights: Float32

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or self.rows.shape != self.weights.shape:
            raise ValueError(f"rows are {self.rows.shape} and weights {self.weights.shape}: both must be (n, K)")

    def __len__(self) -> int:
        return len(self.rows)

    def scores(self, histories: list[Int32], weights: list[Float32]) -> Float32:
        """Every item's score for q histories of item rows with their weights: float32 (q, n), 0 for no word of it."""
        n, k = self.rows.shape
        lengths = [len(history) for history in histories]
        if not sum(lengths):
            return np.zeros((len(histories), n), np.float32)
        taken = np.concatenate(histories)
        said = self.weights[taken] * np.maximum(np.concatenate(weights), 0)[:, None]
        lines = np.repeat(np.arange(len(histories), dtype=np.int64) * n, np.multiply(lengths, k))
        # An empty slot has weight 0, so it may point anywhere.
        at = lines + np.maximum(self.rows[taken], 0).ravel()
        total = np.bincount(at, said.ravel(), len(histories) * n)
        return total.reshape(len(histories), n).astype(np.float32)

    def touched(self, history: Int32, weights: Float32) -> tuple[Int32, Float32]:
        """The items of which a history says anything, int32 (m,), in any order, and their scores, float32 (m,).

        What :meth:`scores` gives, in a time that does not grow with the catalogue.
        """
        if isinstance(self.rows, Patched):
            lists = np.arange(len(history), dtype=np.int32)
            return kernels.summed(self.rows[history], self.weights[history], lists, weights)
        return kernels.summed(self.rows, self.weights, history, weights)

    def explain(self, history: Int32, weights: Float32, rows: Int32) -> Float64:
        """What each of r items of a history adds to the scores of ``rows``, int32 (m,): float64 (m, r)."""
        said = np.where(self.rows[history] >= 0, self.weights[history], 0) * np.maximum(weights, 0)[:, None]
        told: Float64 = np.einsum("rk,mrk->mr", said, self.rows[history] == rows[:, None, None], dtype=np.float64)
        return told

    def grown(self, items: int) -> ItemLists:
        """With empty lists for so many further items; nothing is copied."""
        n, k = self.rows.shape
        new = np.arange(n, n + items)
        rows = patched(self.rows, new, np.full((items, k), NONE))
        return ItemLists(rows, patched(self.weights, new, np.zeros((items, k), np.float32)))

    def save(self, folder: Path) -> None:
        """Write ``rows.npy`` and ``weights.npy`` into ``folder``, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "rows.npy", self.rows, allow_pickle=False)
        np.save(folder / "weights.npy", self.weights, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> ItemLists:
        """Map what :meth:`save` wrote."""
        lists = cls(load_mapped(folder / "rows.npy"), load_mapped(folder / "weights.npy"))
        if len(lists) and not -1 <= lists.rows.min() <= lists.rows.max() < len(lists):
            raise ValueError(f"lists of {len(lists)} items name rows {lists.rows.min()} to {lists.rows.max()}")
        return lists


def lists_of(rows: Int32, weights: Float32) -> ItemLists:
    """Lists with the slots whose weight is 0 or not finite emptied, and those that hold nothing at all cut off."""
    kept = (rows >= 0) & np.isfinite(weights) & (weights != 0)
    width = max(1, int(np.flatnonzero(kept.any(axis=0)).max(initial=0)) + 1)
    return ItemLists(
        np.ascontiguousarray(np.where(kept, rows, NONE)[:, :width], np.int32),
        np.ascontiguousarray(np.where(kept, weights, 0)[:, :width], np.float32),
    )
