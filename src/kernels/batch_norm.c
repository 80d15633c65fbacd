/* batch_norm.c - one microbatch x [channels][pixels][lanes]: moments, normalization, gradient; with
 * the relu and the sum that may follow, which would each be one more pass over memory.
 *
 * Sums are taken in double, lane by lane over the pixels, then over the valid lanes: values far
 * from zero keep their digits. */
#include "src/kernels/batch_norm.h"

/* Sum over the pixels and the valid lanes of (x - center)^power. */
INLINE double sum_valid_powers(
    const float *x, int pixels, int lanes, int valid, double center, int power) {
    DoubleVector sum = {0};
    for (int lane = 0; lane < valid; lane += HALF) {
        DoubleVector part = sum_powers(x + lane, pixels, lanes, broadcast_double(center), power);
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

INLINE void normalize(const float *x, const float *addend, float *y, KernelNorm norm,
    int has_addend, int rectifies, size_t floats, int begin, int end) {
    for (int c = begin; c < end; c++) {
        Channel channel = channel_of(norm, c);
        for (size_t i = c * floats; i < (c + 1) * floats; i += WIDTH) {
            Vector z = centered(load(x + i), channel) * channel.scale + channel.shift;
            if (has_addend) z += load(addend + i);
            store(y + i, rectifies ? rectified(z) : z);
        }
    }
}

void KERNEL(norm_forward)(const float *x, const float *addend, float *y, KernelNorm norm,
    int pixels, int lanes, int begin, int end) {
    size_t floats = (size_t)pixels * lanes;
    if (addend && norm.rectifies)
        normalize(x, addend, y, norm, 1, 1, floats, begin, end);
    else if (addend)
        normalize(x, addend, y, norm, 1, 0, floats, begin, end);
    else if (norm.rectifies)
        normalize(x, addend, y, norm, 0, 1, floats, begin, end);
    else
        normalize(x, addend, y, norm, 0, 0, floats, begin, end);
}

/* The sums of dy and dy * (x - mean) over the pixels of the HALF lanes. */
INLINE void add_products(const float *dy, const float *x, const HalfChannel *channel, int rectifies,
    int pixels, int lanes, DoubleVector *sum, DoubleVector *product) {
    DoubleVector sums[CHAINS] = {{0}}, products[CHAINS] = {{0}};
    int p = 0;
    for (; p + CHAINS <= pixels; p += CHAINS) {
        UNROLL
        for (int chain = 0; chain < CHAINS; chain++) {
            size_t i = (size_t)(p + chain) * lanes;
            DoubleVector gradient = passed(dy + i, x + i, channel, rectifies);
            sums[chain] += gradient;
            products[chain] += gradient * (load_doubles(x + i) - channel->mean);
        }
    }
    for (; p < pixels; p++) {
        size_t i = (size_t)p * lanes;
        DoubleVector gradient = passed(dy + i, x + i, channel, rectifies);
        sums[0] += gradient;
        products[0] += gradient * (load_doubles(x + i) - channel->mean);
    }
    *sum = sum_chains(sums);
    *product = sum_chains(products);
}

INLINE void gradient_sums(const float *dy, const float *x, KernelNorm norm, int rectifies,
    int pixels, int lanes, int valid, int begin, int end, double *sum_dy, double *sum_dy_xhat) {
    for (int c = begin; c < end; c++) {
        size_t start = (size_t)c * pixels * lanes;
        HalfChannel channel = half_channel_of(norm, c);
        DoubleVector sums = {0}, products = {0};
        for (int lane = 0; lane < valid; lane += HALF) {
            DoubleVector sum, product;
            add_products(dy + start + lane, x + start + lane, &channel, rectifies, pixels, lanes,
                &sum, &product);
            sums += keep_valid_doubles(sum, lane, valid);
            products += keep_valid_doubles(product, lane, valid);
        }
        sum_dy[c] = sum_double_lanes(sums);
        sum_dy_xhat[c] = sum_double_lanes(products) * norm.inverse_std[c];
    }
}

void KERNEL(norm_sums)(const float *dy, const float *x, KernelNorm norm, int pixels, int lanes,
    int valid, int begin, int end, double *sum_dy, double *sum_dy_xhat) {
    if (pixels == 1 && norm.rectifies)
        gradient_sums(dy, x, norm, 1, 1, lanes, valid, begin, end, sum_dy, sum_dy_xhat);
    else if (pixels == 1)
        gradient_sums(dy, x, norm, 0, 1, lanes, valid, begin, end, sum_dy, sum_dy_xhat);
    else if (norm.rectifies)
        gradient_sums(dy, x, norm, 1, pixels, lanes, valid, begin, end, sum_dy, sum_dy_xhat);
    else
        gradient_sums(dy, x, norm, 0, pixels, lanes, valid, begin, end, sum_dy, sum_dy_xhat);
}

INLINE void gradient_of_input(const float *dy, const float *x, float *dx, KernelNorm norm,
    int rectifies, const float *mean_dy, const float *mean_dy_xhat, int pixels, int lanes,
    int valid, int begin, int end) {
    for (int c = begin; c < end; c++) {
        Channel channel = channel_of(norm, c);
        Vector mean = broadcast(mean_dy[c]);
        Vector slope = broadcast(norm.inverse_std[c] * mean_dy_xhat[c]);
        for (int p = 0; p < pixels; p++) {
            for (int lane = 0; lane < lanes; lane += WIDTH) {
                size_t i = ((size_t)c * pixels + p) * lanes + lane;
                Vector from_mean = centered(load(x + i), channel), gradient = load(dy + i);
                if (rectifies) {
                    Vector z = from_mean * channel.scale + channel.shift;
                    gradient = masked(gradient, z > broadcast(0.0f));
                }
                gradient = (gradient - mean) - from_mean * slope;
                store(dx + i, keep_valid(gradient * channel.scale, lane, valid));
            }
        }
    }
}

void KERNEL(norm_input_gradient)(const float *dy, const float *x, float *dx, KernelNorm norm,
    const float *mean_dy, const float *mean_dy_xhat, int pixels, int lanes, int valid, int begin,
    int end) {
    if (norm.rectifies)
        gradient_of_input(
            dy, x, dx, norm, 1, mean_dy, mean_dy_xhat, pixels, lanes, valid, begin, end);
    else
        gradient_of_input(
            dy, x, dx, norm, 0, mean_dy, mean_dy_xhat, pixels, lanes, valid, begin, end);
}
