/* elementwise.c - loops over n floats, and samples of bytes or floats into lanes. */
#include "src/kernels/kernel.h"
#include <string.h>

enum { LANES_AT_ONCE = 4 };
typedef float Four __attribute__((vector_size(16)));
typedef float FourInMemory __attribute__((vector_size(16), aligned(4), may_alias));

void KERNEL(relu_forward)(const float *x, float *y, size_t n) {
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) store(y + i, rectified(load(x + i)));
    for (; i < n; i++) y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

void KERNEL(relu_backward)(const float *y, const float *dy, float *dx, size_t n) {
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) {
        VectorInt passes = load(y + i) > broadcast(0.0f);
        store(dx + i, (Vector)((VectorInt)load(dy + i) & passes));
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

/* Features [begin, end) of the four lanes from `lane` on, all valid. */
INLINE void load_four_lanes(
    const uint8_t *const *samples, const float *table, int begin, int end, size_t lanes, float *x) {
    const uint8_t *from[] = {samples[0], samples[1], samples[2], samples[3]};
    int f = begin;
    for (; f + 4 <= end; f += 4) {
        uint32_t word[LANES_AT_ONCE]; /* four features of a lane, the lowest byte first */
        UNROLL
        for (int s = 0; s < LANES_AT_ONCE; s++) memcpy(&word[s], from[s] + f, sizeof word[s]);
        UNROLL
        for (int i = 0; i < 4; i++) {
            int shift = 8 * i;
            Four v = {table[word[0] >> shift & 255], table[word[1] >> shift & 255],
                table[word[2] >> shift & 255], table[word[3] >> shift & 255]};
            *(FourInMemory *)(x + (f + i) * lanes) = v;
        }
    }
    for (; f < end; f++) {
        Four v = {table[from[0][f]], table[from[1][f]], table[from[2][f]], table[from[3][f]]};
        *(FourInMemory *)(x + f * lanes) = v;
    }
}

/* The same where only `valid` < 4 of them hold samples. */
static void load_last_lanes(const uint8_t *const *samples, const float *table, int begin, int end,
    size_t lanes, int valid, float *x) {
    for (int f = begin; f < end; f++) {
        for (int s = 0; s < LANES_AT_ONCE; s++)
            x[f * lanes + s] = s < valid ? table[samples[s][f]] : 0.0f;
    }
}

void KERNEL(load_bytes)(const uint8_t *const *samples, const float (*table)[256],
    int channel_pixels, int features, int lanes, int valid, float *x) {
    for (int begin = 0, channel = 0; begin < features; begin += channel_pixels, channel++) {
        int end = begin + channel_pixels < features ? begin + channel_pixels : features;
        for (int lane = 0; lane < lanes; lane += LANES_AT_ONCE) {
            if (lane + LANES_AT_ONCE <= valid)
                load_four_lanes(samples + lane, table[channel], begin, end, lanes, x + lane);
            else
                load_last_lanes(samples + (lane < valid ? lane : 0), table[channel], begin, end,
                    lanes, valid - lane, x + lane);
        }
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
        for (int lane = 0; lane < lanes; lane += LANES_AT_ONCE) {
            int here = valid - lane < LANES_AT_ONCE ? valid - lane : LANES_AT_ONCE;
            if (here > 0)
                load_float_lanes(
                    samples + lane, mean[channel], std[channel], begin, end, lanes, here, x + lane);
            for (int f = begin; here <= 0 && f < end; f++)
                for (int s = 0; s < LANES_AT_ONCE; s++) x[f * lanes + lane + s] = 0.0f;
        }
    }
}
