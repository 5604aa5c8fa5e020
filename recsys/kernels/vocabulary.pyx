# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Keys of ids looked up among sorted ones, and ids cut out of the text that holds them all."""

import numpy as np

from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t


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


def places_of(const uint64_t[::1] keys, const uint64_t[::1] among):
    """Where each key, uint64 (m,), stands first among others, uint64 (n,): int64 (m,), -1 where it does not."""
    cdef ptrdiff_t n = among.shape[0], m = keys.shape[0], i
    cdef uint64_t size = 16, slot
    while size < <uint64_t> (2 * n):
        size *= 2
    found = np.empty(m, np.int64)
    cdef int64_t[::1] told = found
    cdef int64_t[::1] table = np.full(size, -1)
    with nogil:
        for i in range(n):
            slot = among[i] & (size - 1)  # keys are hashes
            while table[slot] >= 0 and among[table[slot]] != among[i]:
                slot = (slot + 1) & (size - 1)
            if table[slot] < 0:
                table[slot] = i
        for i in range(m):
            slot = keys[i] & (size - 1)
            while table[slot] >= 0 and among[table[slot]] != keys[i]:
                slot = (slot + 1) & (size - 1)
            told[i] = table[slot]
    return found


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
