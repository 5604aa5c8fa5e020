# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Boosted trees over rows of numbers."""

import numpy as np

from libc.math cimport exp
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

ctypedef fused Word:
    uint16_t
    uint32_t
    uint64_t

cdef extern from "trees.h" nogil:
    int ROWS_AT_ONCE, BLOCK
    ctypedef struct Trees:
        ptrdiff_t columns, splits, trees, stride
        const int32_t *split_columns
        const int32_t *starts
        const float *thresholds
        const void *words
        const double *leaves
        void *left
        int32_t *lines
    void score_trees(const Trees *, ptrdiff_t bytes, const float *rows, ptrdiff_t count, double *scores)


def score(
    const float[:, ::1] rows,
    const int32_t[::1] columns,
    const int32_t[::1] starts,
    const float[::1] thresholds,
    const Word[:, ::1] words,
    const double[:, ::1] leaves,
    double[::1] out,
):
    """Write the sum of the trees for each row, float32 (m, columns), into ``out``, float64 (m,).

    Split s is by column ``columns[s]``, with the ascending ``thresholds[starts[s]:starts[s + 1]]``, the last of which
    is infinity. ``words``: (thresholds + splits, trees or more), a line of whole blocks for each number of thresholds
    that lie below a value, the last for nan: the leaves that are left, as bits. ``leaves``: float64 (trees, bits of a
    word).
    """
    cdef ptrdiff_t count = rows.shape[0]
    cdef Trees trees
    trees.columns, trees.splits = rows.shape[1], columns.shape[0]
    trees.trees, trees.stride = leaves.shape[0], words.shape[1]
    if out.shape[0] != count or starts.shape[0] != trees.splits + 1 or trees.stride < trees.trees:
        raise ValueError("arrays of trees do not fit each other")
    if trees.stride * <ptrdiff_t> sizeof(Word) % BLOCK:
        raise ValueError(f"lines of {trees.stride} words: blocks of {BLOCK} bytes were wanted")
    if not count or not trees.trees:
        return
    trees.starts, trees.leaves = &starts[0], &leaves[0, 0]
    if trees.splits:
        trees.split_columns, trees.thresholds, trees.words = &columns[0], &thresholds[0], &words[0, 0]
    trees.left = malloc(trees.stride * sizeof(Word))
    trees.lines = <int32_t *> malloc((trees.splits + 1) * ROWS_AT_ONCE * sizeof(int32_t))
    if trees.left == NULL or trees.lines == NULL:
        free(trees.left)
        free(trees.lines)
        raise MemoryError
    with nogil:
        score_trees(&trees, sizeof(Word), &rows[0, 0], count, &out[0])
    free(trees.left)
    free(trees.lines)


def sigmoid(const double[::1] sums, double slope, double offset):
    """1 / (1 + e^−x) for x = ``slope`` · sum + ``offset`` of each of float64 (m,): float64 (m,)."""
    cdef ptrdiff_t count = sums.shape[0], i
    found = np.empty(count)
    cdef double[::1] told = found
    with nogil:
        for i in range(count):
            told[i] = 1 / (1 + exp(-(slope * sums[i] + offset)))
    return found
