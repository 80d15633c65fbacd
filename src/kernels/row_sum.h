/* row_sum.h - the sum of a row of any number of floats, at once or as the row is passed, always in
 * the same order. */
#ifndef SRC_KERNELS_ROW_SUM_H
#define SRC_KERNELS_ROW_SUM_H

#include "src/kernels/sums.h"

/* The sum of the first `passed` floats of a row; all zero at its begin. */
typedef struct RowSum {
    Vector chain[CHAINS];
    int passed;
} RowSum;

/* Go on, as far as the chains have all a vector before `end`. */
INLINE void row_sum_pass(RowSum *sum, const float *row, int end) {
    int i = sum->passed;
    for (; i + CHAINS * WIDTH <= end; i += CHAINS * WIDTH) {
        UNROLL
        for (int c = 0; c < CHAINS; c++) sum->chain[c] += load(row + i + c * WIDTH);
    }
    sum->passed = i;
}

/* The sum of all `floats` of the row, of which less than a vector for each chain are left, in the
 * lanes of a vector. */
INLINE Vector row_sum_finish(const RowSum *sum, const float *row, int floats) {
    const Vector *chain = sum->chain;
    Vector all = (chain[0] + chain[1]) + (chain[2] + chain[3]);
    int i = sum->passed;
    for (; i + WIDTH <= floats; i += WIDTH) all += load(row + i);
    return i < floats ? all + load_part(row + i, floats - i) : all;
}

/* Four rows' sums, each of the lanes of a vector, in the order of sum_neighbours. */
INLINE void sum_lanes_of_rows(Vector of_row[4], float sums[KERNEL_ITEMS]) {
#if KERNEL_WIDTH < 4
    for (int r = 0; r < 4; r++) sums[r] = sum_lanes(of_row[r]);
#else
    Vector all = sum_neighbours(4, 1, of_row);
    UNROLL
    for (int left = WIDTH / 4; left > 1; left /= 2)
        all = unzipped(1, all, all, 0) + unzipped(1, all, all, 1);
    store(sums, all);
#endif
}

#endif
