/* linear.h - what the files of the linear kernels share: tile shapes, and four rows in one vector.
 */
#ifndef SRC_KERNELS_LINEAR_H
#define SRC_KERNELS_LINEAR_H

#include "src/kernels/kernel.h"

enum { TILE_ROWS_MAX = 12 };
enum { PARKED_MAX = 32 }; /* levels of a tree over up to 2^31 microbatches */

/* ---- tile shapes: 1, 2, 4 or FULL_ROWS rows by 1..TILE_VECTORS vectors ---- */

#if defined(__AVX512VL__) || defined(__aarch64__)
#define FULL_ROWS(vectors) ((vectors) == 1 ? 12 : TILE_SUMS / (vectors))
#define FOR_TILES(MAKE)                                                                            \
    FOR_ROWS(MAKE, 1, 12) FOR_ROWS(MAKE, 2, 12) FOR_ROWS(MAKE, 3, 8) FOR_ROWS(MAKE, 4, 6)
#define TILE_TABLE(name)                                                                           \
    { TABLE_ROW(name, 1, 12), TABLE_ROW(name, 2, 12), TABLE_ROW(name, 3, 8), TABLE_ROW(name, 4, 6) }
#else
#define FULL_ROWS(vectors) (TILE_SUMS / (vectors))
#define FOR_TILES(MAKE) FOR_ROWS(MAKE, 1, 12) FOR_ROWS(MAKE, 2, 6)
#define TILE_TABLE(name)                                                                           \
    { TABLE_ROW(name, 1, 12), TABLE_ROW(name, 2, 6) }
#endif
#define FOR_ROWS(MAKE, vectors, full)                                                              \
    MAKE(1, vectors) MAKE(2, vectors) MAKE(4, vectors) MAKE(full, vectors)
#define TABLE_ROW(name, vectors, full)                                                             \
    { name##_1x##vectors, name##_2x##vectors, name##_4x##vectors, name##_##full##x##vectors }

/* Rows of the next tile, and which of the four row counts that is. */
INLINE int next_rows(int rows_left, int vectors, int *choice) {
    int full = FULL_ROWS(vectors);
    *choice = rows_left >= full ? 3 : rows_left >= 4 ? 2 : rows_left >= 2 ? 1 : 0;
    return *choice == 3 ? full : 1 << *choice;
}

/* Vectors of the next tile; the last two share what is left. */
INLINE int next_vectors(int vectors_left) {
    if (vectors_left <= TILE_VECTORS) return vectors_left;
    if (vectors_left < 2 * TILE_VECTORS) return (vectors_left + 1) / 2;
    return TILE_VECTORS;
}

/* ---- vectors of fours ---- */

#if KERNEL_WIDTH >= 4

/* Four floats each of the rows r, r + 4, r + 8, ... of x, side by side. */
INLINE Vector load_fours(const float *x, size_t lanes) {
    Four a = *(const FourInMemory *)x;
#if KERNEL_WIDTH == 4
    (void)lanes;
    return a;
#else
    Four b = *(const FourInMemory *)(x + 4 * lanes);
    float ab __attribute__((vector_size(32))) =
        __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
#if KERNEL_WIDTH == 8
    return ab;
#else
    Four c = *(const FourInMemory *)(x + 8 * lanes), d = *(const FourInMemory *)(x + 12 * lanes);
    float cd __attribute__((vector_size(32))) =
        __builtin_shufflevector(c, d, 0, 1, 2, 3, 4, 5, 6, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#endif
#endif
}

/* Items a, b of each four of x and then c, d of each four of y. */
#if KERNEL_WIDTH == 4
#define FOURS(x, y, a, b, c, d) __builtin_shufflevector(x, y, a, b, 4 + c, 4 + d)
#elif KERNEL_WIDTH == 8
#define FOURS(x, y, a, b, c, d)                                                                    \
    __builtin_shufflevector(x, y, a, b, 8 + c, 8 + d, 4 + a, 4 + b, 12 + c, 12 + d)
#else
#define FOURS(x, y, a, b, c, d)                                                                    \
    __builtin_shufflevector(x, y, a, b, 16 + c, 16 + d, 4 + a, 4 + b, 20 + c, 20 + d, 8 + a,       \
        8 + b, 24 + c, 24 + d, 12 + a, 12 + b, 28 + c, 28 + d)
#endif
#endif

#endif
