/* batch_norm.c - one microbatch x [channels][pixels][lanes]: moments, normalization, gradient.
 *
 * Sums are taken in double, lane by lane over the pixels, then over the valid lanes: values far
 * from zero keep their digits. */
#include "src/kernels/kernel.h"

enum { CHAINS = 4 }; /* sums of a lane, each over every fourth pixel: no addition waits */

INLINE DoubleVector sum_chains(const DoubleVector *sum) {
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

INLINE DoubleVector power_of(const float *x, DoubleVector middle, int power) {
    DoubleVector centered = load_doubles(x) - middle;
    return power == 2 ? centered * centered : centered;
}

/* Sum over the pixels of (x - center)^power, power 1 or 2, of the HALF lanes at x. */
INLINE DoubleVector sum_powers(const float *x, int pixels, int lanes, double center, int power) {
    DoubleVector sum[CHAINS] = {{0}}, middle = broadcast_double(center);
    int p = 0;
    for (; p + CHAINS <= pixels; p += CHAINS) {
        UNROLL
        for (int chain = 0; chain < CHAINS; chain++)
            sum[chain] += power_of(x + (size_t)(p + chain) * lanes, middle, power);
    }
    for (; p < pixels; p++) sum[0] += power_of(x + (size_t)p * lanes, middle, power);
    return sum_chains(sum);
}

/* The same over the valid lanes. */
INLINE double sum_valid_powers(
    const float *x, int pixels, int lanes, int valid, double center, int power) {
    DoubleVector sum = {0};
    for (int lane = 0; lane < valid; lane += HALF) {
        DoubleVector part = sum_powers(x + lane, pixels, lanes, center, power);
        sum += keep_valid_doubles(part, lane, valid);
    }
    return sum_double_lanes(sum);
}

INLINE void moments(const float *x, int pixels, int lanes, int valid, int begin, int end,
    double *mean, double *m2) {
    double inverse_count = 1.0 / ((double)pixels * valid);
    for (int c = begin; c < end; c++) {
        const float *channel = x + (size_t)c * pixels * lanes;
        mean[c] = sum_valid_powers(channel, pixels, lanes, valid, 0.0, 1) * inverse_count;
        m2[c] = sum_valid_powers(channel, pixels, lanes, valid, mean[c], 2);
    }
}

/* One pixel, as after a linear layer, is compiled apart: it needs no loop. */
void KERNEL(norm_moments)(const float *x, int pixels, int lanes, int valid, int begin, int end,
    double *mean, double *m2) {
    if (pixels == 1)
        moments(x, 1, lanes, valid, begin, end, mean, m2);
    else
        moments(x, pixels, lanes, valid, begin, end, mean, m2);
}

void KERNEL(norm_forward)(const float *x, float *y, KernelNorm norm, const float *scale,
    const float *shift, int pixels, int lanes, int begin, int end) {
    size_t floats = (size_t)pixels * lanes;
    for (int c = begin; c < end; c++) {
        Vector high = broadcast(norm.mean_high[c]), low = broadcast(norm.mean_low[c]);
        Vector factor = broadcast(scale[c]), term = broadcast(shift[c]);
        for (size_t i = c * floats; i < (c + 1) * floats; i += WIDTH) {
            Vector centered = load(x + i) - high - low;
            store(y + i, centered * factor + term);
        }
    }
}

/* The sums of dy and dy * (x - mean) over the pixels of the HALF lanes. */
INLINE void add_products(const float *dy, const float *x, double mean, int pixels, int lanes,
    DoubleVector *sum, DoubleVector *product) {
    DoubleVector sums[CHAINS] = {{0}}, products[CHAINS] = {{0}}, middle = broadcast_double(mean);
    int p = 0;
    for (; p + CHAINS <= pixels; p += CHAINS) {
        UNROLL
        for (int chain = 0; chain < CHAINS; chain++) {
            size_t i = (size_t)(p + chain) * lanes;
            DoubleVector gradient = load_doubles(dy + i);
            sums[chain] += gradient;
            products[chain] += gradient * (load_doubles(x + i) - middle);
        }
    }
    for (; p < pixels; p++) {
        DoubleVector gradient = load_doubles(dy + (size_t)p * lanes);
        sums[0] += gradient;
        products[0] += gradient * (load_doubles(x + (size_t)p * lanes) - middle);
    }
    *sum = sum_chains(sums);
    *product = sum_chains(products);
}

INLINE void gradient_sums(const float *dy, const float *x, KernelNorm norm, int pixels, int lanes,
    int valid, int begin, int end, double *sum_dy, double *sum_dy_xhat) {
    for (int c = begin; c < end; c++) {
        size_t start = (size_t)c * pixels * lanes;
        double mean = (double)norm.mean_high[c] + (double)norm.mean_low[c];
        DoubleVector sums = {0}, products = {0};
        for (int lane = 0; lane < valid; lane += HALF) {
            DoubleVector sum, product;
            add_products(dy + start + lane, x + start + lane, mean, pixels, lanes, &sum, &product);
            sums += keep_valid_doubles(sum, lane, valid);
            products += keep_valid_doubles(product, lane, valid);
        }
        sum_dy[c] = sum_double_lanes(sums);
        sum_dy_xhat[c] = sum_double_lanes(products) * norm.inverse_std[c];
    }
}

void KERNEL(norm_sums)(const float *dy, const float *x, KernelNorm norm, int pixels, int lanes,
    int valid, int begin, int end, double *sum_dy, double *sum_dy_xhat) {
    if (pixels == 1)
        gradient_sums(dy, x, norm, 1, lanes, valid, begin, end, sum_dy, sum_dy_xhat);
    else
        gradient_sums(dy, x, norm, pixels, lanes, valid, begin, end, sum_dy, sum_dy_xhat);
}

void KERNEL(norm_input_gradient)(const float *dy, const float *x, float *dx, KernelNorm norm,
    const float *scale, const float *mean_dy, const float *mean_dy_xhat, int pixels, int lanes,
    int valid, int begin, int end) {
    for (int c = begin; c < end; c++) {
        Vector high = broadcast(norm.mean_high[c]), low = broadcast(norm.mean_low[c]);
        Vector mean = broadcast(mean_dy[c]), factor = broadcast(scale[c]);
        Vector slope = broadcast(norm.inverse_std[c] * mean_dy_xhat[c]);
        for (int p = 0; p < pixels; p++) {
            for (int lane = 0; lane < lanes; lane += WIDTH) {
                size_t i = ((size_t)c * pixels + p) * lanes + lane;
                Vector centered = load(x + i) - high - low;
                Vector gradient = (load(dy + i) - mean) - centered * slope;
                store(dx + i, keep_valid(gradient * factor, lane, valid));
            }
        }
    }
}
