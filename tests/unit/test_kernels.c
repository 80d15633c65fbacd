/* test_kernels.c - every kernel of every table this CPU can run, against a plain loop in double,
 * and the bits of one call against those of the same work cut in pieces. */
#include "src/kernels/kernels.h"
#include "src/memory.h"
#include "src/tree.h"
#include "tests/support/kernel_check.h"
#include "tests/support/unit_check.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT_MAX = 9 };

/* ---- linear ---- */

/* One linear layer's arrays for `count` microbatches. */
typedef struct Linear {
    const Kernels *kernels;
    int in, out, lanes, count;
    size_t xt_row;
    float *weight, *bias, *x, *y, *dy, *dx, *xt, *dweight;
} Linear;

static size_t x_floats(const Linear *l) {
    return (size_t)l->count * l->in * l->lanes;
}

static size_t y_floats(const Linear *l) {
    return (size_t)l->count * l->out * l->lanes;
}

static void linear_begin(Linear *l) {
    random_start(l->in * 1000 + l->out);
    l->xt_row = ((size_t)l->in + 15) / 16 * 16;
    l->weight = random_block((size_t)l->in * l->out);
    l->bias = random_block(l->out);
    l->x = random_block(x_floats(l));
    l->dy = random_block(y_floats(l));
    l->y = block(y_floats(l));
    l->dx = block(x_floats(l));
    l->xt = block(l->count * l->xt_row * l->lanes);
    l->dweight = block((size_t)l->in * l->out);
    for (int m = 0; m < l->count; m++)
        l->kernels->transpose(l->x + (size_t)m * l->in * l->lanes, l->xt + m * l->xt_row * l->lanes,
            l->xt_row, l->in, l->lanes);
}

static void linear_finish(Linear *l) {
    block_free(l->weight, (size_t)l->in * l->out);
    block_free(l->bias, l->out);
    block_free(l->x, x_floats(l));
    block_free(l->dy, y_floats(l));
    block_free(l->y, y_floats(l));
    block_free(l->dx, x_floats(l));
    block_free(l->xt, l->count * l->xt_row * l->lanes);
    block_free(l->dweight, (size_t)l->in * l->out);
}

/* Whether to try the kernels for few lanes. */
static int is_narrow(const Linear *l) {
    return l->lanes < l->kernels->widest;
}

/* Microbatches [first, first + count), rows [begin, end). */
static void forward(Linear *l, float *y, int first, int count, int begin, int end) {
    size_t x_stride = (size_t)l->in * l->lanes, y_stride = (size_t)l->out * l->lanes;
    size_t xt_stride = l->xt_row * l->lanes;
    KernelOutput output = {y + first * y_stride, y_stride};
    if (is_narrow(l))
        l->kernels->linear_forward_narrow(l->weight, l->bias,
            (KernelInput){l->xt + first * xt_stride, xt_stride}, l->xt_row, output, l->in, l->lanes,
            count, begin, end);
    else
        l->kernels->linear_forward(l->weight, l->bias,
            (KernelInput){l->x + first * x_stride, x_stride}, output, l->in, l->out, l->lanes,
            count, begin, end);
}

static void input_gradient(Linear *l, float *dx, int first, int count, int begin, int end) {
    size_t x_stride = (size_t)l->in * l->lanes, y_stride = (size_t)l->out * l->lanes;
    KernelInput dy = {l->dy + first * y_stride, y_stride};
    KernelOutput output = {dx + first * x_stride, x_stride};
    if (is_narrow(l))
        l->kernels->linear_input_gradient_narrow(
            l->weight, dy, output, l->in, l->out, l->lanes, count, begin, end);
    else
        l->kernels->linear_input_gradient(
            l->weight, dy, output, l->in, l->out, l->lanes, count, begin, end);
}

static void weight_gradient(Linear *l, float *dweight, int first, int count, int begin, int end) {
    size_t xt_stride = l->xt_row * l->lanes, y_stride = (size_t)l->out * l->lanes;
    l->kernels->linear_weight_gradient((KernelInput){l->dy + first * y_stride, y_stride},
        (KernelInput){l->xt + first * xt_stride, xt_stride}, l->xt_row, dweight, l->in, l->out,
        l->lanes, count, begin, end);
}

static float x_at(const Linear *l, int m, int i, int s) {
    return l->x[((size_t)m * l->in + i) * l->lanes + s];
}

static float dy_at(const Linear *l, int m, int o, int s) {
    return l->dy[((size_t)m * l->out + o) * l->lanes + s];
}

static void check_forward(const Linear *l, const float *y) {
    for (int m = 0; m < l->count; m++) {
        for (int o = 0; o < l->out; o++) {
            for (int s = 0; s < l->lanes; s++) {
                double sum = l->bias[o];
                for (int i = 0; i < l->in; i++)
                    sum += (double)l->weight[o * l->in + i] * x_at(l, m, i, s);
                assert_close(y[((size_t)m * l->out + o) * l->lanes + s], sum, 1 + l->in,
                    FLT_EPSILON, "forward");
            }
        }
    }
}

static void check_input_gradient(const Linear *l, const float *dx) {
    for (int m = 0; m < l->count; m++) {
        for (int i = 0; i < l->in; i++) {
            for (int s = 0; s < l->lanes; s++) {
                double sum = 0;
                for (int o = 0; o < l->out; o++)
                    sum += (double)l->weight[o * l->in + i] * dy_at(l, m, o, s);
                assert_close(dx[((size_t)m * l->in + i) * l->lanes + s], sum, 1 + l->out,
                    FLT_EPSILON, "input gradient");
            }
        }
    }
}

static void check_weight_gradient(const Linear *l, const float *dweight) {
    for (int o = 0; o < l->out; o++) {
        for (int i = 0; i < l->in; i++) {
            double sum = 0;
            for (int m = 0; m < l->count; m++) {
                for (int s = 0; s < l->lanes; s++)
                    sum += (double)dy_at(l, m, o, s) * x_at(l, m, i, s);
            }
            assert_close(dweight[o * l->in + i], sum, 1 + l->count * l->lanes, FLT_EPSILON,
                "weight gradient");
        }
    }
}

static const int sizes[][2] = {{1, 1}, {1, 17}, {3, 10}, {10, 3}, {17, 84}, {84, 17}, {120, 84},
    {100, 120}, {300, 10}, {10, 300}};
enum { SIZE_COUNT = sizeof(sizes) / sizeof(sizes[0]) };

START_TEST(linear_products_agree_with_a_plain_loop) {
    FOR_EACH_TABLE(kernels, lanes) {
        int count = 1 + (_i + lanes / 4) % 5;
        Linear l = {.kernels = kernels, .in = sizes[_i][0], .out = sizes[_i][1], .lanes = lanes};
        l.count = count;
        linear_begin(&l);
        forward(&l, l.y, 0, count, 0, l.out);
        check_forward(&l, l.y);
        input_gradient(&l, l.dx, 0, count, 0, l.in);
        check_input_gradient(&l, l.dx);
        weight_gradient(&l, l.dweight, 0, count, 0, l.out);
        check_weight_gradient(&l, l.dweight);
        linear_finish(&l);
    }
}
END_TEST

/* One chain over i: of fused multiply-adds where there are any, of multiply, add elsewhere. */
static float chain(const Linear *l, int o, int m, int s, int is_fused) {
    float sum = l->bias[o];
    for (int i = 0; i < l->in; i++) {
        volatile float product = l->weight[o * l->in + i] * x_at(l, m, i, s);
        float unfused = sum + product;
        sum = is_fused ? fmaf(l->weight[o * l->in + i], x_at(l, m, i, s), sum) : unfused;
    }
    return sum;
}

static int first_lanes_are_fused(const Linear *l) {
    int is_fused = 1;
    for (int o = 0; o < l->out; o++) {
        for (int s = 0; s < l->lanes; s++)
            is_fused &= l->y[o * l->lanes + s] == chain(l, o, 0, s, 1);
    }
    return is_fused;
}

START_TEST(forward_over_lanes_is_one_chain_in_every_tile) {
    FOR_EACH_TABLE(kernels, lanes) {
        if (lanes < kernels->widest) continue;
        Linear l = {.kernels = kernels, .in = 300, .out = 1 + _i, .lanes = lanes, .count = 5};
        linear_begin(&l);
        forward(&l, l.y, 0, l.count, 0, l.out);
        int is_fused = first_lanes_are_fused(&l);
#ifdef __OPTIMIZE__
        ck_assert_int_eq(is_fused, strcmp(kernels->isa, "sse") != 0);
#endif
        for (int m = 0; m < l.count; m++) {
            for (int o = 0; o < l.out; o++) {
                for (int s = 0; s < lanes; s += lanes / 4 + 1) {
                    float want = chain(&l, o, m, s, is_fused);
                    assert_same_bits(
                        l.y + ((size_t)m * l.out + o) * lanes + s, &want, 1, "one chain");
                }
            }
        }
        linear_finish(&l);
    }
}
END_TEST

START_TEST(linear_bits_do_not_depend_on_row_cuts) {
    FOR_EACH_TABLE(kernels, lanes) {
        Linear l = {.kernels = kernels, .in = 84, .out = 37, .lanes = lanes, .count = _i};
        linear_begin(&l);
        float *y = block(y_floats(&l)), *dx = block(x_floats(&l)), *dweight = block(84 * 37);
        forward(&l, l.y, 0, _i, 0, l.out);
        input_gradient(&l, l.dx, 0, _i, 0, l.in);
        weight_gradient(&l, l.dweight, 0, _i, 0, l.out);
        for (int cut = 0; cut <= l.in; cut += lanes > 16 ? 7 : 1) {
            input_gradient(&l, dx, 0, _i, 0, cut);
            input_gradient(&l, dx, 0, _i, cut, l.in);
            assert_same_bits(dx, l.dx, x_floats(&l), "input gradient");
            if (cut > l.out) continue;
            forward(&l, y, 0, _i, 0, cut);
            forward(&l, y, 0, _i, cut, l.out);
            assert_same_bits(y, l.y, y_floats(&l), "forward");
            weight_gradient(&l, dweight, 0, _i, 0, cut);
            weight_gradient(&l, dweight, 0, _i, cut, l.out);
            assert_same_bits(dweight, l.dweight, 84 * 37, "weight gradient");
        }
        block_free(y, y_floats(&l));
        block_free(dx, x_floats(&l));
        block_free(dweight, 84 * 37);
        linear_finish(&l);
    }
}
END_TEST

START_TEST(products_do_not_depend_on_microbatch_cuts) {
    FOR_EACH_TABLE(kernels, lanes) {
        Linear l = {.kernels = kernels, .in = 140, .out = 150, .lanes = lanes, .count = _i};
        linear_begin(&l);
        float *y = block(y_floats(&l)), *dx = block(x_floats(&l));
        forward(&l, l.y, 0, _i, 0, l.out);
        input_gradient(&l, l.dx, 0, _i, 0, l.in);
        for (int cut = 0; cut < _i; cut++) {
            forward(&l, y, 0, cut, 0, l.out);
            forward(&l, y, cut, _i - cut, 0, l.out);
            assert_same_bits(y, l.y, y_floats(&l), "forward");
            input_gradient(&l, dx, 0, cut, 0, l.in);
            input_gradient(&l, dx, cut, _i - cut, 0, l.in);
            assert_same_bits(dx, l.dx, x_floats(&l), "input gradient");
        }
        block_free(y, y_floats(&l));
        block_free(dx, x_floats(&l));
        linear_finish(&l);
    }
}
END_TEST

/* Leaves one by one, merged along the tree with plain additions. values [count][n] is used up. */
static void merge_leaves(float *values, int count, size_t n) {
    TreeFold fold;
    tree_fold_begin(&fold);
    for (int m = 0; m <= count; m++) {
        int merges = 0;
        if (m < count) {
            memmove(values + fold.depth * n, values + m * n, n * sizeof(float));
            merges = tree_fold_push(&fold, (TreeNode){.begin = m, .count = 1, .level = 0});
        }
        int slot = fold.depth - 1 + merges;
        if (m == count) {
            slot = fold.depth - 1;
            merges = tree_fold_finish(&fold);
        }
        for (; merges > 0; merges--, slot--) {
            for (size_t i = 0; i < n; i++) values[(slot - 1) * n + i] += values[slot * n + i];
        }
    }
}

START_TEST(weight_gradient_is_the_tree_of_its_leaves) {
    FOR_EACH_TABLE(kernels, lanes) {
        Linear l = {.kernels = kernels, .in = 100, .out = 29, .lanes = lanes, .count = _i};
        size_t n = (size_t)l.in * l.out;
        linear_begin(&l);
        float *leaves = block(n * _i);
        for (int m = 0; m < _i; m++) weight_gradient(&l, leaves + m * n, m, 1, 0, l.out);
        merge_leaves(leaves, _i, n);
        weight_gradient(&l, l.dweight, 0, _i, 0, l.out);
        assert_same_bits(l.dweight, leaves, n, "tree of leaves");
        block_free(leaves, n * _i);
        linear_finish(&l);
    }
}
END_TEST

START_TEST(row_sums_are_the_tree_of_their_leaves) {
    enum { ROWS = 37 };
    static const int row_floats[] = {1, 2, 3, 4, 8, 9, 16, 25, 100, 192, 784};
    FOR_EACH_TABLE(kernels, lanes) {
        int floats = row_floats[(i_ + _i) % (int)(sizeof row_floats / sizeof *row_floats)];
        size_t stride = (size_t)ROWS * floats;
        float *x = random_block(stride * _i), *sums = block(ROWS), *leaves = block(ROWS * _i);
        KernelInput input = {x, stride};
        kernels->row_sums(input, sums, floats, _i, 0, ROWS);
        for (int row = 0; row < ROWS; row++) {
            double sum = 0;
            for (int m = 0; m < _i; m++)
                for (int s = 0; s < floats; s++) sum += x[m * stride + row * floats + s];
            assert_close(sums[row], sum, floats * _i, FLT_EPSILON, "row sum");
        }
        for (int m = 0; m < _i; m++) {
            KernelInput leaf = {x + m * stride, stride};
            kernels->row_sums(leaf, leaves + m * ROWS, floats, 1, 0, m);
            kernels->row_sums(leaf, leaves + m * ROWS, floats, 1, m, ROWS);
        }
        merge_leaves(leaves, _i, ROWS);
        assert_same_bits(sums, leaves, ROWS, "row sums");
        block_free(x, stride * _i);
        block_free(sums, ROWS);
        block_free(leaves, ROWS * _i);
    }
}
END_TEST

START_TEST(transpose_fills_its_rows_with_zeros) {
    int rows = sizes[_i][0];
    size_t xt_row = ((size_t)rows + 15) / 16 * 16 + 16;
    FOR_EACH_TABLE(kernels, lanes) {
        float *x = random_block((size_t)rows * lanes), *xt = block(xt_row * lanes);
        kernels->transpose(x, xt, xt_row, rows, lanes);
        for (int s = 0; s < lanes; s++) {
            for (size_t r = 0; r < xt_row; r++)
                ASSERT_EACH(xt[s * xt_row + r] == (r < (size_t)rows ? x[r * lanes + s] : 0.0f));
        }
        block_free(x, (size_t)rows * lanes);
        block_free(xt, xt_row * lanes);
    }
}
END_TEST

/* ---- batch norm ---- */

enum { CHANNELS = 19 }; /* more than a vector */
static const int pixel_counts[] = {1, 2, 3, 5, 25, 196};

/* What surrounds a test of batch norm: values of mean 1000 and deviation 1, NaN in dead lanes. */
typedef struct Norm {
    const Kernels *kernels;
    int pixels, lanes, valid, rectifies;
    size_t n;
    float *x, *dy, *y;
    double mean[CHANNELS], m2[CHANNELS]; /* plain loops */
    float weight[CHANNELS], bias[CHANNELS];
    float high[CHANNELS], low[CHANNELS], inverse_std[CHANNELS], scale[CHANNELS], shift[CHANNELS];
    float slope[CHANNELS], offset[CHANNELS];
} Norm;

enum { SUM_COUNT = 8 }; /* what these sums are over */
static const double sum_dy[CHANNELS] = {4, -2}, sum_dy_xhat[CHANNELS] = {-1, 6, 8};
static const double EPS = 1e-5;

static KernelNorm kernel_norm(Norm *norm) {
    return (KernelNorm){.mean = norm->high,
        .mean_low = norm->low,
        .inverse_std = norm->inverse_std,
        .scale = norm->scale,
        .shift = norm->shift,
        .slope = norm->slope,
        .offset = norm->offset,
        .rectifies = norm->rectifies};
}

static double norm_value(const Norm *norm, const float *data, int c, int p, int s) {
    return data[((size_t)c * norm->pixels + p) * norm->lanes + s];
}

#define FOR_VALID(norm, p, s)                                                                      \
    for (int p = 0; p < (norm)->pixels; p++)                                                       \
        for (int s = 0; s < (norm)->valid; s++)

static void norm_begin(Norm *norm) {
    norm->n = (size_t)CHANNELS * norm->pixels * norm->lanes;
    norm->x = random_block(norm->n);
    norm->dy = random_block(norm->n);
    norm->y = block(norm->n);
    for (size_t i = 0; i < norm->n; i++) {
        norm->x[i] = 1000.0f + 1.7f * norm->x[i];
        if ((int)(i % norm->lanes) >= norm->valid) norm->x[i] = norm->dy[i] = NAN;
    }
    for (int c = 0; c < CHANNELS; c++) {
        double sum = 0, squares = 0, count = (double)norm->pixels * norm->valid;
        FOR_VALID(norm, p, s) sum += norm_value(norm, norm->x, c, p, s);
        norm->mean[c] = sum / count;
        FOR_VALID(norm, p, s)
        squares += pow(norm_value(norm, norm->x, c, p, s) - norm->mean[c], 2);
        norm->m2[c] = squares;
        norm->weight[c] = 0.5f + c % 3;
        norm->bias[c] = -1.0f + c % 3;
    }
    norm->kernels->norm_set_scale(kernel_norm(norm), norm->mean, norm->m2,
        (double)norm->pixels * norm->valid, EPS, norm->weight, norm->bias, CHANNELS);
    norm->kernels->norm_set_slope(kernel_norm(norm), sum_dy, sum_dy_xhat, SUM_COUNT, CHANNELS);
}

static void norm_finish(Norm *norm) {
    block_free(norm->x, norm->n);
    block_free(norm->dy, norm->n);
    block_free(norm->y, norm->n);
}

/* Run `check` for every table and several numbers of valid lanes. */
static void for_each_norm(int pixels, void (*check)(Norm *norm)) {
    FOR_EACH_TABLE(kernels, lanes) {
        int valids[] = {1, lanes / 2 - 1, lanes / 2, lanes - 1, lanes};
        for (int i = 0; i < 5; i++) {
            if (valids[i] < 1) continue;
            Norm norm = {.kernels = kernels, .pixels = pixels, .lanes = lanes, .valid = valids[i]};
            norm_begin(&norm);
            check(&norm);
            norm_finish(&norm);
        }
    }
}

static void check_moments(Norm *norm) {
    double mean[CHANNELS], m2[CHANNELS];
    for (int c = 0; c < CHANNELS; c++)
        norm->kernels->norm_moments(
            norm->x, norm->pixels, norm->lanes, norm->valid, c, c + 1, mean, m2);
    for (int c = 0; c < CHANNELS; c++) {
        double std = sqrt(norm->m2[c] / norm->valid / norm->pixels);
        assert_close(mean[c], norm->mean[c], std + 1e-5, FLT_EPSILON / 8, "mean");
        assert_close(m2[c], norm->m2[c], norm->m2[c], 2 * FLT_EPSILON, "m2");
    }
}

START_TEST(moments_keep_their_digits_far_from_zero) {
    for_each_norm(pixel_counts[_i], check_moments);
}
END_TEST

/* Rows that ask much of a sum in float: `first` and the `rest` of a row have means of their own. */
static const struct {
    double mean_of_first, mean_of_rest, deviation;
    int first; /* values; or every so many-th part of the row, where negative */
} hostile_rows[] = {{1e4, 1e4, 0.1, 0}, {1e6, 1e6, 0.05, 0}, {1e6, 0, 1, 1}, {1000, 0, 1, -4},
    {3, 3, 0, 0}, {1e-3, 1e-3, 0, 0}, {16777216, 16777218, 0, 1}};
enum { HOSTILE_ROWS = sizeof hostile_rows / sizeof *hostile_rows, ROW_VALUES_MAX = 1 << 20 };

static void check_hostile_row(const Kernels *kernels, int lanes, int pixels, int kind) {
    size_t n = (size_t)pixels * lanes;
    int first = hostile_rows[kind].first;
    size_t split = first < 0 ? n / (size_t)-first : (size_t)first;
    float *x = random_block(n);
    double sum = 0, squares = 0, mean, m2;
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(x[i] * hostile_rows[kind].deviation +
                       (i < split ? hostile_rows[kind].mean_of_first
                                  : hostile_rows[kind].mean_of_rest));
        sum += x[i];
    }
    for (size_t i = 0; i < n; i++) squares += pow(x[i] - sum / (double)n, 2);
    kernels->norm_moments(x, pixels, lanes, lanes, 0, 1, &mean, &m2);
    ck_assert(m2 >= 0);
    if (hostile_rows[kind].deviation == 0 && split == 0) {
        ck_assert(mean == x[0]);
        assert_close(m2, 0, (double)n * mean * mean, 1e-25, "m2 of equal values");
    } else {
        assert_close(mean, sum / (double)n, sqrt(squares / (double)n), FLT_EPSILON, "mean");
        assert_close(m2, squares, squares, 4 * FLT_EPSILON, "m2");
    }
    block_free(x, n);
}

START_TEST(moments_of_hostile_rows_keep_their_digits) {
    FOR_EACH_TABLE(kernels, lanes) {
        for (int pixels = 1; pixels <= 1024; pixels = pixels * 3 + 1)
            check_hostile_row(kernels, lanes, pixels, _i);
        if (i_ % 8 == 0) check_hostile_row(kernels, lanes, ROW_VALUES_MAX / lanes, _i);
    }
}
END_TEST

static double inverse_std(const Norm *norm, int c) {
    return 1 / sqrt(norm->m2[c] / ((double)norm->pixels * norm->valid) + EPS);
}

static double xhat(const Norm *norm, int c, int p, int s) {
    return (norm_value(norm, norm->x, c, p, s) - norm->mean[c]) * inverse_std(norm, c);
}

static void check_norm_forward(Norm *norm) {
    norm->kernels->norm_forward(
        norm->x, NULL, norm->y, kernel_norm(norm), norm->pixels, norm->lanes, 0, CHANNELS);
    for (int c = 0; c < CHANNELS; c++) {
        FOR_VALID(norm, p, s) {
            double centered = norm_value(norm, norm->x, c, p, s) - norm->mean[c];
            assert_close(norm_value(norm, norm->y, c, p, s),
                centered * inverse_std(norm, c) * norm->weight[c] + norm->bias[c], 10, FLT_EPSILON,
                "normalized");
        }
    }
}

START_TEST(normalization_agrees_with_a_plain_loop) {
    for_each_norm(pixel_counts[_i], check_norm_forward);
}
END_TEST

static void check_norm_sums(Norm *norm) {
    double sum[CHANNELS], product[CHANNELS];
    norm->kernels->norm_sums(norm->dy, norm->x, kernel_norm(norm), norm->pixels, norm->lanes,
        norm->valid, 0, CHANNELS, sum, product);
    for (int c = 0; c < CHANNELS; c++) {
        double want_sum = 0, want_product = 0, size = 0;
        FOR_VALID(norm, p, s) {
            double dy = norm_value(norm, norm->dy, c, p, s);
            want_sum += dy;
            want_product += dy * xhat(norm, c, p, s);
            size += 1 + inverse_std(norm, c);
        }
        assert_close(sum[c], want_sum, size, FLT_EPSILON / 2, "sum of dy");
        assert_close(product[c], want_product, size, FLT_EPSILON / 2, "sum of dy xhat");
    }
}

START_TEST(norm_sums_agree_with_a_plain_loop) {
    for_each_norm(pixel_counts[_i], check_norm_sums);
}
END_TEST

static void check_norm_input_gradient(Norm *norm) {
    norm->kernels->norm_input_gradient(norm->dy, norm->x, norm->y, kernel_norm(norm), norm->pixels,
        norm->lanes, norm->valid, 0, CHANNELS);
    for (int c = 0; c < CHANNELS; c++) {
        FOR_VALID(norm, p, s) {
            double bracket = norm_value(norm, norm->dy, c, p, s) -
                             (sum_dy[c] + xhat(norm, c, p, s) * sum_dy_xhat[c]) / SUM_COUNT;
            double size = 10 + 10 * inverse_std(norm, c);
            assert_close(norm_value(norm, norm->y, c, p, s),
                norm->weight[c] * inverse_std(norm, c) * bracket, size, FLT_EPSILON, "gradient");
        }
        for (int p = 0; p < norm->pixels; p++) {
            for (int s = norm->valid; s < norm->lanes; s++)
                ASSERT_EACH(norm_value(norm, norm->y, c, p, s) == 0.0);
        }
    }
}

START_TEST(norm_gradient_is_zero_in_lanes_without_samples) {
    for_each_norm(pixel_counts[_i], check_norm_input_gradient);
}
END_TEST

/* All four kernels for channels [begin, end): `sums` are of moments and of the gradient. */
static void run_norm(Norm *norm, float *dx, double sums[4][CHANNELS], int begin, int end) {
    const Kernels *kernels = norm->kernels;
    kernels->norm_moments(
        norm->x, norm->pixels, norm->lanes, norm->valid, begin, end, sums[0], sums[1]);
    kernels->norm_forward(
        norm->x, NULL, norm->y, kernel_norm(norm), norm->pixels, norm->lanes, begin, end);
    kernels->norm_sums(norm->dy, norm->x, kernel_norm(norm), norm->pixels, norm->lanes, norm->valid,
        begin, end, sums[2], sums[3]);
    kernels->norm_input_gradient(norm->dy, norm->x, dx, kernel_norm(norm), norm->pixels,
        norm->lanes, norm->valid, begin, end);
}

static void check_norm_cuts(Norm *norm) {
    double sums[4][CHANNELS], want_sums[4][CHANNELS];
    float *dx = block(norm->n), *want_dx = block(norm->n), *want_y = block(norm->n);
    for (norm->rectifies = 0; norm->rectifies < 2; norm->rectifies++) {
        run_norm(norm, want_dx, want_sums, 0, CHANNELS);
        memcpy(want_y, norm->y, norm->n * sizeof *want_y);
        for (int cut = 1; cut < CHANNELS; cut += 5) {
            run_norm(norm, dx, sums, 0, cut);
            run_norm(norm, dx, sums, cut, CHANNELS);
            ck_assert(memcmp(sums, want_sums, sizeof sums) == 0);
            assert_same_bits(norm->y, want_y, norm->n, "normalized");
            assert_same_bits(dx, want_dx, norm->n, "gradient");
        }
    }
    block_free(dx, norm->n);
    block_free(want_dx, norm->n);
    block_free(want_y, norm->n);
}

START_TEST(norm_bits_do_not_depend_on_channel_cuts) {
    for_each_norm(pixel_counts[_i], check_norm_cuts);
}
END_TEST

/* What the unfused kernels make of the same numbers, one after the other. */
static void check_norm_with_relu(Norm *norm) {
    const Kernels *kernels = norm->kernels;
    double sums[2][CHANNELS], want_sums[2][CHANNELS];
    float *want = block(norm->n), *masked = block(norm->n);
    kernels->norm_forward(
        norm->x, NULL, want, kernel_norm(norm), norm->pixels, norm->lanes, 0, CHANNELS);
    kernels->relu_forward(want, want, norm->n);
    kernels->relu_backward(want, norm->dy, masked, norm->n);
    kernels->norm_sums(masked, norm->x, kernel_norm(norm), norm->pixels, norm->lanes, norm->valid,
        0, CHANNELS, want_sums[0], want_sums[1]);
    norm->rectifies = 1;
    kernels->norm_forward(
        norm->x, NULL, norm->y, kernel_norm(norm), norm->pixels, norm->lanes, 0, CHANNELS);
    assert_same_bits(norm->y, want, norm->n, "normalized and rectified");
    kernels->norm_sums(norm->dy, norm->x, kernel_norm(norm), norm->pixels, norm->lanes, norm->valid,
        0, CHANNELS, sums[0], sums[1]);
    ck_assert(memcmp(sums, want_sums, sizeof sums) == 0);
    kernels->norm_input_gradient(norm->dy, norm->x, norm->y, kernel_norm(norm), norm->pixels,
        norm->lanes, norm->valid, 0, CHANNELS);
    norm->rectifies = 0;
    kernels->norm_input_gradient(masked, norm->x, want, kernel_norm(norm), norm->pixels,
        norm->lanes, norm->valid, 0, CHANNELS);
    assert_same_bits(norm->y, want, norm->n, "gradient through the relu");
    block_free(want, norm->n);
    block_free(masked, norm->n);
}

START_TEST(norm_with_relu_has_the_bits_of_both) {
    for_each_norm(pixel_counts[_i], check_norm_with_relu);
}
END_TEST

static void check_norm_with_addend(Norm *norm) {
    const Kernels *kernels = norm->kernels;
    float *addend = random_block(norm->n);
    for (norm->rectifies = 0; norm->rectifies < 2; norm->rectifies++) {
        kernels->norm_forward(
            norm->x, addend, norm->y, kernel_norm(norm), norm->pixels, norm->lanes, 0, CHANNELS);
        for (int c = 0; c < CHANNELS; c++) {
            FOR_VALID(norm, p, s) {
                double z = xhat(norm, c, p, s) * norm->weight[c] + norm->bias[c] +
                           norm_value(norm, addend, c, p, s);
                assert_close(norm_value(norm, norm->y, c, p, s), norm->rectifies && z < 0 ? 0 : z,
                    10, FLT_EPSILON, "normalized sum");
            }
        }
    }
    norm->rectifies = 1;
    kernels->norm_forward(
        norm->x, addend, addend, kernel_norm(norm), norm->pixels, norm->lanes, 0, CHANNELS);
    assert_same_bits(addend, norm->y, norm->n, "in place of the addend");
    block_free(addend, norm->n);
}

START_TEST(norm_with_addend_agrees_with_a_plain_loop) {
    for_each_norm(pixel_counts[_i], check_norm_with_addend);
}
END_TEST

/* ---- elementwise ---- */

static const size_t lengths[] = {1, 3, 4, 15, 16, 17, 31, 64, 67, 200, 1003};

START_TEST(relu_keeps_nan_and_passes_gradients_where_positive) {
    size_t n = lengths[_i];
    FOR_EACH_TABLE(kernels, lanes) {
        float *x = random_block(n), *dy = random_block(n), *y = block(n), *dx = block(n);
        x[n / 2] = NAN;
        dy[n - 1] = NAN;
        kernels->relu_forward(x, y, n);
        kernels->relu_backward(y, dy, dx, n);
        ck_assert(isnan(y[n / 2]));
        for (size_t i = 0; i < n; i++) {
            float want_y = x[i] < 0 ? 0 : x[i], want_dx = y[i] > 0 ? dy[i] : 0;
            assert_same_bits(y + i, &want_y, 1, "relu");
            assert_same_bits(dx + i, &want_dx, 1, "relu gradient");
        }
        kernels->relu_forward(x, x, n);
        assert_same_bits(x, y, n, "relu in place");
        kernels->relu_backward(y, dy, dy, n);
        assert_same_bits(dy, dx, n, "relu gradient in place");
        block_free(x, n);
        block_free(dy, n);
        block_free(y, n);
        block_free(dx, n);
    }
}
END_TEST

START_TEST(sums_and_scale_are_exact) {
    size_t n = lengths[_i];
    FOR_EACH_TABLE(kernels, lanes) {
        float *sum = random_block(n), *term = random_block(n), *want = block(n), *y = block(n);
        for (size_t i = 0; i < n; i++) want[i] = sum[i] + term[i];
        kernels->sum(sum, term, y, n, 0);
        assert_same_bits(y, want, n, "sum");
        kernels->relu_forward(want, want, n);
        kernels->sum(sum, term, y, n, 1);
        assert_same_bits(y, want, n, "rectified sum");
        kernels->sum(sum, term, want, n, 0);
        kernels->add(sum, term, n);
        assert_same_bits(sum, want, n, "add");
        for (size_t i = 0; i < n; i++) want[i] = sum[i] * 0.3f;
        kernels->scale(sum, 0.3f, n);
        assert_same_bits(sum, want, n, "scale");
        block_free(sum, n);
        block_free(term, n);
        block_free(want, n);
        block_free(y, n);
    }
}
END_TEST

START_TEST(sum_of_squares_is_a_double) {
    size_t n = lengths[_i];
    FOR_EACH_TABLE(kernels, lanes) {
        float *x = random_block(n);
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
        assert_close(kernels->sum_of_squares(x, n), sum, sum, 1e-13, "squares");
        block_free(x, n);
    }
}
END_TEST

START_TEST(one_number_that_is_not_finite_is_found_anywhere) {
    static const float bad[] = {INFINITY, -INFINITY, NAN, -NAN};
    size_t n = lengths[_i];
    FOR_EACH_TABLE(kernels, lanes) {
        float *x = random_block(n);
        x[0] = FLT_MAX;
        x[n / 2] = -FLT_MIN / 2;
        ck_assert(kernels->all_finite(x, n));
        for (size_t i = 0; i < n; i++) {
            float kept = x[i];
            x[i] = bad[i % 4];
            if (kernels->all_finite(x, n)) ck_abort_msg("item %zu of %zu", i, n);
            x[i] = kept;
        }
        ck_assert(kernels->all_finite(x, n));
        block_free(x, n);
    }
}
END_TEST

START_TEST(bytes_are_looked_up_for_valid_samples_only) {
    enum { FEATURES = 21, PIXELS = 7 };
    static float values[3][256];
    uint8_t bytes[64][FEATURES];
    const uint8_t *samples[64];
    for (int i = 0; i < 3 * 256; i++) values[i / 256][i % 256] = i + 0.5f;
    for (int s = 0; s < 64; s++) {
        samples[s] = bytes[s];
        for (int f = 0; f < FEATURES; f++) bytes[s][f] = (uint8_t)(s * 31 + f * 7);
    }
    FOR_EACH_TABLE(kernels, lanes) {
        for (int valid = 1; valid <= lanes; valid++) {
            const uint8_t **exact = malloc(valid * sizeof(*exact)); /* none beyond may be read */
            memcpy(exact, samples, valid * sizeof(*exact));
            float *x = block(FEATURES * lanes);
            kernels->load_bytes(
                exact, (const float(*)[256])values, PIXELS, FEATURES, lanes, valid, x);
            for (int i = 0; i < FEATURES * lanes; i++) {
                int f = i / lanes, s = i % lanes;
                ASSERT_EACH(x[i] == (s < valid ? values[f / PIXELS][bytes[s][f]] : 0.0f));
            }
            block_free(x, FEATURES * lanes);
            free(exact);
        }
    }
}
END_TEST

START_TEST(floats_are_normalised_for_valid_samples_only) {
    enum { FEATURES = 21, PIXELS = 7 };
    static const float mean[3] = {0.1307f, -3, 100}, std[3] = {0.3081f, 0.7f, 3};
    float numbers[64][FEATURES];
    for (int i = 0; i < 64 * FEATURES; i++) numbers[i / FEATURES][i % FEATURES] = i * 0.37f - 50;
    FOR_EACH_TABLE(kernels, lanes) {
        for (int valid = 0; valid <= lanes; valid++) {
            const float **exact = malloc((valid + 1) * sizeof(*exact));
            for (int s = 0; s < valid; s++) exact[s] = numbers[s];
            float *x = block(FEATURES * lanes);
            for (int i = 0; i < FEATURES * lanes; i++) x[i] = 77;
            kernels->load_floats(exact, mean, std, PIXELS, FEATURES, lanes, valid, x);
            for (int i = 0; i < FEATURES * lanes; i++) {
                int f = i / lanes, s = i % lanes, c = f / PIXELS;
                ASSERT_EACH(x[i] == (s < valid ? (numbers[s][f] - mean[c]) / std[c] : 0.0f));
            }
            block_free(x, FEATURES * lanes);
            free(exact);
        }
    }
}
END_TEST

/* ---- optimizers ---- */

enum { N = 160, STEPS = 4 };

typedef struct SgdCase {
    float momentum, dampening, weight_decay;
    int nesterov;
} SgdCase;

static const SgdCase sgd_cases[] = {
    {0, 0, 0, 0}, {0, 0, 0.01f, 0}, {0.9f, 0, 0.01f, 0}, {0.9f, 0.1f, 0, 0}, {0.9f, 0, 0.01f, 1}};

/* One element by the formula, in double. */
static void plain_sgd(SgdCase c, double *p, double g, double *buffer, int first) {
    g += c.weight_decay * *p;
    if (c.momentum != 0) {
        *buffer = first ? g : c.momentum * *buffer + (1.0 - c.dampening) * g;
        g = c.nesterov ? g + c.momentum * *buffer : *buffer;
    }
    *p -= 0.1 * g;
}

START_TEST(sgd_agrees_with_its_formula) {
    SgdCase c = sgd_cases[_i];
    FOR_EACH_TABLE(kernels, lanes) {
        float *p = random_block(N), *g = random_block(N), *buffer = block(N);
        double want[N], want_buffer[N] = {0};
        for (int i = 0; i < N; i++) want[i] = p[i];
        for (int step = 0; step < STEPS; step++) {
            kernels->sgd(p, g, c.momentum != 0 ? buffer : NULL, N, 0.1f, c.momentum, c.dampening,
                c.weight_decay, c.nesterov, step == 0);
            for (int i = 0; i < N; i++) plain_sgd(c, &want[i], g[i], &want_buffer[i], step == 0);
        }
        for (int i = 0; i < N; i++) {
            assert_close(p[i], want[i], 4, 2 * FLT_EPSILON, "parameter");
            if (c.momentum != 0)
                assert_close(buffer[i], want_buffer[i], 4, 2 * FLT_EPSILON, "momentum buffer");
        }
        block_free(p, N);
        block_free(g, N);
        block_free(buffer, N);
    }
}
END_TEST

enum { ADAM_CASES = 4 };

START_TEST(adam_agrees_with_its_formula) {
    double lr = 0.01, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, decay = _i % 2 ? 0.01 : 0;
    int decoupled = _i / 2;
    FOR_EACH_TABLE(kernels, lanes) {
        float *p = random_block(N), *g = random_block(N), *m = block(N), *v = block(N);
        double want[N], want_m[N] = {0}, want_v[N] = {0};
        for (int i = 0; i < N; i++) want[i] = p[i], m[i] = v[i] = 0;
        for (int step = 1; step <= STEPS; step++) {
            double step_size = lr / (1 - pow(beta1, step)), correction = sqrt(1 - pow(beta2, step));
            kernels->adam(p, g, m, v, N, (float)lr, beta1, beta2, (float)eps, (float)decay,
                decoupled, (float)step_size, (float)correction);
            for (int i = 0; i < N; i++) {
                double gradient = g[i] + (decoupled ? 0 : decay * want[i]);
                if (decoupled) want[i] *= 1 - lr * decay;
                want_m[i] = beta1 * want_m[i] + (1 - beta1) * gradient;
                want_v[i] = beta2 * want_v[i] + (1 - beta2) * gradient * gradient;
                want[i] -= step_size * want_m[i] / (sqrt(want_v[i]) / correction + eps);
            }
        }
        for (int i = 0; i < N; i++) {
            assert_close(p[i], want[i], 1, 4 * FLT_EPSILON, "parameter");
            assert_close(m[i], want_m[i], 1, 2 * FLT_EPSILON, "exp_avg");
            assert_close(v[i], want_v[i], want_v[i], 1e-5, "exp_avg_sq");
        }
        block_free(p, N);
        block_free(g, N);
        block_free(m, N);
        block_free(v, N);
    }
}
END_TEST

/* Each element again, alone at the front of its own sixteen. */
START_TEST(optimizer_results_do_not_depend_on_position) {
    FOR_EACH_TABLE(kernels, lanes) {
        float *p = random_block(N), *g = random_block(N), *m = random_block(N), *v = block(N);
        float start[3][N];
        for (int i = 0; i < N; i++) v[i] = m[i] * m[i];
        memcpy(start[0], p, sizeof(start[0]));
        memcpy(start[1], m, sizeof(start[1]));
        memcpy(start[2], v, sizeof(start[2]));
        kernels->adam(p, g, m, v, N, 0.01f, 0.9, 0.999, 1e-8f, 0.01f, 0, 0.02f, 0.7f);
        kernels->sgd(p, g, m, N, 0.1f, 0.9f, 0.1f, 0.01f, 1, 0);
        for (int i = 0; i < N; i++) {
            float one[4][16];
            for (int k = 0; k < 16; k++) {
                int from = (i + k) % N;
                one[0][k] = start[0][from], one[1][k] = g[from];
                one[2][k] = start[1][from], one[3][k] = start[2][from];
            }
            kernels->adam(one[0], one[1], one[2], one[3], 16, 0.01f, 0.9, 0.999, 1e-8f, 0.01f, 0,
                0.02f, 0.7f);
            kernels->sgd(one[0], one[1], one[2], 16, 0.1f, 0.9f, 0.1f, 0.01f, 1, 0);
            assert_same_bits(one[0], p + i, 1, "parameter");
            assert_same_bits(one[2], m + i, 1, "momentum buffer");
            assert_same_bits(one[3], v + i, 1, "exp_avg_sq");
        }
        block_free(p, N);
        block_free(g, N);
        block_free(m, N);
        block_free(v, N);
    }
}
END_TEST

/* ---- tables ---- */

/* ---- peak ---- */

START_TEST(peak_counts_the_multiply_adds_it_does) {
    FOR_EACH_TABLE(kernels, lanes) {
        float *x = block(KERNEL_PEAK_CHAINS);
        double expected[KERNEL_PEAK_CHAINS];
        for (int i = 0; i < KERNEL_PEAK_CHAINS; i++) expected[i] = x[i] = (float)(i + 1);
        double of_four = kernels->fma_peak(x, 0.75f, 0.5f, 4), count;
        count = kernels->fma_peak(x, 0.75f, 0.5f, 4 * _i);
        ck_assert_msg(of_four >= 4 * KERNEL_PEAK_CHAINS * 4 && count == _i * of_four,
            "%g in 4 steps, %g in %d", of_four, count, 4 * _i);
        for (int i = 0; i < KERNEL_PEAK_CHAINS; i++) {
            for (int step = 0; step < 4 * _i + 4; step++) expected[i] = expected[i] * 0.75 + 0.5;
            assert_close(x[i], expected[i], expected[i], 1e-5, "peak");
        }
        block_free(x, KERNEL_PEAK_CHAINS);
    }
}
END_TEST

START_TEST(tables_are_found_by_name_and_lanes) {
    FOR_EACH_TABLE(kernels, lanes) {
        ck_assert_int_eq(lanes % kernels->width, 0);
        ck_assert_int_le(kernels->width, kernels->widest);
        ck_assert(kernels->width == kernels->widest || lanes % (2 * kernels->width) != 0);
    }
    ck_assert_ptr_eq(kernels_find(NULL, 16), kernels_find(kernels_best_isa(), 16));
    ck_assert_ptr_eq(kernels_find("auto", 4), kernels_find(kernels_best_isa(), 4));
    ck_assert_str_eq(kernels_find(NULL, 16)->isa, kernels_best_isa());
    ck_assert_ptr_null(kernels_find("altivec", 16));
    ck_assert_ptr_null(kernels_find(NULL, 0));
    ck_assert_ptr_null(kernels_find(NULL, 3));
    ck_assert_ptr_null(kernels_find(NULL, 6));
}
END_TEST

static void add_loop(Suite *suite, const char *name, const TTest *test, int begin, int end) {
    TCase *tcase = unit_check_case(suite, name);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, test, begin, end);
}

int main(void) {
    Suite *suite = suite_create("kernels");
    int pixels = sizeof(pixel_counts) / sizeof(pixel_counts[0]);
    int length_count = sizeof(lengths) / sizeof(lengths[0]);
    add_loop(suite, "tables", tables_are_found_by_name_and_lanes, 0, 1);
    add_loop(suite, "linear", linear_products_agree_with_a_plain_loop, 0, SIZE_COUNT);
    add_loop(suite, "chain", forward_over_lanes_is_one_chain_in_every_tile, 0, 25);
    add_loop(suite, "row cuts", linear_bits_do_not_depend_on_row_cuts, 1, 6);
    add_loop(suite, "microbatch cuts", products_do_not_depend_on_microbatch_cuts, 1, COUNT_MAX + 1);
    add_loop(suite, "tree", weight_gradient_is_the_tree_of_its_leaves, 1, COUNT_MAX + 1);
    add_loop(suite, "row sums", row_sums_are_the_tree_of_their_leaves, 1, COUNT_MAX + 1);
    add_loop(suite, "transpose", transpose_fills_its_rows_with_zeros, 0, SIZE_COUNT);
    add_loop(suite, "moments", moments_keep_their_digits_far_from_zero, 0, pixels);
    add_loop(suite, "hostile rows", moments_of_hostile_rows_keep_their_digits, 0, HOSTILE_ROWS);
    add_loop(suite, "norm", normalization_agrees_with_a_plain_loop, 0, pixels);
    add_loop(suite, "norm sums", norm_sums_agree_with_a_plain_loop, 0, pixels);
    add_loop(suite, "norm gradient", norm_gradient_is_zero_in_lanes_without_samples, 0, pixels);
    add_loop(suite, "norm cuts", norm_bits_do_not_depend_on_channel_cuts, 0, pixels);
    add_loop(suite, "norm and relu", norm_with_relu_has_the_bits_of_both, 0, pixels);
    add_loop(suite, "norm and sum", norm_with_addend_agrees_with_a_plain_loop, 0, pixels);
    add_loop(suite, "relu", relu_keeps_nan_and_passes_gradients_where_positive, 0, length_count);
    add_loop(suite, "add", sums_and_scale_are_exact, 0, length_count);
    add_loop(suite, "squares", sum_of_squares_is_a_double, 0, length_count);
    add_loop(suite, "finite", one_number_that_is_not_finite_is_found_anywhere, 0, length_count);
    add_loop(suite, "bytes", bytes_are_looked_up_for_valid_samples_only, 0, 1);
    add_loop(suite, "floats", floats_are_normalised_for_valid_samples_only, 0, 1);
    add_loop(
        suite, "sgd", sgd_agrees_with_its_formula, 0, sizeof(sgd_cases) / sizeof(sgd_cases[0]));
    add_loop(suite, "adam", adam_agrees_with_its_formula, 0, ADAM_CASES);
    add_loop(suite, "position", optimizer_results_do_not_depend_on_position, 0, 1);
    add_loop(suite, "peak", peak_counts_the_multiply_adds_it_does, 0, 5);
    return unit_check_run(suite);
}
