/* batch_norm_narrow_sums.c - the sums of batch norm for fewer lanes than a vector has floats.
 *
 * A channel is a row of pixels * lanes floats, of which number i is in lane i % lanes: also item i
 * of a half vector, wherever in the row it is. Rows that are pieces of half a vector are added up
 * side by side. */
#include "src/kernels/batch_norm.h"
#include "src/kernels/narrow.h"

/* ---- sums over a long row ---- */

/* The HALF floats that end with the row, or what a shorter one has behind zeros: in `copy`. Those
 * that were not among the whole half vectors before are kept by `last_mask`. */
INLINE const float *last_half(const float *row, size_t floats, float copy[HALF]) {
    if (floats >= HALF) return row + floats - HALF;
    for (size_t i = 0; i < HALF; i++) copy[i] = i + floats < HALF ? 0.0f : row[i + floats - HALF];
    return copy;
}

INLINE DoubleMask last_mask(size_t floats) {
    int left = (int)(floats % HALF);
    return (DoubleMask){COUNT_UP_HALF} >= (DoubleMask){REPEAT_HALF(HALF - left)};
}

/* What keeps the valid lanes of half a vector. */
INLINE DoubleMask valid_mask(int lanes, int valid) {
    DoubleMask lane = (DoubleMask){COUNT_UP_HALF} & (DoubleMask){REPEAT_HALF(lanes - 1)};
    return lane < (DoubleMask){REPEAT_HALF(valid)};
}

INLINE DoubleVector masked_doubles(DoubleVector v, DoubleMask mask) {
    return (DoubleVector)((DoubleMask)v & mask);
}

/* Sum over the valid lanes of (x - center)^power, power 1 or 2. */
INLINE double sum_row_powers(
    const float *x, size_t floats, DoubleMask valid, double center, const int power) {
    DoubleVector sum[CHAINS] = {{0}}, middle = broadcast_double(center);
    size_t i = 0;
    for (; i + CHAINS * HALF <= floats; i += CHAINS * HALF) {
        UNROLL
        for (size_t chain = 0; chain < CHAINS; chain++)
            sum[chain] += power_of(x + i + chain * HALF, middle, power);
    }
    for (; i + HALF <= floats; i += HALF) sum[0] += power_of(x + i, middle, power);
    if (i < floats) {
        float copy[HALF];
        DoubleVector last = power_of(last_half(x, floats, copy), middle, power);
        sum[1] += masked_doubles(last, last_mask(floats));
    }
    return sum_double_lanes(masked_doubles(sum_chains(sum), valid));
}

/* Sums of dy and of dy * (x - mean). */
typedef struct Products {
    DoubleVector dy[CHAINS], product[CHAINS];
} Products;

INLINE void add_half(Products *sums, int chain, const float *dy, const float *x,
    const HalfChannel *channel, const int rectifies) {
    DoubleVector gradient = passed(dy, x, channel, rectifies);
    sums->dy[chain] += gradient;
    sums->product[chain] += gradient * (load_doubles(x) - channel->mean);
}

INLINE void add_last_half(Products *sums, const float *dy, const float *x,
    const HalfChannel *channel, const int rectifies, DoubleMask mask) {
    DoubleVector gradient = passed(dy, x, channel, rectifies);
    DoubleVector product = gradient * (load_doubles(x) - channel->mean);
    sums->dy[1] += masked_doubles(gradient, mask);
    sums->product[1] += masked_doubles(product, mask);
}

/* The sums over the valid lanes. */
INLINE void sum_products(const float *dy, const float *x, const HalfChannel *channel,
    const int rectifies, size_t floats, DoubleMask valid, double *sum, double *product) {
    Products sums = {.dy = {{0}}};
    size_t i = 0;
    for (; i + CHAINS * HALF <= floats; i += CHAINS * HALF) {
        UNROLL
        for (int chain = 0; chain < CHAINS; chain++)
            add_half(&sums, chain, dy + i + chain * HALF, x + i + chain * HALF, channel, rectifies);
    }
    for (; i + HALF <= floats; i += HALF) add_half(&sums, 0, dy + i, x + i, channel, rectifies);
    if (i < floats) {
        float copies[2][HALF];
        const float *last_dy = last_half(dy, floats, copies[0]);
        const float *last_x = last_half(x, floats, copies[1]);
        add_last_half(&sums, last_dy, last_x, channel, rectifies, last_mask(floats));
    }
    *sum = sum_double_lanes(masked_doubles(sum_chains(sums.dy), valid));
    *product = sum_double_lanes(masked_doubles(sum_chains(sums.product), valid));
}

/* ---- sums over rows that are pieces of half a vector: HALF of them at a time ---- */

#if KERNEL_WIDTH == 16
#define PAIRS(i) i, i, i + 1, i + 1, i + 2, i + 2, i + 3, i + 3
#define EVERY_SECOND(i) i, i + 2, i + 4, i + 6, i + 8, i + 10, i + 12, i + 14
#elif KERNEL_WIDTH == 8
#define PAIRS(i) i, i, i + 1, i + 1
#define EVERY_SECOND(i) i, i + 2, i + 4, i + 6
#else
#define PAIRS(i) i, i
#define EVERY_SECOND(i) i, i + 2
#endif
enum { QUARTER = HALF / 2 };
typedef double DoubleVectorInMemory
    __attribute__((vector_size(KERNEL_WIDTH * 4), aligned(8), may_alias));

/* As `spread`, of half vectors of any type. */
#define SPREAD_HALF(floats, v, k)                                                                  \
    UNROLL                                                                                         \
    for (int bit = (floats) / 2; bit > 0; bit /= 2)                                                \
    v = (k)&bit ? __builtin_shufflevector(v, v, PAIRS(QUARTER))                                    \
                : __builtin_shufflevector(v, v, PAIRS(0))

/* The sums of HALF rows that lie in `floats` vectors. */
INLINE DoubleVector sum_pieces(const int floats, DoubleVector *v) {
    UNROLL
    for (int pairs = floats / 2; pairs > 0; pairs /= 2) {
        UNROLL
        for (int k = 0; k < pairs; k++) {
            DoubleVector a = v[2 * k], b = v[2 * k + 1];
            v[k] = __builtin_shufflevector(a, b, EVERY_SECOND(0)) +
                   __builtin_shufflevector(a, b, EVERY_SECOND(1));
        }
    }
    return v[0];
}

/* The HALF floats at p, or `count` of them and then zeros, in `copy`. */
INLINE const float *half_of(const float *p, const int is_whole, int count, float copy[HALF]) {
    if (is_whole) return p;
    for (int i = 0; i < HALF; i++) copy[i] = i < count ? p[i] : 0.0f;
    return copy;
}

INLINE void store_doubles(double *p, DoubleVector v, const int is_whole, int count) {
    if (is_whole)
        *(DoubleVectorInMemory *)p = v;
    else
        for (int i = 0; i < count; i++) p[i] = v[i];
}

/* `rows` rows at x: HALF, or fewer. */
INLINE void moments_of_pieces(const int floats, const float *x, DoubleMask valid,
    double inverse_count, const int is_whole, int rows, double *mean, double *m2) {
    DoubleVector v[HALF], term[HALF];
    UNROLL
    for (int k = 0; k < floats; k++) {
        float copy[HALF];
        const float *half = half_of(x + k * HALF, is_whole, rows * floats - k * HALF, copy);
        term[k] = v[k] = masked_doubles(load_doubles(half), valid);
    }
    DoubleVector middle = sum_pieces(floats, term) * broadcast_double(inverse_count);
    middle = (DoubleVector)rounded((Vector)middle);
    UNROLL
    for (int k = 0; k < floats; k++) {
        DoubleVector center = middle;
        SPREAD_HALF(floats, center, k);
        term[k] = masked_doubles(v[k] - center, valid);
        term[k] = (DoubleVector)rounded((Vector)(term[k] * term[k]));
    }
    store_doubles(mean, middle, is_whole, rows);
    store_doubles(m2, sum_pieces(floats, term), is_whole, rows);
}

INLINE void moments_of_all(const int floats, const float *x, DoubleMask valid, double inverse_count,
    int begin, int end, double *mean, double *m2) {
    int c = begin;
    x += (size_t)begin * floats;
    for (; c + HALF <= end; c += HALF, x += HALF * floats)
        moments_of_pieces(floats, x, valid, inverse_count, 1, HALF, mean + c, m2 + c);
    if (c < end) moments_of_pieces(floats, x, valid, inverse_count, 0, end - c, mean + c, m2 + c);
}

/* The numbers of the channels from c on. */
INLINE HalfChannel load_channels(
    const KernelNorm *norm, int c, const int rectifies, const int is_whole, int rows) {
    float copies[4][HALF];
    HalfChannel channel = {
        .high = load_half(half_of(norm->mean_high + c, is_whole, rows, copies[0])),
        .low = load_half(half_of(norm->mean_low + c, is_whole, rows, copies[1]))};
    channel.mean = __builtin_convertvector(channel.high, DoubleVector) +
                   __builtin_convertvector(channel.low, DoubleVector);
    if (!rectifies) return channel;
    channel.scale = load_half(half_of(norm->scale + c, is_whole, rows, copies[2]));
    channel.shift = load_half(half_of(norm->shift + c, is_whole, rows, copies[3]));
    return channel;
}

INLINE HalfChannel spread_channels(
    const int floats, HalfChannel channel, const int rectifies, const int k) {
    SPREAD_HALF(floats, channel.mean, k);
    if (!rectifies) return channel;
    SPREAD_HALF(floats, channel.high, k);
    SPREAD_HALF(floats, channel.low, k);
    SPREAD_HALF(floats, channel.scale, k);
    SPREAD_HALF(floats, channel.shift, k);
    return channel;
}

INLINE void products_of_pieces(const int floats, const float *dy, const float *x,
    const HalfChannel *channels, const int rectifies, DoubleMask valid, const int is_whole,
    int rows, double *sum_dy, double *sum_products) {
    DoubleVector gradient[HALF], product[HALF];
    UNROLL
    for (int k = 0; k < floats; k++) {
        float copies[2][HALF];
        int left = rows * floats - k * HALF;
        const float *dy_half = half_of(dy + k * HALF, is_whole, left, copies[0]);
        const float *x_half = half_of(x + k * HALF, is_whole, left, copies[1]);
        HalfChannel channel = spread_channels(floats, *channels, rectifies, k);
        gradient[k] = passed(dy_half, x_half, &channel, rectifies);
        product[k] = gradient[k] * (load_doubles(x_half) - channel.mean);
        gradient[k] = masked_doubles(gradient[k], valid);
        product[k] = (DoubleVector)rounded((Vector)masked_doubles(product[k], valid));
    }
    store_doubles(sum_dy, sum_pieces(floats, gradient), is_whole, rows);
    store_doubles(sum_products, sum_pieces(floats, product), is_whole, rows);
}

INLINE void products_of_all(const int floats, const float *dy, const float *x,
    const KernelNorm *norm, const int rectifies, DoubleMask valid, int begin, int end,
    double *sum_dy, double *sum_products) {
    int c = begin;
    for (; c + HALF <= end; c += HALF) {
        size_t i = (size_t)c * floats;
        HalfChannel channels = load_channels(norm, c, rectifies, 1, HALF);
        products_of_pieces(floats, dy + i, x + i, &channels, rectifies, valid, 1, HALF, sum_dy + c,
            sum_products + c);
    }
    if (c < end) {
        size_t i = (size_t)c * floats;
        HalfChannel channels = load_channels(norm, c, rectifies, 0, end - c);
        products_of_pieces(floats, dy + i, x + i, &channels, rectifies, valid, 0, end - c,
            sum_dy + c, sum_products + c);
    }
}

/* ---- sums ---- */

void KERNEL(norm_moments_narrow)(const float *x, int pixels, int lanes, int valid, int begin,
    int end, double *mean, double *m2) {
    size_t floats = (size_t)pixels * lanes;
    double inverse_count = 1.0 / ((double)pixels * valid);
    DoubleMask mask = valid_mask(lanes, valid);
    if (is_piece(floats))
        WITH_LANES(floats, moments_of_all, x, mask, inverse_count, begin, end, mean, m2);
    for (int c = begin; !is_piece(floats) && c < end; c++) {
        const float *row = x + c * floats;
        mean[c] = sum_row_powers(row, floats, mask, 0.0, 1) * inverse_count;
        m2[c] = sum_row_powers(row, floats, mask, mean[c], 2);
    }
}

INLINE void gradient_sums(const float *dy, const float *x, const KernelNorm *norm,
    const int rectifies, size_t floats, int lanes, int valid, int begin, int end, double *sum_dy,
    double *sum_dy_xhat) {
    DoubleMask mask = valid_mask(lanes, valid);
    if (is_piece(floats))
        WITH_LANES(
            floats, products_of_all, dy, x, norm, rectifies, mask, begin, end, sum_dy, sum_dy_xhat);
    for (int c = begin; !is_piece(floats) && c < end; c++) {
        HalfChannel channel = half_channel_of(*norm, c);
        sum_products(dy + c * floats, x + c * floats, &channel, rectifies, floats, mask, &sum_dy[c],
            &sum_dy_xhat[c]);
    }
    for (int c = begin; c < end; c++) sum_dy_xhat[c] *= norm->inverse_std[c];
}

void KERNEL(norm_sums_narrow)(const float *dy, const float *x, KernelNorm norm, int pixels,
    int lanes, int valid, int begin, int end, double *sum_dy, double *sum_dy_xhat) {
    size_t floats = (size_t)pixels * lanes;
    if (norm.rectifies)
        gradient_sums(dy, x, &norm, 1, floats, lanes, valid, begin, end, sum_dy, sum_dy_xhat);
    else
        gradient_sums(dy, x, &norm, 0, floats, lanes, valid, begin, end, sum_dy, sum_dy_xhat);
}
