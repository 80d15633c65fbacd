/* conv_tile.h - one tile of a convolution: so many output channels by so many vectors of results.
 *
 * For each input channel and tap it loads as many vectors of x, wherever their rows are, and
 * multiplies them with one weight per output channel; its sums stay in registers. */
#ifndef SRC_KERNELS_CONV_TILE_H
#define SRC_KERNELS_CONV_TILE_H

#include "src/kernels/kernel.h"
#include <string.h>

/* ---- sizes ---- */

/* Tiles of 8, 6, 4, 3, 2 or 1 output channels, by up to as many vectors as the registers hold. */
enum { ROWS_MAX = 8, VECTORS_MAX = 6 };
#define UP_TO_2(MAKE, rows) MAKE(rows, 1) MAKE(rows, 2)
#define UP_TO_3(MAKE, rows) UP_TO_2(MAKE, rows) MAKE(rows, 3)
#define UP_TO_4(MAKE, rows) UP_TO_3(MAKE, rows) MAKE(rows, 4)
#if defined(__AVX512VL__) || defined(__aarch64__)
#define UP_TO_6(MAKE, rows) UP_TO_4(MAKE, rows) MAKE(rows, 5) MAKE(rows, 6)
#define VECTORS_OF(rows) ((rows) == 8 ? 3 : (rows) == 6 ? 4 : 6)
#define FOR_8_AND_6(MAKE) UP_TO_3(MAKE, 8) UP_TO_4(MAKE, 6)
#define FOR_4_AND_3(MAKE) UP_TO_6(MAKE, 4) UP_TO_6(MAKE, 3)
#define FOR_2_AND_1(MAKE) UP_TO_6(MAKE, 2) UP_TO_6(MAKE, 1)
#define FOURS_SUIT(conv) has_few_terms(conv)
#else
#define VECTORS_OF(rows) ((rows) == 6 ? 2 : (rows) == 4 ? 3 : 4)
#define FOR_8_AND_6(MAKE) UP_TO_2(MAKE, 6)
#define FOR_4_AND_3(MAKE) UP_TO_3(MAKE, 4) UP_TO_4(MAKE, 3)
#define FOR_2_AND_1(MAKE) UP_TO_4(MAKE, 2) UP_TO_4(MAKE, 1)
#ifdef __FMA__
#define FOURS_SUIT(conv) (has_few_terms(conv) && (conv)->tap_count == 1)
#else
#define FOURS_SUIT(conv) ((void)(conv), 0) /* products take registers, too */
#endif
#endif
#define FOR_TILES(MAKE) FOR_8_AND_6(MAKE) FOR_4_AND_3(MAKE) FOR_2_AND_1(MAKE)

/* Where results have few terms, time goes to writing. */
INLINE int has_few_terms(const KernelConv *conv) {
    enum { TERMS_FEW = 64 };
    return (int64_t)conv->in * conv->tap_count <= TERMS_FEW;
}

/* Output channels of the next tile: the largest that leaves no small rest. Where terms are few,
 * fewer channels by more vectors write more lines in a row, if they fill these; windows of one
 * pixel gain anyway. */
INLINE int next_rows(const KernelConv *conv, int rows_left) {
    if (FOURS_SUIT(conv) && rows_left % 4 == 0) return 4;
#if defined(__AVX512VL__) || defined(__aarch64__)
    if (rows_left == 6 || rows_left == 9 || rows_left == 10 || rows_left == 12) return 6;
    if (rows_left >= 8) return 8;
#else
    if (rows_left >= 6 && rows_left != 7 && rows_left != 8) return 6;
#endif
    if (rows_left == 3 || rows_left == 5) return 3;
    return rows_left >= 4 ? 4 : rows_left >= 2 ? 2 : 1;
}

/* Vectors of the next tile; the last two share what is left. */
INLINE int next_vectors(int64_t vectors_left, int most) {
    if (vectors_left <= most) return (int)vectors_left;
    return vectors_left < 2 * most ? (int)(vectors_left + 1) / 2 : most;
}

/* ---- one tile ---- */

/* A term of each result: where it finds x, and the tile's weights. */
typedef struct Term {
    ptrdiff_t x, weight;
} Term;

typedef struct Tile {
    const KernelConv *conv;
    size_t plane;      /* floats of x from one channel to the next */
    int term_count;    /* of a channel */
    const Term *terms; /* of `channels` channels of x, one after the other; so many of the next have
                          the same, channels * plane further */
    int channels;
    const ptrdiff_t *ahead; /* the x of those terms that meet it before others do */
    int ahead_count;
    const VectorInt *masks, *masks_end; /* at an edge: for each column of the window, what of a
                                           vector meets x */
    const float *weight;
    const float *bias;           /* at the first output channel; NULL: start from zero */
    const float *x[VECTORS_MAX]; /* what a tap at row 0, column 0 would meet */
    float *y[VECTORS_MAX];       /* in output channel 0 */
    int times;                   /* tiles side by side, if these are whole; else 1 */
    ptrdiff_t x_to_next;         /* floats from here to the tiles that follow these */
    ptrdiff_t y_to_next;
    ptrdiff_t y_ahead;        /* floats of y from here to those that are fetched */
    int fetches_x, fetches_y; /* what those will meet first; y, before it is written */
    size_t y_offset;          /* of the first output channel */
    size_t x_apart, y_apart;  /* where vectors are halves: floats from the first to the second */
} Tile;

INLINE Vector load_halves(const float *first, const float *second) {
    return __builtin_shufflevector(load_half(first), load_half(second), COUNT_UP);
}

/* How a tile's vectors meet x: whole; in halves; or whole, with zeros for what is beyond an edge.
 */
enum { WHOLE, HALVES, MASKED, KINDS };

/* Where from a vector's x a term finds its own. */
typedef struct Place {
    ptrdiff_t at, apart;   /* of halves: from the first to the second */
    const VectorInt *mask; /* of masked vectors */
} Place;

INLINE Vector load_term(const float *x, Place place, const int kind) {
    if (kind == HALVES) return load_halves(x + place.at, x + place.at + place.apart);
    Vector v = load(x + place.at);
    return kind == MASKED ? masked(v, *place.mask) : v;
}

INLINE void store_halves(float *first, float *second, Vector v) {
    HalfVector half[2];
    memcpy(half, &v, sizeof v);
    store_half(first, half[0]);
    store_half(second, half[1]);
}

/* The products of one tap: its vectors are held while the weights pass by, or where the registers
 * are too few, its weights while the vectors do. */
INLINE void add_weight_by_weight(Vector sum[ROWS_MAX][VECTORS_MAX], const float *weight,
    const float *const *x, Place place, const int rows, const int vectors, const int kind) {
    Vector term[VECTORS_MAX];
    UNROLL
    for (int v = 0; v < vectors; v++) term[v] = load_term(x[v], place, kind);
    UNROLL
    for (int r = 0; r < rows; r++) {
        Vector factor = broadcast(weight[r]);
        UNROLL
        for (int v = 0; v < vectors; v++) sum[r][v] += factor * term[v];
    }
}

INLINE void add_vector_by_vector(Vector sum[ROWS_MAX][VECTORS_MAX], const float *weight,
    const float *const *x, Place place, const int rows, const int vectors, const int kind) {
    Vector factor[ROWS_MAX];
    UNROLL
    for (int r = 0; r < rows; r++) factor[r] = broadcast(weight[r]);
    UNROLL
    for (int v = 0; v < vectors; v++) {
        if (kind == MASKED) __asm__("" : "+r"(place.mask)); /* read again: no register is left */
        Vector term = load_term(x[v], place, kind);
        UNROLL
        for (int r = 0; r < rows; r++) sum[r][v] += factor[r] * term;
    }
}

INLINE void add_term(Vector sum[ROWS_MAX][VECTORS_MAX], const float *weight, const float *const *x,
    Place place, const int rows, const int vectors, const int kind) {
    if (rows * vectors + vectors + 1 <= REGISTERS)
        add_weight_by_weight(sum, weight, x, place, rows, vectors, kind);
    else
        add_vector_by_vector(sum, weight, x, place, rows, vectors, kind);
}

enum { VECTORS_OF_LINE = KERNEL_WIDTH < LINE ? LINE / KERNEL_WIDTH : 1 };

/* Let the second-level cache get, while a tile computes, what the next will be the first to read of
 * some channels. A CPU that fetches by itself what is read in turn loses count of many channels,
 * and stops where a page ends. */
INLINE void fetch_ahead(const Tile *tile, const float *const *x, const int vectors) {
    const ptrdiff_t *end = tile->ahead + tile->ahead_count;
    for (const ptrdiff_t *ahead = tile->ahead; ahead < end; ahead++) {
        ptrdiff_t at = tile->x_to_next + *ahead;
        UNROLL
        for (int v = 0; v < vectors; v += VECTORS_OF_LINE) __builtin_prefetch(x[v] + at, 0, 2);
    }
}

/* The same with what a tile will write: lines of y, a plane apart, that its stores would wait for.
 */
INLINE void fetch_results(const Tile *tile, size_t at, const int rows, const int vectors) {
    UNROLL
    for (int v = 0; v < vectors; v += VECTORS_OF_LINE) {
        UNROLL
        for (int r = 0; r < rows; r++)
            __builtin_prefetch(tile->y[v] + at + r * tile->conv->y_channel, 0, 2);
    }
}

/* Channel by channel of x, so that the taps find in the L1 cache what they share. Loads and
 * multiply-adds leave a core that two threads share no room for other instructions: terms know
 * their places, and eight go together. */
INLINE void add_products(const Tile *tile, Vector sum[ROWS_MAX][VECTORS_MAX], size_t passed,
    const int rows, const int vectors, const int kind) {
    Place place = {.apart = (ptrdiff_t)tile->x_apart, .mask = tile->masks};
    const float *x[VECTORS_MAX], *weights = tile->weight;
    const size_t x_step = tile->channels * tile->plane;
    const size_t weight_step = (size_t)tile->channels * tile->conv->tap_count * rows;
    UNROLL
    for (int v = 0; v < vectors; v++) x[v] = tile->x[v] + passed;
    for (int left = tile->conv->in; left > 0; left -= tile->channels) {
        int channels = left < tile->channels ? left : tile->channels;
        const Term *end = tile->terms + channels * tile->term_count;
        /* Unlikely, so that the registers are the other loop's. */
        if (kind == WHOLE && __builtin_expect(tile->fetches_x, 0)) fetch_ahead(tile, x, vectors);
        UNROLL_BY_8
        for (const Term *term = tile->terms; term < end; term++) {
            place.at = term->x;
            add_term(sum, weights + term->weight, x, place, rows, vectors, kind);
            if (kind == MASKED && ++place.mask == tile->masks_end) place.mask = tile->masks;
        }
        UNROLL
        for (int v = 0; v < vectors; v++) x[v] += x_step;
        weights += weight_step;
    }
}

/* One tile, `passed` floats beyond the first. */
INLINE void conv_tile(
    const Tile *tile, size_t passed, const int rows, const int vectors, const int kind) {
    Vector sum[ROWS_MAX][VECTORS_MAX];
    size_t channel = tile->conv->y_channel, apart = tile->y_apart;
    if (kind != HALVES && tile->fetches_y)
        fetch_results(tile, passed + tile->y_offset + tile->y_ahead, rows, vectors);
    UNROLL
    for (int r = 0; r < rows; r++) {
        Vector start = broadcast(tile->bias ? tile->bias[r] : 0.0f);
        UNROLL
        for (int v = 0; v < vectors; v++) sum[r][v] = start;
    }
    add_products(tile, sum, passed, rows, vectors, kind);
    UNROLL
    for (int v = 0; v < vectors; v++) {
        float *y = tile->y[v] + tile->y_offset + passed; /* kept, it would take registers */
        UNROLL
        for (int r = 0; r < rows; r++) {
            float *to = y + r * channel;
            if (kind == HALVES)
                store_halves(to, to + apart, sum[r][v]);
            else
                store(to, sum[r][v]);
        }
    }
}

INLINE void conv_tiles(const Tile *tile, const int rows, const int vectors) {
    size_t passed = 0, end = (size_t)tile->times * vectors * WIDTH;
    for (; passed < end; passed += vectors * WIDTH) conv_tile(tile, passed, rows, vectors, WHOLE);
}

#define MAKE_TILE(rows, vectors)                                                                   \
    static void tile_##rows##x##vectors(const Tile *tile) {                                        \
        conv_tiles(tile, rows, vectors);                                                           \
    }                                                                                              \
    static void halves_##rows##x##vectors(const Tile *tile) {                                      \
        conv_tile(tile, 0, rows, vectors, HALVES);                                                 \
    }                                                                                              \
    static void masked_##rows##x##vectors(const Tile *tile) {                                      \
        conv_tile(tile, 0, rows, vectors, MASKED);                                                 \
    }
FOR_TILES(MAKE_TILE)

typedef void ConvTile(const Tile *tile);
#define TABLE_ENTRY(rows, vectors)                                                                 \
    [WHOLE][rows][vectors] = tile_##rows##x##vectors,                                              \
    [HALVES][rows][vectors] = halves_##rows##x##vectors,                                           \
    [MASKED][rows][vectors] = masked_##rows##x##vectors,
static ConvTile *const tiles[KINDS][ROWS_MAX + 1][VECTORS_MAX + 1] = {FOR_TILES(TABLE_ENTRY)};

#endif
