/* test_kernels_linear.c - products of linear layers with every table this CPU can run, against a
 * plain loop in double, and the bits of one call against those of the same work cut in pieces. */
#include "src/kernels/kernels.h"
#include "src/tree.h"
#include "tests/support/kernel_check.h"
#include "tests/support/unit_check.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT_MAX = 9 };

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

int main(void) {
    Suite *suite = suite_create("kernels of linear layers");
    TCase *tests = unit_check_case(suite, "linear");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, linear_products_agree_with_a_plain_loop, 0, SIZE_COUNT);
    tcase_add_loop_test(tests, forward_over_lanes_is_one_chain_in_every_tile, 0, 25);
    tcase_add_loop_test(tests, linear_bits_do_not_depend_on_row_cuts, 1, 6);
    tcase_add_loop_test(tests, products_do_not_depend_on_microbatch_cuts, 1, COUNT_MAX + 1);
    tcase_add_loop_test(tests, weight_gradient_is_the_tree_of_its_leaves, 1, COUNT_MAX + 1);
    tcase_add_loop_test(tests, row_sums_are_the_tree_of_their_leaves, 1, COUNT_MAX + 1);
    tcase_add_loop_test(tests, transpose_fills_its_rows_with_zeros, 0, SIZE_COUNT);
    return unit_check_run(suite);
}
