"""What each column adds to the sum of boosted trees: exact Shapley values, with trees as they were grown.

A tree knows what it would say without a column: at a split by it, both sides in the proportion of the rows that went
there in training (path-dependent TreeSHAP, Lundberg et al. 2020). A leaf is then worth its value times a product, one
factor a column of its path: whether the row is let through, or with which share where the column is not known. The
Shapley value of such a product is an integral over how probable it is that a column is known (Owen 1972), whose
integrand is a polynomial: Gauss's quadrature gives it exactly, for all leaves of all trees at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from recsys.arrays import Bool, Float32, Float64, Int64
from recsys.trees import Trees, pairs_of

# Bits of a decision_type, see NumericalDecision in LightGBM's tree.h.
_LEFT_IF_MISSING, _MISSING_SHIFT, _MISSING_IS_NAN = 2, 2, 2


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """The leaves of all trees with the columns that lead to them, at most w each.

    ``columns``: how many the trees were grown on. ``values``: float64 (l,). ``column``: int64 (l, w), -1 where a path
    has fewer. A row comes to a leaf if each of these values lies above ``low`` and not above ``high``, float64 (l, w),
    or is nan where ``nan``, bool (l, w), lets that through. ``share``: float64 (l, w), of the rows in training that
    went this way at the splits by this column.
    """

    columns: int
    values: Float64
    column: Int64
    low: Float64
    high: Float64
    nan: Bool
    share: Float64

    @classmethod
    def of(cls, text: str) -> Paths:
        """Read what LightGBM's ``model_to_string`` wrote. ValueError as of :meth:`Trees.of`, and without counts."""
        columns = Trees.of(text).columns
        leaves = [leaf for section in text.split("\nTree=")[1:] for leaf in _leaves(pairs_of(section.split("\n\n")[0]))]
        width = max((len(path) for _, path in leaves), default=0)
        shape = (len(leaves), width)
        column, nan = np.full(shape, -1, np.int64), np.ones(shape, bool)
        low, high, share = np.full(shape, -np.inf), np.full(shape, np.inf), np.ones(shape)
        for at, (_, path) in enumerate(leaves):
            for place, (name, way) in enumerate(path.items()):
                column[at, place], low[at, place], high[at, place] = name, way.low, way.high
                nan[at, place], share[at, place] = way.nan, way.share
        if not (share > 0).all():
            raise ValueError("this booster does not say how many rows came to each leaf: without that it explains none")
        return cls(columns, np.array([value for value, _ in leaves]), column, low, high, nan, share)

    @property
    def expected(self) -> float:
        """What the trees say where no column is known."""
        return float((self.values * self.share.prod(axis=1)).sum())

    def contributions(self, rows: Float32) -> Float64:
        """What each column adds for each row, float32 (m, columns): float64 (m, columns).

        Laws: with :attr:`expected` they add up to the trees' sum; a column that no path asks adds nothing; equal to
        LightGBM's ``pred_contrib`` up to rounding.
        """
        points, weights = np.polynomial.legendre.leggauss(self.column.shape[1] // 2 + 1)
        found = np.zeros((len(rows), self.columns))
        asked = self.column >= 0
        for line, row in enumerate(rows):
            known = self._lets_through(row)
            added = np.zeros(known.shape)
            for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
                factors = point * known + (1 - point) * self.share
                added += weight * factors.prod(axis=1, keepdims=True) / factors
            added *= (known - self.share) * self.values[:, None]
            found[line] = np.bincount(self.column[asked], added[asked], self.columns)
        return found

    def without(self, rows: Float32, column: int) -> Float64:
        """The trees' sum for each row, as far as it can be known without one column: float64 (m,)."""
        hidden = self.column == column
        factors = (np.where(hidden, self.share, self._lets_through(row)) for row in rows)
        return np.array([(self.values * some.prod(axis=1)).sum() for some in factors])

    def _lets_through(self, row: Float32) -> Float64:
        """1 where a column of a path lets the row through, 0 where it does not: float64 (l, w)."""
        values = row.astype(np.float64)[np.maximum(self.column, 0)]
        inside = ((values > self.low) | (self.low == -np.inf)) & (values <= self.high)
        return np.where(self.column < 0, True, np.where(np.isnan(values), self.nan, inside)).astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Way:
    """What a path asks of one column."""

    low: float = -np.inf
    high: float = np.inf
    nan: bool = True
    share: float = 1.0


def _leaves(tree: Mapping[str, str]) -> Iterator[tuple[float, dict[int, _Way]]]:
    """Each leaf's value and what its path asks of each column. The text was read before, so it is a tree."""
    values = [float(value) for value in tree["leaf_value"].split()]
    if tree["num_leaves"] == "1":
        yield values[0], {}
        return
    names = ("left_child", "right_child", "split_feature", "decision_type", "internal_count", "leaf_count")
    if not {"internal_count", "leaf_count"} <= tree.keys():
        raise ValueError("this booster does not say how many rows came to each leaf: without that it explains none")
    left, right, column, decision, inside, at_leaf = ([int(v) for v in tree[name].split()] for name in names)
    threshold = [float(value) for value in tree["threshold"].split()]
    stack: list[tuple[int, dict[int, _Way]]] = [(0, {})]
    while stack:
        node, path = stack.pop()
        if node < 0:
            yield values[~node], path
            continue
        limit, before = threshold[node], path.get(column[node], _Way())
        by_default = bool(decision[node] & _LEFT_IF_MISSING)
        nan_left = by_default if decision[node] >> _MISSING_SHIFT & 3 == _MISSING_IS_NAN else limit >= 0
        for child, is_left in ((left[node], True), (right[node], False)):
            count = inside[child] if child >= 0 else at_leaf[~child]
            way = _Way(
                before.low if is_left else max(before.low, limit),
                min(before.high, limit) if is_left else before.high,
                before.nan and nan_left == is_left,
                before.share * count / max(inside[node], 1),
            )
            stack.append((child, {**path, column[node]: way}))


@lru_cache(maxsize=4)
def paths_of(text: str) -> Paths:
    """:meth:`Paths.of`, read when somebody first asks for reasons."""
    return Paths.of(text)
