# cython: language_level=3, boundscheck=False, wraparound=False
"""Inverted lists of coded vectors, searched by inner product."""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libc.stdlib cimport calloc, free

cdef extern from "cells.h" nogil:
    ctypedef struct CellsOf "Cells":
        ptrdiff_t cells, d, items
        bint by_bytes
        const float *centres
        const float *low
        const float *step
        ptrdiff_t filled
        const int64_t *filled_ids
        const uint8_t *centre_codes
        const float *centre_low
        const float *centre_step
        const uint8_t **codes
        const int64_t **ids
        const int64_t *sizes
        const float *vectors
    bint multiplies_bytes()
    bint search_cells(const CellsOf *, const float *queries, ptrdiff_t many, ptrdiff_t k, ptrdiff_t probes,
                      ptrdiff_t wanted, const uint8_t *allowed, int32_t *rows, float *scores)


cdef class Cells:
    """Cells of vectors, coded by a byte a dimension: what a cell holds is its centre + ``low`` + (code + ½) · ``step``.

    ``centres``: float32 (c, d); ``low``, ``step``: float32 (d,). ``sizes``: int64 (c,), and ``codes``, ``ids``: int64
    (c,), the addresses of a cell's codes, uint8 (size, d), and rows, int64 (size,), of which ``owner`` keeps the memory.
    ``vectors``: float32 (n, d), what candidates are scored by in the end. ``by_bytes``: False, to do without a
    processor's instructions for products of bytes, which changes no result.
    """

    cdef CellsOf cells
    cdef const uint8_t **codes_at
    cdef const int64_t **ids_at
    cdef const float[:, ::1] vectors, centres
    cdef const float[::1] low, step, centre_low, centre_step
    cdef const uint8_t[:, ::1] centre_codes
    cdef const int64_t[::1] filled
    cdef const int64_t[::1] sizes
    cdef object owner

    def __init__(self, owner, const float[:, ::1] centres, const float[::1] low, const float[::1] step,
                 const int64_t[::1] sizes, const int64_t[::1] codes, const int64_t[::1] ids,
                 const float[:, ::1] vectors, bint by_bytes=True):
        cdef ptrdiff_t cells = centres.shape[0], d = centres.shape[1], cell
        if not (cells and d and low.shape[0] == step.shape[0] == vectors.shape[1] == d):
            raise ValueError("centres, vectors and what codes stand for must be of the same dimensions")
        if not sizes.shape[0] == codes.shape[0] == ids.shape[0] == cells:
            raise ValueError(f"{cells} centres, and sizes and addresses of another number of cells")
        if self.codes_at != NULL or self.ids_at != NULL:
            raise ValueError("cells are made once")
        self.owner, self.centres, self.low, self.step = owner, centres, low, step
        self.sizes, self.vectors = sizes, vectors
        self.codes_at = <const uint8_t **> calloc(cells, sizeof(void *))
        self.ids_at = <const int64_t **> calloc(cells, sizeof(void *))
        if self.codes_at == NULL or self.ids_at == NULL:
            raise MemoryError
        for cell in range(cells):
            if sizes[cell] and not (codes[cell] and ids[cell]):
                raise ValueError(f"cell {cell} holds {sizes[cell]} vectors, and nobody says where")
            self.codes_at[cell] = <const uint8_t *> <uintptr_t> codes[cell]
            self.ids_at[cell] = <const int64_t *> <uintptr_t> ids[cell]
        self.cells.cells, self.cells.d, self.cells.items = cells, d, vectors.shape[0]
        self.cells.by_bytes = by_bytes and multiplies_bytes()
        self._code(np.asarray(centres))
        self.cells.low, self.cells.step = &low[0], &step[0]
        self.cells.codes, self.cells.ids, self.cells.sizes = self.codes_at, self.ids_at, &sizes[0]
        self.cells.vectors = &vectors[0, 0] if vectors.shape[0] else NULL

    cdef _code(self, centres):
        """A byte a dimension for the centres of what holds anything: those say which centres are looked at."""
        filled = np.flatnonzero(self.sizes)
        least, most = centres.min(axis=0), centres.max(axis=0)
        step = np.maximum((most - least) / np.float32(255), np.finfo(np.float32).tiny)
        self.centre_codes = np.minimum((centres[filled] - least) / step, 255).astype(np.uint8)
        self.filled, self.centre_low, self.centre_step = filled, least, step
        self.cells.filled = len(filled)
        self.cells.centres, self.cells.centre_low = &self.centres[0, 0], &self.centre_low[0]
        self.cells.centre_step = &self.centre_step[0]
        self.cells.filled_ids = &self.filled[0] if len(filled) else NULL
        self.cells.centre_codes = &self.centre_codes[0, 0] if len(filled) else NULL

    def __dealloc__(self):
        free(self.codes_at)
        free(self.ids_at)

    def search(self, const float[:, ::1] queries, ptrdiff_t k, ptrdiff_t probes, ptrdiff_t wanted, bits=None):
        """Rows and inner products of the k best for each query, float32 (q, d): int32 and float32 (q, k), best first.

        -1 and -inf where there are no more, equal ones by row. ``probes``: how many cells are opened, those of the
        largest inner products; ``wanted``: how many of what they hold are scored by the vectors themselves, k at least.
        ``bits``: uint8 (⌈n / 8⌉,), which items may be found, the lowest bit first; None for all. Lets go of the
        interpreter.
        """
        cdef ptrdiff_t many = queries.shape[0], cells = self.cells.cells
        if queries.shape[1] != self.cells.d or min(k, probes) < 1:
            raise ValueError(f"queries of {queries.shape[1]}, k = {k}, probes = {probes}: {self.cells.d} and 1 or more")
        rows, scores = np.empty((many, k), np.int32), np.empty((many, k), np.float32)
        cdef int32_t[:, ::1] found = rows
        cdef float[:, ::1] said = scores
        cdef const uint8_t[::1] allowed = None
        cdef const uint8_t *masked = NULL
        cdef bint fits
        if bits is not None:
            allowed = bits
            if 8 * allowed.shape[0] < self.cells.items:
                raise ValueError(f"a mask of {allowed.shape[0]} bytes is over less than {self.cells.items} items")
            masked = &allowed[0] if allowed.shape[0] else NULL
        if many:
            with nogil:
                fits = search_cells(&self.cells, &queries[0, 0], many, k, min(probes, cells), max(wanted, k), masked,
                                    &found[0, 0], &said[0, 0])
            if not fits:
                raise MemoryError
        return rows, scores
