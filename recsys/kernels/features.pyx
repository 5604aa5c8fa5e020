# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What rankers look at, for every candidate of a query in one pass."""

import numpy as np

from libc.math cimport NAN, fabs, isfinite
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc

cdef extern from "candidates.h" nogil:
    ctypedef struct Table:
        pass
    bint falling_order(const float *, ptrdiff_t n, int64_t *order)
    bint table_made(Table *, ptrdiff_t most)
    void table_freed(Table *)
    void count_among(Table *, const int32_t *rows, ptrdiff_t n, const int32_t *, ptrdiff_t many, float *counts)

cdef extern from "portable.h" nogil:
    void fetch_rows(const void *values, ptrdiff_t bytes, ptrdiff_t items, const int32_t *rows, ptrdiff_t n)

cdef extern from "vectors.h" nogil:
    void window_cosines(const float *, ptrdiff_t d, const int32_t *rows, ptrdiff_t n, const int32_t *recent,
                        ptrdiff_t r, const int32_t *windows, ptrdiff_t w, float *turned, float *found,
                        ptrdiff_t stride)
    ptrdiff_t WIDE


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


def cosines(const float[:, ::1] vectors, const int32_t[:, ::1] rows, const int32_t[:, ::1] recent,
            const int32_t[::1] windows):
    """Mean inner products of items, int32 (q, n), with the first recent ones, int32 (q, r), and the largest of any.

    ``windows``: int32 (w,), ascending, how many recent ones a mean is over, 32 at most; rows below 0 are none. float32 (w + 1, q, n), the
    largest last; nan where there is nothing recent, 0 for rows below 0. ``vectors``: float32 (items, d).
    """
    cdef ptrdiff_t queries = rows.shape[0], n = rows.shape[1], r = recent.shape[1], d = vectors.shape[1]
    cdef ptrdiff_t items = vectors.shape[0], query, i
    if recent.shape[0] != queries:
        raise ValueError(f"{recent.shape[0]} lists of recent items for {queries} queries: one each was wanted")
    for query in range(queries):
        for i in range(n):
            if rows[query, i] >= items:
                raise IndexError(f"row {rows[query, i]} is asked for, there are {items} vectors")
        for i in range(r):
            if recent[query, i] >= items:
                raise IndexError(f"row {recent[query, i]} is asked for, there are {items} vectors")
    if r > WIDE:
        raise ValueError(f"{r} recent items: at most {WIDE} are looked at")
    found = np.full((windows.shape[0] + 1, queries, n), np.float32(NAN))
    cdef float[:, :, ::1] told = found
    cdef float[:, ::1] turned = np.empty((d, WIDE), np.float32)
    if n and r and items and d and windows.shape[0]:
        with nogil:
            for query in range(queries):
                window_cosines(&vectors[0, 0], d, &rows[query, 0], n, &recent[query, 0], r, &windows[0],
                               windows.shape[0], &turned[0, 0], &told[0, query, 0], queries * n)
    return found


def rows_of(const float[:, :, ::1] found, const int32_t[:, ::1] items):
    """Features, float32 (f, q, n), as rows of candidates, float32 (q, n, f): nan where not finite and in empty slots.

    ``items``: int32 (q, n), those of the slots, below 0 where empty.
    """
    cdef ptrdiff_t features = found.shape[0], queries = found.shape[1], n = found.shape[2], query, place, feature
    if items.shape[0] != queries or items.shape[1] != n:
        raise ValueError("features and items must be of the same slots")
    rows = np.empty((queries, n, features), np.float32)
    cdef float[:, :, ::1] told = rows
    cdef float value
    with nogil:
        for query in range(queries):
            for place in range(n):
                for feature in range(features):
                    value = found[feature, query, place]
                    told[query, place, feature] = value if items[query, place] >= 0 and isfinite(value) else NAN
    return rows


def looked_up(const float[::1] values, const int32_t[:, ::1] rows):
    """What stands at each of ``rows``, int32 (q, n), in float32 (items,): (q, n), nan for a row that is none of them."""
    cdef ptrdiff_t queries = rows.shape[0], n = rows.shape[1], items = values.shape[0], query, place
    found = np.empty((queries, n), np.float32)
    cdef float[:, ::1] told = found
    with nogil:
        for query in range(queries):
            if n and items:
                fetch_rows(&values[0], sizeof(float), items, &rows[query, 0], n)
            for place in range(n):
                told[query, place] = values[rows[query, place]] if 0 <= rows[query, place] < items else NAN
    return found


def days_since(const double[::1] first, const double[::1] now, const int32_t[:, ::1] rows):
    """Days from what stands at each of ``rows``, int32 (q, n), in ``first``, (items,), to ``now``, (q,): float32 (q, n).

    Both in seconds; 0 where it is later, nan where it is nan and for a row that is none of the items.
    """
    cdef ptrdiff_t queries = rows.shape[0], n = rows.shape[1], items = first.shape[0], query, place
    cdef double days
    if now.shape[0] != queries:
        raise ValueError(f"{now.shape[0]} times for {queries} queries: one each was wanted")
    found = np.empty((queries, n), np.float32)
    cdef float[:, ::1] told = found
    with nogil:
        for query in range(queries):
            if n and items:
                fetch_rows(&first[0], sizeof(double), items, &rows[query, 0], n)
            for place in range(n):
                days = NAN
                if 0 <= rows[query, place] < items:
                    days = (now[query] - first[rows[query, place]]) / 86400
                told[query, place] = <float> (0 if days < 0 else days)
    return found


def counted(const int32_t[::1] among, const int32_t[::1] rows):
    """How often each of ``rows``, int32 (n,), stands among others, int32 (m,): float32 (n,), 0 for rows below 0."""
    cdef ptrdiff_t n = rows.shape[0], many = among.shape[0]
    found = np.zeros(n, np.float32)
    cdef float[::1] told = found
    cdef Table table
    if n and many:
        fits = table_made(&table, many)
        if fits:
            count_among(&table, &rows[0], n, &among[0], many, &told[0])
        table_freed(&table)
        if not fits:
            raise MemoryError
    return found


def ratios(const float[:, ::1] above, const float[:, ::1] below):
    """``above`` by ``below``, float32 (q, n); nan where that is not above 0."""
    cdef ptrdiff_t queries = above.shape[0], n = above.shape[1], query, place
    if below.shape[0] != queries or below.shape[1] != n:
        raise ValueError("what is above and what is below must have one shape")
    found = np.empty((queries, n), np.float32)
    cdef float[:, ::1] told = found
    for query in range(queries):
        for place in range(n):
            told[query, place] = above[query, place] / below[query, place] if below[query, place] > 0 else NAN
    return found


def count_known(const float[:, ::1] values, float[:, ::1] counts):
    """Add 1 to each of ``counts``, float32 (q, n), where a value is no nan."""
    cdef ptrdiff_t queries = values.shape[0], n = values.shape[1], query, place
    if counts.shape[0] != queries or counts.shape[1] != n:
        raise ValueError("values and counts must have one shape")
    for query in range(queries):
        for place in range(n):
            counts[query, place] += values[query, place] == values[query, place]


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
            if n:
                fetch_rows(&groups[0, 0], most * sizeof(int32_t), items, &rows[query, 0], n)
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
