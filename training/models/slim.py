"""Every item predicted from its nearest items alone: SLIM's regression in the memory of a few hundred at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numba
import numpy as np
from pydantic import Field

from recsys.arrays import Float32, Int32, Int64
from recsys.interactions import Interactions
from training.models import LISTS, Choice, Family, Learned, Model, Progress, Range, Served, matrix_to_learn, silent
from training.neighbours import by_source, degrees, gram_of, scaled, strongest_products
from training.threads import compiled_threads

BLOCK = 2048
"""Items solved between two reports of progress."""
WHOLE = 10_000
"""Up to so many items the whole Gram matrix is held, 400 MB."""
ALMOST_ZERO = 1e-9
TOLERANCE = np.float32(1e-5)
"""The share of the first residual at which conjugate gradients stop."""


class Slim(Model):
    """A sparse linear method, Ning & Karypis (2011), by ridge regression over each item's nearest items.

    For item i, over its ``predictors`` nearest j: min Σ_u nᵤ^-a (r_ui - Σ_j r_uj c_j)² + Σ_j (λ n_j^ν + δ G_jj) c_j²,
    G_jj being what the weighted squares of j add up to: δ does what dropout of inputs does, Steck (2020). The weight
    of j for i is c_j n_j^-e n_i^o. Nearest are those of the largest Σ_u nᵤ^-s r_ui r_uj n_j^-t. n counts the items of
    a user and the users of an item.

    Only the normal equations of one neighbourhood a thread are held, so 100,000 items fit where `ease` needs 40 GB.
    """

    family: ClassVar[Family] = "item-item"
    serves: ClassVar[frozenset[Served]] = LISTS
    space: ClassVar[Mapping[str, Range | Choice]] = {
        "regularization": Range(0.5, 50, log=True),
        "frequency_exponent": Range(0.0, 1.0),
        "dropout": Range(0.0, 1.0),
        "user_exponent": Range(0.0, 0.6),
        "in_exponent": Range(-0.4, 0.4),
        "out_exponent": Range(-0.4, 0.4),
        "near_item_exponent": Range(0.0, 0.8),
    }

    neighbours: int = Field(default=200, ge=1)
    """How many weights are kept of each item of a history."""
    predictors: int = Field(default=200, ge=1)
    """How many items each is predicted from."""
    regularization: float = Field(default=5.0, gt=0)
    """λ."""
    frequency_exponent: float = Field(default=0.6, ge=0, le=2)
    """ν: 0 regularises every predictor alike, 1 by its number of users."""
    dropout: float = Field(default=0.1, ge=0)
    """δ."""
    user_exponent: float = Field(default=0.3, ge=0, le=2)
    """a: how much less a user with many items counts."""
    in_exponent: float = Field(default=-0.15, ge=-2, le=2)
    """e: how much less a popular item of the history says."""
    out_exponent: float = Field(default=-0.05, ge=-2, le=2)
    """o: how much popularity an answer gets on top."""
    near_user_exponent: float = Field(default=0.5, ge=0, le=2)
    """s."""
    near_item_exponent: float = Field(default=0.4, ge=-2, le=2)
    """t."""
    conjugate_steps: int = Field(default=30, ge=1)
    """Steps of conjugate gradients for each item, at most."""

    def fit(
        self,
        data: Interactions,
        rng: np.random.Generator,  # noqa: ARG002  nothing is left to chance
        *,
        threads: int,
        progress: Progress = silent,
    ) -> Learned:
        """Find the nearest, solve for each item. TrainingError for data without a positive event."""
        matrix = matrix_to_learn(data)
        items_of, users_of = degrees(matrix)
        items = matrix.shape[1]
        with compiled_threads(threads, blas=1) as workers:
            near, _ = strongest_products(
                scaled(matrix, items_of**-self.near_user_exponent),
                matrix,
                self.predictors,
                target=users_of**-self.near_item_exponent,
            )
            progress(0.1)
            rows = scaled(matrix, items_of ** -(self.user_exponent / 2))
            columns = rows.T.tocsr()
            squares = np.bincount(rows.indices, rows.data.astype(np.float64) ** 2, items)
            ridge = self.regularization * users_of**self.frequency_exponent + self.dropout * squares
            scale = (1 / np.sqrt(ridge + ALMOST_ZERO)).astype(np.float32)
            weights = np.zeros(near.shape, np.float32)
            # A small catalogue's whole Gram matrix is computed once and read from.
            whole = gram_of(rows) if items <= WHOLE else np.zeros((0, 0), np.float32)
            for start in range(0, items, BLOCK):
                _solve(
                    columns.indptr,
                    columns.indices,
                    columns.data,
                    rows.indptr,
                    rows.indices,
                    rows.data,
                    whole,
                    scale,
                    near,
                    start,
                    min(start + BLOCK, items),
                    self.conjugate_steps,
                    workers,
                    weights,
                )
                progress(0.1 + 0.9 * min(start + BLOCK, items) / items)
            weights *= (users_of**self.out_exponent).astype(np.float32)[:, None]
            weights *= (users_of**-self.in_exponent).astype(np.float32)[near]
            return Learned.of_lists("slim", by_source(near, weights, self.neighbours))


@numba.njit(fastmath=True, cache=True, nogil=True)
def _times(matrix: Float32, vector: Float32, out: Float32) -> np.float32:  # pragma: no cover  compiled
    """``matrix`` · ``vector`` into ``out``, and the inner product of both."""
    product = np.float32(0)
    for a in range(len(vector)):
        total = np.float32(0)
        line = matrix[a]
        for b in range(len(vector)):
            total += line[b] * vector[b]
        out[a] = total
        product += total * vector[a]
    return product


@numba.njit(fastmath=True, cache=True, nogil=True)
def _ridge(gram: Float32, right: Float32, steps: int) -> Float32:  # pragma: no cover  compiled
    """Solve (gram + I) x = right by conjugate gradients with the diagonal as preconditioner; gram is changed."""
    n = len(right)
    inverse = np.empty(n, np.float32)
    for a in range(n):
        gram[a, a] += np.float32(1)
        inverse[a] = 1 / gram[a, a]
    x = right * inverse
    product = np.empty(n, np.float32)
    _times(gram, x, product)
    residual = right - product
    direction = residual * inverse
    size, first = np.float32(0), np.float32(0)
    for a in range(n):
        size += residual[a] * direction[a]
        first += right[a] * right[a] * inverse[a]
    for _ in range(steps):
        if size <= TOLERANCE * first:
            break
        length = size / _times(gram, direction, product)
        new = np.float32(0)
        for a in range(n):
            x[a] += length * direction[a]
            residual[a] -= length * product[a]
            new += residual[a] * residual[a] * inverse[a]
        share = new / size
        size = new
        for a in range(n):
            direction[a] = residual[a] * inverse[a] + share * direction[a]
    return x


@numba.njit(fastmath=True, cache=True, nogil=True)
def _gram_of_few(  # noqa: C901  # pragma: no cover  compiled, in one piece
    chosen: Int32, ptr: Int32, users: Int32, values: Float32, counts: Int64, gram: Float32
) -> None:
    """Into ``gram``, both triangles, the inner products of the chosen columns; ``counts``, of users, stays zeros."""
    total = 0
    for a in range(len(chosen)):
        total += ptr[chosen[a] + 1] - ptr[chosen[a]]
    who = np.empty(min(total, len(counts)), np.int32)
    people = 0
    for a in range(len(chosen)):
        for at in range(ptr[chosen[a]], ptr[chosen[a] + 1]):
            if counts[users[at]] == 0:
                who[people] = users[at]
                people += 1
            counts[users[at]] += 1
    # The chosen columns' entries grouped by user: each pair within a group is one product.
    begin = np.zeros(people + 1, np.int64)
    for p in range(people):
        begin[p + 1] = begin[p] + counts[who[p]]
        counts[who[p]] = begin[p]
    column = np.empty(total, np.int32)
    amount = np.empty(total, np.float32)
    for a in range(len(chosen)):
        for at in range(ptr[chosen[a]], ptr[chosen[a] + 1]):
            place = counts[users[at]]
            column[place], amount[place] = a, values[at]
            counts[users[at]] = place + 1
    for p in range(people):
        counts[who[p]] = 0
        for a in range(begin[p], begin[p + 1]):
            line = gram[column[a]]
            for b in range(begin[p], a + 1):
                line[column[b]] += amount[a] * amount[b]
    for a in range(len(chosen)):
        for b in range(a):
            gram[b, a] = gram[a, b]


@numba.njit(fastmath=True, cache=True, nogil=True)
def _products_with(  # pragma: no cover  compiled
    i: int,
    chosen: Int32,
    column_ptr: Int32,
    column_users: Int32,
    column_values: Float32,
    ptr: Int32,
    columns: Int32,
    values: Float32,
    place: Int32,
) -> Float32:
    """The inner products of column i with the chosen ones; ``place``, of items, stays -1."""
    products = np.zeros(len(chosen), np.float32)
    for a in range(len(chosen)):
        place[chosen[a]] = a
    for at in range(column_ptr[i], column_ptr[i + 1]):
        for b in range(ptr[column_users[at]], ptr[column_users[at] + 1]):
            a = place[columns[b]]
            if a >= 0:
                products[a] += column_values[at] * values[b]
    for a in range(len(chosen)):
        place[chosen[a]] = -1
    return products


@numba.njit(parallel=True, fastmath=True, cache=True, nogil=True)
def _solve(  # pragma: no cover  compiled
    column_ptr: Int32,
    column_users: Int32,
    column_values: Float32,
    ptr: Int32,
    columns: Int32,
    values: Float32,
    whole: Float32,
    scale: Float32,
    near: Int32,
    start: int,
    end: int,
    steps: int,
    workers: int,
    weights: Float32,
) -> None:
    """The weights of ``near`` for the items from ``start`` to ``end``; ridges are made ones by ``scale``."""
    for worker in numba.prange(workers):
        place = np.full(len(column_ptr) - 1, -1, np.int32)
        counts = np.zeros(len(ptr) - 1, np.int64)
        for i in range(start + worker, end, workers):
            n = 0
            while n < near.shape[1] and near[i, n] >= 0:
                n += 1
            if n == 0:
                continue
            chosen = near[i, :n]
            gram = np.zeros((n, n), np.float32)
            if len(whole):
                right = whole[i][chosen]
                for a in range(n):
                    gram[a] = whole[chosen[a]][chosen]
            else:
                _gram_of_few(chosen, column_ptr, column_users, column_values, counts, gram)
                right = _products_with(i, chosen, column_ptr, column_users, column_values, ptr, columns, values, place)
            for a in range(n):
                right[a] *= scale[chosen[a]]
                for b in range(n):
                    gram[a, b] *= scale[chosen[a]] * scale[chosen[b]]
            solved = _ridge(gram, right, steps)
            for a in range(n):
                weights[i, a] = solved[a] * scale[chosen[a]]
