/* elementwise.c - loops over n floats, and samples of bytes or floats into lanes. */
#include "src/kernels/kernel.h"
#include <string.h>

enum { LANES_AT_ONCE = 4 };

void KERNEL(relu_forward)(const float *x, float *y, size_t n) {
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) store(y + i, rectified(load(x + i)));
    for (; i < n; i++) y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

void KERNEL(relu_backward)(const float *y, const float *dy, float *dx, size_t n) {
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) {
        VectorInt passes = load(y + i) > broadcast(0.0f);
        store(dx + i, masked(load(dy + i), passes));
    }
    for (; i < n; i++) dx[i] = y[i] > 0.0f ? dy[i] : 0.0f;
}

INLINE void add_up(const float *a, const float *b, float *y, size_t n, int rectifies) {
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) {
        Vector z = load(a + i) + load(b + i);
        store(y + i, rectifies ? rectified(z) : z);
    }
    for (; i < n; i++) {
        float z = a[i] + b[i];
        y[i] = rectifies && z < 0.0f ? 0.0f : z;
    }
}

void KERNEL(sum)(const float *a, const float *b, float *y, size_t n, int rectifies) {
    if (rectifies)
        add_up(a, b, y, n, 1);
    else
        add_up(a, b, y, n, 0);
}

void KERNEL(add)(float *sum, const float *term, size_t n) {
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) store(sum + i, load(sum + i) + load(term + i));
    for (; i < n; i++) sum[i] += term[i];
}

void KERNEL(scale)(float *x, float factor, size_t n) {
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) store(x + i, load(x + i) * broadcast(factor));
    for (; i < n; i++) x[i] *= factor;
}

double KERNEL(sum_of_squares)(const float *x, size_t n) {
    DoubleVector sum[4] = {{0}}; /* four chains: no addition waits for the one before */
    size_t i = 0;
    for (; i + 4 * HALF <= n; i += 4 * HALF) {
        UNROLL
        for (int chain = 0; chain < 4; chain++) {
            DoubleVector v = load_doubles(x + i + chain * HALF);
            sum[chain] += v * v;
        }
    }
    double total = sum_double_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
    for (; i < n; i++) total += (double)x[i] * x[i];
    return total;
}

/* A float is infinite or not a number when all bits of its exponent are set. */
int KERNEL(all_finite)(const float *x, size_t n) {
    enum { EXPONENT = 0x7f800000 };
    VectorInt exponent = {REPEAT(EXPONENT)}, found = {0};
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) {
        VectorInt bits = *(const VectorIntInMemory *)(x + i);
        found |= (bits & exponent) == exponent;
    }
    int bad = 0;
    for (; i < n; i++) bad |= !__builtin_isfinite(x[i]);
    for (int lane = 0; lane < WIDTH; lane++) bad |= found[lane];
    return bad == 0;
}

/* Feature f of `count` lanes, whose bytes are the lowest of `word` but `shift` bits. */
INLINE void store_looked_up(
    const uint32_t *word, int shift, const float *table, const int count, float *x) {
    float value[LANES_AT_ONCE];
    UNROLL
    for (int s = 0; s < count; s++) value[s] = table[word[s] >> shift & 255];
    memcpy(x, value, count * sizeof *x);
}

/* Features [begin, end) of `count` lanes, all valid; four bytes of a sample at a time. */
INLINE void load_valid_lanes(const uint8_t *const *samples, const float *table, int begin, int end,
    size_t lanes, const int count, float *x) {
    const uint8_t *from[LANES_AT_ONCE];
    uint32_t word[LANES_AT_ONCE];
    UNROLL
    for (int s = 0; s < count; s++) from[s] = samples[s];
    int f = begin;
    for (; f + 4 <= end; f += 4) {
        UNROLL
        for (int s = 0; s < count; s++) memcpy(&word[s], from[s] + f, sizeof word[s]);
        UNROLL
        for (int i = 0; i < 4; i++) store_looked_up(word, 8 * i, table, count, x + (f + i) * lanes);
    }
    for (; f < end; f++) {
        UNROLL
        for (int s = 0; s < count; s++) word[s] = from[s][f];
        store_looked_up(word, 0, table, count, x + f * lanes);
    }
}

/* The same where only `valid` < count of them hold samples. */
static void load_last_lanes(const uint8_t *const *samples, const float *table, int begin, int end,
    size_t lanes, int count, int valid, float *x) {
    for (int f = begin; f < end; f++) {
        for (int s = 0; s < count; s++) x[f * lanes + s] = s < valid ? table[samples[s][f]] : 0.0f;
    }
}

void KERNEL(load_bytes)(const uint8_t *const *samples, const float (*table)[256],
    int channel_pixels, int features, int lanes, int valid, float *x) {
    int count = lanes < LANES_AT_ONCE ? lanes : LANES_AT_ONCE;
    for (int begin = 0, channel = 0; begin < features; begin += channel_pixels, channel++) {
        int end = begin + channel_pixels < features ? begin + channel_pixels : features;
        for (int lane = 0; lane < lanes; lane += count) {
            if (lane + count > valid)
                load_last_lanes(samples + (lane < valid ? lane : 0), table[channel], begin, end,
                    lanes, count, valid - lane, x + lane);
            else if (count == LANES_AT_ONCE)
                load_valid_lanes(
                    samples + lane, table[channel], begin, end, lanes, LANES_AT_ONCE, x + lane);
            else if (count == 2)
                load_valid_lanes(samples, table[channel], begin, end, 2, 2, x);
            else
                load_valid_lanes(samples, table[channel], begin, end, 1, 1, x);
        }
    }
}

/* Features [begin, end) of fewer lanes. */
INLINE void load_few_float_lanes(const float *const *samples, float mean, float std, int begin,
    int end, const int lanes, int valid, float *x) {
    for (int s = 0; s < lanes; s++) {
        for (int f = begin; f < end; f++)
            x[f * lanes + s] = s < valid ? (samples[s][f] - mean) / std : 0.0f;
    }
}

/* Features [begin, end) of the four lanes from `lane` on, `valid` of which hold samples. */
INLINE void load_float_lanes(const float *const *samples, float mean, float std, int begin, int end,
    size_t lanes, int valid, float *x) {
    const float *a = samples[0], *b = valid > 1 ? samples[1] : a;
    const float *c = valid > 2 ? samples[2] : a, *d = valid > 3 ? samples[3] : a;
    Four shift = {mean, mean, mean, mean}, divisor = {std, std, std, std};
    for (int f = begin; f < end; f++) {
        Four v = {a[f], b[f], c[f], d[f]};
        *(FourInMemory *)(x + f * lanes) = (v - shift) / divisor;
    }
    for (int f = begin; valid < LANES_AT_ONCE && f < end; f++)
        for (int s = valid; s < LANES_AT_ONCE; s++) x[f * lanes + s] = 0.0f;
}

void KERNEL(load_floats)(const float *const *samples, const float *mean, const float *std,
    int channel_pixels, int features, int lanes, int valid, float *x) {
    for (int begin = 0, channel = 0; begin < features; begin += channel_pixels, channel++) {
        int end = begin + channel_pixels < features ? begin + channel_pixels : features;
        if (lanes == 1)
            load_few_float_lanes(samples, mean[channel], std[channel], begin, end, 1, valid, x);
        if (lanes == 2)
            load_few_float_lanes(samples, mean[channel], std[channel], begin, end, 2, valid, x);
        for (int lane = 0; lane + LANES_AT_ONCE <= lanes; lane += LANES_AT_ONCE) {
            int here = valid - lane < LANES_AT_ONCE ? valid - lane : LANES_AT_ONCE;
            if (here > 0)
                load_float_lanes(
                    samples + lane, mean[channel], std[channel], begin, end, lanes, here, x + lane);
            for (int f = begin; here <= 0 && f < end; f++)
                for (int s = 0; s < LANES_AT_ONCE; s++) x[f * lanes + lane + s] = 0.0f;
        }
    }
}
