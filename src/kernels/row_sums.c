/* row_sums.c - sums over rows of any length, added up over microbatches: the gradient of a bias.
 *
 * A vector holds the sums of WIDTH rows. These lie side by side in as many vectors where they have
 * 1, 2, 4 or 8 floats, fewer than a vector; or each row is first added up to one. */
#include "src/kernels/linear.h"
#include "src/kernels/row_sum.h"

INLINE Vector sum_row(const float *x, int floats) {
    RowSum sum = {.passed = 0};
    row_sum_pass(&sum, x, floats);
    return row_sum_finish(&sum, x, floats);
}

/* The sums of `rows` rows. */
INLINE Vector sum_long(const float *x, int floats, int rows) {
    Vector v[WIDTH];
    if (rows == WIDTH) {
        UNROLL
        for (int r = 0; r < WIDTH; r++) v[r] = sum_row(x + (size_t)r * floats, floats);
    } else {
        for (int r = 0; r < WIDTH; r++)
            v[r] = r < rows ? sum_row(x + (size_t)r * floats, floats) : broadcast(0.0f);
    }
    return sum_neighbours(WIDTH, 1, v);
}

INLINE Vector sum_short(const int floats, const float *x, int rows) {
    Vector v[WIDTH];
    UNROLL
    for (int k = 0; k < floats; k++) v[k] = load_up_to(x, k * WIDTH, (size_t)rows * floats);
    return sum_neighbours(floats, 1, v);
}

INLINE Vector sum_rows(const float *x, int floats, int rows) {
    if (floats == WIDTH) return sum_long(x, WIDTH, rows);
    if (floats == 2 * WIDTH) return sum_long(x, 2 * WIDTH, rows);
    if (floats > WIDTH || WIDTH % floats != 0) return sum_long(x, floats, rows);
    return WITH_LANES(floats, sum_short, x, rows);
}

void KERNEL(row_sums)(
    KernelInput x, float *sums, int floats, int count, int row_begin, int row_end) {
    Vector parked[PARKED_MAX];
    for (int row = row_begin; row < row_end; row += WIDTH) {
        int rows = row_end - row < WIDTH ? row_end - row : WIDTH, depth = 0;
        for (int m = 0; m < count; m++) {
            Vector sum = sum_rows(x.data + m * x.stride + (size_t)row * floats, floats, rows);
            int merges = m + 1 < count ? __builtin_ctz(m + 1) : depth;
            for (int merge = 0; merge < merges; merge++) sum = parked[--depth] + sum;
            parked[depth++] = sum;
        }
        store_up_to(sums, row, row_end, parked[0]);
    }
}
