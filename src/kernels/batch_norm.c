/* batch_norm.c - normalization of one microbatch x [channels][pixels][lanes], and the gradient of
 * its input; with the relu and the sum that may follow, which would each be one more pass over
 * memory. */
#include "src/kernels/batch_norm.h"

/* A pass over all rows. */
typedef struct Sweep {
    const float *x, *other; /* `other`: dy, or the addend, or NULL */
    float *out;
    KernelNorm norm;
    int lanes, valid;
} Sweep;

typedef enum Kind { FORWARD, FORWARD_SUM, BACKWARD } Kind;

/* The numbers of each float's channel; `slope` and `offset` for BACKWARD. */
typedef struct Numbers {
    Channel channel;
    Vector slope, offset;
} Numbers;

INLINE Vector result_of(const Kind kind, const int rectifies, Vector x, Vector other, Numbers n) {
    if (kind == BACKWARD) {
        if (rectifies) other = passed(other, x, n.channel);
        return other * n.channel.scale + ((x - n.channel.mean) * n.slope + n.offset);
    }
    Vector z = normalized(x, n.channel);
    if (kind == FORWARD_SUM) z += other;
    return rectifies ? rectified(z) : z;
}

/* The floats from `at` on: a vector's, or those before `end`. They are numbers i.. of a row. */
INLINE void sweep_vector(const Sweep *sweep, const Kind kind, const int rectifies,
    const int is_full, size_t at, size_t end, size_t i, Numbers numbers) {
    Vector x = rounded(load_up_to(sweep->x, at, end)), other = x;
    if (kind != FORWARD) other = rounded(load_up_to(sweep->other, at, end));
    Vector result = rounded(result_of(kind, rectifies, x, other, numbers));
    if (!is_full) result = masked(result, valid_items(i, sweep->lanes, sweep->valid));
    store_up_to(sweep->out, at, end, result);
}

INLINE Numbers numbers_of(const KernelNorm *norm, const Kind kind, int c) {
    Numbers numbers = {.channel = {.mean = broadcast(norm->mean[c]),
                           .scale = broadcast(norm->scale[c]),
                           .shift = broadcast(norm->shift[c])}};
    if (kind != BACKWARD) return numbers;
    numbers.slope = broadcast(norm->slope[c]);
    numbers.offset = broadcast(norm->offset[c]);
    return numbers;
}

INLINE void sweep_rows(const Sweep *sweep, const Kind kind, const int rectifies, const int is_full,
    const size_t floats, int begin, int end) {
    for (int c = begin; c < end; c++) {
        Numbers numbers = numbers_of(&sweep->norm, kind, c);
        size_t start = c * floats, stop = start + floats, i = 0;
        for (; i + WIDTH <= floats; i += WIDTH)
            sweep_vector(sweep, kind, rectifies, is_full, start + i, start + i + WIDTH, i, numbers);
        if (i < floats) sweep_vector(sweep, kind, rectifies, is_full, start + i, stop, i, numbers);
    }
}

/* The numbers of the channels from c on, each for `floats` floats: in their vector k. */
INLINE Numbers spread_numbers(
    const KernelNorm *norm, const Kind kind, const int floats, int c, const int k) {
    Numbers numbers = {.channel = {.mean = spread(floats, load(norm->mean + c), k),
                           .scale = spread(floats, load(norm->scale + c), k),
                           .shift = spread(floats, load(norm->shift + c), k)}};
    if (kind != BACKWARD) return numbers;
    numbers.slope = spread(floats, load(norm->slope + c), k);
    numbers.offset = spread(floats, load(norm->offset + c), k);
    return numbers;
}

/* As many pieces as fill vectors; returns the channel after them. */
INLINE int sweep_pieces(const int floats, const Sweep *sweep, const Kind kind, const int rectifies,
    const int is_full, int begin, int end) {
    int c = begin;
    for (; c + WIDTH <= end; c += WIDTH) {
        UNROLL
        for (int k = 0; k < floats; k++) {
            size_t at = (size_t)c * floats + (size_t)k * WIDTH;
            sweep_vector(sweep, kind, rectifies, is_full, at, at + WIDTH, 0,
                spread_numbers(&sweep->norm, kind, floats, c, k));
        }
    }
    return c;
}

INLINE void sweep_all(const Sweep *sweep, const Kind kind, const int rectifies, const int is_full,
    size_t floats, int begin, int end) {
    if (is_piece(floats))
        begin = WITH_LANES(floats, sweep_pieces, sweep, kind, rectifies, is_full, begin, end);
    sweep_rows(sweep, kind, rectifies, is_full, floats, begin, end);
}

void KERNEL(norm_forward)(const float *x, const float *addend, float *y, KernelNorm norm,
    int pixels, int lanes, int begin, int end) {
    size_t floats = (size_t)pixels * lanes;
    Sweep sweep = {.x = x, .other = addend, .out = y, .norm = norm};
    if (addend && norm.rectifies)
        sweep_all(&sweep, FORWARD_SUM, 1, 1, floats, begin, end);
    else if (addend)
        sweep_all(&sweep, FORWARD_SUM, 0, 1, floats, begin, end);
    else if (norm.rectifies)
        sweep_all(&sweep, FORWARD, 1, 1, floats, begin, end);
    else
        sweep_all(&sweep, FORWARD, 0, 1, floats, begin, end);
}

void KERNEL(norm_input_gradient)(const float *dy, const float *x, float *dx, KernelNorm norm,
    int pixels, int lanes, int valid, int begin, int end) {
    size_t floats = (size_t)pixels * lanes;
    Sweep sweep = {.x = x, .other = dy, .out = dx, .norm = norm, .lanes = lanes, .valid = valid};
    if (valid == lanes && norm.rectifies)
        sweep_all(&sweep, BACKWARD, 1, 1, floats, begin, end);
    else if (valid == lanes)
        sweep_all(&sweep, BACKWARD, 0, 1, floats, begin, end);
    else if (norm.rectifies)
        sweep_all(&sweep, BACKWARD, 1, 0, floats, begin, end);
    else
        sweep_all(&sweep, BACKWARD, 0, 0, floats, begin, end);
}
