/* kernels.h - the inner loops: pointers and sizes, nothing else. No check, no allocation, no state.
 *
 * Every kernel file is compiled once per instruction set and vector width; a Kernels is the table
 * of one compilation. Results depend on the table and on the sizes that shape one microbatch, never
 * on how the work is cut: row ranges and microbatch counts may be split anywhere, with the same
 * bits.
 *
 * Layout: x [count][features][lanes], the lanes innermost, one microbatch `stride` floats after the
 * other; lanes is 1, 2, 4, 8 or a multiple of 16, and data is aligned to min(lanes, 16) floats at
 * least. `valid` <= lanes is the number of lanes that hold samples; the others contribute nothing.
 */
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

/* Some memory; with 0 floats, none. */
typedef struct KernelBlock {
    const float *data;
    size_t floats;
} KernelBlock;

/* What batch norm needs to know of each channel, all float [channels]. A mean is stored as the sum
 * of two floats, so that data far from zero keeps its digits: z = (x - mean) * scale + shift, the
 * rest of the mean being in the shift. */
typedef struct KernelNorm {
    float *mean, *mean_low;
    float *inverse_std;
    float *scale, *shift;  /* of z: inverse_std times the learned scale, ... */
    float *slope, *offset; /* of dx = dy * scale + (x - mean) * slope + offset */
    int rectifies;         /* a relu follows: z is what it gets, and dy is that of its output */
} KernelNorm;

enum { KERNEL_TAPS_MAX = 1024 }; /* of a convolution */

/* What scratch memory of convolutions is measured by. */
enum {
    KERNEL_WIDTH_MAX = 16,       /* floats in the widest vector of any table */
    KERNEL_GRADIENT_ROWS = 6,    /* output channels in a tile of the weight gradient */
    KERNEL_WINOGRAD_PLACES = 16, /* numbers of a transformed tile */
    KERNEL_WINOGRAD_LANES = 128  /* lanes of the tiles that are taken together */
};

enum { KERNEL_EDGE_TAPS = 16 }; /* tap columns of a convolution that has an edge, at most */

typedef struct KernelRange {
    int begin, end;
} KernelRange;

/* One tap of a convolution's window: which x a weight meets. */
typedef struct KernelTap {
    int row, column;           /* of x, for result row 0, column 0; outside of x it meets zeros */
    ptrdiff_t offset;          /* the same in floats of x: (row * width + column) * lanes */
    size_t weight;             /* floats from the weights of a pair of channels to this one's */
    KernelRange rows, columns; /* of results for which conv reads x: where it meets only zeros
                                  elsewhere, these may be left out */
} KernelTap;

/* A convolution of one microbatch, from x [in][height][width][lanes] to a grid of results: y [o] at
 * row r and column c is a sum over channels i and taps t of
 *   weight [o * weight_out + i * weight_in + t.weight]
 *     * x [i][r * row_step + t.row][c * column_step + t.column].
 * With steps and taps of its own it is also the gradient with respect to the input (layer
 * conv2d.c). */
typedef struct KernelConv {
    int in, out;
    int height, width;          /* of x */
    int rows, columns;          /* of the grid of results */
    int edge;                   /* the first and the last so many columns of results, for whose
                                   taps `conv` puts zeros to the left and right of x; or 0 */
    int row_step, column_step;  /* rows and columns of x from one result to the next */
    int tap_count, tap_columns; /* of the window, and of each of its rows: `columns` of */
    const KernelTap *taps;      /* its rows one after the other */
    size_t weight_out, weight_in;
    size_t y_channel, y_row, y_column; /* floats of y from one result to the next */
} KernelConv;

/* Results of one direction, rows or columns, that meet x with the same taps. */
typedef struct KernelSpan {
    int begin, end;
    int tap_begin, tap_end;
} KernelSpan;

enum { KERNEL_DEPTHWISE_SIDE = 16 }; /* taps of one direction, at most */

/* One direction of a depthwise convolution; steps in floats, of x and y from one result to the
 * next, of x and the weights from one tap to the next. */
typedef struct KernelAxis {
    int tap_count, span_count;
    KernelSpan spans[2 * KERNEL_DEPTHWISE_SIDE + 1];
    ptrdiff_t x_step, y_step, tap_step, weight_step;
} KernelAxis;

/* A convolution of one microbatch, from `in` channels of x to one of y; of the results that the
 * spans of rows and columns hold. */
typedef struct KernelDepthwise {
    KernelAxis rows, columns;
    int in, lanes;
    int is_dense;                        /* columns of x, and of y, lie side by side */
    ptrdiff_t x_first, weight_first;     /* floats to what the first tap of both directions meets
                                            for result 0 of both, and to its weight */
    ptrdiff_t x_channel, weight_channel; /* floats from one channel of x to the next */
} KernelDepthwise;

/* What a pooling window covers in one direction: pixels begin, begin + step, ... below end, at
 * least one; a mean is the sum divided by the `count`s of both directions. */
typedef struct KernelWindow {
    int begin, end;
    int count;
} KernelWindow;

typedef struct KernelPool {
    int height, width, out_height, out_width, lanes;
    const KernelWindow *rows;    /* [out_height] */
    const KernelWindow *columns; /* [out_width] */
    int step_h, step_w;          /* of the largest value; a mean's are 1 */
    int is_tiled;                /* every window is a tile of 2 x 2 pixels, side by side */
    int is_halved;               /* windows are 3 x 3 pixels, two apart, and none has its middle
                                    one outside; x is at least 2 x 2 */
} KernelPool;

/* One microbatch x [groups][rows][lanes] of which each lane is normalized by itself. */
typedef struct KernelGroupNorm {
    int rows;            /* of a group */
    int rows_per_weight; /* consecutive rows that share a weight and a bias; divides rows */
    int lanes, valid;
    double eps;
    float *statistics; /* [groups][3][lanes]: mean, 1 / deviation, minus the mean's rest over
                          the deviation; forward writes it */
} KernelGroupNorm;

/* Which random numbers a microbatch draws, and what becomes of them. */
typedef struct KernelDropout {
    uint32_t key[2], step;
    const uint32_t *sample_low, *sample_high; /* [lanes]: the halves of the samples' indices */
    uint32_t threshold;                       /* smaller numbers give 0, */
    float keep;                               /* the others this */
} KernelDropout;

/* Chains of multiply-adds of fma_peak: units times latency, 2 x 4 on x86 CPUs since 2015, at most
 * 4 x 4 elsewhere. With more than needed, Intel's schedulers often settle on an uneven use of the
 * two units, up to a sixth slower. */
#if defined(__x86_64__)
enum { KERNEL_PEAK_CHAINS = 8 };
#else
enum { KERNEL_PEAK_CHAINS = 16 };
#endif

typedef struct Kernels {
    const char *isa; /* "avx512", "avx2", "sse" or "neon" */
    int width;       /* floats in a vector: 16, 8, 4, 2 or 1; divides lanes */
    int widest;      /* floats in the instruction set's widest vector */

    /* ---- linear.c, linear_gradient.c, linear_narrow.c: y = W x + b, Wᵀ dy, dy xᵀ ---- */

    /* y [o][s] = bias [o] + sum over i of weight [o][i] * x [i][s], i ascending, for rows o in
     * [row_begin, row_end) and each of `count` microbatches. weight [out][in]; bias may be NULL. */
    void (*linear_forward)(const float *weight, const float *bias, KernelInput x, KernelOutput y,
        int in, int out, int lanes, int count, int row_begin, int row_end);

    /* dx [i][s] = sum over o of weight [o][i] * dy [o][s], o ascending, for i in [row_begin,
     * row_end). */
    void (*linear_input_gradient)(const float *weight, KernelInput dy, KernelOutput dx, int in,
        int out, int lanes, int count, int row_begin, int row_end);

    /* The same for lanes below `widest`, faster: y = bias + the lanes' sums, each over every
     * widest-th i. xt [count][lanes][xt_row] as below. */
    void (*linear_forward_narrow)(const float *weight, const float *bias, KernelInput xt,
        size_t xt_row, KernelOutput y, int in, int lanes, int count, int row_begin, int row_end);
    void (*linear_input_gradient_narrow)(const float *weight, KernelInput dy, KernelOutput dx,
        int in, int out, int lanes, int count, int row_begin, int row_end);

    /* dweight [o][i] = sum over the `count` microbatches, along the tree of leaves 0..count-1, of
     * (sum over s of dy [o][s] * xt [s][i], s ascending), for rows o in [row_begin, row_end).
     * xt [count][lanes][xt_row] is x transposed by `transpose`. Overwrites dweight. */
    void (*linear_weight_gradient)(KernelInput dy, KernelInput xt, size_t xt_row, float *dweight,
        int in, int out, int lanes, int count, int row_begin, int row_end);

    /* xt [s][r] = x [r][s] for one microbatch; xt rows are xt_row >= rows floats apart, xt_row is a
     * multiple of 16, and what lies between is set to zero. */
    void (*transpose)(const float *x, float *xt, size_t xt_row, int rows, int lanes);

    /* ---- row_sums.c ---- */

    /* sums [r] = sum over the `count` microbatches, along the tree, of the sum of the row x [r],
     * any number of floats, in an order that depends on that number alone; for rows [row_begin,
     * row_end): a bias's gradient. */
    void (*row_sums)(KernelInput x, float *sums, int floats, int count, int row_begin, int row_end);

    /* ---- batch_norm.c, batch_norm_sums.c, batch_norm_channels.c: one microbatch
     * x [channels][pixels][lanes], channels [begin, end) ---- */

    /* mean [c] and m2 [c] = sum of (x - mean)², never negative, over pixels * valid values: about a
     * rough mean first, then corrected. valid >= 1. Where |x - mean| passes 1e19, m2 is infinite.
     */
    void (*norm_moments)(const float *x, int pixels, int lanes, int valid, int begin, int end,
        double *mean, double *m2);

    /* Merge the moments `right` into `left`, each a count, mean [c], m2 [c]: `length` numbers. */
    void (*norm_merge)(double *left, const double *right, int length);

    /* The mean, inverse_std, scale and shift of all channels. weight and bias may both be NULL: 1
     * and 0. */
    void (*norm_set_scale)(KernelNorm norm, const double *mean, const double *variance_sum,
        double count, double eps, const float *weight, const float *bias, int channels);

    /* y = z + addend, or that < 0 ? 0 : that where norm.rectifies. addend
     * [channels][pixels][lanes] may be NULL: 0. y may be addend. */
    void (*norm_forward)(const float *x, const float *addend, float *y, KernelNorm norm, int pixels,
        int lanes, int begin, int end);

    /* sum_dy [c] and sum_dy_xhat [c], xhat = (x - mean) * inverse_std, over the valid lanes. Where
     * norm.rectifies, here and below, dy counts as 0 unless z > 0, without an addend. */
    void (*norm_sums)(const float *dy, const float *x, KernelNorm norm, int pixels, int lanes,
        int valid, int begin, int end, double *sum_dy, double *sum_dy_xhat);

    /* The slope and offset of all channels, which make of norm_input_gradient
     * dx = scale [c] * (dy - sum_dy [c] / count - xhat * sum_dy_xhat [c] / count). */
    void (*norm_set_slope)(KernelNorm norm, const double *sum_dy, const double *sum_dy_xhat,
        double count, int channels);

    /* dx; 0 in lanes that are not valid. */
    void (*norm_input_gradient)(const float *dy, const float *x, float *dx, KernelNorm norm,
        int pixels, int lanes, int valid, int begin, int end);

    /* ---- copy_rows.c ---- */

    /* to [count][floats + gap] = from [count][floats], each row followed by zeros. Up to
     * KERNEL_WIDTH_MAX floats beyond `from` may be read. */
    void (*copy_rows)(const float *from, float *to, size_t floats, size_t gap, int count);

    /* ---- conv.c, conv_gradient.c: as KernelConv says ----
     *
     * The vectors run along the rows of results. Where `width` > lanes, they hold several columns:
     * then column_step must be 1, y_column = lanes, columns * lanes >= width, and no tap may leave
     * x to the left or right but in the edge. Where there is one, it and the columns are whole
     * vectors, and it is at most half of the columns. Up to KERNEL_WIDTH_MAX floats before and
     * beyond x may be read, but do not count. */

    /* packed [out * in * tap_count]: the weights in the order in which `conv` meets them. */
    void (*conv_pack)(const KernelConv *conv, const float *weight, float *packed);

    /* y = bias [out] + the sum, over i ascending and in each tap by tap, for result rows in
     * [row_begin, row_end) of `count` microbatches; more than one only where `width` > lanes. bias
     * may be NULL. `next` is what the thread will probably read after this: the caches may get it
     * meanwhile. */
    void (*conv)(const KernelConv *conv, const float *packed, const float *bias, KernelInput x,
        KernelOutput y, int lanes, int count, int row_begin, int row_end, KernelBlock next);

    /* Of one microbatch: dweight [o - out_begin][i][t] = sum over results and lanes of dy [o] *
     * x [i] at tap t, and dbias [o - out_begin] that of dy [o], added up as `row_sums` would with
     * vectors of `width`, for o in [out_begin, out_end); dbias may be NULL. dy lies as y, without
     * gaps. No tap may leave x. The taps' order is that of `taps`. scratch [kernels_conv_scratch]
     * floats. */
    void (*conv_weight_gradient)(const KernelConv *conv, const float *dy, const float *x,
        float *dweight, float *dbias, float *scratch, int lanes, int out_begin, int out_end);

    /* ---- depthwise.c: one channel of results. `width` must divide the lanes, or the grid be dense
     * and each span of columns hold at least `width` floats ---- */

    /* y = *bias + the sum over channels, rows and columns of taps ascending. bias may be NULL: 0.
     */
    void (*depthwise)(const KernelDepthwise *grid, const float *weight, const float *bias,
        const float *x, float *y);

    /* dweight [tap row][tap column] += sum over results and lanes of dy * x at that tap; dy lies as
     * y. `in` must be 1, and the weights lie as dweight. */
    void (*depthwise_weight_gradient)(
        const KernelDepthwise *grid, const float *dy, const float *x, float *dweight);

    /* ---- winograd.c: as `conv`, for windows of 3 x 3 taps side by side and steps of 1; `width`
     * must divide the lanes ---- */

    /* packed [16][out][in]: the transformed weights. */
    void (*winograd_pack)(const KernelConv *conv, const float *weight, float *packed);

    /* Result rows [row_begin, row_end), both even but for the last row of all. scratch
     * [kernels_winograd_scratch] floats. */
    void (*winograd)(const KernelConv *conv, const float *packed, const float *bias, const float *x,
        float *y, float *scratch, int lanes, int row_begin, int row_end);

    /* ---- group_norm.c: groups [begin, end) ---- */

    /* y = (x - mean) * inverse_std * weight + bias, mean and inverse_std = 1 / sqrt(variance + eps)
     * of each lane of a group, over its rows; x - mean alone counts 0 in lanes that are not valid.
     * weight, bias [groups * rows / rows_per_weight]; NULL: 1 and 0. */
    void (*group_norm_forward)(const float *x, float *y, const KernelGroupNorm *norm,
        const float *weight, const float *bias, int begin, int end);

    /* dweight = sum of dy * xhat, dbias = sum of dy over their rows and the valid lanes, and
     * dx = inverse_std * (g - mean(g) - xhat * mean(g * xhat)), g = dy * weight, means over the
     * group; 0 in lanes that are not valid. weight, dweight, dbias, dx may be NULL. */
    void (*group_norm_backward)(const float *dy, const float *x, float *dx,
        const KernelGroupNorm *norm, const float *weight, float *dweight, float *dbias, int begin,
        int end);

    /* ---- pool.c: one microbatch x [channels][height][width][lanes], channels [begin, end) ---- */

    /* y = the largest x of each window, the first of equal ones; NaN where there is one. With
     * `relu`, y = max(that, 0): the same as ReLU before it, and after it. */
    void (*max_pool_forward)(
        const float *x, float *y, const KernelPool *pool, int relu, int begin, int end);
    /* dx = sum of the dy of the windows whose largest x this is; with `relu`, where it is > 0. */
    void (*max_pool_backward)(const float *x, const float *dy, float *dx, const KernelPool *pool,
        int relu, int begin, int end);
    /* y = the sum of each window over its count. */
    void (*mean_pool_forward)(const float *x, float *y, const KernelPool *pool, int begin, int end);
    /* dx = sum of the dy of the windows it is in, each over its count. */
    void (*mean_pool_backward)(
        const float *dy, float *dx, const KernelPool *pool, int begin, int end);

    /* ---- dropout.c ---- */

    /* factors [rows][lanes]: 0 or `keep`, from word row % 4 of Philox4x32-10 of the counter
     * (row / 4, sample_low, sample_high, step). */
    void (*dropout_draw)(const KernelDropout *dropout, int rows, int lanes, float *factors);
    /* y [row][pixel][lane] = x [row][pixel][lane] * factors [row][lane], for rows [begin, end). y
     * may be x. */
    void (*multiply_rows)(
        const float *x, const float *factors, float *y, int pixels, int lanes, int begin, int end);

    /* ---- softmax.c: x [channels][n], over the channels ---- */

    /* y = e^x / sum of e^x, and dx = y (dy - sum of y dy). */
    void (*softmax_forward)(const float *x, float *y, int channels, size_t n);
    void (*softmax_backward)(const float *y, const float *dy, float *dx, int channels, size_t n);
    /* y = x - log(sum of e^x), and dx = dy - e^y * sum of dy. */
    void (*log_softmax_forward)(const float *x, float *y, int channels, size_t n);
    void (*log_softmax_backward)(
        const float *y, const float *dy, float *dx, int channels, size_t n);

    /* ---- activation.c: n floats; y may be x where the gradient needs y alone, dx may be dy ----
     */

    /* y = x > 0 ? x : x * slope. The gradient from y needs slope >= 0. */
    void (*leaky_relu_forward)(const float *x, float *y, size_t n, float slope);
    void (*leaky_relu_backward)(const float *y, const float *dy, float *dx, size_t n, float slope);
    /* y = 1 / (1 + e^-x) and y = tanh(x); the gradients from y. */
    void (*sigmoid_forward)(const float *x, float *y, size_t n);
    void (*sigmoid_backward)(const float *y, const float *dy, float *dx, size_t n);
    void (*tanh_forward)(const float *x, float *y, size_t n);
    void (*tanh_backward)(const float *y, const float *dy, float *dx, size_t n);
    /* y = x * (1 + erf(x / sqrt(2))) / 2, or with tanh(sqrt(2 / pi) (x + 0.044715 x³)) for the erf;
     * the gradients from x. */
    void (*gelu_forward)(const float *x, float *y, size_t n);
    void (*gelu_backward)(const float *x, const float *dy, float *dx, size_t n);
    void (*gelu_tanh_forward)(const float *x, float *y, size_t n);
    void (*gelu_tanh_backward)(const float *x, const float *dy, float *dx, size_t n);

    /* ---- elementwise.c: n floats ---- */

    /* y = x < 0 ? 0 : x: keeps NaN. y may be x. */
    void (*relu_forward)(const float *x, float *y, size_t n);
    /* dx = y > 0 ? dy : 0; a NaN in dy stays where y > 0. dx may be dy. */
    void (*relu_backward)(const float *y, const float *dy, float *dx, size_t n);
    /* y = a + b, or z = a + b and y = z < 0 ? 0 : z if rectifies. y may be a or b. */
    void (*sum)(const float *a, const float *b, float *y, size_t n, int rectifies);
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

    /* ---- peak.c ---- */

    /* `steps`, a multiple of 4, times x [i] = x [i] * factor + term, for KERNEL_PEAK_CHAINS
     * numbers, each in all lanes of a vector and never out of the registers. Returns how many
     * multiply-adds of one number that were. */
    double (*fma_peak)(float *x, float factor, float term, int steps);
} Kernels;

/* Local. The kernels of an instruction set for microbatches of `lanes` lanes: the widest vectors
 * that divide the lanes. isa: a name from kernels_isa_names, or NULL or "auto" for the best this
 * CPU has. NULL if the name is unknown or this CPU cannot run it. */
const Kernels *kernels_find(const char *isa, int lanes);

/* Local. The kernels for rows of `floats` floats, at least 1: like `kernels`, but with the widest
 * vectors not longer than a row. */
const Kernels *kernels_for_rows(const Kernels *kernels, size_t floats);

/* Local. Whether this CPU is faster where a convolution asks for cache lines before it reads, or
 * writes, them. */
int kernels_fetches(void);

/* Local. Floats of scratch memory that conv_weight_gradient needs. */
size_t kernels_conv_scratch(const KernelConv *conv);

/* Local. The same for winograd. */
size_t kernels_winograd_scratch(const KernelConv *conv, int lanes);

/* Local. The instruction sets of this build, best first, NULL-terminated; the best this CPU has. */
const char *const *kernels_isa_names(void);
const char *kernels_best_isa(void);

#endif
