"""What item-item models are made of: the strongest products of columns, found without the whole product matrix."""

from __future__ import annotations

import numba
import numpy as np
import scipy.sparse as sp

from recsys.arrays import Float32, Float64, Int32, Int64
from recsys.item_lists import ItemLists, lists_of

NO_NORMS: Float32 = np.zeros(0, np.float32)


def degrees(matrix: sp.csr_matrix) -> tuple[Float64, Float64]:
    """How many items each user has and how many users each item, at least 1: float64 (users,) and (items,)."""
    items = np.bincount(matrix.indices, minlength=matrix.shape[1])
    return np.maximum(np.diff(matrix.indptr), 1).astype(np.float64), np.maximum(items, 1).astype(np.float64)


def scaled(matrix: sp.csr_matrix, users: Float64 | None = None, items: Float64 | None = None) -> sp.csr_matrix:
    """diag(users) · matrix · diag(items), float32 CSR; None is ones."""
    values = matrix.data.astype(np.float64)
    if users is not None:
        values = values * np.repeat(users, np.diff(matrix.indptr))
    if items is not None:
        values = values * items[matrix.indices]
    return sp.csr_matrix((values.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)


def strongest_products(
    left: sp.csr_matrix,
    right: sp.csr_matrix,
    k: int,
    target: Float64 | None = None,
    norms: Float64 | None = None,
    shrink: float = 0.0,
) -> tuple[Int32, Float32]:
    """For each column j of ``left``, the k columns i ≠ j of ``right`` of the largest target_i · Σ_u left_uj right_ui.

    Both are CSR (users, items). With ``norms``, float64 (items,), products are divided by norm_i · norm_j + ``shrink``.
    Rows, int32 (items, k), -1 behind the last, strongest first, and the products, float32. The number of threads
    does not change a bit.
    """
    turned = left.T.tocsr()
    items = right.shape[1]
    rows = np.empty((items, min(k, items)), np.int32)
    products = np.empty(rows.shape, np.float32)
    _strongest_products(
        turned.indptr,
        turned.indices,
        turned.data,
        right.indptr,
        right.indices,
        right.data,
        np.ones(items, np.float32) if target is None else target.astype(np.float32),
        np.float32(shrink),
        NO_NORMS if norms is None else norms.astype(np.float32),
        numba.get_num_threads(),
        rows,
        products,
    )
    return rows, products


def by_source(rows: Int32, weights: Float32, k: int) -> ItemLists:
    """Lists of what predicts each item, (items, m), as lists of what each item predicts, the k of largest size kept."""
    items = len(rows)
    kept = (rows >= 0) & (weights != 0)
    target = np.repeat(np.arange(items, dtype=np.int32), kept.sum(axis=1))
    turned = sp.csr_matrix((weights[kept], (rows[kept], target)), shape=(items, items))
    turned.sort_indices()
    of_source = np.empty((items, min(k, items)), np.int32)
    strength = np.empty(of_source.shape, np.float32)
    _largest(turned.indptr, turned.indices, turned.data, numba.get_num_threads(), of_source, strength)
    return lists_of(of_source, strength)


def gram_of(matrix: sp.csr_matrix) -> Float32:
    """Rᵀ R of CSR (users, items) as a dense float32 (items, items)."""
    back = matrix.T.tocsr()
    gram = np.zeros((matrix.shape[1], matrix.shape[1]), np.float32)
    _add_products(back.indptr, back.indices, back.data, matrix.indptr, matrix.indices, matrix.data, gram)
    return gram


@numba.njit(fastmath=True, cache=True, nogil=True)
def push(keys: Float32, ids: Int32, size: int, key: np.float32, id_: int) -> int:  # pragma: no cover  compiled
    """Put ``key`` into a heap of the ``len(keys)`` largest, smallest first; the earlier of equals stays. New size."""
    if size < len(keys):
        at = size
        while at > 0:
            parent = (at - 1) >> 1
            if keys[parent] <= key:
                break
            keys[at], ids[at] = keys[parent], ids[parent]
            at = parent
        keys[at], ids[at] = key, id_
        return size + 1
    if key <= keys[0]:
        return size
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[at], ids[at] = keys[child], ids[child]
        at = child
    keys[at], ids[at] = key, id_
    return size


@numba.njit(fastmath=True, cache=True, nogil=True)
def emit(keys: Float32, ids: Int32, size: int, rows: Int32, values: Float32) -> None:  # pragma: no cover  compiled
    """What a heap holds, largest first, into one line of rows and values; -1 and 0 behind it."""
    order = np.argsort(-keys[:size], kind="mergesort")
    for slot in range(len(rows)):
        if slot < size:
            rows[slot], values[slot] = ids[order[slot]], keys[order[slot]]
        else:
            rows[slot], values[slot] = -1, 0


@numba.njit(parallel=True, fastmath=True, cache=True, nogil=True)
def _strongest_products(  # pragma: no cover  compiled
    turned_ptr: Int32,
    turned_users: Int32,
    turned_values: Float32,
    ptr: Int32,
    columns: Int32,
    values: Float32,
    target: Float32,
    shrink: np.float32,
    norms: Float32,
    workers: int,
    rows: Int32,
    products: Float32,
) -> None:
    items = len(turned_ptr) - 1
    for worker in numba.prange(workers):
        # One set of buffers a worker; every workers-th item is its own.
        total = np.zeros(items, np.float32)
        met = np.zeros(items, np.uint8)
        touched = np.empty(items, np.int32)
        keys = np.empty(rows.shape[1], np.float32)
        ids = np.empty(rows.shape[1], np.int32)
        for j in range(worker, items, workers):
            count = 0
            for a in range(turned_ptr[j], turned_ptr[j + 1]):
                user, factor = turned_users[a], turned_values[a]
                for b in range(ptr[user], ptr[user + 1]):
                    i = columns[b]
                    if met[i] == 0:
                        met[i] = 1
                        touched[count] = i
                        count += 1
                    total[i] += factor * values[b]
            size = 0
            for t in range(count):
                i = touched[t]
                product = total[i] * target[i]
                if len(norms):
                    product /= norms[i] * norms[j] + shrink
                total[i] = 0
                met[i] = 0
                if i != j and product != 0:
                    size = push(keys, ids, size, product, i)
            emit(keys, ids, size, rows[j], products[j])


@numba.njit(parallel=True, fastmath=True, cache=True, nogil=True)
def _add_products(  # pragma: no cover  compiled
    back_ptr: Int32,
    back_users: Int32,
    back_values: Float32,
    ptr: Int32,
    columns: Int32,
    values: Float32,
    gram: Float32,
) -> None:
    for j in numba.prange(len(back_ptr) - 1):
        line = gram[j]
        for a in range(back_ptr[j], back_ptr[j + 1]):
            user, factor = back_users[a], back_values[a]
            for b in range(ptr[user], ptr[user + 1]):
                line[columns[b]] += factor * values[b]


@numba.njit(parallel=True, cache=True, nogil=True)
def _largest(  # pragma: no cover  compiled
    ptr: Int64, columns: Int32, values: Float32, workers: int, rows: Int32, kept: Float32
) -> None:
    for worker in numba.prange(workers):
        keys = np.empty(rows.shape[1], np.float32)
        ids = np.empty(rows.shape[1], np.int32)
        for j in range(worker, len(ptr) - 1, workers):
            size = 0
            for at in range(ptr[j], ptr[j + 1]):
                if values[at] != 0:
                    size = push(keys, ids, size, abs(values[at]), at - ptr[j])
            emit(keys, ids, size, rows[j], kept[j])
            for slot in range(size):
                at = ptr[j] + rows[j, slot]
                rows[j, slot], kept[j, slot] = columns[at], values[at]
