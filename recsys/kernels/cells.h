/* Inverted lists (Jégou et al. 2011) whose vectors are codes of a byte a dimension, searched by inner product. */
#ifndef RECSYS_CELLS_H
#define RECSYS_CELLS_H

#include "candidates.h"
#include "codes.h"
#include "pool.h"
#include "vectors.h"

/* A cell's vectors are its centre + low + (code + ½) · step, in each dimension; the centres are coded too. */
typedef struct {
    ptrdiff_t cells, d, items;
    int by_bytes; /* how products are summed, which changes none */
    const float *centres; /* (cells, d) */
    const float *low, *step; /* (d) */
    ptrdiff_t filled; /* cells that hold anything */
    const int64_t *filled_ids; /* (filled), which those are */
    const uint8_t *centre_codes; /* (filled, d) */
    const float *centre_low, *centre_step; /* (d) */
    const uint8_t *const *codes; /* of each cell (size, d) */
    const int64_t *const *ids;   /* of each cell (size) */
    const int64_t *sizes;
    const float *vectors; /* (items, d), what candidates are scored by in the end */
} Cells;

/* A centre is certainly not among the best by its code: as many standard deviations of what rounding does to a product.
 * Not so of vectors: Faiss looks at some of them for how far codes must reach, and those beyond are cut off. */
static const float CERTAIN = 6;

/* Score what was chosen by codes by the vectors, (n, d), themselves. Rows that are none become -1. */
FOR_EACH_PROCESSOR
static void score_again(const float *vectors, ptrdiff_t n, ptrdiff_t d, const float *query, Pool *found) {
    for (ptrdiff_t i = 0; i < found->many; i++)
        if (found->rows[i] < 0 || found->rows[i] >= n) found->rows[i] = -1; /* a damaged file */
    for (ptrdiff_t i = 0; i < found->many; i++) {
        fetch_ahead(vectors, d, found->rows, found->many, i);
        found->scores[i] = found->rows[i] < 0 ? -INFINITY : inner(vectors + found->rows[i] * d, query, d);
    }
}

/* The cells whose centres have the largest inner products with each query, a pool for each of `many`, best first: the
 * sooner most of what they hold is known to be worth too little. 0: no memory. */
static int open_cells(const Cells *cells, const float *queries, ptrdiff_t many, Weights *weights, Pool *opened) {
    const ptrdiff_t d = cells->d;
    int fits = 1;
    for (ptrdiff_t line = 0; line < many; line++) {
        weigh(weights + line, queries + line * d, cells->centre_low, cells->centre_step);
        pool_emptied(opened + line, CERTAIN * weights[line].error);
    }
    for (ptrdiff_t first = 0; first < cells->filled; first += TOGETHER) {
        const ptrdiff_t n = cells->filled - first < TOGETHER ? cells->filled - first : TOGETHER;
        /* What was read for one query is at hand for the next. */
        for (ptrdiff_t line = 0; line < many; line++)
            offer_coded(cells->centre_codes + first * d, cells->filled_ids + first, n, weights + line,
                        weights[line].base, NULL, 0, opened + line);
    }
    for (ptrdiff_t line = 0; line < many; line++) {
        thin_out(opened + line);
        score_again(cells->centres, cells->cells, d, queries + line * d, opened + line);
        fits &= pool_sorted(opened + line);
    }
    return fits;
}

/* What the opened cells hold and `allowed`, a bit for each item or NULL for all, has, by its codes. */
static void look_through(const Cells *cells, const float *query, const Pool *opened, const uint8_t *allowed,
                         Weights *weights, Pool *found) {
    const ptrdiff_t d = cells->d;
    weigh(weights, query, cells->low, cells->step);
    pool_emptied(found, 0);
    for (ptrdiff_t at = 0; at < opened->many; at++) {
        const int32_t cell = opened->rows[at];
        const ptrdiff_t size = (ptrdiff_t)cells->sizes[cell];
        for (ptrdiff_t first = 0; first < size; first += TOGETHER) {
            const uint8_t *codes = cells->codes[cell] + first * d;
            const ptrdiff_t n = size - first < TOGETHER ? size - first : TOGETHER;
            const uint8_t *next = codes + n * d; /* here or in the next cell */
            if (first + n == size && at + 1 < opened->many) next = cells->codes[opened->rows[at + 1]];
            for (ptrdiff_t i = 0; i < TOGETHER * d; i += 64) FETCH(next + i);
            offer_coded(codes, cells->ids[cell] + first, n, weights, weights->base + opened->scores[at], allowed,
                        cells->items, found);
        }
    }
    select_best(found, found->wanted);
}

/* The k best of each query, equal ones by row. `wanted`: how many are scored again, k at least. 0: no memory. */
static int search_cells(const Cells *cells, const float *queries, ptrdiff_t many, ptrdiff_t k, ptrdiff_t probes,
                        ptrdiff_t wanted, const uint8_t *allowed, int32_t *rows, float *scores) {
    enum { AT_ONCE = 8 };
    const ptrdiff_t d = cells->d, lines = many < AT_ONCE ? many : AT_ONCE;
    Pool opened[AT_ONCE] = {{0}}, found = {0};
    Weights weights[AT_ONCE] = {{0}};
    int fits = pool_made(&found, wanted, wanted);
    for (ptrdiff_t line = 0; line < lines; line++)
        fits &= pool_made(opened + line, probes, 2 * probes) & weights_made(weights + line, d, cells->by_bytes);
    for (ptrdiff_t first = 0; first < many && fits; first += AT_ONCE) {
        const ptrdiff_t end = many - first < AT_ONCE ? many : first + AT_ONCE;
        fits = open_cells(cells, queries + first * d, end - first, weights, opened);
        for (ptrdiff_t line = first; line < end && fits; line++) {
            look_through(cells, queries + line * d, opened + line - first, allowed, weights, &found);
            score_again(cells->vectors, cells->items, d, queries + line * d, &found);
            fits = best_by_row(found.rows, found.scores, found.many, k, rows + line * k, scores + line * k);
        }
    }
    for (ptrdiff_t line = 0; line < lines; line++) {
        pool_freed(opened + line);
        weights_freed(weights + line);
    }
    pool_freed(&found);
    return fits;
}

#endif
