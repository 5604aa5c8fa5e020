# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What rankers look at, for every candidate of a query in one pass."""

import numpy as np

from libc.math cimport NAN, fabs, isfinite
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc

cdef extern from "candidates.h" nogil:
    bint falling_order(const float *, ptrdiff_t n, int64_t *order)

cdef extern from "portable.h" nogil:
    void FETCH(const void *)


def ranks(const float[:, ::1] values):
    """1 for the largest of each line of float32 (q, n), equal ones alike, nan where nan: float32 (q, n)."""
    cdef ptrdiff_t queries = values.shape[0], n = values.shape[1], query, place
    found = np.empty((queries, n), np.float32)
    cdef float[:, ::1] told = found
    cdef float value, rank = 0
    cdef int64_t[::1] order = np.empty(n, np.int64)
    if n:
        for query in range(queries):
            if not falling_order(&values[query, 0], n, &order[0]):
                raise MemoryError
            for place in range(n):
                value = values[query, order[place]]
                if place == 0 or value != values[query, order[place - 1]]:
                    rank = place + 1
                told[query, order[place]] = NAN if value != value else rank
    return found


def shares(const float[:, ::1] values):
    """Each of float32 (q, n) by the largest size of a finite one in its line, nan where that is 0: float32 (q, n)."""
    cdef ptrdiff_t queries = values.shape[0], n = values.shape[1], query, place
    found = np.empty((queries, n), np.float32)
    cdef float[:, ::1] told = found
    cdef float most
    with nogil:
        for query in range(queries):
            most = 0
            for place in range(n):
                if isfinite(values[query, place]) and fabs(values[query, place]) > most:
                    most = <float> fabs(values[query, place])
            for place in range(n):
                told[query, place] = values[query, place] / most if most > 0 else NAN
    return found


def likeness(const int32_t[:, ::1] groups, ptrdiff_t width, const int32_t[:, ::1] recent, const int32_t[:, ::1] rows):
    """The mean share that the groups of each of ``rows``, int32 (q, n), have in ``recent`` items, int32 (q, r).

    ``groups``: int32 (items, g), those of each item, from 0 to ``width`` - 1, -1 where there are fewer; each of a
    recent item's has an equal share of it. float32 (q, n), nan where an item, or all that is recent, has none; rows
    below 0 and those beyond the items have none.
    """
    cdef ptrdiff_t queries = rows.shape[0], n = rows.shape[1], items = groups.shape[0], most = groups.shape[1]
    cdef ptrdiff_t query, place, slot, many, described
    cdef int32_t row
    cdef double total
    if recent.shape[0] != queries:
        raise ValueError(f"{recent.shape[0]} lists of recent items for {queries} queries: one each was wanted")
    found = np.full((queries, n), np.float32(NAN))
    if not items or not most:
        return found
    cdef float[:, ::1] told = found
    cdef double *mix = <double *> malloc((width + 1) * sizeof(double))
    if mix == NULL:
        raise MemoryError
    with nogil:
        for query in range(queries):
            for place in range(n):  # each lies in another corner of memory
                if 0 <= rows[query, place] < items:
                    FETCH(&groups[rows[query, place], 0])
            for slot in range(width):
                mix[slot] = 0
            described = 0
            for place in range(recent.shape[1]):
                row = recent[query, place]
                if not 0 <= row < items:
                    continue
                many = 0
                for slot in range(most):
                    many += groups[row, slot] >= 0
                described += many > 0
                for slot in range(most):
                    if 0 <= groups[row, slot] < width:
                        mix[groups[row, slot]] += 1.0 / many
            if not described:
                continue
            for place in range(n):
                row = rows[query, place]
                if not 0 <= row < items:
                    continue
                many, total = 0, 0
                for slot in range(most):
                    if 0 <= groups[row, slot] < width:
                        total += mix[groups[row, slot]]
                        many += 1
                if many:
                    told[query, place] = <float> (total / (described * many))
    free(mix)
    return found
