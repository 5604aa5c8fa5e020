# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Inner products of vectors that lie anywhere in a large array."""

import numpy as np

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc

cdef extern from "vectors.h" nogil:
    void products_of_all(const float *, ptrdiff_t d, ptrdiff_t n, const float *, float *)
    void products_of_one(const float *, ptrdiff_t d, const int32_t *, ptrdiff_t n, const float *, float *)
    void diverse_order(const float *, ptrdiff_t d, const int32_t *, ptrdiff_t n, float weight, ptrdiff_t length,
                       float *values, float *nearest, int64_t *order)


cdef extern from "candidates.h" nogil:
    ctypedef struct Pool:
        ptrdiff_t wanted
    bint pool_made(Pool *, ptrdiff_t wanted, ptrdiff_t most)
    void pool_freed(Pool *)
    bint largest_of_line(Pool *, const float *, ptrdiff_t n, ptrdiff_t k, int32_t *, float *)


def nearest(const float[:, ::1] vectors, const float[::1] asking, ptrdiff_t k):
    """The rows and the inner products of the k vectors, of float32 (n, d), of the largest with one, float32 (d,).

    Best first, equal ones by row, in exactly k slots: int32 (k,) and float32 (k,), -1 and -inf where n is less.
    """
    cdef ptrdiff_t n = vectors.shape[0], d = vectors.shape[1]
    if asking.shape[0] != d:
        raise ValueError(f"asked with a vector of {asking.shape[0]}: one of {d} was wanted")
    found, scores = np.empty(k, np.int32), np.empty(k, np.float32)
    cdef int32_t[::1] rows = found
    cdef float[::1] values = scores
    cdef float *products = <float *> malloc((n + 1) * sizeof(float))
    cdef Pool pool
    cdef bint fits = pool_made(&pool, k, k) and products != NULL
    if fits and k:
        with nogil:
            if n and d:
                products_of_all(&vectors[0, 0], d, n, &asking[0], products)
            fits = largest_of_line(&pool, products, n, k, &rows[0], &values[0])
    pool_freed(&pool)
    free(products)
    if not fits:
        raise MemoryError
    return found, scores


cdef int check(const int32_t[:, ::1] rows, ptrdiff_t items) except -1:
    cdef ptrdiff_t line, i
    for line in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            if rows[line, i] >= items:
                raise IndexError(f"row {rows[line, i]} is asked for, there are {items} vectors")
    return 0


def products(const float[:, ::1] vectors, const int32_t[:, ::1] rows, const float[:, ::1] asking):
    """Inner products of items, int32 (q, n), with what each query asks with, float32 (q, d): float32 (q, n).

    0 for rows below 0. ``vectors``: float32 (items, d).
    """
    cdef ptrdiff_t queries = rows.shape[0], n = rows.shape[1], d = vectors.shape[1], query
    if asking.shape[0] != queries or asking.shape[1] != d:
        raise ValueError(f"asked with {asking.shape[0]} vectors of {asking.shape[1]}: {queries} of {d} were wanted")
    check(rows, vectors.shape[0])
    found = np.zeros((queries, n), np.float32)
    cdef float[:, ::1] inner = found
    if n and d and vectors.shape[0]:
        with nogil:
            for query in range(queries):
                products_of_one(&vectors[0, 0], d, &rows[query, 0], n, &asking[query, 0], &inner[query, 0])
    return found


def diverse(const float[:, ::1] vectors, const int32_t[:, ::1] rows, const float[::1] values, float weight,
            ptrdiff_t length):
    """The order in which items, int32 (q, n), are taken by maximal marginal relevance: places, int64 (q, n).

    Among the first m the first ``length`` are chosen, each time the first one of the largest ``values``, float32 (m,)
    from 0 to 1, less ``weight`` times its largest inner product, at least 0, with any taken before; empty slots, below
    0, come last among them. The others follow as they stood.
    """
    cdef ptrdiff_t queries = rows.shape[0], n = rows.shape[1], d = vectors.shape[1], m = values.shape[0], query, i
    if m > n:
        raise ValueError(f"{m} values for {n} slots: one each at most was wanted")
    check(rows, vectors.shape[0])
    found = np.empty((queries, n), np.int64)
    cdef int64_t[:, ::1] order = found
    cdef float[::1] worth = np.empty(m, np.float32)
    cdef float[::1] nearest = np.empty(m, np.float32)
    for query in range(queries):
        for i in range(m):
            worth[i] = values[i] if rows[query, i] >= 0 else -2
            nearest[i] = 0
        for i in range(m, n):
            order[query, i] = i
        if m:
            with nogil:
                diverse_order(&vectors[0, 0] if d and vectors.shape[0] else NULL, d, &rows[query, 0], m, weight,
                              min(length, m), &worth[0], &nearest[0], &order[query, 0])
    return found
