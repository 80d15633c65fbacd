/* batch_norm_narrow.c - normalization, and the gradient of its input, for fewer lanes than a vector
 * has floats.
 *
 * A channel is a row of pixels * lanes floats, of which number i is in lane i % lanes. Every float
 * is treated alone, so a vector may hold several short rows, or the end of one and the beginning of
 * the next. */
#include "src/kernels/batch_norm.h"
#include "src/kernels/narrow.h"
#include "src/kernels/vector_math.h"

/* A pass over all of them. */
typedef struct Sweep {
    const float *x, *other; /* `other`: dy or the addend */
    float *out;
    KernelNorm norm;
    const float *mean_dy, *mean_dy_xhat;
    VectorInt valid;
} Sweep;

typedef enum Kind { FORWARD, FORWARD_SUM, BACKWARD } Kind;

/* The numbers of each float's channel; those of `slope` and `mean` for BACKWARD. */
typedef struct Numbers {
    Channel channel;
    Vector mean, slope;
} Numbers;

INLINE Vector result_of(
    const Sweep *sweep, const Kind kind, const int rectifies, Vector x, Vector other, Numbers n) {
    Vector from_mean = centered(x, n.channel);
    if (kind == BACKWARD) {
        if (rectifies) {
            Vector z = from_mean * n.channel.scale + n.channel.shift;
            other = masked(other, z > broadcast(0.0f));
        }
        Vector gradient = (other - n.mean) - from_mean * n.slope;
        return masked(gradient * n.channel.scale, sweep->valid);
    }
    Vector z = from_mean * n.channel.scale + n.channel.shift;
    if (kind == FORWARD_SUM) z += other;
    return rectifies ? rectified(z) : z;
}

INLINE Numbers numbers_of(const Sweep *sweep, const Kind kind, int c) {
    Numbers numbers = {.channel = channel_of(sweep->norm, c)};
    if (kind != BACKWARD) return numbers;
    numbers.mean = broadcast(sweep->mean_dy[c]);
    numbers.slope = broadcast(sweep->norm.inverse_std[c] * sweep->mean_dy_xhat[c]);
    return numbers;
}

/* The first `count` floats of a's channel, then b's. */
INLINE Numbers joined(Numbers a, Numbers b, int count) {
    VectorInt first = (VectorInt){COUNT_UP} < (VectorInt){REPEAT(count)};
    return (Numbers){.channel = {.high = choose(first, a.channel.high, b.channel.high),
                         .low = choose(first, a.channel.low, b.channel.low),
                         .scale = choose(first, a.channel.scale, b.channel.scale),
                         .shift = choose(first, a.channel.shift, b.channel.shift)},
        .mean = choose(first, a.mean, b.mean),
        .slope = choose(first, a.slope, b.slope)};
}

/* Floats [i, min(i + WIDTH, end)). */
INLINE void sweep_vector(const Sweep *sweep, const Kind kind, const int rectifies, size_t i,
    size_t end, Numbers numbers) {
    Vector x = load_up_to(sweep->x, i, end);
    Vector other = kind == FORWARD ? x : load_up_to(sweep->other, i, end);
    store_up_to(sweep->out, i, end, result_of(sweep, kind, rectifies, x, other, numbers));
}

/* Rows of at least a vector's floats, or only one row. */
INLINE void sweep_rows(
    const Sweep *sweep, const Kind kind, const int rectifies, size_t floats, int begin, int end) {
    size_t i = begin * floats;
    Numbers numbers = numbers_of(sweep, kind, begin);
    for (int c = begin; c < end; c++) {
        size_t stop = (c + 1) * floats;
        for (; i + WIDTH <= stop; i += WIDTH)
            sweep_vector(sweep, kind, rectifies, i, stop, numbers);
        if (c + 1 == end) {
            if (i < stop) sweep_vector(sweep, kind, rectifies, i, stop, numbers);
            return;
        }
        Numbers next = numbers_of(sweep, kind, c + 1);
        if (i < stop) {
            Numbers both = joined(numbers, next, (int)(stop - i));
            sweep_vector(sweep, kind, rectifies, i, i + WIDTH, both);
            i += WIDTH;
        }
        numbers = next;
    }
}

/* The numbers of the channels from c on. */
INLINE Numbers load_numbers(const Sweep *sweep, const Kind kind, int c, int end) {
    const KernelNorm *norm = &sweep->norm;
    Numbers numbers = {.channel = {.high = load_up_to(norm->mean_high, c, end),
                           .low = load_up_to(norm->mean_low, c, end),
                           .scale = load_up_to(norm->scale, c, end),
                           .shift = load_up_to(norm->shift, c, end)}};
    if (kind != BACKWARD) return numbers;
    numbers.mean = load_up_to(sweep->mean_dy, c, end);
    numbers.slope = load_up_to(norm->inverse_std, c, end) * load_up_to(sweep->mean_dy_xhat, c, end);
    return numbers;
}

INLINE Numbers spread_numbers(const int floats, const Kind kind, Numbers n, const int k) {
    Numbers numbers = {.channel = {.high = spread(floats, n.channel.high, k),
                           .low = spread(floats, n.channel.low, k),
                           .scale = spread(floats, n.channel.scale, k),
                           .shift = spread(floats, n.channel.shift, k)}};
    if (kind != BACKWARD) return numbers;
    numbers.mean = spread(floats, n.mean, k);
    numbers.slope = spread(floats, n.slope, k);
    return numbers;
}

/* Rows that are pieces of a vector: WIDTH of them at a time. */
INLINE void sweep_pieces(const int floats, const Sweep *sweep, const Kind kind, const int rectifies,
    int begin, int end) {
    size_t stop = (size_t)end * floats;
    for (int c = begin; c < end; c += WIDTH) {
        Numbers numbers = load_numbers(sweep, kind, c, end);
        UNROLL
        for (int k = 0; k < floats; k++)
            sweep_vector(sweep, kind, rectifies, (size_t)c * floats + k * WIDTH, stop,
                spread_numbers(floats, kind, numbers, k));
    }
}

INLINE void sweep_all(
    const Sweep *sweep, const Kind kind, const int rectifies, size_t floats, int begin, int end) {
    if (is_piece(floats))
        WITH_LANES(floats, sweep_pieces, sweep, kind, rectifies, begin, end);
    else if (floats < WIDTH)
        for (int c = begin; c < end; c++) sweep_rows(sweep, kind, rectifies, floats, c, c + 1);
    else
        sweep_rows(sweep, kind, rectifies, floats, begin, end);
}

void KERNEL(norm_forward_narrow)(const float *x, const float *addend, float *y, KernelNorm norm,
    int pixels, int lanes, int begin, int end) {
    size_t floats = (size_t)pixels * lanes;
    Sweep sweep = {.x = x, .other = addend, .out = y, .norm = norm};
    if (addend && norm.rectifies)
        sweep_all(&sweep, FORWARD_SUM, 1, floats, begin, end);
    else if (addend)
        sweep_all(&sweep, FORWARD_SUM, 0, floats, begin, end);
    else if (norm.rectifies)
        sweep_all(&sweep, FORWARD, 1, floats, begin, end);
    else
        sweep_all(&sweep, FORWARD, 0, floats, begin, end);
}

void KERNEL(norm_input_gradient_narrow)(const float *dy, const float *x, float *dx, KernelNorm norm,
    const float *mean_dy, const float *mean_dy_xhat, int pixels, int lanes, int valid, int begin,
    int end) {
    size_t floats = (size_t)pixels * lanes;
    Sweep sweep = {.x = x,
        .other = dy,
        .out = dx,
        .norm = norm,
        .mean_dy = mean_dy,
        .mean_dy_xhat = mean_dy_xhat,
        .valid =
            ((VectorInt){COUNT_UP} & (VectorInt){REPEAT(lanes - 1)}) < (VectorInt){REPEAT(valid)}};
    if (norm.rectifies)
        sweep_all(&sweep, BACKWARD, 1, floats, begin, end);
    else
        sweep_all(&sweep, BACKWARD, 0, floats, begin, end);
}
