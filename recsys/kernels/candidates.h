/* Lists of items with scores: put in order, made one, thinned out. Rows below 0 are empty slots. */
#ifndef RECSYS_CANDIDATES_H
#define RECSYS_CANDIDATES_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "portable.h"

/* Numbers of 32 bits with what belongs to each: open addressing, at most half full. */
typedef struct {
    uint32_t mask, *keys;
    int32_t *values; /* -1: nothing stands here */
} Table;

static int table_made(Table *table, ptrdiff_t most) {
    uint32_t size = 16;
    while ((ptrdiff_t)size < 2 * most) size *= 2;
    table->mask = size - 1;
    table->keys = (uint32_t *)malloc(size * sizeof(uint32_t));
    table->values = (int32_t *)malloc(size * sizeof(int32_t));
    return table->keys != NULL && table->values != NULL;
}

static void table_freed(Table *table) {
    free(table->keys);
    free(table->values);
}

static void table_cleared(Table *table) { memset(table->values, 0xff, (table->mask + (size_t)1) * sizeof(int32_t)); }

/* Where the key stands, or where it would. */
static inline uint32_t place_of(const Table *table, uint32_t key) {
    uint32_t place = (key * 2654435769u) >> 7;
    for (place &= table->mask; table->values[place] >= 0 && table->keys[place] != key;) place = (place + 1) & table->mask;
    return place;
}

static inline void put(Table *table, uint32_t place, uint32_t key, ptrdiff_t value) {
    table->keys[place] = key;
    table->values[place] = (int32_t)value;
}

/* A number that grows as the float falls: the order of its bits, turned round; nan comes last. */
static inline uint32_t falling_key(float value) {
    uint32_t bits;
    if (value != value) return UINT32_MAX;
    value += 0.0f; /* -0 is 0 */
    memcpy(&bits, &value, sizeof bits);
    return bits & 0x80000000u ? bits : bits ^ 0x7fffffffu;
}

/* Sort places 0 … n-1 by their keys, equal ones as they stood, a byte after the other. `order` and `spare`: n each. */
static void sort_by_keys(const uint32_t *keys, ptrdiff_t n, int32_t *order, int32_t *spare) {
    uint32_t counts[4][256] = {{0}};
    int32_t *from = order, *to = spare;
    for (ptrdiff_t i = 0; i < n; i++) {
        const uint32_t key = keys[i];
        from[i] = (int32_t)i;
        counts[0][key & 255]++;
        counts[1][key >> 8 & 255]++;
        counts[2][key >> 16 & 255]++;
        counts[3][key >> 24]++;
    }
    for (int byte = 0; byte < 4 && n; byte++) {
        uint32_t *count = counts[byte], start = 0;
        if (count[keys[0] >> 8 * byte & 255] == (uint32_t)n) continue; /* the same in all */
        for (int digit = 0; digit < 256; digit++) {
            const uint32_t many = count[digit];
            count[digit] = start;
            start += many;
        }
        for (ptrdiff_t i = 0; i < n; i++) to[count[keys[from[i]] >> 8 * byte & 255]++] = from[i];
        int32_t *const swapped = from;
        from = to;
        to = swapped;
    }
    if (from != order) memcpy(order, from, (size_t)n * sizeof(int32_t));
}

/* Where each of n scores stands in their falling order, if they fall but for empty ones between them, as a list does of
 * which something was taken out; 0 if they do not. */
static int order_of_falling(const float *scores, ptrdiff_t n, int64_t *order) {
    ptrdiff_t many = 0;
    float last = INFINITY;
    for (ptrdiff_t i = 0; i < n; i++) {
        if (scores[i] == -INFINITY) continue;
        if (!(scores[i] <= last)) return 0; /* nan too */
        last = scores[i];
        order[many++] = i;
    }
    for (ptrdiff_t i = 0; i < n && many < n; i++)
        if (scores[i] == -INFINITY) order[many++] = i;
    return 1;
}

/* Where each of n scores stands in their falling order, equal ones as they stood, nan last. 0 if there is no memory. */
static int falling_order(const float *scores, ptrdiff_t n, int64_t *order) {
    if (order_of_falling(scores, n, order)) return 1;
    uint32_t *keys = (uint32_t *)malloc((size_t)(3 * n + 1) * sizeof(uint32_t));
    if (keys == NULL) return 0;
    int32_t *places = (int32_t *)keys + n;
    for (ptrdiff_t i = 0; i < n; i++) keys[i] = falling_key(scores[i]);
    sort_by_keys(keys, n, places, places + n);
    for (ptrdiff_t i = 0; i < n; i++) order[i] = places[i];
    free(keys);
    return 1;
}

/* The k of n items of the largest scores, equal ones by row, into k slots. 0 if there is no memory. */
static int best_by_row(const int32_t *rows, const float *scores, ptrdiff_t n, ptrdiff_t k, int32_t *best,
                       float *values) {
    uint32_t *keys = (uint32_t *)malloc((size_t)(3 * n + 1) * sizeof(uint32_t));
    if (keys == NULL) return 0;
    int32_t *order = (int32_t *)keys + n;
    for (ptrdiff_t i = 0; i < n; i++) keys[i] = falling_key(scores[i]);
    sort_by_keys(keys, n, order, order + n);
    for (ptrdiff_t i = 1; i < n; i++) { /* runs of equal scores are short */
        const int32_t moved = order[i];
        ptrdiff_t at = i;
        for (; at && keys[order[at - 1]] == keys[moved] && rows[order[at - 1]] > rows[moved]; at--)
            order[at] = order[at - 1];
        order[at] = moved;
    }
    for (ptrdiff_t slot = 0; slot < k; slot++) {
        best[slot] = slot < n ? rows[order[slot]] : -1;
        values[slot] = slot < n ? scores[order[slot]] : -INFINITY;
    }
    free(keys);
    return 1;
}

/* Keep the `wanted` best of a pool, best first. 0 if there is no memory. */
static int pool_sorted(Pool *pool) {
    const ptrdiff_t n = pool->many, k = n < pool->wanted ? n : pool->wanted;
    if (n + k > ROOM * pool->most) select_best(pool, k);
    int32_t *rows = pool->rows + pool->many;
    float *scores = pool->scores + pool->many;
    if (!best_by_row(pool->rows, pool->scores, pool->many, k, rows, scores)) return 0;
    memmove(pool->rows, rows, (size_t)k * sizeof *rows);
    memmove(pool->scores, scores, (size_t)k * sizeof *scores);
    pool->many = k;
    return 1;
}

/* The columns of the k largest of n scores into k slots, equal ones as they stand, nan last. 0 if there is no memory. */
static int largest_of_line(Pool *pool, const float *scores, ptrdiff_t n, ptrdiff_t k, int32_t *best, float *values) {
    pool_emptied(pool, 0);
    for (ptrdiff_t i = 0; i < n; i++) offer(pool, scores[i], (int32_t)i);
    if (pool->many >= k && !pool->parted) return best_by_row(pool->rows, pool->scores, pool->many, k, best, values);
    /* Too many are alike, or too few are numbers. */
    int64_t *order = (int64_t *)malloc((size_t)(n + 1) * sizeof(int64_t));
    const int fits = order != NULL && falling_order(scores, n, order);
    for (ptrdiff_t slot = 0; slot < k && fits; slot++) {
        best[slot] = slot < n ? (int32_t)order[slot] : -1;
        values[slot] = slot < n ? scores[order[slot]] : -INFINITY;
    }
    free(order);
    return fits;
}

/* 1 / (constant + rank) of each of n slots by its score, 0 of an empty one. 0 if there is no memory. */
static int reciprocal_ranks(const int32_t *rows, const float *scores, ptrdiff_t n, double constant, float *found) {
    ptrdiff_t i = 1;
    while (i < n && scores[i] <= scores[i - 1]) i++;
    if (i < n) {
        int64_t *order = (int64_t *)malloc((size_t)n * sizeof(int64_t));
        if (order == NULL || !falling_order(scores, n, order)) {
            free(order);
            return 0;
        }
        for (i = 0; i < n; i++) found[order[i]] = (float)(1.0 / (constant + 1 + (double)i));
        free(order);
    } else {
        for (i = 0; i < n; i++) found[i] = (float)(1.0 / (constant + 1 + (double)i));
    }
    for (i = 0; i < n; i++)
        if (rows[i] < 0) found[i] = 0;
    return 1;
}

/* Of n items the different ones, each with its largest score above 0, into `rows` and `values`; how many there are. */
static ptrdiff_t largest_of_each(Table *table, const int32_t *items, const float *scores, ptrdiff_t n, int32_t *rows,
                                 float *values) {
    ptrdiff_t many = 0;
    table_cleared(table);
    for (ptrdiff_t i = 0; i < n; i++) {
        if (items[i] < 0 || !(scores[i] > 0)) continue;
        const uint32_t place = place_of(table, (uint32_t)items[i]);
        if (table->values[place] < 0) {
            put(table, place, (uint32_t)items[i], many);
            rows[many] = items[i];
            values[many++] = scores[i];
        } else if (scores[i] > values[table->values[place]]) {
            values[table->values[place]] = scores[i];
        }
    }
    return many;
}

/* One list of n slots out of several sources' one behind the other: an item's first slot stands for it, with the sum of
 * what was `added` for each of its slots, and with what each source `said`: a line of n for each, nan where it did not. */
static void fused_lists(Table *table, const int32_t *items, const float *added, const float *said, ptrdiff_t n,
                        const int32_t *ends, ptrdiff_t sources, int32_t *rows, float *scores, float *signals,
                        ptrdiff_t stride) {
    ptrdiff_t slot = 0;
    table_cleared(table);
    for (ptrdiff_t source = 0; source < sources; source++) {
        float *signal = signals + source * stride;
        for (ptrdiff_t i = 0; i < n; i++) signal[i] = NAN;
        for (; slot < ends[source]; slot++) {
            rows[slot] = -1;
            scores[slot] = -INFINITY;
            if (items[slot] < 0) continue;
            const uint32_t place = place_of(table, (uint32_t)items[slot]);
            if (table->values[place] < 0) {
                put(table, place, (uint32_t)items[slot], slot);
                rows[slot] = items[slot];
                scores[slot] = added[slot];
            } else {
                scores[table->values[place]] += added[slot];
            }
            signal[table->values[place]] = said[slot];
        }
    }
}

/* What a source proposed to one query, in n slots. */
typedef struct {
    const int32_t *rows;
    const float *scores;
    ptrdiff_t n;
} Proposal;

/* What a query does not want: rows, and whatever has no bit in each of some masks. */
typedef struct {
    const int32_t *rows;
    ptrdiff_t many;
    const uint8_t *bits; /* NULL: rows alone */
    ptrdiff_t items;
} Unwanted;

enum { HIDDEN = INT32_MAX };

static inline int is_barred(const Unwanted *unwanted, ptrdiff_t parts, int32_t row) {
    for (ptrdiff_t part = 0; part < parts; part++) {
        const Unwanted *each = unwanted + part;
        if (each->bits != NULL && (row >= each->items || !(each->bits[row >> 3] >> (row & 7) & 1))) return 1;
    }
    return 0;
}

/* One list of several sources' proposals, best first: of each the `pool` best that are not unwanted, by the sum of
 * 1 / (constant + rank), equal ones in the order in which they are met. Into `most` slots, the last ones empty, with what
 * each source said: `stride` numbers from one source's line to the next one's. The sources have n slots together: `table`
 * has room for these and for what is unwanted; `order`, `items`, `sums`: n each; `said`: n for each source. 0 if there is
 * no memory. */
static int blended_lists(Table *table, const Proposal *proposals, ptrdiff_t sources, const Unwanted *unwanted,
                         ptrdiff_t parts, ptrdiff_t pool, double constant, ptrdiff_t n, int64_t *order, int32_t *items,
                         float *sums, float *said, ptrdiff_t most, int32_t *rows, float *scores, float *signals,
                         ptrdiff_t stride) {
    ptrdiff_t many = 0;
    table_cleared(table);
    for (ptrdiff_t part = 0; part < parts; part++)
        for (ptrdiff_t i = 0; i < unwanted[part].many; i++) {
            const uint32_t row = (uint32_t)unwanted[part].rows[i];
            put(table, place_of(table, row), row, HIDDEN);
        }
    for (ptrdiff_t i = 0; i < n * sources; i++) said[i] = NAN;
    for (ptrdiff_t source = 0; source < sources; source++) {
        const Proposal *own = proposals + source;
        float *told = said + source * n;
        ptrdiff_t rank = 0, i = 1;
        while (i < own->n && own->scores[i] <= own->scores[i - 1]) i++;
        const int falls = i >= own->n;
        if (!falls && !falling_order(own->scores, own->n, order)) return 0;
        for (i = 0; i < own->n && rank < pool; i++) {
            const ptrdiff_t slot = falls ? i : (ptrdiff_t)order[i];
            const int32_t row = own->rows[slot];
            if (row < 0 || is_barred(unwanted, parts, row)) continue;
            const uint32_t place = place_of(table, (uint32_t)row);
            if (table->values[place] == HIDDEN) continue;
            const float share = (float)(1.0 / (constant + 1 + (double)rank++));
            if (table->values[place] < 0) {
                put(table, place, (uint32_t)row, many);
                items[many] = row;
                sums[many++] = share;
            } else {
                sums[table->values[place]] += share;
            }
            told[table->values[place]] = own->scores[slot];
        }
    }
    if (!falling_order(sums, many, order)) return 0;
    for (ptrdiff_t slot = 0; slot < most; slot++) {
        const int filled = slot < many;
        rows[slot] = filled ? items[order[slot]] : -1;
        scores[slot] = filled ? sums[order[slot]] : -INFINITY;
        for (ptrdiff_t source = 0; source < sources; source++)
            signals[source * stride + slot] = filled ? said[source * n + order[slot]] : NAN;
    }
    return 1;
}

/* The sums of what lists say, by items in the order in which they are met: how many. `table` has room for all. */
static ptrdiff_t summed_lists(Table *table, const int32_t *lists, const float *weights, ptrdiff_t width,
                              const int32_t *history, const float *by, ptrdiff_t length, int32_t *items, double *sums) {
    ptrdiff_t many = 0;
    table_cleared(table);
    for (ptrdiff_t i = 0; i < length; i++) { /* each list lies in another corner of memory */
        for (ptrdiff_t slot = 0; slot < width; slot += 16) {
            FETCH(lists + history[i] * width + slot);
            FETCH(weights + history[i] * width + slot);
        }
    }
    for (ptrdiff_t i = 0; i < length; i++) {
        const int32_t *list = lists + history[i] * width;
        const float *own = weights + history[i] * width, weight = by[i] > 0 ? by[i] : 0;
        for (ptrdiff_t slot = 0; slot < width; slot++) {
            if (list[slot] < 0) continue;
            const uint32_t place = place_of(table, (uint32_t)list[slot]);
            if (table->values[place] < 0) {
                put(table, place, (uint32_t)list[slot], many);
                items[many] = list[slot];
                sums[many++] = 0;
            }
            sums[table->values[place]] += (double)(own[slot] * weight);
        }
    }
    return many;
}

/* Take away what is hidden: how many were. */
static ptrdiff_t hide(Table *table, const int32_t *rows, ptrdiff_t n, const int32_t *hidden, ptrdiff_t many,
                      uint8_t *kept) {
    ptrdiff_t taken = 0;
    table_cleared(table);
    for (ptrdiff_t i = 0; i < many; i++) {
        const uint32_t place = place_of(table, (uint32_t)hidden[i]);
        put(table, place, (uint32_t)hidden[i], 0);
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        kept[i] = rows[i] < 0 || table->values[place_of(table, (uint32_t)rows[i])] < 0;
        taken += !kept[i];
    }
    return taken;
}

/* How often each of n rows stands among others; 0 for rows below 0. `table` has room for those. */
static void count_among(Table *table, const int32_t *rows, ptrdiff_t n, const int32_t *among, ptrdiff_t many,
                        float *counts) {
    table_cleared(table);
    for (ptrdiff_t i = 0; i < many; i++) {
        const uint32_t place = place_of(table, (uint32_t)among[i]);
        put(table, place, (uint32_t)among[i], table->values[place] < 0 ? 1 : table->values[place] + 1);
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        const int32_t count = rows[i] < 0 ? 0 : table->values[place_of(table, (uint32_t)rows[i])];
        counts[i] = count < 0 ? 0 : (float)count;
    }
}

/* Keep the first `most` of each group, in the order of n slots; a group below 0 is none. How many went. */
static ptrdiff_t cap(Table *table, const int32_t *groups, ptrdiff_t n, ptrdiff_t most, uint8_t *kept) {
    ptrdiff_t taken = 0;
    table_cleared(table);
    for (ptrdiff_t i = 0; i < n; i++) {
        kept[i] = 1;
        if (groups[i] < 0) continue;
        const uint32_t place = place_of(table, (uint32_t)groups[i]);
        if (table->values[place] < 0) {
            put(table, place, (uint32_t)groups[i], 0);
        }
        if (table->values[place] >= most) {
            kept[i] = 0;
            taken++;
        } else {
            table->values[place]++;
        }
    }
    return taken;
}

#endif
