"""Boosted trees, read from LightGBM's text and evaluated without it: no training library answers requests.

QuickScorer, Lucchese et al. (2015): the leaves of a tree are bits of a word, in the order from left to right. A split
that sends a row to the right takes the leaves below its left away; of what is left the first is the row's leaf. Here
all splits by one column are one table: line p holds, for each tree, what is left after the p smallest thresholds were
passed. A row's leaves in all trees are then one line a column, joined by AND.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Float32, Float64, Int32, Int64
from recsys.kernels import trees as kernels

BLOCK = 64
"""Bytes that are joined at once."""
WORDS = (np.uint16, np.uint32, np.uint64)
MOST_LEAVES = 64
"""The bits of the longest word."""

# Bits of a decision_type, see NumericalDecision in LightGBM's tree.h.
_CATEGORICAL, _LEFT_IF_MISSING, _MISSING_SHIFT, _MISSING_IS_NAN, _MISSING_IS_ZERO = 1, 2, 2, 2, 1


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """Regression trees over ``columns`` columns.

    ``splits``: int32 (s,), the columns that anything splits by; ``thresholds``: float32, those of split i ascending in
    ``thresholds[starts[i]:starts[i + 1]]``, infinity behind the last: a value lies above a threshold exactly if it lies
    above the next float32 below that, and nan above infinity. ``words``: uint16, uint32 or uint64 (thresholds + s,
    trees and what fills up a :data:`BLOCK`): of each split's lines, p is left where p thresholds lie below the value,
    the last where the value is nan.
    ``leaves``: float64 (trees, bits of a word), the values from left to right.
    Laws: equal to LightGBM's raw prediction up to the rounding of the sum; nan goes where LightGBM sends it; a batch
    equals its rows one by one.
    """

    columns: int
    splits: Int32
    starts: Int32
    thresholds: Float32
    words: np.ndarray
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
        trees: list[_Tree] = []
        read: dict[str, _Tree] = {}  # one that stands there often is read once
        for at, section in enumerate(sections):
            lines = section.split("\n\n")[0]
            try:
                if lines not in read:
                    read[lines] = _Tree.of(pairs_of(lines), columns)
                trees.append(read[lines])
            except (KeyError, IndexError, ValueError) as error:
                raise ValueError(f"tree {at} of this booster cannot be evaluated: {error}") from error
        most = max(len(tree.values) for tree in trees)
        word = next(word for word in WORDS if most <= 8 * word().itemsize)
        leaves = np.zeros((len(trees), 8 * word().itemsize))
        for at, tree in enumerate(trees):
            leaves[at, : len(tree.values)] = tree.values
        by_column: dict[int, list[tuple[int, _Split]]] = {}
        for at, tree in enumerate(trees):
            for split in tree.splits:
                by_column.setdefault(split.column, []).append((at, split))
        width = -(-len(trees) * word().itemsize // BLOCK) * BLOCK // word().itemsize
        tables = [_table(mine, width, word) for _, mine in sorted(by_column.items())]
        return cls(
            columns,
            np.array(sorted(by_column), np.int32),
            np.cumsum([0, *(len(thresholds) for thresholds, _ in tables)], dtype=np.int32),
            np.concatenate([np.zeros(0, np.float32), *(thresholds for thresholds, _ in tables)]),
            np.concatenate([np.zeros((0, width), word), *(words for _, words in tables)]),
            leaves,
        )

    def __len__(self) -> int:
        return len(self.leaves)

    def score(self, rows: Float32) -> Float64:
        """The sum over the trees for each row, float32 (m, columns): float64 (m,). ValueError for another width."""
        if rows.ndim != 2 or rows.shape[1] != self.columns:
            raise ValueError(f"rows are {rows.shape} but the trees were grown on {self.columns} columns: they must fit")
        scores = np.empty(len(rows))
        rows = np.ascontiguousarray(rows, np.float32)
        kernels.score(rows, self.splits, self.starts, self.thresholds, self.words, self.leaves, scores)
        return scores


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


def _table(
    mine: Sequence[tuple[int, _Split]], width: int, word: type[np.unsignedinteger]
) -> tuple[Float32, np.ndarray]:
    """The thresholds and the words of all splits by one column, each with its tree."""
    exact = np.array([split.threshold for _, split in mine])
    with np.errstate(over="ignore"):
        near = exact.astype(np.float32)
    near = np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near)
    thresholds = np.unique(near)
    every = ~word(0)
    words = np.full((len(thresholds) + 2, width), every)
    places: Int64 = np.searchsorted(thresholds, near)
    for place, (at, split) in zip(places.tolist(), mine, strict=True):
        kept = every ^ word(split.left)
        words[place + 1 : -1, at] &= kept
        if split.nan_right:
            words[-1, at] &= kept
    return np.append(thresholds, np.float32(np.inf)), words


def pairs_of(text: str) -> dict[str, str]:
    """What stands on each side of the first ``=`` of every line that has one."""
    return {name: value for name, found, value in (line.partition("=") for line in text.splitlines()) if found}
