/* softmax.c - softmax and its logarithm over the channels of one microbatch x [channels][n], whose
 * n columns do not know of each other. The largest x is taken out first; sums are taken in double,
 * channel by channel. A product is rounded before anything is added to it: among the branches of a
 * partial vector the compiler would fuse what it does not elsewhere, or the other way round. */
#include "src/kernels/sums.h"
#include "src/kernels/vector_math.h"

/* log of v >= 1, v = 2^n m, m near 1: n ln(2) + 2 artanh((m - 1) / (m + 1)) by its Taylor series.
 * Within 1e-15 relative to the larger of 1 and the result. */
INLINE DoubleVector vector_log(DoubleVector v) {
    DoubleMask bits = (DoubleMask)v, fraction = {REPEAT_HALF(0xfffffffffffff)};
    DoubleMask half = {REPEAT_HALF(0x3ff6a09e667f3bcd)}; /* sqrt(2) */
    DoubleMask one_bits = {REPEAT_HALF(0x3ff0000000000000)};
    DoubleMask m = (bits & fraction) | one_bits;
    DoubleMask is_above = m > half; /* compared as whole numbers: the order is the same */
    m -= is_above & (DoubleMask){REPEAT_HALF(0x0010000000000000)};
    DoubleMask n = ((bits >> 52) - 1023) - is_above;
    DoubleVector one = broadcast_double(1.0), magic = broadcast_double(0x1.8p52);
    DoubleVector s = ((DoubleVector)m - one) / ((DoubleVector)m + one), square = s * s;
    DoubleVector sum = broadcast_double(1.0 / 21);
    UNROLL
    for (int k = 19; k >= 1; k -= 2) sum = sum * square + broadcast_double(1.0 / k);
    DoubleVector exponent = (DoubleVector)(n + (DoubleMask)magic) - magic;
    DoubleVector small = (DoubleVector)rounded((Vector)(sum * (s + s)));
    return exponent * broadcast_double(0x1.62e42fefa39efp-1) + small + (v - v);
}

/* The next `count` columns: a vector's, or what is left. */
INLINE Vector load_some(const float *p, int count) {
    return count == WIDTH ? load(p) : load_part(p, count);
}

INLINE void store_some(float *p, Vector v, int count) {
    if (count == WIDTH)
        store(p, v);
    else
        store_part(p, v, count);
}

typedef void Columns(const float *a, const float *b, float *out, int channels, size_t n, int count);

INLINE void for_columns(
    Columns *columns, const float *a, const float *b, float *out, int channels, size_t n) {
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) columns(a + i, b + i, out + i, channels, n, WIDTH);
    if (i < n) columns(a + i, b + i, out + i, channels, n, (int)(n - i));
}

INLINE Vector largest_of(const float *x, int channels, size_t n, int count) {
    Vector largest = load_some(x, count);
    for (int c = 1; c < channels; c++) {
        Vector v = load_some(x + c * n, count);
        largest = choose(v > largest, v, largest);
    }
    return largest;
}

INLINE void forward(
    const float *x, const float *unused, float *y, int channels, size_t n, int count) {
    (void)unused;
    Vector largest = largest_of(x, channels, n, count);
    Sums sums = {{{0}}};
    for (int c = 0; c < channels; c++) {
        Vector power = vector_exp(load_some(x + c * n, count) - largest);
        store_some(y + c * n, power, count);
        add_to(&sums, power);
    }
    for (int h = 0; h < 2; h++) sums.half[h] = 1 / sums.half[h];
    Vector inverse = narrowed(sums);
    for (int c = 0; c < channels; c++)
        store_some(y + c * n, load_some(y + c * n, count) * inverse, count);
}

void KERNEL(softmax_forward)(const float *x, float *y, int channels, size_t n) {
    for_columns(forward, x, x, y, channels, n);
}

INLINE void backward(
    const float *y, const float *dy, float *dx, int channels, size_t n, int count) {
    Sums sums = {{{0}}};
    for (int c = 0; c < channels; c++)
        add_to(&sums, rounded(load_some(y + c * n, count) * load_some(dy + c * n, count)));
    Vector sum = narrowed(sums);
    for (int c = 0; c < channels; c++) {
        Vector gradient = load_some(dy + c * n, count) - sum;
        store_some(dx + c * n, load_some(y + c * n, count) * gradient, count);
    }
}

void KERNEL(softmax_backward)(const float *y, const float *dy, float *dx, int channels, size_t n) {
    for_columns(backward, y, dy, dx, channels, n);
}

INLINE void log_forward(
    const float *x, const float *unused, float *y, int channels, size_t n, int count) {
    (void)unused;
    Vector largest = largest_of(x, channels, n, count);
    Sums sums = {{{0}}}, shift = widened(largest);
    for (int c = 0; c < channels; c++)
        add_to(&sums, vector_exp(load_some(x + c * n, count) - largest));
    for (int h = 0; h < 2; h++) shift.half[h] += vector_log(sums.half[h]);
    for (int c = 0; c < channels; c++) {
        Sums v = widened(load_some(x + c * n, count));
        for (int h = 0; h < 2; h++) v.half[h] -= shift.half[h];
        store_some(y + c * n, narrowed(v), count);
    }
}

void KERNEL(log_softmax_forward)(const float *x, float *y, int channels, size_t n) {
    for_columns(log_forward, x, x, y, channels, n);
}

INLINE void log_backward(
    const float *y, const float *dy, float *dx, int channels, size_t n, int count) {
    Sums sums = {{{0}}};
    for (int c = 0; c < channels; c++) add_to(&sums, load_some(dy + c * n, count));
    Vector sum = narrowed(sums);
    for (int c = 0; c < channels; c++) {
        Vector power = vector_exp(load_some(y + c * n, count));
        store_some(dx + c * n, load_some(dy + c * n, count) - rounded(power * sum), count);
    }
}

void KERNEL(log_softmax_backward)(
    const float *y, const float *dy, float *dx, int channels, size_t n) {
    for_columns(log_backward, y, dy, dx, channels, n);
}
