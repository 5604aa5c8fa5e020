# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Lists of items with scores: put in order, made one, thinned out. Rows below 0 are empty slots."""

import numpy as np

from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc

cdef extern from "portable.h" nogil:
    void fetch_rows(const void *values, ptrdiff_t bytes, ptrdiff_t items, const int32_t *rows, ptrdiff_t n)

cdef extern from "candidates.h" nogil:
    ctypedef struct Table:
        uint32_t mask
    ctypedef struct Pool:
        ptrdiff_t wanted
    bint pool_made(Pool *, ptrdiff_t wanted, ptrdiff_t most)
    void pool_freed(Pool *)
    bint largest_of_line(Pool *, const float *, ptrdiff_t n, ptrdiff_t k, int32_t *, float *)
    bint reciprocal_ranks(const int32_t *, const float *, ptrdiff_t n, double constant, float *)
    bint table_made(Table *, ptrdiff_t most)
    void table_freed(Table *)
    bint falling_order(const float *, ptrdiff_t n, int64_t *order)
    bint best_by_row(const int32_t *, const float *, ptrdiff_t n, ptrdiff_t k, int32_t *, float *)
    ptrdiff_t largest_of_each(Table *, const int32_t *, const float *, ptrdiff_t n, int32_t *, float *)
    void fused_lists(Table *, const int32_t *, const float *added, const float *said, ptrdiff_t n, const int32_t *ends,
                     ptrdiff_t sources, int32_t *, float *, float *signals, ptrdiff_t stride)
    ctypedef struct Proposal:
        const int32_t *rows
        const float *scores
        ptrdiff_t n
    ctypedef struct Unwanted:
        const int32_t *rows
        ptrdiff_t many
        const uint8_t *bits
        ptrdiff_t items
    bint blended_lists(Table *, const Proposal *, ptrdiff_t sources, const Unwanted *, ptrdiff_t parts, ptrdiff_t pool,
                       double constant, ptrdiff_t n, int64_t *order, int32_t *items, float *sums, float *said,
                       ptrdiff_t most, int32_t *, float *, float *signals, ptrdiff_t stride)
    ptrdiff_t summed_lists(Table *, const int32_t *, const float *, ptrdiff_t width, const int32_t *, const float *,
                           ptrdiff_t length, int32_t *, double *)
    ptrdiff_t hide(Table *, const int32_t *, ptrdiff_t n, const int32_t *, ptrdiff_t many, uint8_t *kept)
    ptrdiff_t cap(Table *, const int32_t *, ptrdiff_t n, ptrdiff_t most, uint8_t *kept)


cdef class Room:
    """A table with room for so many items, freed with its owner."""

    cdef Table table

    def __cinit__(self, ptrdiff_t most):
        if not table_made(&self.table, most):
            raise MemoryError

    def __dealloc__(self):
        table_freed(&self.table)


def top(const int32_t[:, ::1] rows, const float[:, ::1] scores, ptrdiff_t k):
    """Rows and scores of the k best slots of each line, (q, n), best first, equal ones as they stood, nan last.

    In exactly k slots, the last ones -1 and -inf where n is less, and behind them where each stood, int64 (q, least of
    n and k). None where k is no more than n and the scores fall already.
    """
    cdef ptrdiff_t queries = rows.shape[0], n = rows.shape[1], depth = min(n, k), query, slot
    cdef bint falls = k <= n
    if scores.shape[0] != queries or scores.shape[1] != n:
        raise ValueError("rows and scores must have one shape")
    for query in range(queries):
        slot = 1
        while falls and slot < n:
            falls = scores[query, slot] <= scores[query, slot - 1]
            slot += 1
    if falls:
        return None
    best, values = np.empty((queries, k), np.int32), np.empty((queries, k), np.float32)
    places = np.empty((queries, depth), np.int64)
    cdef int32_t[:, ::1] slots = best
    cdef float[:, ::1] said = values
    cdef int64_t[:, ::1] at = places
    cdef int64_t[::1] order = np.empty(n, np.int64)
    for query in range(queries):
        if n and not falling_order(&scores[query, 0], n, &order[0]):
            raise MemoryError
        for slot in range(depth):
            at[query, slot] = order[slot]
            slots[query, slot] = rows[query, order[slot]]
            said[query, slot] = scores[query, order[slot]]
        for slot in range(depth, k):
            slots[query, slot] = -1
            said[query, slot] = -INFINITY
    return best, values, places


def ranked(const int32_t[:, ::1] rows, const float[:, ::1] scores):
    """The order of slots, int64 (q, n), whose first ones, as many as float32 (q, m) ``scores``, go by those.

    And the scores of that order, float32 (q, n): behind the first m what is less than the least of them; -inf where
    ``rows``, int32 (q, n), is below 0.
    """
    cdef ptrdiff_t queries = rows.shape[0], n = rows.shape[1], m = scores.shape[1], query, slot
    cdef float least
    if scores.shape[0] != queries or m > n:
        raise ValueError(f"scores of {m} slots, of {n} there are")
    order, values = np.empty((queries, n), np.int64), np.empty((queries, n), np.float32)
    cdef int64_t[:, ::1] places = order
    cdef float[:, ::1] said = values
    for query in range(queries):
        if m and not falling_order(&scores[query, 0], m, &places[query, 0]):
            raise MemoryError
        least = INFINITY
        for slot in range(m):
            said[query, slot] = scores[query, places[query, slot]]
            if rows[query, slot] < 0:
                continue
            least = min(least, scores[query, slot])
        for slot in range(m, n):
            places[query, slot] = slot
            said[query, slot] = least / <float> (slot - m + 2) if rows[query, slot] >= 0 else -INFINITY
    return order, values


def largest(const float[:, ::1] scores, ptrdiff_t k):
    """Columns and scores of the k largest of each line of float32 (q, n), equal ones by column, nan last.

    In exactly k slots; those without anything are -1 and -inf.
    """
    cdef ptrdiff_t queries = scores.shape[0], n = scores.shape[1], query
    found, values = np.empty((queries, k), np.int32), np.empty((queries, k), np.float32)
    cdef int32_t[:, ::1] slots = found
    cdef float[:, ::1] said = values
    cdef Pool pool
    cdef bint fits = pool_made(&pool, k, k)
    if k:
        for query in range(queries):
            fits = fits and largest_of_line(&pool, &scores[query, 0] if n else NULL, n, k, &slots[query, 0],
                                            &said[query, 0])
    pool_freed(&pool)
    if not fits:
        raise MemoryError
    return found, values


def reciprocal(const int32_t[:, ::1] rows, const float[:, ::1] scores, double constant):
    """1 / (``constant`` + rank) of each slot of (q, n) by its score, equal ones as they stand; 0 of an empty one."""
    cdef ptrdiff_t queries = rows.shape[0], n = rows.shape[1], query
    if scores.shape[0] != queries or scores.shape[1] != n:
        raise ValueError("rows and scores must have one shape")
    found = np.empty((queries, n), np.float32)
    cdef float[:, ::1] said = found
    if n:
        for query in range(queries):
            if not reciprocal_ranks(&rows[query, 0], &scores[query, 0], n, constant, &said[query, 0]):
                raise MemoryError
    return found


def best(const int32_t[::1] rows, const float[::1] scores, ptrdiff_t k):
    """The k items, int32 (n,), of the largest scores, float32 (n,), equal ones by row, in exactly k slots."""
    cdef ptrdiff_t n = rows.shape[0]
    if scores.shape[0] != n:
        raise ValueError(f"{n} rows and {scores.shape[0]} scores: one each was wanted")
    found, values = np.empty(k, np.int32), np.empty(k, np.float32)
    cdef int32_t[::1] slots = found
    cdef float[::1] said = values
    if k and not best_by_row(&rows[0] if n else NULL, &scores[0] if n else NULL, n, k, &slots[0], &said[0]):
        raise MemoryError
    return found, values


def merged(const int32_t[::1] rows, const float[::1] scores, ptrdiff_t k):
    """The k different rows of the largest scores above 0, in exactly k slots; equal ones by row."""
    cdef ptrdiff_t n = rows.shape[0], many = 0
    if scores.shape[0] != n:
        raise ValueError(f"{n} rows and {scores.shape[0]} scores: one each was wanted")
    different, largest = np.empty(n, np.int32), np.empty(n, np.float32)
    cdef int32_t[::1] items = different
    cdef float[::1] values = largest
    cdef Room room
    if n:
        room = Room(n)
        many = largest_of_each(&room.table, &rows[0], &scores[0], n, &items[0], &values[0])
    return best(items[:many], values[:many], k)


def fused(const int32_t[:, ::1] rows, const float[:, ::1] added, const float[:, ::1] said, const int32_t[::1] ends):
    """One list out of several sources', whose slots stand behind each other up to ``ends``, int32 (s,).

    ``rows``: int32 (q, n), ``added``: float32 (q, n), what each slot adds to its item's score, ``said``: float32
    (q, n), what the source says of it. Rows and scores, (q, n), where an item's first slot stands for it and the others
    are empty, and what each source said, float32 (s, q, n), nan where it did not.
    """
    cdef ptrdiff_t queries = rows.shape[0], n = rows.shape[1], sources = ends.shape[0], query
    if not (added.shape[0] == said.shape[0] == queries and added.shape[1] == said.shape[1] == n):
        raise ValueError("rows, what they add and what is said of them must have one shape")
    if not sources or ends[sources - 1] != n:
        raise ValueError(f"the last source must end at slot {n}")
    found, scores = np.empty((queries, n), np.int32), np.empty((queries, n), np.float32)
    signals = np.empty((sources, queries, n), np.float32)
    cdef int32_t[:, ::1] slots = found
    cdef float[:, ::1] sums = scores
    cdef float[:, :, ::1] told = signals
    cdef Room room
    if n:
        room = Room(n)
        for query in range(queries):
            fused_lists(&room.table, &rows[query, 0], &added[query, 0], &said[query, 0], n, &ends[0], sources,
                        &slots[query, 0], &sums[query, 0], &told[0, query, 0], queries * n)
    return found, scores, signals


cdef class Scratch:
    """So many bytes, freed with their owner."""

    cdef char *bytes

    def __cinit__(self, size_t many):
        self.bytes = <char *> malloc(many + 1)
        if self.bytes == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.bytes)


def blended(list proposals, list unwanted, ptrdiff_t pool, ptrdiff_t most, double constant):
    """One list of several sources' proposals, best first: of each the ``pool`` best of what each query wants.

    ``proposals``: rows, int32 (q, n), and scores, float32 (q, n), of each source, for the same queries. ``unwanted``:
    of each query a list of rows that it does not want, int32 (m,), and of masks that hold what it does, bits as uint8
    (⌈items/8⌉,) and how many items. Scored by the sum of 1 / (``constant`` + rank) over the sources; equal ones stand as
    they are met. Rows and scores, (q, most), the last ones -1 and -inf, and what each source said, float32 (s, q,
    most), nan where it did not.
    """
    cdef ptrdiff_t sources = len(proposals), queries = len(unwanted), parts = 0, n = 0, gone = 0, most_gone = 0, query
    cdef ptrdiff_t source, part
    cdef const int32_t[:, ::1] slots
    cdef const float[:, ::1] values
    cdef const int32_t[::1] hidden
    cdef const uint8_t[::1] bits
    for lists in unwanted:
        parts = max(parts, <ptrdiff_t> len(lists[0]) + <ptrdiff_t> len(lists[1]))
    cdef Scratch held = Scratch(sources * sizeof(Proposal) + (queries * parts + 1) * sizeof(Unwanted))
    cdef Unwanted *barred = <Unwanted *> held.bytes
    cdef Unwanted *own
    cdef Proposal *proposed = <Proposal *> (barred + queries * parts + 1)
    for source in range(sources):
        slots, values = proposals[source]
        if slots.shape[0] != queries or values.shape[0] != queries or values.shape[1] != slots.shape[1]:
            raise ValueError("rows, scores and what is unwanted must be of the same queries")
        proposed[source].n = slots.shape[1]
        proposed[source].rows = &slots[0, 0] if queries and slots.shape[1] else NULL
        proposed[source].scores = &values[0, 0] if queries and slots.shape[1] else NULL
        n += slots.shape[1]
    for query in range(queries):
        rows, masks = unwanted[query]
        own = barred + query * parts
        for part in range(parts):
            own[part].rows, own[part].many, own[part].bits, own[part].items = NULL, 0, NULL, 0
        part, gone = 0, 0
        for each in rows:
            hidden = each
            own[part].rows, own[part].many = &hidden[0] if hidden.shape[0] else NULL, hidden.shape[0]
            gone += hidden.shape[0]
            part += 1
        for each, items in masks:
            bits = each
            if 8 * bits.shape[0] < items:
                raise ValueError(f"a mask of {bits.shape[0]} bytes is not one of {items} items")
            own[part].bits, own[part].items = &bits[0] if bits.shape[0] else <const uint8_t *> held.bytes, items
            part += 1
        most_gone = max(most_gone, gone)
    found, scores = np.empty((queries, most), np.int32), np.empty((queries, most), np.float32)
    signals = np.empty((sources, queries, most), np.float32)
    if not queries or not most:
        return found, scores, signals
    cdef int32_t[:, ::1] best = found
    cdef float[:, ::1] sums = scores
    cdef float[:, :, ::1] told = signals
    cdef Room room = Room(n + most_gone)
    cdef Scratch spare = Scratch(n * (sizeof(int64_t) + sizeof(int32_t) + (1 + sources) * sizeof(float)))
    cdef int64_t *order = <int64_t *> spare.bytes
    cdef int32_t *items_met = <int32_t *> (order + n)
    cdef float *added = <float *> (items_met + n)
    cdef bint fits = True
    with nogil:
        for query in range(queries):
            fits = fits and blended_lists(&room.table, proposed, sources, barred + query * parts, parts, pool, constant,
                                          n, order, items_met, added, added + n, most, &best[query, 0],
                                          &sums[query, 0], &told[0, query, 0] if sources else NULL, queries * most)
            for source in range(sources):
                proposed[source].rows += proposed[source].n
                proposed[source].scores += proposed[source].n
    if not fits:
        raise MemoryError
    return found, scores, signals


def summed(
    const int32_t[:, ::1] lists,
    const float[:, ::1] weights,
    const int32_t[::1] history,
    const float[::1] by,
):
    """The items that the lists of a history name, int32 (m,), in any order, and the sums of what they say, float32.

    ``lists``: int32 (n, K), -1 where empty, and ``weights``: float32 (n, K); ``history``: int32 (r,), ``by``: float32
    (r,), what each of its items weighs, as nothing below 0. Added up in float64, in the order of the history.
    """
    cdef ptrdiff_t length = history.shape[0], width = lists.shape[1], many = 0, i
    if by.shape[0] != length or weights.shape[0] != lists.shape[0] or weights.shape[1] != width:
        raise ValueError("lists and their weights, and a history and its weights, must have one shape each")
    for i in range(length):
        if not 0 <= history[i] < lists.shape[0]:
            raise IndexError(f"row {history[i]} is asked for, there are {lists.shape[0]} lists")
    named, sums = np.empty(length * width, np.int32), np.empty(length * width)
    cdef int32_t[::1] items = named
    cdef double[::1] totals = sums
    cdef Room room
    if length and width:
        room = Room(length * width)
        many = summed_lists(&room.table, &lists[0, 0], &weights[0, 0], width, &history[0], &by[0], length, &items[0],
                            &totals[0])
    return named[:many], sums[:many].astype(np.float32)


def without(const int32_t[:, ::1] rows, const float[:, ::1] scores, const int32_t[::1] gone, const int64_t[::1] ends):
    """Rows and scores, (q, n), with the slots emptied whose items are gone, and which ones stay, bool (q, n).

    ``gone``: int32 (m,), those of query i up to ``ends[i]``, int64 (q,). None where all stay.
    """
    cdef ptrdiff_t queries = rows.shape[0], n = rows.shape[1], start = 0, most = 0, taken = 0, query, slot
    if ends.shape[0] != queries or scores.shape[0] != queries or scores.shape[1] != n:
        raise ValueError("rows, scores and what is gone must be of the same queries")
    for query in range(queries):
        if not start <= ends[query] <= gone.shape[0]:
            raise ValueError("what is gone of a query must end behind that of the one before")
        most, start = max(most, ends[query] - start), ends[query]
    if not n or not most:
        return None
    stays = np.empty((queries, n), np.bool_)
    cdef uint8_t[:, ::1] kept = stays.view(np.uint8)
    cdef Room room = Room(most)
    start = 0
    for query in range(queries):
        taken += hide(&room.table, &rows[query, 0], n, &gone[start] if ends[query] > start else NULL,
                      ends[query] - start, &kept[query, 0])
        start = ends[query]
    if not taken:
        return None
    left, values = np.empty((queries, n), np.int32), np.empty((queries, n), np.float32)
    cdef int32_t[:, ::1] slots = left
    cdef float[:, ::1] said = values
    for query in range(queries):
        for slot in range(n):
            slots[query, slot] = rows[query, slot] if kept[query, slot] else -1
            said[query, slot] = scores[query, slot] if kept[query, slot] else -INFINITY
    return left, values, stays


def capped(const int32_t[:, ::1] rows, const int32_t[::1] groups, ptrdiff_t most):
    """Which slots are among the first ``most`` of their item's group, bool (q, n); None where all are.

    ``rows``: int32 (q, n), ``groups``: int32 (items,). An item whose group is below 0 has none, as one beyond the items
    and an empty slot: those stay.
    """
    cdef ptrdiff_t queries = rows.shape[0], n = rows.shape[1], items = groups.shape[0], taken = 0, query, slot
    if not n or not queries:
        return None
    stays = np.empty((queries, n), np.bool_)
    cdef uint8_t[:, ::1] kept = stays.view(np.uint8)
    cdef int32_t[::1] own = np.empty(n, np.int32)
    cdef Room room = Room(n)
    for query in range(queries):
        if items:
            fetch_rows(&groups[0], sizeof(int32_t), items, &rows[query, 0], n)
        for slot in range(n):
            own[slot] = groups[rows[query, slot]] if 0 <= rows[query, slot] < items else -1
        taken += cap(&room.table, &own[0], n, most, &kept[query, 0])
    return stays if taken else None
