/* test_kernels_activation.c - exp, tanh, sigmoid, GELU and the softmaxes of every table this
 * CPU can run, against libm in double: their errors, their limits, and the same bits everywhere. */
#include "src/memory.h"
#include "tests/support/kernel_check.h"
#include "tests/support/unit_check.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the functions ---- */

typedef void (*Forward)(const Kernels *kernels, const float *x, float *y, size_t n);
typedef void (*Backward)(
    const Kernels *kernels, const float *v, const float *dy, float *dx, size_t n);

/* A function and its derivative, the latter a function of x (or of y where from_y). */
typedef struct Function {
    const char *name;
    Forward forward;
    Backward backward;
    double (*value)(double x);
    double (*slope)(double x);
    int from_y;
    double ulps;  /* largest error, in units of the last place of the result, */
    double floor; /* or this, whichever is more */
} Function;

static const float slope_of_leaky = 0.2f;

#define WRAP(name, ...)                                                                            \
    static void name##_there(const Kernels *kernels, const float *x, float *y, size_t n) {         \
        kernels->name##_forward(x, y, n __VA_ARGS__);                                              \
    }                                                                                              \
    static void name##_back(                                                                       \
        const Kernels *kernels, const float *v, const float *dy, float *dx, size_t n) {            \
        kernels->name##_backward(v, dy, dx, n __VA_ARGS__);                                        \
    }
WRAP(sigmoid)
WRAP(tanh)
WRAP(gelu)
WRAP(gelu_tanh)
WRAP(leaky_relu, , slope_of_leaky)

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static double sigmoid_slope(double x) {
    return sigmoid(x) * (1 - sigmoid(x));
}

static double tanh_slope(double x) {
    return 1 - tanh(x) * tanh(x);
}

static double gelu(double x) {
    return 0.5 * x * erfc(-x * M_SQRT1_2);
}

static double gelu_slope(double x) {
    return 0.5 * erfc(-x * M_SQRT1_2) + x * exp(-x * x / 2) / sqrt(2 * M_PI);
}

static double gelu_tangent(double x) {
    return tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
}

static double gelu_tanh(double x) {
    return 0.5 * x * (1 + gelu_tangent(x));
}

static double gelu_tanh_slope(double x) {
    double t = gelu_tangent(x);
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
}

static double leaky(double x) {
    return x > 0 ? x : x * slope_of_leaky;
}

static double leaky_slope(double x) {
    return x > 0 ? 1 : slope_of_leaky;
}

static const Function functions[] = {
    {"sigmoid", sigmoid_there, sigmoid_back, sigmoid, sigmoid_slope, 1, 3, 1e-38},
    {"tanh", tanh_there, tanh_back, tanh, tanh_slope, 1, 2, 0},
    {"gelu", gelu_there, gelu_back, gelu, gelu_slope, 0, 6, 2e-8},
    {"gelu_tanh", gelu_tanh_there, gelu_tanh_back, gelu_tanh, gelu_tanh_slope, 0, 6, 2e-8},
    {"leaky_relu", leaky_relu_there, leaky_relu_back, leaky, leaky_slope, 1, 1, 0}};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

/* ---- errors ---- */

static double unit_in_last_place(double value) {
    float near = fabsf((float)value);
    return (double)nextafterf(near, INFINITY) - near;
}

static void check_values(const Function *f, const Kernels *kernels, const float *x, size_t n) {
    float *y = block(n), *dy = block(n), *dx = block(n);
    for (size_t i = 0; i < n; i++) dy[i] = 0.75f;
    f->forward(kernels, x, y, n);
    f->backward(kernels, f->from_y ? y : x, dy, dx, n);
    for (size_t i = 0; i < n; i++) {
        double want = f->value(x[i]), limit = fmax(f->ulps * unit_in_last_place(want), f->floor);
        if (!(fabs(y[i] - want) <= limit))
            ck_abort_msg(
                "%s, %s: f(%.9g) is %.9g, not %.9g", f->name, kernels->isa, x[i], y[i], want);
        want = 0.75 * f->slope(x[i]);
        if (!(fabs(dx[i] - want) <= 3e-7))
            ck_abort_msg("%s, %s: slope at %.9g is %.9g, not %.9g", f->name, kernels->isa, x[i],
                dx[i], want);
    }
    block_free(y, n);
    block_free(dy, n);
    block_free(dx, n);
}

START_TEST(functions_have_the_errors_they_state) {
    enum { COUNT = 20000 };
    const Function *f = &functions[_i];
    float *x = block(COUNT);
    FOR_EACH_TABLE(kernels, lanes) {
        if (lanes != kernels->width) continue;
        random_start(_i + lanes);
        for (int i = 0; i < COUNT; i++) /* near zero, about one, and far out */
            x[i] = random_float() * (i % 4 == 0 ? 0.01f : i % 4 == 1 ? 1.2f : i % 4 == 2 ? 6 : 80);
        check_values(f, kernels, x, COUNT);
    }
    block_free(x, COUNT);
}
END_TEST

/* Where the formula's factors would overflow, or differ from 0 by less than they are rounded. */
static void check_far_slopes(const Function *f, const Kernels *kernels) {
    enum { COUNT = 6 };
    const float sizes[COUNT] = {200, 1e6f, 1e13f, 1e15f, 3e19f, FLT_MAX};
    for (int sign = -1; sign <= 1; sign += 2) {
        float x[COUNT], y[COUNT], dx[COUNT], dy[COUNT];
        for (int i = 0; i < COUNT; i++) {
            x[i] = sign * sizes[i];
            dy[i] = 1;
        }
        f->forward(kernels, x, y, COUNT);
        f->backward(kernels, f->from_y ? y : x, dy, dx, COUNT);
        for (int i = 0; i < COUNT; i++) assert_close(dx[i], f->slope(sign * 200), 1, 1e-7, f->name);
    }
}

START_TEST(functions_reach_their_limits) {
    const float x[] = {0.0f, -0.0f, 1e-40f, -1e-40f, 200, -200, FLT_MAX, -FLT_MAX, INFINITY};
    float y[9], wanted[FUNCTIONS][2] = {{1, 0}, {1, -1}, {200, 0}, {200, 0}, {200, -40}};
    FOR_EACH_TABLE(kernels, lanes) {
        const Function *f = &functions[_i];
        f->forward(kernels, x, y, 9);
        for (int i = 0; i < 4; i++) ck_assert_double_le(fabs(y[i] - f->value(x[i])), 1e-39);
        ck_assert_float_eq(y[4], wanted[_i][0]);
        ck_assert_float_eq(y[5], wanted[_i][1]);
        ck_assert(!isnan(y[6]) && !isnan(y[7]) && !isnan(y[8]));
        check_far_slopes(f, kernels);
        float bad = NAN, result;
        f->forward(kernels, &bad, &result, 1);
        ck_assert(isnan(result));
    }
}
END_TEST

/* ---- position ---- */

START_TEST(results_do_not_depend_on_position_or_length) {
    enum { COUNT = 133 };
    const Function *f = &functions[_i];
    FOR_EACH_TABLE(kernels, lanes) {
        float *x = random_block(COUNT), *dy = random_block(COUNT);
        float *y = block(COUNT), *dx = block(COUNT), one_y, one_dx;
        for (int i = 0; i < COUNT; i++) x[i] *= 3;
        f->forward(kernels, x, y, COUNT);
        f->backward(kernels, f->from_y ? y : x, dy, dx, COUNT);
        for (int i = 0; i < COUNT; i++) {
            f->forward(kernels, x + i, &one_y, 1);
            f->backward(kernels, f->from_y ? y + i : x + i, dy + i, &one_dx, 1);
            assert_same_bits(y + i, &one_y, 1, f->name);
            assert_same_bits(dx + i, &one_dx, 1, f->name);
        }
        for (size_t n = 0; n < COUNT; n++) {
            float *part = block(n);
            f->forward(kernels, x, part, n);
            assert_same_bits(part, y, n, f->name);
            block_free(part, n);
        }
        f->backward(kernels, f->from_y ? y : x, dy, dy, COUNT);
        assert_same_bits(dy, dx, COUNT, "gradient in place");
        f->forward(kernels, x, x, COUNT);
        assert_same_bits(x, y, COUNT, "in place");
        block_free(x, COUNT);
        block_free(dy, COUNT);
        block_free(y, COUNT);
        block_free(dx, COUNT);
    }
}
END_TEST

/* The tables of an instruction set have the same bits, whatever their width. */
START_TEST(results_do_not_depend_on_the_width) {
    enum { COUNT = 200 };
    const Function *f = &functions[_i];
    for (const char *const *isa = kernels_isa_names(); *isa != NULL; isa++) {
        float x[COUNT], first[COUNT], other[COUNT];
        for (int i = 0; i < COUNT; i++) x[i] = 4 * random_float();
        for (int lanes = 4; lanes <= 16; lanes *= 2) {
            const Kernels *kernels = kernels_find(*isa, lanes);
            if (kernels == NULL) continue;
            f->forward(kernels, x, lanes == 4 ? first : other, COUNT);
            if (lanes > 4) assert_same_bits(first, other, COUNT, f->name);
        }
    }
}
END_TEST

/* ---- softmax ---- */

typedef struct Softmax {
    int channels, pixels;
    float centre, width;
} Softmax;

static const Softmax softmaxes[] = {
    {1, 1, 0, 1}, {2, 3, 0, 2}, {10, 1, 0, 30}, {10, 5, 1000, 4}, {37, 2, -1000, 1}};
enum { SOFTMAXES = sizeof softmaxes / sizeof *softmaxes };

/* Column i of [channels][n] by the formulas, in double. */
static void plain_softmax(const float *x, const float *dy, int channels, size_t n, double *y,
    double *log_y, double *dx, double *dx_of_log) {
    double largest = -INFINITY, sum = 0, product = 0, total = 0;
    for (int c = 0; c < channels; c++) largest = fmax(largest, x[c * n]);
    for (int c = 0; c < channels; c++) sum += exp(x[c * n] - largest);
    for (int c = 0; c < channels; c++) {
        log_y[c] = x[c * n] - largest - log(sum);
        y[c] = exp(log_y[c]);
        product += y[c] * dy[c * n];
        total += dy[c * n];
    }
    for (int c = 0; c < channels; c++) {
        dx[c] = y[c] * (dy[c * n] - product);
        dx_of_log[c] = dy[c * n] - y[c] * total;
    }
}

static void check_softmax(const Softmax *one, const Kernels *kernels, int lanes) {
    int channels = one->channels;
    size_t n = (size_t)one->pixels * lanes, all = n * channels;
    float *x = random_block(all), *dy = random_block(all), *y = block(all), *dx = block(all);
    float *log_y = block(all), *dx_of_log = block(all);
    for (size_t i = 0; i < all; i++) x[i] = one->centre + one->width * x[i];
    kernels->softmax_forward(x, y, channels, n);
    kernels->softmax_backward(y, dy, dx, channels, n);
    kernels->log_softmax_forward(x, log_y, channels, n);
    kernels->log_softmax_backward(log_y, dy, dx_of_log, channels, n);
    for (size_t i = 0; i < n; i++) {
        double want[4][64];
        plain_softmax(x + i, dy + i, channels, n, want[0], want[1], want[2], want[3]);
        for (int c = 0; c < channels; c++) {
            size_t at = c * n + i;
            double size = fmax(1, fabs(want[1][c]));
            /* x - largest is rounded, and its error is a factor. */
            assert_close(y[at], want[0][c], want[0][c] * (1 + size), 2 * FLT_EPSILON, "softmax");
            assert_close(log_y[at], want[1][c], size, FLT_EPSILON, "log_softmax");
            assert_close(dx[at], want[2][c], 1, 4 * FLT_EPSILON, "softmax gradient");
            assert_close(
                dx_of_log[at], want[3][c], 1 + 1.0 * channels, 4 * FLT_EPSILON, "log gradient");
        }
    }
    block_free(x, all);
    block_free(dy, all);
    block_free(y, all);
    block_free(dx, all);
    block_free(log_y, all);
    block_free(dx_of_log, all);
}

/* One of the four kernels; where x is what forward gave, any numbers will do. */
static void run_softmax(const Kernels *kernels, int kind, const float *x, const float *dy, float *y,
    int channels, size_t n) {
    if (kind == 0) kernels->softmax_forward(x, y, channels, n);
    if (kind == 1) kernels->softmax_backward(x, dy, y, channels, n);
    if (kind == 2) kernels->log_softmax_forward(x, y, channels, n);
    if (kind == 3) kernels->log_softmax_backward(x, dy, y, channels, n);
}

START_TEST(softmaxes_agree_with_a_plain_loop) {
    FOR_EACH_TABLE(kernels, lanes) {
        random_start(_i);
        check_softmax(&softmaxes[_i], kernels, lanes);
        if (lanes == 4) check_softmax(&softmaxes[_i], kernels, 3);
    }
}
END_TEST

/* Where there are as many, a column has the same bits at every place and beside any others. */
START_TEST(softmaxes_do_not_depend_on_the_columns_beside) {
    enum { CHANNELS = 37, COLUMNS = 45 };
    static const int counts[] = {2, 3, 4, 8, 16, COLUMNS};
    FOR_EACH_TABLE(kernels, lanes) {
        int n = counts[_i];
        size_t all = CHANNELS * (size_t)n;
        float *x = random_block(all), *dy = random_block(all), *y = block(all);
        float *other_x = random_block(all), *other_dy = random_block(all), *other_y = block(all);
        for (int kind = 0; kind < 4; kind++) {
            run_softmax(kernels, kind, x, dy, y, CHANNELS, n);
            for (int i = 0; i < n; i++) {
                int there = n - 1 - i;
                for (int c = 0; c < CHANNELS; c++)
                    other_x[c * n + there] = x[c * n + i], other_dy[c * n + there] = dy[c * n + i];
                run_softmax(kernels, kind, other_x, other_dy, other_y, CHANNELS, n);
                for (int c = 0; c < CHANNELS; c++)
                    assert_same_bits(other_y + c * n + there, y + c * n + i, 1, "one column");
            }
        }
        block_free(x, all);
        block_free(dy, all);
        block_free(y, all);
        block_free(other_x, all);
        block_free(other_dy, all);
        block_free(other_y, all);
    }
}
END_TEST

START_TEST(one_nan_spoils_its_own_softmax_only) {
    enum { CHANNELS = 5 };
    FOR_EACH_TABLE(kernels, lanes) {
        for (int bad = 0; bad < CHANNELS; bad++) {
            float *x = random_block(CHANNELS * lanes), *y = block(CHANNELS * lanes);
            x[bad * lanes + lanes / 2] = NAN;
            for (int is_log = 0; is_log < 2; is_log++) {
                (is_log ? kernels->log_softmax_forward : kernels->softmax_forward)(
                    x, y, CHANNELS, lanes);
                for (int i = 0; i < CHANNELS * lanes; i++)
                    ASSERT_EACH(isnan(y[i]) == (i % lanes == lanes / 2));
            }
            block_free(x, CHANNELS * lanes);
            block_free(y, CHANNELS * lanes);
        }
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels of activations");
    TCase *tests = unit_check_case(suite, "activations");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, functions_have_the_errors_they_state, 0, FUNCTIONS);
    tcase_add_loop_test(tests, functions_reach_their_limits, 0, FUNCTIONS);
    tcase_add_loop_test(tests, results_do_not_depend_on_position_or_length, 0, FUNCTIONS);
    tcase_add_loop_test(tests, results_do_not_depend_on_the_width, 0, FUNCTIONS);
    tcase_add_loop_test(tests, softmaxes_agree_with_a_plain_loop, 0, SOFTMAXES);
    tcase_add_loop_test(tests, softmaxes_do_not_depend_on_the_columns_beside, 0, 6);
    tcase_add_test(tests, one_nan_spoils_its_own_softmax_only);
    return unit_check_run(suite);
}
