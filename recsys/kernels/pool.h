/* The best of many, kept while they come, in any order. */
#ifndef RECSYS_POOL_H
#define RECSYS_POOL_H

#include <math.h>
#include <stdlib.h>

#include "portable.h"

enum { ROOM = 3, BUCKETS = 256 };

/* The `wanted` best of what was offered so far, those that are less than `margin` below them, as far as these are not
 * more than `most`, and others; what is at most `bound` is none of them.
 *
 * As soon as so many came that it is known between what scores lie, they are counted in buckets, and the bound follows
 * the last bucket that is needed. */
typedef struct {
    ptrdiff_t wanted, most, many, full; /* `full`: how many are there before any are dropped */
    float bound, margin;
    int parted; /* whether equal ones were parted, of which some were kept and some were not */
    float least, scale; /* a score lies in bucket (score - least) * scale; 0: none is counted yet */
    int from;           /* the last bucket that is needed */
    ptrdiff_t above;    /* how many lie in it and above */
    int32_t counts[BUCKETS];
    float *scores; /* ROOM · most */
    int32_t *rows;
} Pool;

/* Of a score that is not below the least. */
static inline int bucket_of(const Pool *pool, float score) {
    const float bucket = (score - pool->least) * pool->scale;
    return bucket < BUCKETS - 1 ? (int)bucket : BUCKETS - 1;
}

/* Leave buckets out that are not needed; the bound lies below all that is in those that are, however floats round. */
static void raise_bound(Pool *pool) {
    while (pool->above - pool->counts[pool->from] >= pool->wanted) pool->above -= pool->counts[pool->from++];
    float edge = pool->least + (float)pool->from / pool->scale;
    float step = 1e-7f / pool->scale + 1.2e-38f;
    for (; edge >= pool->least && bucket_of(pool, edge) >= pool->from; step *= 2) edge -= step;
    edge -= pool->margin;
    pool->bound = edge > pool->bound ? edge : pool->bound;
}

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

static void drop_below_bound(Pool *pool) {
    ptrdiff_t kept = 0;
    for (ptrdiff_t i = 0; i < pool->many; i++) {
        pool->scores[kept] = pool->scores[i];
        pool->rows[kept] = pool->rows[i];
        kept += pool->scores[i] > pool->bound;
    }
    pool->many = kept;
}

/* Count what is there in buckets from the least to the largest. 0 where all are alike. */
FOR_EACH_PROCESSOR
static int count_in_buckets(Pool *pool) {
    float least = pool->scores[0], largest = pool->scores[0];
    for (ptrdiff_t i = 1; i < pool->many; i++) {
        least = pool->scores[i] < least ? pool->scores[i] : least;
        largest = pool->scores[i] > largest ? pool->scores[i] : largest;
    }
    pool->least = least;
    pool->scale = (BUCKETS - 1) / (largest - least);
    if (!(pool->scale > 0) || isinf(pool->scale)) {
        pool->scale = 0;
        return 0;
    }
    for (int bucket = 0; bucket < BUCKETS; bucket++) pool->counts[bucket] = 0;
    for (ptrdiff_t i = 0; i < pool->many; i++) pool->counts[bucket_of(pool, pool->scores[i])]++;
    pool->above = pool->many;
    pool->from = 0;
    raise_bound(pool);
    return 1;
}

/* Drop what is certainly not among the best. */
static void thin_out(Pool *pool) {
    if (pool->many <= pool->wanted) return;
    if (pool->scale > 0) drop_below_bound(pool);
    if (2 * pool->many <= pool->full) return;
    if (count_in_buckets(pool)) drop_below_bound(pool);
    if (2 * pool->many > pool->full) make_room(pool);
}

static inline void offer(Pool *pool, float score, int32_t row) {
    if (!(score > pool->bound)) return;
    pool->scores[pool->many] = score;
    pool->rows[pool->many++] = row;
    if (pool->scale > 0 && score >= pool->least) { /* below: within the margin */
        const int bucket = bucket_of(pool, score);
        if (bucket >= pool->from) {
            pool->counts[bucket]++;
            pool->above++;
            if (pool->above - pool->counts[pool->from] >= pool->wanted) raise_bound(pool);
        }
    }
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
    pool->scale = 0;
}

static void pool_freed(Pool *pool) {
    free(pool->scores);
    free(pool->rows);
}

#endif
