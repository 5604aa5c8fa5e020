"""Boosted trees, read from LightGBM's text and evaluated in numpy alone: no training library answers requests.

QuickScorer, Lucchese et al. (2015): the leaves of a tree are bits of a word, in the order from left to right. A split
that sends a row to the right takes the leaves below its left away; of what is left the first is the row's leaf. Here
all splits by one column are one table: line p holds, for each tree, what is left after the p smallest thresholds were
passed. A row's leaves in all trees are then one line a column, joined by AND.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Float32, Float64, Int64

BLOCK = 256
"""Rows whose words are joined at once, so that they stay in the cache."""
WORDS = (np.uint16, np.uint32, np.uint64)
MOST_LEAVES = 64
"""The bits of the longest word."""

# Bits of a decision_type, see NumericalDecision in LightGBM's tree.h.
_CATEGORICAL, _LEFT_IF_MISSING, _MISSING_SHIFT, _MISSING_IS_NAN, _MISSING_IS_ZERO = 1, 2, 2, 2, 1


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """Every split by one column.

    ``thresholds``: float32 (t + 1,), ascending, infinity behind the last: a value lies above a threshold exactly if it
    lies above the next float32 below that, and nan above infinity. ``words``: uint16, uint32 or uint64 (t + 2, trees):
    line p is left where p thresholds lie below the value, the last line where the value is nan.
    """

    column: int
    thresholds: Float32
    words: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """Regression trees over ``columns`` columns.

    ``leaves``: float64 (trees, bits of a word), the values from left to right.
    Laws: equal to LightGBM's raw prediction up to the rounding of the sum; nan goes where LightGBM sends it; a batch
    equals its rows one by one.
    """

    columns: int
    splits: Sequence[Splits]
    leaves: Float64

    @classmethod
    def of(cls, text: str) -> Trees:
        """Read what LightGBM's ``model_to_string`` wrote.

        ValueError for what is no such text, and for what is not evaluated here: trees of more than 64 leaves, of
        categories, linear ones, averaged ones, and those to which zero means missing.
        """
        head, *sections = text.split("\nTree=")
        described = pairs_of(head)
        if not head.startswith("tree") or "max_feature_idx" not in described or not sections:
            raise ValueError("this is no booster in LightGBM's text: `tree`, `max_feature_idx` and a tree were wanted")
        if "average_output" in head.splitlines():
            raise ValueError("this booster averages its trees (a forest): boosted ones are evaluated here")
        columns = int(described["max_feature_idx"]) + 1
        trees = []
        for at, section in enumerate(sections):
            try:
                trees.append(_Tree.of(pairs_of(section.split("\n\n")[0]), columns))
            except (KeyError, IndexError, ValueError) as error:
                raise ValueError(f"tree {at} of this booster cannot be evaluated: {error}") from error
        most = max(len(tree.values) for tree in trees)
        word = next(word for word in WORDS if most <= 8 * word().itemsize)
        leaves = np.zeros((len(trees), 8 * word().itemsize))
        for at, tree in enumerate(trees):
            leaves[at, : len(tree.values)] = tree.values
        found = []
        for column in range(columns):
            mine = [(at, split) for at, tree in enumerate(trees) for split in tree.splits if split.column == column]
            if mine:
                found.append(_splits(column, mine, len(trees), word))
        return cls(columns, found, leaves)

    def __len__(self) -> int:
        return len(self.leaves)

    def score(self, rows: Float32) -> Float64:
        """The sum over the trees for each row, float32 (m, columns): float64 (m,). ValueError for another width."""
        if rows.ndim != 2 or rows.shape[1] != self.columns:
            raise ValueError(f"rows are {rows.shape} but the trees were grown on {self.columns} columns: they must fit")
        scores = np.empty(len(rows))
        for start in range(0, len(rows), BLOCK):
            scores[start : start + BLOCK] = self._block(rows[start : start + BLOCK])
        return scores

    def _block(self, rows: Float32) -> Float64:
        word = self.splits[0].words.dtype.type if self.splits else WORDS[0]
        left = np.full((len(rows), len(self)), ~word(0))
        taken = np.empty_like(left)
        columns = np.ascontiguousarray(rows.T, np.float32)
        for splits in self.splits:
            lines = splits.thresholds.searchsorted(columns[splits.column])
            if lines[0] == lines[-1] and (lines == lines[0]).all():  # what is said of the user is the same in every row
                np.bitwise_and(left, splits.words[lines[0]], out=left)
            else:
                splits.words.take(lines, axis=0, out=taken, mode="clip")
                np.bitwise_and(left, taken, out=left)
        # The bits below the lowest one that is left.
        first = np.bitwise_count(~left & (left - word(1)))
        places = np.add(first, np.arange(len(self)) * self.leaves.shape[1], dtype=np.intp)
        total: Float64 = self.leaves.ravel().take(places).sum(axis=1)
        return total


@dataclass(frozen=True, slots=True)
class _Split:
    """One split: ``left``: the leaves on its left as bits. ``nan_right``: whether a value that is nan goes right."""

    column: int
    threshold: float
    left: int
    nan_right: bool


@dataclass(frozen=True, slots=True)
class _Tree:
    """The values of the leaves from left to right, and the splits."""

    values: Sequence[float]
    splits: Sequence[_Split]

    @classmethod
    def of(cls, described: Mapping[str, str], columns: int) -> _Tree:
        """ValueError says what is wrong with the tree."""
        leaves = int(described["num_leaves"])
        values = [float(value) for value in described["leaf_value"].split()]
        if leaves == 1 and np.isfinite(values[:1]).all():
            return cls(values[:1], ())
        names = ("left_child", "right_child", "split_feature", "decision_type")
        left, right, column, decision = ([int(value) for value in described[name].split()] for name in names)
        threshold = [float(value) for value in described["threshold"].split()]
        if not 1 < leaves <= MOST_LEAVES:
            raise ValueError(f"it has {leaves} leaves, at most {MOST_LEAVES} are evaluated here")
        if {len(part) for part in (left, right, column, decision, threshold)} != {leaves - 1} or len(values) != leaves:
            raise ValueError(f"it says that it has {leaves} leaves, its lists have other lengths")
        if not all(0 <= one < columns for one in column) or not np.isfinite(values).all() or np.isnan(threshold).any():
            raise ValueError(f"it splits by a column beyond the {columns}th, or holds what is no number")
        missing = [said >> _MISSING_SHIFT & 3 for said in decision]
        _check_kinds(described, decision, missing)
        order, below = _left_to_right(left, right)
        splits = [
            _Split(
                column[node],
                threshold[node],
                below[node],
                not decision[node] & _LEFT_IF_MISSING if missing[node] == _MISSING_IS_NAN else threshold[node] < 0,
            )
            for node in range(leaves - 1)
        ]
        return cls([values[leaf] for leaf in order], splits)


def _check_kinds(described: Mapping[str, str], decision: Sequence[int], missing: Sequence[int]) -> None:
    linear = described.get("is_linear", "0") != "0"
    if linear or described.get("num_cat", "0") != "0" or any(said & _CATEGORICAL for said in decision):
        raise ValueError("it splits by categories or is linear, neither is evaluated here")
    if _MISSING_IS_ZERO in missing:
        raise ValueError("it takes zero for missing: train without zero_as_missing")


def _left_to_right(left: Sequence[int], right: Sequence[int]) -> tuple[list[int], dict[int, int]]:
    """The leaves of a tree in their order, and for each split those on its left, as bits that stand for places.

    Children below 0 are leaves, ~child. Without recursion and with an end: a text that was forged may run in circles.
    """
    order: list[int] = []
    first: dict[int, int] = {}
    below: dict[int, int] = {}
    stack = [(0, False)]
    for _ in range(3 * len(left) + 1):
        node, passed = stack.pop()
        if node < 0:
            order.append(~node)
        elif passed:
            below[node] = (1 << len(order)) - (1 << first[node])
            stack.append((right[node], False))
        else:
            first[node] = len(order)
            stack += [(node, True), (left[node], False)]
    if stack or sorted(order) != list(range(len(left) + 1)):
        raise ValueError("it is no tree: each leaf must be reached in one way")
    return order, below


def _splits(column: int, mine: Sequence[tuple[int, _Split]], trees: int, word: type[np.unsignedinteger]) -> Splits:
    exact = np.array([split.threshold for _, split in mine])
    with np.errstate(over="ignore"):
        near = exact.astype(np.float32)
    near = np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near)
    thresholds = np.unique(near)
    every = ~word(0)
    words = np.full((len(thresholds) + 2, trees), every)
    places: Int64 = np.searchsorted(thresholds, near)
    for place, (at, split) in zip(places.tolist(), mine, strict=True):
        kept = every ^ word(split.left)
        words[place + 1 : -1, at] &= kept
        if split.nan_right:
            words[-1, at] &= kept
    return Splits(column, np.append(thresholds, np.float32(np.inf)), words)


def pairs_of(text: str) -> dict[str, str]:
    """What stands on each side of the first ``=`` of every line that has one."""
    return {name: value for name, found, value in (line.partition("=") for line in text.splitlines()) if found}
