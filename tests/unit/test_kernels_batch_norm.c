/* test_kernels_batch_norm.c - batch norm with every table this CPU can run, against plain loops in
 * double: digits far from zero, and the same bits however the channels are cut. */
#include "src/kernels/kernels.h"
#include "tests/support/kernel_check.h"
#include "tests/support/unit_check.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

int main(void) {
    Suite *suite = suite_create("kernels of batch norm");
    int pixels = sizeof(pixel_counts) / sizeof(pixel_counts[0]);
    TCase *tests = unit_check_case(suite, "batch norm");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, moments_keep_their_digits_far_from_zero, 0, pixels);
    tcase_add_loop_test(tests, moments_of_hostile_rows_keep_their_digits, 0, HOSTILE_ROWS);
    tcase_add_loop_test(tests, normalization_agrees_with_a_plain_loop, 0, pixels);
    tcase_add_loop_test(tests, norm_sums_agree_with_a_plain_loop, 0, pixels);
    tcase_add_loop_test(tests, norm_gradient_is_zero_in_lanes_without_samples, 0, pixels);
    tcase_add_loop_test(tests, norm_bits_do_not_depend_on_channel_cuts, 0, pixels);
    tcase_add_loop_test(tests, norm_with_relu_has_the_bits_of_both, 0, pixels);
    tcase_add_loop_test(tests, norm_with_addend_agrees_with_a_plain_loop, 0, pixels);
    return unit_check_run(suite);
}
