/* Inverted lists (Jégou et al. 2011) whose vectors are codes of a byte a dimension, searched by inner product. */
#ifndef RECSYS_CELLS_H
#define RECSYS_CELLS_H

#include "candidates.h"
#include "pool.h"
#include "vectors.h"

/* A cell's vectors are its centre + low + (code + ½) · step, in each dimension. */
typedef struct {
    ptrdiff_t cells, d, items;
    const float *centres;        /* WIDE beside each other: blocks of (d, WIDE) */
    const float *low, *step;     /* (d) */
    const uint8_t *const *codes; /* of each cell (size, d) */
    const int64_t *const *ids;   /* of each cell (size) */
    const int64_t *sizes;
    const float *vectors; /* (items, d), what candidates are scored by in the end */
} Cells;

/* A sum that compilers make of instructions for 16 bits: half as many as floats take, and as good for choosing. */
static inline int32_t coded(const uint8_t *code, const int16_t *weights, ptrdiff_t d) {
    const ptrdiff_t whole = d - d % 32;
    int32_t sum = 0;
    for (ptrdiff_t i = 0; i < whole; i++) sum += (int32_t)(int16_t)code[i] * weights[i];
    for (ptrdiff_t i = whole; i < d; i++) sum += (int32_t)(int16_t)code[i] * weights[i];
    return sum;
}

/* The weights of codes as whole numbers, so that no sum is too large for 32 bits; what one of them stands for. */
static float whole_weights(const Cells *cells, const float *query, int16_t *weights, float *base) {
    const ptrdiff_t d = cells->d;
    const float room = (float)(INT32_MAX / (256 * d)), limit = room < INT16_MAX ? room : INT16_MAX;
    float largest = 0;
    *base = 0;
    for (ptrdiff_t i = 0; i < d; i++) {
        const float weight = query[i] * cells->step[i];
        *base += query[i] * cells->low[i] + 0.5f * weight;
        if (fabsf(weight) > largest) largest = fabsf(weight);
    }
    const float unit = largest > 0 ? largest / limit : 1;
    for (ptrdiff_t i = 0; i < d; i++) weights[i] = (int16_t)lrintf(query[i] * cells->step[i] / unit);
    return unit;
}

/* The cells whose centres have the largest inner products with each query: a pool for each of `many`. */
FOR_EACH_PROCESSOR
static void open_cells(const Cells *cells, const float *queries, ptrdiff_t many, Pool *opened) {
    const ptrdiff_t d = cells->d;
    for (ptrdiff_t line = 0; line < many; line++) pool_emptied(opened + line);
    for (ptrdiff_t first = 0; first < cells->cells; first += WIDE) {
        const ptrdiff_t end = cells->cells - first < WIDE ? cells->cells - first : WIDE;
        /* What was read for one query is at hand for the next. */
        for (ptrdiff_t line = 0; line < many; line++) {
            const Sums sums = products_with(queries + line * d, cells->centres + first * d, d);
            int any = 0;
            for (ptrdiff_t lane = 0; lane < WIDE; lane++) any |= sums.of[lane] > opened[line].bound;
            for (ptrdiff_t lane = 0; lane < end && any; lane++)
                if (cells->sizes[first + lane]) offer(opened + line, sums.of[lane], (int32_t)(first + lane));
        }
    }
    for (ptrdiff_t line = 0; line < many; line++) cut(opened + line);
}

/* What the opened cells hold and `allowed`, a bit for each item or NULL for all, has, by its codes. `weights`: d. */
FOR_EACH_PROCESSOR
static void look_through(const Cells *cells, const float *query, const Pool *opened, const uint8_t *allowed,
                         int16_t *weights, Pool *found) {
    const ptrdiff_t d = cells->d;
    float base;
    const float unit = whole_weights(cells, query, weights, &base);
    pool_emptied(found);
    for (ptrdiff_t at = 0; at < opened->many; at++) {
        const int32_t cell = opened->rows[at];
        const uint8_t *codes = cells->codes[cell];
        const int64_t *ids = cells->ids[cell];
        const float centre = base + opened->scores[at];
        for (int64_t i = 0; i < cells->sizes[cell]; i++) {
            if (allowed != NULL) {
                if (ids[i] < 0 || ids[i] >= cells->items || !(allowed[ids[i] >> 3] >> (ids[i] & 7) & 1)) continue;
            }
            FETCH(codes + (i + 32) * d); /* a cell is short, and the next one elsewhere */
            const float score = centre + unit * (float)coded(codes + i * d, weights, d);
            if (score > found->bound) offer(found, score, (int32_t)ids[i]);
        }
    }
    cut(found);
}

/* Score what was found by the vectors themselves. Rows that are none, as in a damaged file, become -1. */
FOR_EACH_PROCESSOR
static void score_again(const Cells *cells, const float *query, Pool *found) {
    for (ptrdiff_t i = 0; i < found->many; i++)
        if (found->rows[i] < 0 || found->rows[i] >= cells->items) found->rows[i] = -1;
    for (ptrdiff_t i = 0; i < found->many; i++) {
        fetch_ahead(cells->vectors, cells->d, found->rows, found->many, i);
        found->scores[i] =
            found->rows[i] < 0 ? -INFINITY : inner(cells->vectors + found->rows[i] * cells->d, query, cells->d);
    }
}

/* The k best of each query, equal ones by row. `wanted`: how many are scored again, k at least. 0: no memory. */
static int search_cells(const Cells *cells, const float *queries, ptrdiff_t many, ptrdiff_t k, ptrdiff_t probes,
                        ptrdiff_t wanted, const uint8_t *allowed, int32_t *rows, float *scores) {
    enum { TOGETHER = 8 };
    const ptrdiff_t d = cells->d;
    Pool opened[TOGETHER] = {{0}}, found = {0};
    int16_t *weights = (int16_t *)malloc((size_t)d * sizeof(int16_t));
    int fits = pool_made(&found, wanted) & (weights != NULL);
    for (ptrdiff_t line = 0; line < TOGETHER && line < many; line++) fits &= pool_made(opened + line, probes);
    for (ptrdiff_t first = 0; first < many && fits; first += TOGETHER) {
        const ptrdiff_t end = many - first < TOGETHER ? many : first + TOGETHER;
        open_cells(cells, queries + first * d, end - first, opened);
        for (ptrdiff_t line = first; line < end && fits; line++) {
            look_through(cells, queries + line * d, opened + line - first, allowed, weights, &found);
            score_again(cells, queries + line * d, &found);
            fits = best_by_row(found.rows, found.scores, found.many, k, rows + line * k, scores + line * k);
        }
    }
    for (ptrdiff_t line = 0; line < TOGETHER; line++) pool_freed(opened + line);
    pool_freed(&found);
    free(weights);
    return fits;
}

#endif
