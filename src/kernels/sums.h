/* sums.h - sums in double of what lies in vectors: values far from zero keep their digits. */
#ifndef SRC_KERNELS_SUMS_H
#define SRC_KERNELS_SUMS_H

#include "src/kernels/narrow.h"

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

/* Every double for the one `step` places beside it. */
#if KERNEL_WIDTH == 16
#define EXCHANGED(v, step)                                                                         \
    __builtin_shufflevector(v, v, 0 ^ (step), 1 ^ (step), 2 ^ (step), 3 ^ (step), 4 ^ (step),      \
        5 ^ (step), 6 ^ (step), 7 ^ (step))
#elif KERNEL_WIDTH == 8
#define EXCHANGED(v, step)                                                                         \
    __builtin_shufflevector(v, v, 0 ^ (step), 1 ^ (step), 2 ^ (step), 3 ^ (step))
#else
#define EXCHANGED(v, step) __builtin_shufflevector(v, v, 0 ^ (step), 1 ^ (step))
#endif

/* In every piece of `lanes` doubles the sums over all pieces; the sums themselves where a vector is
 * one piece. */
INLINE Sums sum_pieces(Sums sums, int lanes) {
    if (lanes >= WIDTH) return sums;
    DoubleVector both = sums.half[0] + sums.half[1];
#if KERNEL_WIDTH == 16
    if (lanes <= 4) both += EXCHANGED(both, 4);
#endif
#if KERNEL_WIDTH >= 8
    if (lanes <= 2) both += EXCHANGED(both, 2);
#endif
    if (lanes == 1) both += EXCHANGED(both, 1);
    return (Sums){{both, both}};
}

enum { CHAINS = 4 }; /* sums of an item, each over every fourth vector: no addition waits */

/* What two sums add up. */
typedef struct Terms {
    Vector first, second;
} Terms;

INLINE Terms sum_of(Terms a, Terms b) {
    return (Terms){a.first + b.first, a.second + b.second};
}

/* Those of the first `count` items; 0 for the others. */
INLINE Terms first_terms(Terms terms, int count) {
    VectorInt is_there = (VectorInt){COUNT_UP} < (VectorInt){REPEAT(count)};
    return (Terms){masked(terms.first, is_there), masked(terms.second, is_there)};
}

/* The sums of pairs of neighbours in `count` vectors, of pairs of these, ..., until they lie in
 * `left` vectors; returns the first. */
INLINE Vector sum_neighbours(int count, const int left, Vector *v) {
    UNROLL
    for (; count > left; count /= 2) {
        UNROLL
        for (int k = 0; k < count / 2; k++)
            v[k] = unzipped(1, v[2 * k], v[2 * k + 1], 0) + unzipped(1, v[2 * k], v[2 * k + 1], 1);
    }
    return v[0];
}

/* The sum of (x - mean)² out of the sums of d and d², d = x - a rough mean from which the mean is
 * `correction` away; never negative. */
INLINE DoubleVector corrected_squares(
    DoubleVector sum, DoubleVector squares, DoubleVector correction) {
    DoubleVector m2 = squares - sum * correction;
    return (DoubleVector)((DoubleMask)m2 & ~(m2 < (DoubleVector){0}));
}

#endif
