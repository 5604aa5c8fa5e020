# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The columns of a user's state, out of the bytes in which :mod:`recsys.stores.codec` keeps them."""

import numpy as np

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

HALF = 16
"""So many weights at most have their places in half a byte each."""


cdef inline uint32_t four_bytes(const uint8_t *at) noexcept nogil:
    return at[0] | <uint32_t> at[1] << 8 | <uint32_t> at[2] << 16 | <uint32_t> at[3] << 24


cdef inline uint64_t eight_bytes(const uint8_t *at) noexcept nogil:
    return four_bytes(at) | <uint64_t> four_bytes(at + 4) << 32


def columns(const uint8_t[::1] stored, ptrdiff_t start, ptrdiff_t width, ptrdiff_t r, ptrdiff_t s, int64_t first,
            ptrdiff_t w):
    """Times, int64 (r + s,), weights, float32 (r,), and dropped, bool (s,), of a state 2 whose columns begin at ``start``.

    ``width``: bytes of a time, 4 or 8; ``w``: how many different weights there are, 0 without a table of them. None for
    a weight that is not in the table. ValueError if the bytes end before.
    """
    cdef ptrdiff_t n = r + s, at = start + 8 * n, i
    cdef ptrdiff_t marks = at + width * n, table = marks + 4 * r, places = table + 4 * w
    cdef ptrdiff_t bits = table + 4 * r if not w else places + ((r + 1) // 2 if w <= HALF else r)
    cdef uint64_t offset
    cdef uint32_t place, number
    cdef uint8_t byte
    if min(start, r, s, w) < 0 or width not in (4, 8) or bits + (s + 7) // 8 > stored.shape[0]:
        raise ValueError(f"{stored.shape[0]} bytes hold no {r} records and {s} items")
    times, weights, dropped = np.empty(n, np.int64), np.empty(r, np.float32), np.empty(s, np.bool_)
    cdef int64_t[::1] time = times
    cdef float[::1] weight = weights
    cdef uint8_t[::1] gone = dropped.view(np.uint8)
    for i in range(n):
        offset = four_bytes(&stored[at + 4 * i]) if width == 4 else eight_bytes(&stored[at + 8 * i])
        # Sums go round as the differences did.
        time[i] = <int64_t> (<uint64_t> first + offset)
    for i in range(r):
        place = i
        if w:
            byte = stored[places + i // 2] if w <= HALF else stored[places + i]
            place = byte if w > HALF else byte >> 4 if i % 2 else byte & 15
            if place >= w:
                return None
        number = four_bytes(&stored[table + 4 * place])
        memcpy(&weight[i], &number, sizeof(number))
    for i in range(s):
        gone[i] = stored[bits + i // 8] >> i % 8 & 1
    for column in (times, weights, dropped):
        column.flags.writeable = False
    return times, weights, dropped
