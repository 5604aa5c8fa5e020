/* The best of many, kept while they come, in any order. */
#ifndef RECSYS_POOL_H
#define RECSYS_POOL_H

#include <math.h>
#include <stdlib.h>

#include "portable.h"

enum { ROOM = 3 };

/* The `wanted` best of what was offered so far, those that are less than `margin` below them, as far as these are not
 * more than `most`, and others; what is at most `bound` is none of them. */
typedef struct {
    ptrdiff_t wanted, most, many, full; /* `full`: how many are there before any are dropped */
    float bound, margin;
    int parted; /* whether equal ones were parted, of which some were kept and some were not */
    float *scores; /* ROOM · most */
    int32_t *rows;
} Pool;

/* Keep the `wanted` largest of a pool, in any order; Hoare's selection. */
static void select_best(Pool *pool, ptrdiff_t wanted) {
    float *scores = pool->scores;
    int32_t *rows = pool->rows;
    ptrdiff_t low = 0, high = pool->many - 1;
    const ptrdiff_t last = wanted - 1;
    if (pool->many <= wanted) return;
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
    pool->many = wanted;
    pool->parted = 1;
}

/* Where most are alike, and few can be dropped for what they are worth. */
static void make_room(Pool *pool) {
    const ptrdiff_t room = ROOM * pool->most;
    if (pool->full < room)
        pool->full = 2 * pool->full < room ? 2 * pool->full : room;
    else
        select_best(pool, pool->most);
}

/* Drop what is certainly not among the best: by buckets between the least and the largest, which needs no sorting. */
FOR_EACH_PROCESSOR
static void thin_out(Pool *pool) {
    enum { BUCKETS = 256 };
    int32_t counts[BUCKETS] = {0};
    if (pool->many <= pool->wanted) return;
    float least = pool->scores[0], largest = pool->scores[0];
    for (ptrdiff_t i = 1; i < pool->many; i++) {
        least = pool->scores[i] < least ? pool->scores[i] : least;
        largest = pool->scores[i] > largest ? pool->scores[i] : largest;
    }
    const float scale = (BUCKETS - 1) / (largest - least);
    if (!(scale > 0) || isinf(scale)) {
        make_room(pool);
        return;
    }
    for (ptrdiff_t i = 0; i < pool->many; i++) counts[(int)((pool->scores[i] - least) * scale)]++;
    int from = BUCKETS;
    for (ptrdiff_t above = 0; above < pool->wanted;) above += counts[--from];
    const float lowest = least + (float)from / scale - pool->margin;
    ptrdiff_t kept = 0;
    float dropped = pool->bound;
    for (ptrdiff_t i = 0; i < pool->many; i++) {
        const float score = pool->scores[i];
        const int stays = (int)((score - least) * scale) >= from || score > lowest;
        pool->scores[kept] = score;
        pool->rows[kept] = pool->rows[i];
        kept += stays;
        dropped = !stays && score > dropped ? score : dropped;
    }
    pool->many = kept;
    pool->bound = dropped;
    if (2 * kept > pool->full) make_room(pool);
}

static inline void offer(Pool *pool, float score, int32_t row) {
    if (!(score > pool->bound)) return;
    pool->scores[pool->many] = score;
    pool->rows[pool->many++] = row;
    if (pool->many == pool->full) thin_out(pool);
}

static int pool_made(Pool *pool, ptrdiff_t wanted, ptrdiff_t most) {
    pool->wanted = wanted;
    pool->most = most;
    pool->scores = (float *)malloc((ROOM * (size_t)most + 1) * sizeof(float));
    pool->rows = (int32_t *)malloc((ROOM * (size_t)most + 1) * sizeof(int32_t));
    return pool->scores != NULL && pool->rows != NULL;
}

static void pool_emptied(Pool *pool, float margin) {
    pool->many = 0;
    pool->full = ROOM * pool->wanted;
    pool->bound = -INFINITY;
    pool->margin = margin;
    pool->parted = 0;
}

static void pool_freed(Pool *pool) {
    free(pool->scores);
    free(pool->rows);
}

#endif
