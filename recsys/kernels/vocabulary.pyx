# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Keys of ids looked up among sorted ones, and ids cut out of the text that holds them all."""

import numpy as np

from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset


cdef extern from "portable.h" nogil:
    void FETCH(const void *)


cdef inline ptrdiff_t guess_of(ptrdiff_t n, uint64_t key) noexcept nogil:
    """About where a key stands: keys are hashes, spread evenly."""
    return min(max(<ptrdiff_t> (<double> key / 18446744073709551616.0 * n), 0), n - 1)


cdef inline ptrdiff_t place_of(const uint64_t *keys, ptrdiff_t n, uint64_t key) noexcept nogil:
    """Where the first key stands that is not less; n if all are.

    It is guessed by the key's size, then looked for in steps that double.
    """
    cdef ptrdiff_t high = guess_of(n, key)
    cdef ptrdiff_t low = high, step = 16, middle
    if keys[high] < key:
        while high < n and keys[high] < key:
            low = high + 1
            high += step
            step *= 2
        high = min(high, n)
    else:
        while low > 0 and keys[low - 1] >= key:
            high = low - 1
            low = max(high - step, 0)
            step *= 2
    while low < high:
        middle = low + (high - low) // 2
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


def rows_of(const uint64_t[::1] keys, const int32_t[::1] rows, const uint64_t[::1] wanted):
    """The rows of wanted keys, uint64 (m,): int32 (m,), -1 for a key that is not there.

    ``keys``: uint64 (n,), ascending, and ``rows``: int32 (n,), that of each.
    """
    cdef ptrdiff_t n = keys.shape[0], m = wanted.shape[0], i, place
    if rows.shape[0] != n:
        raise ValueError(f"{n} keys and {rows.shape[0]} rows: one each was wanted")
    found = np.empty(m, np.int32)
    cdef int32_t[::1] told = found
    cdef int64_t[::1] places = np.empty(m, np.int64)
    with nogil:
        for i in range(m if n else 0):  # each lies in another corner of memory
            FETCH(&keys[guess_of(n, wanted[i])])
        for i in range(m):
            place = place_of(&keys[0], n, wanted[i]) if n else 0
            places[i] = place if place < n and keys[place] == wanted[i] else -1
            if places[i] >= 0:
                FETCH(&rows[places[i]])
        for i in range(m):
            told[i] = rows[places[i]] if places[i] >= 0 else -1
    return found


def row_of(const uint64_t[::1] keys, const int32_t[::1] rows, uint64_t wanted):
    """The row of one key, see :func:`rows_of`; -1 if it is not there."""
    cdef ptrdiff_t n = keys.shape[0], place
    if rows.shape[0] != n:
        raise ValueError(f"{n} keys and {rows.shape[0]} rows: one each was wanted")
    place = place_of(&keys[0], n, wanted) if n else 0
    return rows[place] if place < n and keys[place] == wanted else -1


cdef object listed(const int32_t *places, ptrdiff_t many):
    """Places as int64 (many,); None for none."""
    cdef ptrdiff_t i
    if not many:
        return None
    found = np.empty(many, np.int64)
    cdef int64_t[::1] told = found
    for i in range(many):
        told[i] = places[i]
    return found


def news(const uint64_t[::1] row_keys, const int32_t[::1] rows, const int64_t[::1] times, const uint64_t[::1] recent,
         const int64_t[::1] recent_times, const uint64_t[::1] seen):
    """What events say beyond what is known of a user: places among them, int64, ascending; None for nothing.

    Known are the items in ``rows``, int32 (t,), each up to its time, int64 (t,); ``row_keys``: uint64 (n,), the key of
    each row. First the places in ``recent``, uint64 (r,) keys, whose item is none of those or whose time, int64 (r,), is
    later; then the places in ``seen``, uint64 (s,) keys, whose item is none of those.
    """
    cdef ptrdiff_t n = row_keys.shape[0], t = rows.shape[0], r = recent.shape[0], s = seen.shape[0], i
    cdef ptrdiff_t new = 0, others = 0
    cdef uint64_t size = 16, slot, key
    cdef int32_t *table
    cdef int32_t *places
    if times.shape[0] != t or recent_times.shape[0] != r:
        raise ValueError("rows and keys must have one time each")
    for i in range(t):
        if not 0 <= rows[i] < n:
            raise IndexError(f"row {rows[i]} is asked for, there are {n} keys")
        FETCH(&row_keys[rows[i]])
    while size < <uint64_t> (2 * t):
        size *= 2
    table = <int32_t *> malloc((size + r + s) * sizeof(int32_t))
    if table == NULL:
        raise MemoryError
    places = table + size
    with nogil:
        memset(table, 0xff, size * sizeof(int32_t))
        for i in range(t):
            slot = row_keys[rows[i]] & (size - 1)  # keys are hashes
            while table[slot] >= 0 and row_keys[rows[table[slot]]] != row_keys[rows[i]]:
                slot = (slot + 1) & (size - 1)
            if table[slot] < 0:
                table[slot] = i
        for i in range(r + s):
            key = recent[i] if i < r else seen[i - r]
            slot = key & (size - 1)
            while table[slot] >= 0 and row_keys[rows[table[slot]]] != key:
                slot = (slot + 1) & (size - 1)
            if i < r and (table[slot] < 0 or recent_times[i] > times[table[slot]]):
                places[new] = i
                new += 1
            elif i >= r and table[slot] < 0:
                places[new + others] = i - r
                others += 1
    try:
        return listed(places, new), listed(places + new, others)
    finally:
        free(table)


def texts(const uint8_t[::1] text, const int64_t[::1] offsets, const int64_t[::1] rows):
    """The texts of rows, int64 (m,), of UTF-8 in which surrogates may stand. IndexError for a row that is none.

    ``text``: uint8, all of them one after the other; ``offsets``: int64 (n + 1,), where each starts.
    """
    cdef ptrdiff_t n = offsets.shape[0] - 1, m = rows.shape[0], i
    cdef int64_t start, end
    found = []
    for i in range(m):  # each lies in another corner of memory
        if 0 <= rows[i] < n:
            FETCH(&offsets[rows[i]])
    for i in range(m):
        if 0 <= rows[i] < n and 0 <= offsets[rows[i]] < text.shape[0]:
            FETCH(&text[offsets[rows[i]]])
    for i in range(m):
        if not 0 <= rows[i] < n:
            raise IndexError(
                f"rows run from {np.min(rows)} to {np.max(rows)}, the vocabulary from 0 to {n - 1}"
            )
        start, end = offsets[rows[i]], offsets[rows[i] + 1]
        if not 0 <= start < end <= text.shape[0]:
            raise ValueError(f"the id of row {rows[i]} stands from byte {start} to {end} of {text.shape[0]}")
        found.append(PyUnicode_DecodeUTF8(<const char *> &text[start], end - start, "surrogatepass"))
    return found
