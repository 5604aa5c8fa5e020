# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The items of an answer, as JSON."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

MOST = 64
"""Sources of one list."""
cdef const char *DIGITS = b"0123456789abcdef"


cdef inline int width_of(unsigned char byte) noexcept nogil:
    """Bytes that one of a text takes within JSON."""
    if byte == b'"' or byte == b"\\":
        return 2
    return 1 if byte >= 0x20 else 6


cdef char *written(char *to, const char *text, Py_ssize_t size) noexcept nogil:
    """Write a text as a JSON string; where it ends."""
    cdef Py_ssize_t i
    cdef unsigned char byte
    to[0] = b'"'
    to += 1
    for i in range(size):
        byte = text[i]
        if width_of(byte) == 6:
            memcpy(to, b"\\u00", 4)
            to[4], to[5] = DIGITS[byte >> 4], DIGITS[byte & 15]
            to += 6
            continue
        if width_of(byte) == 2:
            to[0] = b"\\"
            to += 1
        to[0] = byte
        to += 1
    to[0] = b'"'
    return to + 1


def listed(list ids, list heads, list tails):
    """``[{"item_id":`` id head tail ``,`` …, with each id, a str, as a JSON string, and heads and tails as they stand.

    Of each as many. UnicodeEncodeError for an id that is no text.
    """
    cdef Py_ssize_t many = len(ids), total = 2, size, at, i
    cdef const char *text
    cdef bytes piece
    if len(heads) != many or len(tails) != many:
        raise ValueError(f"{many} ids, {len(heads)} heads and {len(tails)} tails: as many were wanted")
    for i in range(many):
        text = PyUnicode_AsUTF8AndSize(ids[i], &size)
        total += 11 + 2 + len(<bytes?> heads[i]) + len(<bytes?> tails[i]) + 1
        for at in range(size):
            total += width_of(text[at])
    found = PyBytes_FromStringAndSize(NULL, total - (many > 0))
    cdef char *to = PyBytes_AS_STRING(found)
    to[0] = b"["
    to += 1
    for i in range(many):
        if i:
            to[0] = b","
            to += 1
        memcpy(to, b'{"item_id":', 11)
        text = PyUnicode_AsUTF8AndSize(ids[i], &size)
        to = written(to + 11, text, size)
        for piece in (<bytes> heads[i], <bytes> tails[i]):
            memcpy(to, PyBytes_AS_STRING(piece), len(piece))
            to += len(piece)
    to[0] = b"]"
    return found


def proposers(list signals, Py_ssize_t slots):
    """Of each of the first slots who said something of it: a number whose bit i is that of the i-th of ``signals``.

    ``signals``: float32 (n,) each, nan where nothing was said; :data:`MOST` of them at most.
    """
    cdef Py_ssize_t many = len(signals), i, slot
    cdef const float[:] said
    cdef uint64_t bit
    if many > MOST:
        raise ValueError(f"{many} sources: at most {MOST} can be told apart")
    found = [0] * slots
    for i in range(many):
        said = signals[i]
        if said.shape[0] < slots:
            raise ValueError(f"{said.shape[0]} slots, {slots} are asked for")
        bit = <uint64_t> 1 << i
        for slot in range(slots):
            if said[slot] == said[slot]:
                found[slot] = <uint64_t> found[slot] | bit
    return found
