/* sums.h - sums in double of what lies in vectors: values far from zero keep their digits. */
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

/* In every piece of `lanes` doubles the sums over all pieces; the sums themselves where a vector is
 * one piece. */
INLINE Sums sum_pieces(Sums sums, int lanes) {
    double item[HALF];
    if (lanes >= WIDTH) return sums;
    DoubleVector both = sums.half[0] + sums.half[1];
    for (int i = 0; i < HALF; i++) item[i] = both[i];
    for (int pieces = HALF / 2; pieces >= lanes; pieces /= 2)
        for (int i = 0; i < pieces; i++) item[i] += item[i + pieces];
    for (int i = 0; i < HALF; i++) both[i] = item[i & (lanes - 1)];
    return (Sums){{both, both}};
}

enum { CHAINS = 4 }; /* sums of an item, each over every fourth vector: no addition waits */

#endif
