/* QuickScorer (Lucchese et al. 2015) over float32 rows. */
#ifndef RECSYS_TREES_H
#define RECSYS_TREES_H

#include "portable.h"

enum { ROWS_AT_ONCE = 64, BLOCK = 64 };

/* Half of the words that are joined at once. */
typedef uint64_t Words __attribute__((vector_size(BLOCK / 2), aligned(2), may_alias));

/* Trees, and what scoring them writes to: see score() in trees.pyx. */
typedef struct {
    ptrdiff_t columns, splits, trees, stride; /* of words: whole blocks */
    const int32_t *split_columns, *starts;
    const float *thresholds;
    const void *words;
    const double *leaves;
    void *left;     /* a word for each tree */
    int32_t *lines; /* ROWS_AT_ONCE for each split */
} Trees;

/* The line of a table that each row points to: how many thresholds lie below its value, all of them for nan, which not
 * even the last one, infinity, is above. A threshold after the other for all rows: no branch waits for any of them. */
FOR_EACH_PROCESSOR
static void find_lines(const Trees *trees, const float *rows, ptrdiff_t many) {
    float values[ROWS_AT_ONCE] = {0};
    int32_t below[ROWS_AT_ONCE];
    for (ptrdiff_t split = 0; split < trees->splits; split++) {
        const int32_t start = trees->starts[split], end = trees->starts[split + 1];
        const float *own = rows + trees->split_columns[split];
        for (ptrdiff_t row = 0; row < many; row++) values[row] = own[row * trees->columns];
        for (ptrdiff_t row = 0; row < ROWS_AT_ONCE; row++) below[row] = 0;
        for (int32_t place = start; place < end; place++) {
            const float threshold = trees->thresholds[place];
            for (ptrdiff_t row = 0; row < ROWS_AT_ONCE; row++) below[row] += !(values[row] <= threshold);
        }
        /* Each split has a line more than thresholds. */
        int32_t *lines = trees->lines + split;
        for (ptrdiff_t row = 0; row < many; row++) lines[row * trees->splits] = start + (int32_t)split + below[row];
    }
}

/* The sums of the leaves, for one width of a word: those that no line of a row takes away, the lowest of each tree. */
#define SUM_LEAVES(NAME, WORD, LOWEST)                                                                                 \
    FOR_EACH_PROCESSOR                                                                                                 \
    static void NAME(const Trees *trees, ptrdiff_t many, double *scores) {                                             \
        const ptrdiff_t splits = trees->splits, stride = trees->stride, width = 8 * (ptrdiff_t)sizeof(WORD);           \
        const ptrdiff_t bytes = stride * (ptrdiff_t)sizeof(WORD);                                                      \
        const char *words = (const char *)trees->words;                                                                \
        WORD *left = (WORD *)trees->left;                                                                              \
        for (ptrdiff_t row = 0; row < many; row++) {                                                                   \
            const int32_t *lines = trees->lines + row * splits;                                                        \
            for (ptrdiff_t at = 0; at < bytes; at += BLOCK) {                                                          \
                Words first = ~(Words){0}, second = first;                                                             \
                for (ptrdiff_t split = 0; split < splits; split++) {                                                   \
                    const Words *line = (const Words *)(words + lines[split] * bytes + at);                            \
                    first &= line[0];                                                                                  \
                    second &= line[1];                                                                                 \
                }                                                                                                      \
                ((Words *)((char *)left + at))[0] = first;                                                             \
                ((Words *)((char *)left + at))[1] = second;                                                            \
            }                                                                                                          \
            double sums[4] = {0}; /* an addition need not wait for the one before */                                   \
            for (ptrdiff_t tree = 0; tree < trees->trees; tree++)                                                      \
                sums[tree % 4] += trees->leaves[tree * width + LOWEST(left[tree])];                                    \
            scores[row] = (sums[0] + sums[1]) + (sums[2] + sums[3]);                                                   \
        }                                                                                                              \
    }

SUM_LEAVES(sum_leaves_16, uint16_t, __builtin_ctz)
SUM_LEAVES(sum_leaves_32, uint32_t, __builtin_ctz)
SUM_LEAVES(sum_leaves_64, uint64_t, __builtin_ctzll)

/* The sum of the trees for each of `count` rows. */
static void score_trees(const Trees *trees, ptrdiff_t bytes, const float *rows, ptrdiff_t count, double *scores) {
    for (ptrdiff_t first = 0; first < count; first += ROWS_AT_ONCE) {
        const ptrdiff_t many = count - first < ROWS_AT_ONCE ? count - first : ROWS_AT_ONCE;
        find_lines(trees, rows + first * trees->columns, many);
        if (bytes == 2)
            sum_leaves_16(trees, many, scores + first);
        else if (bytes == 4)
            sum_leaves_32(trees, many, scores + first);
        else
            sum_leaves_64(trees, many, scores + first);
    }
}

#endif
