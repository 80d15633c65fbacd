/* sums.h - sums of a norm's rows, in double: values far from zero keep their digits. */
#ifndef SRC_KERNELS_SUMS_H
#define SRC_KERNELS_SUMS_H

#include "src/kernels/kernel.h"

/* Sums of a vector's lanes in double: the lower half, the upper half. */
typedef struct Sums {
    DoubleVector half[2];
} Sums;

INLINE Sums widened(Vector v) {
    return (Sums){{{HALF_ITEMS(v, 0)}, {HALF_ITEMS(v, HALF)}}};
}

INLINE Vector narrowed(Sums sums) {
    HalfVector lower = __builtin_convertvector(sums.half[0], HalfVector);
    HalfVector upper = __builtin_convertvector(sums.half[1], HalfVector);
    return __builtin_shufflevector(lower, upper, COUNT_UP);
}

INLINE void add_to(Sums *sums, Vector v) {
    Sums term = widened(v);
    sums->half[0] += term.half[0];
    sums->half[1] += term.half[1];
}

/* In every piece of `lanes` doubles the sums over all pieces; lanes is WIDTH or half of it, a
 * quarter, ... */
INLINE Sums sum_pieces(Sums sums, int lanes) {
    double item[HALF];
    if (lanes == WIDTH) return sums;
    DoubleVector both = sums.half[0] + sums.half[1];
    for (int i = 0; i < HALF; i++) item[i] = both[i];
    for (int pieces = HALF / 2; pieces >= lanes; pieces /= 2)
        for (int i = 0; i < pieces; i++) item[i] += item[i + pieces];
    for (int i = 0; i < HALF; i++) both[i] = item[i & (lanes - 1)];
    return (Sums){{both, both}};
}

enum { CHAINS = 4 }; /* sums of a lane, each over every fourth row: no addition waits */

INLINE DoubleVector sum_chains(const DoubleVector *sum) {
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

INLINE DoubleVector power_of(const float *x, DoubleVector middle, int power) {
    DoubleVector centered = load_doubles(x) - middle;
    return power == 2 ? centered * centered : centered;
}

/* Sum over the rows of (x - middle)^power, power 1 or 2, of the HALF lanes at x. */
INLINE DoubleVector sum_powers(
    const float *x, int rows, int lanes, DoubleVector middle, int power) {
    DoubleVector sum[CHAINS] = {{0}};
    int row = 0;
    for (; row + CHAINS <= rows; row += CHAINS) {
        UNROLL
        for (int chain = 0; chain < CHAINS; chain++)
            sum[chain] += power_of(x + (size_t)(row + chain) * lanes, middle, power);
    }
    for (; row < rows; row++) sum[0] += power_of(x + (size_t)row * lanes, middle, power);
    return sum_chains(sum);
}

#endif
