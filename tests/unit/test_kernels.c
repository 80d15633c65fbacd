/* test_kernels.c - element-wise kernels, optimizers and the tables themselves, with every table
 * this CPU can run, against a plain loop in double. */
#include "src/kernels/kernels.h"
#include "tests/support/kernel_check.h"
#include "tests/support/unit_check.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- rows ---- */

static const struct {
    int floats, gap, count;
} row_cases[] = {{40, 4, 10}, {4, 0, 3}, {1, 1, 1}, {16, 16, 2}, {3, 70, 5}, {64, 1, 4}, {5, 2, 9}};

START_TEST(copied_rows_are_followed_by_zeros) {
    int floats = row_cases[_i].floats, gap = row_cases[_i].gap, count = row_cases[_i].count;
    int from_count = floats * count, to_count = (floats + gap) * count;
    FOR_EACH_TABLE(kernels, lanes) {
        float *from = random_block(from_count + KERNEL_WIDTH_MAX), *to = random_block(to_count);
        kernels->copy_rows(from, to, (size_t)floats, (size_t)gap, count);
        for (int r = 0; r < count; r++)
            for (int i = 0; i < floats + gap; i++)
                ck_assert_float_eq(
                    to[r * (floats + gap) + i], i < floats ? from[r * floats + i] : 0.0f);
        block_free(from, from_count + KERNEL_WIDTH_MAX);
        block_free(to, to_count);
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

int main(void) {
    Suite *suite = suite_create("kernels");
    int length_count = sizeof(lengths) / sizeof(lengths[0]);
    TCase *tests = unit_check_case(suite, "kernels");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, tables_are_found_by_name_and_lanes);
    tcase_add_loop_test(tests, relu_keeps_nan_and_passes_gradients_where_positive, 0, length_count);
    tcase_add_loop_test(tests, sums_and_scale_are_exact, 0, length_count);
    tcase_add_loop_test(tests, sum_of_squares_is_a_double, 0, length_count);
    tcase_add_loop_test(tests, one_number_that_is_not_finite_is_found_anywhere, 0, length_count);
    tcase_add_test(tests, bytes_are_looked_up_for_valid_samples_only);
    tcase_add_test(tests, floats_are_normalised_for_valid_samples_only);
    tcase_add_loop_test(
        tests, sgd_agrees_with_its_formula, 0, sizeof(sgd_cases) / sizeof(sgd_cases[0]));
    tcase_add_loop_test(tests, adam_agrees_with_its_formula, 0, ADAM_CASES);
    tcase_add_loop_test(tests, copied_rows_are_followed_by_zeros, 0,
        (int)(sizeof(row_cases) / sizeof(row_cases[0])));
    tcase_add_test(tests, optimizer_results_do_not_depend_on_position);
    tcase_add_loop_test(tests, peak_counts_the_multiply_adds_it_does, 0, 5);
    return unit_check_run(suite);
}
