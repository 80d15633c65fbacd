/* softmax.c - softmax and its logarithm over the channels of one microbatch x [channels][n], whose
 * n columns do not know of each other. The largest x is taken out first; sums are taken in double,
 * channel by channel. Where n is a piece of a vector, a vector holds several channels side by side,
 * and what is found for each piece is combined in the end.
 *
 * A product is rounded before anything is added to it: among the branches of a partial vector the
 * compiler would fuse what it does not elsewhere, or the other way round. */
#include "src/kernels/sums.h"
#include "src/kernels/vector_math.h"
#include <math.h>

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

/* WIDTH columns, or fewer that lie in pieces. */
typedef struct Columns {
    const float *a, *b;
    float *out;
    Lines lines;
    int lanes; /* floats of a piece, WIDTH where there are none */
} Columns;

INLINE Vector load_row(const Columns *columns, const float *p, int i) {
    p += (size_t)i * columns->lines.step;
    return i < columns->lines.whole ? load(p) : load_part(p, columns->lines.part);
}

INLINE void store_row(const Columns *columns, int i, Vector v) {
    float *p = columns->out + (size_t)i * columns->lines.step;
    if (i < columns->lines.whole)
        store(p, v);
    else
        store_part(p, v, columns->lines.part);
}

/* Row i of a, or where it has no floats what is no larger than any and whose power is 0. */
INLINE Vector load_logits(const Columns *columns, int i) {
    Vector v = load_row(columns, columns->a, i);
    if (i < columns->lines.whole) return v;
    VectorInt is_there = (VectorInt){COUNT_UP} < (VectorInt){REPEAT(columns->lines.part)};
    return choose(is_there, v, broadcast(-INFINITY));
}

/* In every piece of `lanes` floats the largest of all pieces' items. */
INLINE Vector largest_of_pieces(Vector v, int lanes) {
    float item[WIDTH];
    if (lanes == WIDTH) return v;
    store(item, v);
    for (int i = lanes; i < WIDTH; i++) {
        float *largest = &item[i & (lanes - 1)];
        *largest = item[i] > *largest ? item[i] : *largest;
    }
    return load_repeated(item, lanes);
}

INLINE Vector largest_of(const Columns *columns) {
    Vector largest = load_logits(columns, 0);
    for (int i = 1; i < columns->lines.count; i++) {
        largest = larger_of(load_logits(columns, i), largest);
    }
    return largest_of_pieces(largest, columns->lanes);
}

typedef void Work(const Columns *columns);

INLINE void for_columns(
    Work *work, const float *a, const float *b, float *out, int channels, size_t n) {
    Columns columns = {
        .a = a, .b = b, .out = out, .lines = {n, channels, channels, 0}, .lanes = WIDTH};
    if (is_piece(n)) {
        columns.lines = lines_of(channels, (int)n);
        columns.lanes = (int)n;
        work(&columns);
        return;
    }
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) {
        work(&columns);
        columns.a += WIDTH;
        columns.b += WIDTH;
        columns.out += WIDTH;
    }
    columns.lines.whole = 0;
    columns.lines.part = (int)(n - i);
    if (i < n) work(&columns);
}

INLINE void forward(const Columns *columns) {
    Vector largest = largest_of(columns);
    Sums sums = {{{0}}};
    for (int i = 0; i < columns->lines.count; i++) {
        Vector power = vector_exp(load_logits(columns, i) - largest);
        store_row(columns, i, power);
        add_to(&sums, power);
    }
    sums = sum_pieces(sums, columns->lanes);
    for (int h = 0; h < 2; h++) sums.half[h] = 1 / sums.half[h];
    Vector inverse = narrowed(sums);
    for (int i = 0; i < columns->lines.count; i++)
        store_row(columns, i, load_row(columns, columns->out, i) * inverse);
}

void KERNEL(softmax_forward)(const float *x, float *y, int channels, size_t n) {
    for_columns(forward, x, x, y, channels, n);
}

INLINE void backward(const Columns *columns) {
    Sums sums = {{{0}}};
    for (int i = 0; i < columns->lines.count; i++)
        add_to(&sums, rounded(load_row(columns, columns->a, i) * load_row(columns, columns->b, i)));
    Vector sum = narrowed(sum_pieces(sums, columns->lanes));
    for (int i = 0; i < columns->lines.count; i++) {
        Vector gradient = load_row(columns, columns->b, i) - sum;
        store_row(columns, i, load_row(columns, columns->a, i) * gradient);
    }
}

void KERNEL(softmax_backward)(const float *y, const float *dy, float *dx, int channels, size_t n) {
    for_columns(backward, y, dy, dx, channels, n);
}

INLINE void log_forward(const Columns *columns) {
    Vector largest = largest_of(columns);
    Sums sums = {{{0}}}, shift = widened(largest);
    for (int i = 0; i < columns->lines.count; i++)
        add_to(&sums, vector_exp(load_logits(columns, i) - largest));
    sums = sum_pieces(sums, columns->lanes);
    for (int h = 0; h < 2; h++) shift.half[h] += vector_log(sums.half[h]);
    for (int i = 0; i < columns->lines.count; i++) {
        Sums v = widened(load_row(columns, columns->a, i));
        for (int h = 0; h < 2; h++) v.half[h] -= shift.half[h];
        store_row(columns, i, narrowed(v));
    }
}

void KERNEL(log_softmax_forward)(const float *x, float *y, int channels, size_t n) {
    for_columns(log_forward, x, x, y, channels, n);
}

INLINE void log_backward(const Columns *columns) {
    Sums sums = {{{0}}};
    for (int i = 0; i < columns->lines.count; i++) add_to(&sums, load_row(columns, columns->b, i));
    Vector sum = narrowed(sum_pieces(sums, columns->lanes));
    for (int i = 0; i < columns->lines.count; i++) {
        Vector power = vector_exp(load_row(columns, columns->a, i));
        store_row(columns, i, load_row(columns, columns->b, i) - rounded(power * sum));
    }
}

void KERNEL(log_softmax_backward)(
    const float *y, const float *dy, float *dx, int channels, size_t n) {
    for_columns(log_backward, y, dy, dx, channels, n);
}
