/* Inner products of vectors that lie anywhere in a large array. */
#ifndef RECSYS_VECTORS_H
#define RECSYS_VECTORS_H

#include <math.h>

#include "portable.h"

/* USUAL: how many newest items features look back at. */
enum { WIDE = 32, USUAL = 20, AHEAD = 8, BURST = 32 };

/* Eight numbers that are worked on at once, at any address. */
typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));

static inline float inner(const float *a, const float *b, ptrdiff_t d) {
    Eight even = {0}, odd = {0};
    ptrdiff_t i = 0;
    for (; i + 16 <= d; i += 16) {
        even += *(const Eight *)(a + i) * *(const Eight *)(b + i);
        odd += *(const Eight *)(a + i + 8) * *(const Eight *)(b + i + 8);
    }
    even += odd;
    float rest = 0;
    for (; i < d; i++) rest += a[i] * b[i];
    return ((even[0] + even[4]) + (even[1] + even[5])) + ((even[2] + even[6]) + (even[3] + even[7])) + rest;
}

/* Four of them. After products of 256 bits that followed each other without a pause, an Intel processor ran 5 % slower
 * for 0.7 ms and more, whatever it did then; after products of 128 bits it did not. See record 30. */
typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));

/* Of one vector with `lines` others that stand behind each other, which take turns, so that no sum waits for itself. */
ALWAYS_INLINE
static inline void products_of_lines(const float *vectors, ptrdiff_t d, const int lines, const float *with,
                                     float *products) {
    Four even[4] = {{0}}, odd[4] = {{0}};
    ptrdiff_t at = 0;
    for (; at + 8 <= d; at += 8) {
        const Four first = *(const Four *)(with + at), second = *(const Four *)(with + at + 4);
        for (int line = 0; line < lines; line++) {
            even[line] += first * *(const Four *)(vectors + line * d + at);
            odd[line] += second * *(const Four *)(vectors + line * d + at + 4);
        }
    }
    for (int line = 0; line < lines; line++) {
        const Four sum = even[line] + odd[line];
        float rest = 0;
        for (ptrdiff_t i = at; i < d; i++) rest += with[i] * vectors[line * d + i];
        products[line] = ((sum[0] + sum[1]) + (sum[2] + sum[3])) + rest;
    }
}

/* Of one vector with each of n that stand behind each other. */
FOR_EACH_PROCESSOR
static void products_of_all(const float *vectors, ptrdiff_t d, ptrdiff_t n, const float *with, float *products) {
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4) products_of_lines(vectors + i * d, d, 4, with, products + i);
    for (; i < n; i++) products_of_lines(vectors + i * d, d, 1, with, products + i);
}

/* Of one vector with WIDE others, which stand beside each other: (d, WIDE). */
typedef struct {
    float of[WIDE];
} Sums;

/* With the first 4 · `fours` of them; the others' sums are left as they are. */
ALWAYS_INLINE
static inline void products_with(const float *vector, const float *block, ptrdiff_t d, const int fours, Sums *sums) {
    /* A sum waits for the one before it, so there are two of each. */
    Four even[WIDE / 4] = {{0}}, odd[WIDE / 4] = {{0}};
    ptrdiff_t at = 0;
    for (; at + 2 <= d; at += 2, block += 2 * WIDE) {
        for (int lane = 0; lane < fours; lane++) {
            even[lane] += vector[at] * *(const Four *)(block + 4 * lane);
            odd[lane] += vector[at + 1] * *(const Four *)(block + WIDE + 4 * lane);
        }
    }
    for (int lane = 0; lane < fours; lane++) {
        if (at < d) even[lane] += vector[at] * *(const Four *)(block + 4 * lane);
        *(Four *)(sums->of + 4 * lane) = even[lane] + odd[lane];
    }
}

static inline void fetch(const float *vector, ptrdiff_t d) {
    for (ptrdiff_t i = 0; i < d; i += 16) FETCH(vector + i);
}

/* Each lies in another corner of memory: ask for those that follow before they are needed. */
static inline void fetch_ahead(const float *vectors, ptrdiff_t d, const int32_t *rows, ptrdiff_t n, ptrdiff_t i) {
    if (!i)
        for (ptrdiff_t first = 1; first < n && first < AHEAD; first++)
            if (rows[first] >= 0) fetch(vectors + rows[first] * d, d);
    if (i + AHEAD < n && rows[i + AHEAD] >= 0) fetch(vectors + rows[i + AHEAD] * d, d);
}

/* BURST of them at once, before the first is needed: for loops that do much with each, so that asking for one at a time
 * has only few looked for in page tables at once. */
static inline void fetch_burst(const float *vectors, ptrdiff_t d, const int32_t *rows, ptrdiff_t n, ptrdiff_t i) {
    if (i % BURST) return;
    for (ptrdiff_t next = i; next < n && next < i + BURST; next++)
        if (rows[next] >= 0) fetch(vectors + rows[next] * d, d);
}

/* Of one vector with each of n items; 0 for a row below 0. */
FOR_EACH_PROCESSOR
static void products_of_one(const float *vectors, ptrdiff_t d, const int32_t *rows, ptrdiff_t n, const float *with,
                            float *products) {
    for (ptrdiff_t i = 0; i < n; i++) {
        fetch_ahead(vectors, d, rows, n, i);
        products[i] = rows[i] < 0 ? 0 : inner(vectors + rows[i] * d, with, d);
    }
}

/* See cosines() in features.pyx. r is WIDE at most; `turned`: (d, WIDE), to write to; `found`: a line every `stride` for
 * each of w windows, and one more for the largest. */
FOR_EACH_PROCESSOR
static void window_cosines(const float *vectors, ptrdiff_t d, const int32_t *rows, ptrdiff_t n, const int32_t *recent,
                           ptrdiff_t r, const int32_t *windows, ptrdiff_t w, float *turned, float *found,
                           ptrdiff_t stride) {
    ptrdiff_t there = 0;
    for (ptrdiff_t line = 0; line < WIDE; line++) {
        if (line < r) fetch_ahead(vectors, d, recent, r, line);
        const float *vector = line < r && recent[line] >= 0 ? vectors + recent[line] * d : NULL;
        for (ptrdiff_t at = 0; at < d; at++) turned[at * WIDE + line] = vector == NULL ? 0 : vector[at];
        there += vector != NULL;
    }
    if (!there) return;
    Sums sums;
    for (ptrdiff_t i = 0; i < n; i++) {
        fetch_burst(vectors, d, rows, n, i);
        const float *vector = vectors + rows[i] * d;
        const ptrdiff_t length = rows[i] < 0 ? 0 : d;
        if (r <= USUAL)
            products_with(vector, turned, length, USUAL / 4, &sums);
        else
            products_with(vector, turned, length, WIDE / 4, &sums);
        float total = 0, most = -INFINITY;
        ptrdiff_t known = 0, line = 0;
        for (ptrdiff_t window = 0; window <= w; window++) {
            for (const ptrdiff_t end = window < w && windows[window] < r ? windows[window] : r; line < end; line++) {
                if (recent[line] < 0) continue;
                known++;
                total += sums.of[line];
                most = sums.of[line] > most ? sums.of[line] : most;
            }
            found[window * stride + i] = window == w ? most : known ? total / (float)known : NAN;
        }
    }
}

/* Maximal marginal relevance: take `length` of n items, each time the first of the largest value less `weight` times
 * the largest likeness to any that was taken; the others follow as they stood. `values`: what each is worth alone.
 * `nearest`: n zeros to write to. */
FOR_EACH_PROCESSOR
static void diverse_order(const float *vectors, ptrdiff_t d, const int32_t *rows, ptrdiff_t n, float weight,
                          ptrdiff_t length, float *values, float *nearest, int64_t *order) {
    ptrdiff_t taken = 0;
    for (; taken < length; taken++) {
        ptrdiff_t best = -1;
        float most = 0;
        for (ptrdiff_t i = 0; i < n; i++) {
            const float worth = values[i] - weight * nearest[i];
            if (values[i] > -3 && (best < 0 || worth > most)) {
                most = worth;
                best = i;
            }
        }
        order[taken] = best;
        values[best] = -4; /* taken */
        if (rows[best] < 0) continue;
        const float *vector = vectors + rows[best] * d;
        for (ptrdiff_t i = 0; i < n; i++) {
            if (values[i] < -3 || rows[i] < 0) continue;
            if (!taken) fetch_ahead(vectors, d, rows, n, i);
            const float likeness = inner(vector, vectors + rows[i] * d, d);
            if (likeness > nearest[i]) nearest[i] = likeness;
        }
    }
    for (ptrdiff_t i = 0; i < n; i++)
        if (values[i] > -3) order[taken++] = i;
}

#endif
