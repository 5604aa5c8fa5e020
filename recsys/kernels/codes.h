/* Inner products with vectors that are kept as a byte a dimension: low + (code + ½) · step. */
#ifndef RECSYS_CODES_H
#define RECSYS_CODES_H

#include <math.h>
#include <stdlib.h>

#include "pool.h"
#include "portable.h"

enum { TOGETHER = 32 };

/* A query as whole numbers by which codes are multiplied; a sum of them is exact. */
typedef struct {
    ptrdiff_t d;
    int by_bytes;
    int16_t *whole;     /* (d) */
    int8_t *high, *low; /* (d): whole = 128 · high + low */
    float unit, base;   /* a product is base + unit · sum */
    float error;        /* the standard deviation of what rounding to codes does to a product */
} Weights;

static int weights_made(Weights *weights, ptrdiff_t d, int by_bytes) {
    weights->d = d;
    weights->by_bytes = by_bytes;
    weights->whole = (int16_t *)malloc((size_t)d * (sizeof(int16_t) + 2));
    weights->high = (int8_t *)(weights->whole + d);
    weights->low = weights->high + d;
    return weights->whole != NULL;
}

static void weights_freed(Weights *weights) { free(weights->whole); }

static void weigh(Weights *weights, const float *query, const float *low, const float *step) {
    const ptrdiff_t d = weights->d;
    /* No sum is too large for 32 bits, and both halves of a weight fit into 8. */
    const float room = (float)(INT32_MAX / (256 * d) - 64), limit = room < 127 * 128 ? room : 127 * 128;
    float largest = 0, base = 0, squares = 0;
    for (ptrdiff_t i = 0; i < d; i++) {
        const float weight = query[i] * step[i];
        base += query[i] * low[i] + 0.5f * weight;
        squares += weight * weight;
        largest = fabsf(weight) > largest ? fabsf(weight) : largest;
    }
    weights->base = base;
    weights->error = sqrtf(squares / 12); /* of what is even over a step */
    weights->unit = largest > 0 && limit >= 1 ? largest / limit : 1;
    for (ptrdiff_t i = 0; i < d; i++) {
        const int whole = limit >= 1 ? (int)lrintf(query[i] * step[i] / weights->unit) : 0;
        weights->whole[i] = (int16_t)whole;
        weights->low[i] = (int8_t)(((whole + 64) & 127) - 64);
        weights->high[i] = (int8_t)((whole - weights->low[i]) / 128);
    }
}

/* Instructions for 16 bits take half as many as floats do. */
FOR_EACH_PROCESSOR
static void sums_by_16_bits(const uint8_t *codes, ptrdiff_t n, const Weights *weights, int32_t *sums) {
    const ptrdiff_t d = weights->d, whole = d - d % 32;
    const int16_t *const by = weights->whole;
    for (ptrdiff_t line = 0; line < n; line++, codes += d) {
        int32_t sum = 0;
        for (ptrdiff_t i = 0; i < whole; i++) sum += (int32_t)(int16_t)codes[i] * by[i];
        for (ptrdiff_t i = whole; i < d; i++) sum += (int32_t)(int16_t)codes[i] * by[i];
        sums[line] = sum;
    }
}

#ifdef BYTE_PRODUCTS
#include <immintrin.h>

BYTE_PRODUCTS
static inline __m256i eight_sums(const uint8_t *codes, const Weights *weights) {
    __m256i high = _mm256_setzero_si256(), low = _mm256_setzero_si256();
    for (ptrdiff_t i = 0; i + 32 <= weights->d; i += 32) {
        const __m256i some = _mm256_loadu_si256((const __m256i *)(codes + i));
        high = _mm256_dpbusd_epi32(high, some, _mm256_loadu_si256((const __m256i *)(weights->high + i)));
        low = _mm256_dpbusd_epi32(low, some, _mm256_loadu_si256((const __m256i *)(weights->low + i)));
    }
    return _mm256_add_epi32(_mm256_slli_epi32(high, 7), low);
}

/* Four products of bytes and their sum are one instruction: AVX-512 VNNI. */
BYTE_PRODUCTS
static void sums_by_bytes(const uint8_t *codes, ptrdiff_t n, const Weights *weights, int32_t *sums) {
    const ptrdiff_t d = weights->d;
    ptrdiff_t line = 0;
    for (; line + 4 <= n; line += 4) {
        const uint8_t *at = codes + line * d;
        const __m256i first = _mm256_hadd_epi32(eight_sums(at, weights), eight_sums(at + d, weights));
        const __m256i second = _mm256_hadd_epi32(eight_sums(at + 2 * d, weights), eight_sums(at + 3 * d, weights));
        const __m256i halves = _mm256_hadd_epi32(first, second);
        const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
        _mm_storeu_si128((__m128i *)(sums + line), four);
        for (ptrdiff_t one = 0; one < 4; one++)
            for (ptrdiff_t i = d - d % 32; i < d; i++) sums[line + one] += at[one * d + i] * weights->whole[i];
    }
    for (; line < n; line++) {
        int32_t sum = 0;
        for (ptrdiff_t i = 0; i < d; i++) sum += codes[line * d + i] * weights->whole[i];
        sums[line] = sum;
    }
}
#endif

/* Whether this processor has instructions for products of bytes. */
static int multiplies_bytes(void) {
#ifdef BYTE_PRODUCTS
    return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vl");
#else
    return 0;
#endif
}

static inline void sums_of(const uint8_t *codes, ptrdiff_t n, const Weights *weights, int32_t *sums) {
#ifdef BYTE_PRODUCTS
    if (weights->by_bytes) {
        sums_by_bytes(codes, n, weights, sums);
        return;
    }
#endif
    sums_by_16_bits(codes, n, weights, sums);
}

/* Offer n codes, TOGETHER at most, by their `ids`, with what they are worth above `base`: those that `allowed` has, a
 * bit for each of `items`; NULL for all. */
FOR_EACH_PROCESSOR
static void offer_coded(const uint8_t *codes, const int64_t *ids, ptrdiff_t n, const Weights *weights, float base,
                        const uint8_t *allowed, ptrdiff_t items, Pool *pool) {
    int32_t sums[TOGETHER];
    float scores[TOGETHER];
    int any = 0;
    sums_of(codes, n, weights, sums);
    for (ptrdiff_t i = 0; i < n; i++) {
        scores[i] = base + weights->unit * (float)sums[i];
        any |= scores[i] > pool->bound;
    }
    if (!any) return;
    for (ptrdiff_t i = 0; i < n; i++) {
        if (!(scores[i] > pool->bound)) continue;
        if (allowed != NULL && (ids[i] < 0 || ids[i] >= items || !(allowed[ids[i] >> 3] >> (ids[i] & 7) & 1))) continue;
        offer(pool, scores[i], (int32_t)ids[i]);
    }
}

#endif
