/* The best of many, kept while they come, in any order. */
#ifndef RECSYS_POOL_H
#define RECSYS_POOL_H

#include <math.h>
#include <stdlib.h>

#include "portable.h"

enum { ROOM = 3 };

/* The `wanted` best of what was offered so far, and more: nothing that was dropped is above `bound`. */
typedef struct {
    ptrdiff_t wanted, many;
    float bound;
    int parted; /* whether equal ones were parted, of which some were kept and some were not */
    float *scores; /* ROOM · wanted */
    int32_t *rows;
} Pool;

/* Put the `wanted` largest of a pool first, in any order; Hoare's selection. */
static void select_best(Pool *pool) {
    float *scores = pool->scores;
    int32_t *rows = pool->rows;
    ptrdiff_t low = 0, high = pool->many - 1;
    const ptrdiff_t last = pool->wanted - 1;
    while (low < high) {
        const float pivot = scores[low + (high - low) / 2];
        ptrdiff_t i = low, j = high;
        while (i <= j) {
            while (scores[i] > pivot) i++;
            while (scores[j] < pivot) j--;
            if (i > j) break;
            const float score = scores[i];
            const int32_t row = rows[i];
            scores[i] = scores[j];
            rows[i++] = rows[j];
            scores[j] = score;
            rows[j--] = row;
        }
        if (last <= j)
            high = j;
        else if (last >= i)
            low = i;
        else
            break;
    }
}

static void cut(Pool *pool) {
    if (pool->many <= pool->wanted) return;
    select_best(pool);
    pool->many = pool->wanted;
    pool->parted = 1;
}

/* Drop what is certainly not among the best: by buckets between the least and the largest, which needs no sorting. */
FOR_EACH_PROCESSOR
static void thin_out(Pool *pool) {
    enum { BUCKETS = 256 };
    int32_t counts[BUCKETS] = {0};
    float least = pool->scores[0], largest = pool->scores[0];
    for (ptrdiff_t i = 1; i < pool->many; i++) {
        least = pool->scores[i] < least ? pool->scores[i] : least;
        largest = pool->scores[i] > largest ? pool->scores[i] : largest;
    }
    const float scale = (BUCKETS - 1) / (largest - least);
    if (!(scale > 0) || isinf(scale)) {
        cut(pool);
        pool->bound = least;
        return;
    }
    for (ptrdiff_t i = 0; i < pool->many; i++) counts[(int)((pool->scores[i] - least) * scale)]++;
    int from = BUCKETS;
    for (ptrdiff_t above = 0; above < pool->wanted;) above += counts[--from];
    ptrdiff_t kept = 0;
    float dropped = pool->bound;
    for (ptrdiff_t i = 0; i < pool->many; i++) {
        const float score = pool->scores[i];
        const int stays = (int)((score - least) * scale) >= from;
        pool->scores[kept] = score;
        pool->rows[kept] = pool->rows[i];
        kept += stays;
        dropped = !stays && score > dropped ? score : dropped;
    }
    pool->many = kept;
    pool->bound = dropped;
    if (2 * kept > 3 * pool->wanted) cut(pool); /* most are alike */
}

static inline void offer(Pool *pool, float score, int32_t row) {
    if (!(score > pool->bound)) return;
    pool->scores[pool->many] = score;
    pool->rows[pool->many++] = row;
    if (pool->many == ROOM * pool->wanted) thin_out(pool);
}

static int pool_made(Pool *pool, ptrdiff_t wanted) {
    pool->wanted = wanted;
    pool->scores = (float *)malloc((ROOM * (size_t)wanted + 1) * sizeof(float));
    pool->rows = (int32_t *)malloc((ROOM * (size_t)wanted + 1) * sizeof(int32_t));
    return pool->scores != NULL && pool->rows != NULL;
}

static void pool_emptied(Pool *pool) {
    pool->many = 0;
    pool->bound = -INFINITY;
    pool->parted = 0;
}

static void pool_freed(Pool *pool) {
    free(pool->scores);
    free(pool->rows);
}

#endif
