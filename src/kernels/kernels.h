/* kernels.h - the inner loops: pointers and sizes, nothing else. No check, no allocation, no state.
 *
 * Every kernel file is compiled once per instruction set and vector width; a Kernels is the table
 * of one compilation. Results depend on the table and on the sizes that shape one microbatch, never
 * on how the work is cut: row ranges and microbatch counts may be split anywhere, with the same
 * bits.
 *
 * Layout: x [count][features][lanes], the lanes innermost, one microbatch `stride` floats after the
 * other; lanes is 4, 8 or a multiple of 16, and data is aligned to min(lanes, 16) floats at least.
 * `valid` <= lanes is the number of lanes that hold samples; the others contribute nothing. */
#ifndef SRC_KERNELS_KERNELS_H
#define SRC_KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Where one microbatch's activations are, and how far it is to the next. */
typedef struct KernelInput {
    const float *data;
    size_t stride; /* floats from one microbatch to the next */
} KernelInput;

typedef struct KernelOutput {
    float *data;
    size_t stride;
} KernelOutput;

/* What batch norm needs to know of each channel, all float [channels]. A mean is stored as the sum
 * of two floats, so that data far from zero keeps its digits. */
typedef struct KernelNorm {
    const float *mean_high;
    const float *mean_low;
    const float *inverse_std;
} KernelNorm;

typedef struct Kernels {
    const char *isa; /* "avx512", "avx2", "sse" or "neon" */
    int width;       /* floats in a vector: 16, 8 or 4; divides lanes */

    /* ---- linear.c: y = W x + b, Wᵀ dy, dy xᵀ ---- */

    /* y [o][s] = bias [o] + sum over i of weight [o][i] * x [i][s], i ascending, for rows o in
     * [row_begin, row_end) and each of `count` microbatches. weight [out][in]; bias may be NULL. */
    void (*linear_forward)(const float *weight, const float *bias, KernelInput x, KernelOutput y,
        int in, int out, int lanes, int count, int row_begin, int row_end);

    /* dx [i][s] = sum over o of weight [o][i] * dy [o][s], o ascending, for i in [row_begin,
     * row_end). */
    void (*linear_input_gradient)(const float *weight, KernelInput dy, KernelOutput dx, int in,
        int out, int lanes, int count, int row_begin, int row_end);

    /* dweight [o][i] = sum over the `count` microbatches, along the tree of leaves 0..count-1, of
     * (sum over s of dy [o][s] * xt [s][i], s ascending), for rows o in [row_begin, row_end).
     * xt [count][lanes][xt_row] is x transposed by `transpose`. Overwrites dweight. */
    void (*linear_weight_gradient)(KernelInput dy, KernelInput xt, size_t xt_row, float *dweight,
        int in, int out, int lanes, int count, int row_begin, int row_end);

    /* sums [r] = sum over the `count` microbatches, along the tree, of (sum over s of x [r][s]), in
     * a fixed order, for rows [row_begin, row_end): a bias's gradient. */
    void (*row_sums)(KernelInput x, float *sums, int lanes, int count, int row_begin, int row_end);

    /* xt [s][r] = x [r][s] for one microbatch; xt rows are xt_row >= rows floats apart, xt_row is a
     * multiple of 16, and what lies between is set to zero. */
    void (*transpose)(const float *x, float *xt, size_t xt_row, int rows, int lanes);

    /* ---- batch_norm.c: one microbatch x [channels][pixels][lanes], channels [begin, end) ---- */

    /* mean [c] and m2 [c] = sum of (x - mean)², two passes, over pixels * valid values. valid >= 1.
     */
    void (*norm_moments)(const float *x, int pixels, int lanes, int valid, int begin, int end,
        double *mean, double *m2);

    /* y = (x - mean) * scale [c] + shift [c]. */
    void (*norm_forward)(const float *x, float *y, KernelNorm norm, const float *scale,
        const float *shift, int pixels, int lanes, int begin, int end);

    /* sum_dy [c] and sum_dy_xhat [c], xhat = (x - mean) * inverse_std, over the valid lanes. */
    void (*norm_sums)(const float *dy, const float *x, KernelNorm norm, int pixels, int lanes,
        int valid, int begin, int end, double *sum_dy, double *sum_dy_xhat);

    /* dx = scale [c] * (dy - mean_dy [c] - xhat * mean_dy_xhat [c]); 0 in lanes that are not valid.
     */
    void (*norm_input_gradient)(const float *dy, const float *x, float *dx, KernelNorm norm,
        const float *scale, const float *mean_dy, const float *mean_dy_xhat, int pixels, int lanes,
        int valid, int begin, int end);

    /* ---- elementwise.c: n floats ---- */

    /* y = x < 0 ? 0 : x: keeps NaN. y may be x. */
    void (*relu_forward)(const float *x, float *y, size_t n);
    /* dx = y > 0 ? dy : 0; a NaN in dy stays where y > 0. dx may be dy. */
    void (*relu_backward)(const float *y, const float *dy, float *dx, size_t n);
    /* sum += term. */
    void (*add)(float *sum, const float *term, size_t n);
    /* x *= factor. */
    void (*scale)(float *x, float factor, size_t n);
    /* Sum of squares in double, in an order that depends on n alone. */
    double (*sum_of_squares)(const float *x, size_t n);
    /* Whether every number is finite. */
    int (*all_finite)(const float *x, size_t n);

    /* Fill one microbatch x [features][lanes] from samples of bytes: x [f][s] =
     * table [f / channel_pixels][samples[s][f]] for s < valid, 0 beyond. samples has `valid`
     * pointers to `features` bytes each; table float [channels][256]. */
    void (*load_bytes)(const uint8_t *const *samples, const float (*table)[256], int channel_pixels,
        int features, int lanes, int valid, float *x);

    /* The same from samples of floats: x [f][s] = (samples[s][f] - mean [c]) / std [c], c =
     * f / channel_pixels, both operations rounded to float. mean, std float [channels]. */
    void (*load_floats)(const float *const *samples, const float *mean, const float *std,
        int channel_pixels, int features, int lanes, int valid, float *x);

    /* ---- update.c: optimizer rules over n elements; n is a multiple of 16 ---- */

    /* torch.optim.SGD: g += weight_decay * p; where momentum_buffer is not NULL: buffer = first ? g
     * : momentum * buffer + (1 - dampening) * g; g = nesterov ? g + momentum * buffer : buffer; p
     * -= lr * g. gradient is not changed. */
    void (*sgd)(float *parameter, const float *gradient, float *momentum_buffer, size_t n, float lr,
        float momentum, float dampening, float weight_decay, int nesterov, int first);

    /* torch.optim.Adam, and AdamW where decoupled: p *= 1 - lr * weight_decay instead of
     * g += weight_decay * p. m = beta1 m + (1-beta1) g; v = beta2 v + (1-beta2) g²;
     * p -= step_size * m / (sqrt(v) / correction + eps), step_size = lr / (1 - beta1^t),
     * correction = sqrt(1 - beta2^t). The betas are double so that 1 - beta keeps its digits. */
    void (*adam)(float *parameter, const float *gradient, float *exp_avg, float *exp_avg_sq,
        size_t n, float lr, double beta1, double beta2, float eps, float weight_decay,
        int decoupled, float step_size, float correction);
} Kernels;

/* Local. The kernels of an instruction set for microbatches of `lanes` lanes: the widest vectors
 * that divide the lanes. isa: a name from kernels_isa_names, or NULL or "auto" for the best this
 * CPU has. NULL if the name is unknown or this CPU cannot run it. */
const Kernels *kernels_find(const char *isa, int lanes);

/* Local. The instruction sets of this build, best first, NULL-terminated; the best this CPU has. */
const char *const *kernels_isa_names(void);
const char *kernels_best_isa(void);

#endif
