/* narrow.h - what kernels share for lanes fewer than a vector's floats: 1, 2, 4 or 8, which divide
 * WIDTH. A vector then holds some pieces of `lanes` floats each, side by side. */
#ifndef SRC_KERNELS_NARROW_H
#define SRC_KERNELS_NARROW_H

#include "src/kernels/kernel.h"

/* Call function(lanes, ...) with the number of lanes a constant, so that its shuffles are. */
#if KERNEL_WIDTH == 16
#define WITH_LANES(lanes, function, ...)                                                           \
    ((lanes) == 1      ? function(1, __VA_ARGS__)                                                  \
        : (lanes) == 2 ? function(2, __VA_ARGS__)                                                  \
        : (lanes) == 4 ? function(4, __VA_ARGS__)                                                  \
                       : function(8, __VA_ARGS__))
#define ITEMS(ITEM, lanes)                                                                         \
    ITEM(0, lanes), ITEM(1, lanes), ITEM(2, lanes), ITEM(3, lanes), ITEM(4, lanes),                \
        ITEM(5, lanes), ITEM(6, lanes), ITEM(7, lanes), ITEM(8, lanes), ITEM(9, lanes),            \
        ITEM(10, lanes), ITEM(11, lanes), ITEM(12, lanes), ITEM(13, lanes), ITEM(14, lanes),       \
        ITEM(15, lanes)
#define SHUFFLED(a, b, lanes, ITEM)                                                                \
    ((lanes) == 1      ? __builtin_shufflevector(a, b, ITEMS(ITEM, 1))                             \
        : (lanes) == 2 ? __builtin_shufflevector(a, b, ITEMS(ITEM, 2))                             \
        : (lanes) == 4 ? __builtin_shufflevector(a, b, ITEMS(ITEM, 4))                             \
                       : __builtin_shufflevector(a, b, ITEMS(ITEM, 8)))
#elif KERNEL_WIDTH == 8
#define WITH_LANES(lanes, function, ...)                                                           \
    ((lanes) == 1      ? function(1, __VA_ARGS__)                                                  \
        : (lanes) == 2 ? function(2, __VA_ARGS__)                                                  \
                       : function(4, __VA_ARGS__))
#define ITEMS(ITEM, lanes)                                                                         \
    ITEM(0, lanes), ITEM(1, lanes), ITEM(2, lanes), ITEM(3, lanes), ITEM(4, lanes),                \
        ITEM(5, lanes), ITEM(6, lanes), ITEM(7, lanes)
#define SHUFFLED(a, b, lanes, ITEM)                                                                \
    ((lanes) == 1      ? __builtin_shufflevector(a, b, ITEMS(ITEM, 1))                             \
        : (lanes) == 2 ? __builtin_shufflevector(a, b, ITEMS(ITEM, 2))                             \
                       : __builtin_shufflevector(a, b, ITEMS(ITEM, 4)))
#else
#define WITH_LANES(lanes, function, ...)                                                           \
    ((lanes) == 1 ? function(1, __VA_ARGS__) : function(2, __VA_ARGS__))
#define ITEMS(ITEM, lanes) ITEM(0, lanes), ITEM(1, lanes), ITEM(2, lanes), ITEM(3, lanes)
#define SHUFFLED(a, b, lanes, ITEM)                                                                \
    ((lanes) == 1 ? __builtin_shufflevector(a, b, ITEMS(ITEM, 1))                                  \
                  : __builtin_shufflevector(a, b, ITEMS(ITEM, 2)))
#endif

/* Where item i of the result comes from, in a and then b. */
#define LOWER_ITEM(i, lanes)                                                                       \
    ((i) / (lanes) % 2 * WIDTH + (i) / (lanes) / 2 * (lanes) + (i) % (lanes))
#define UPPER_ITEM(i, lanes) (LOWER_ITEM(i, lanes) + HALF)

/* A piece of a, one of b, the next of a, ...: of their lower halves, or of the upper ones. */
INLINE Vector zipped(const int lanes, Vector a, Vector b, const int is_upper) {
    return is_upper ? SHUFFLED(a, b, lanes, UPPER_ITEM) : SHUFFLED(a, b, lanes, LOWER_ITEM);
}

/* Where item i of the result comes from: every second piece of a and then b. */
#define EVEN_ITEM(i, lanes) ((i) / (lanes)*2 * (lanes) + (i) % (lanes))
#define ODD_ITEM(i, lanes) (EVEN_ITEM(i, lanes) + (lanes))

/* The pieces number 0, 2, 4, ... of a and then b, or 1, 3, 5, ... */
INLINE Vector unzipped(const int lanes, Vector a, Vector b, const int is_odd) {
    return is_odd ? SHUFFLED(a, b, lanes, ODD_ITEM) : SHUFFLED(a, b, lanes, EVEN_ITEM);
}

/* Where item i of the result comes from, in a and then b. */
#define DOWN_ITEM(i, lanes) ((i) + (lanes))
#define UP_ITEM(i, lanes) (WIDTH - (lanes) + (i))

/* All pieces of a but the first, then the first of b; `lanes` may be WIDTH. */
INLINE Vector moved_down(const int lanes, Vector a, Vector b) {
    if (lanes == WIDTH) return b;
    return SHUFFLED(a, b, lanes, DOWN_ITEM);
}

/* The last piece of a, then all of b but the last; `lanes` may be WIDTH. */
INLINE Vector moved_up(const int lanes, Vector a, Vector b) {
    if (lanes == WIDTH) return a;
    return SHUFFLED(a, b, lanes, UP_ITEM);
}

/* What is at p [at], as far as it is below p [n], then zeros. */
INLINE Vector load_up_to(const float *p, size_t at, size_t n) {
    if (at + WIDTH <= n) return load(p + at);
    return at < n ? load_part(p + at, (int)(n - at)) : broadcast(0.0f);
}

/* v at p [at], as far as it is below p [n]. */
INLINE void store_up_to(float *p, size_t at, size_t n, Vector v) {
    if (at + WIDTH <= n)
        store(p + at, v);
    else if (at < n)
        store_part(p + at, v, (int)(n - at));
}

/* The `lanes` floats at p over and over. */
INLINE Vector load_repeated(const float *p, int lanes) {
    float item[WIDTH];
    for (int i = 0; i < WIDTH; i++) item[i] = p[i & (lanes - 1)];
    return load(item);
}

/* Every item of v `lanes` times, one after the other: vector k of the `lanes` that they fill. */
INLINE Vector spread(const int lanes, Vector v, const int k) {
    UNROLL
    for (int bit = lanes / 2; bit > 0; bit /= 2) v = zipped(1, v, v, (k & bit) != 0);
    return v;
}

/* Whether rows of `floats` floats are pieces of half a vector. */
INLINE int is_piece(size_t floats) {
    return floats < WIDTH && WIDTH % floats == 0;
}

/* The vectors of consecutive rows, `step` floats from one to the next: those from number `whole` on
 * have `part` floats only. */
typedef struct Lines {
    size_t step;
    int count, whole, part;
} Lines;

/* Of the first WIDTH lanes of each row, or of rows that are pieces, side by side. */
INLINE Lines lines_of(int rows, int lanes) {
    if (lanes >= WIDTH) return (Lines){(size_t)lanes, rows, rows, 0};
    size_t floats = (size_t)rows * (size_t)lanes;
    int whole = (int)(floats / WIDTH), part = (int)(floats % WIDTH);
    return (Lines){WIDTH, whole + (part > 0), whole, part};
}

/* The number of the piece that an item belongs to. */
INLINE VectorInt piece_numbers(int lanes) {
    return (VectorInt){COUNT_UP} >> (VectorInt){REPEAT(__builtin_ctz((unsigned)lanes))};
}

#endif
