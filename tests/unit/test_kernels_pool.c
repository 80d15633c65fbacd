/* test_kernels_pool.c - pooling, dropout and normalization of single samples, of every table this
 * CPU can run, against plain loops. */
#include "src/memory.h"
#include "src/rng.h"
#include "tests/support/kernel_check.h"
#include "tests/support/unit_check.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHANNELS = 3 };

/* ---- windows ---- */

typedef struct Shape2d {
    int in, kernel, stride, padding, dilation, out;
} Shape2d;

typedef struct PoolCase {
    Shape2d h, w;
    int is_tiled, is_halved;
} PoolCase;

static const PoolCase pool_cases[] = {{{2, 2, 2, 0, 1, 1}, {2, 2, 2, 0, 1, 1}, 1, 0},
    {{8, 2, 2, 0, 1, 4}, {6, 2, 2, 0, 1, 3}, 1, 0}, {{5, 2, 2, 0, 1, 2}, {7, 2, 2, 0, 1, 3}, 1, 0},
    {{3, 2, 2, 0, 1, 1}, {37, 2, 2, 0, 1, 18}, 1, 0},
    {{8, 2, 2, 0, 1, 4}, {6, 2, 2, 0, 1, 3}, 0, 0}, {{7, 3, 2, 1, 1, 4}, {9, 3, 2, 1, 1, 5}, 0, 0},
    {{6, 3, 1, 0, 1, 4}, {5, 2, 3, 1, 1, 2}, 0, 0}, {{9, 3, 2, 1, 2, 4}, {8, 2, 1, 0, 3, 5}, 0, 0},
    {{5, 2, 2, 0, 1, 3}, {5, 3, 3, 0, 1, 2}, 0, 0}, {{9, 4, 2, 2, 1, 5}, {8, 5, 1, 2, 1, 8}, 0, 0},
    {{5, 3, 2, 1, 1, 3}, {6, 4, 1, 2, 1, 7}, 0, 0}, {{7, 3, 2, 1, 1, 4}, {9, 3, 2, 1, 1, 5}, 0, 1},
    {{5, 3, 2, 0, 1, 2}, {6, 3, 2, 0, 1, 2}, 0, 1},
    {{8, 3, 2, 1, 1, 4}, {70, 3, 2, 1, 1, 35}, 0, 1},
    {{2, 3, 2, 1, 1, 1}, {2, 3, 2, 1, 1, 1}, 0, 1},
    {{6, 3, 2, 1, 1, 3}, {67, 3, 2, 0, 1, 33}, 0, 1},
    {{3, 3, 2, 0, 1, 1}, {8, 3, 2, 1, 1, 4}, 0, 1},
    {{4, 3, 2, 0, 1, 2}, {17, 3, 2, 1, 1, 8}, 0, 1}};
enum { POOL_CASES = sizeof pool_cases / sizeof *pool_cases, WINDOWS_MAX = 48 };

typedef struct Pool {
    const Kernels *kernels;
    KernelPool pool;
    const PoolCase *shape;
    KernelWindow windows[2][WINDOWS_MAX];
    size_t in, out; /* floats of all channels */
    float *x, *y, *dy, *dx;
    double *want_y, *want_dx;
} Pool;

static int is_inside(const Shape2d *shape, int o, int k, int *position) {
    *position = o * shape->stride - shape->padding + k * shape->dilation;
    return *position >= 0 && *position < shape->in;
}

static void set_windows(const Shape2d *shape, KernelWindow *windows) {
    for (int o = 0; o < shape->out; o++) {
        windows[o] = (KernelWindow){.begin = -1};
        for (int k = 0, position; k < shape->kernel; k++) {
            if (!is_inside(shape, o, k, &position)) continue;
            if (windows[o].begin < 0) windows[o].begin = position;
            windows[o].end = position + 1;
            windows[o].count++;
        }
    }
}

static void pool_begin(Pool *p, const Kernels *kernels, int lanes, const PoolCase *shape) {
    *p = (Pool){.kernels = kernels, .shape = shape};
    set_windows(&shape->h, p->windows[0]);
    set_windows(&shape->w, p->windows[1]);
    p->pool = (KernelPool){.height = shape->h.in,
        .width = shape->w.in,
        .out_height = shape->h.out,
        .out_width = shape->w.out,
        .lanes = lanes,
        .rows = p->windows[0],
        .columns = p->windows[1],
        .step_h = shape->h.dilation,
        .step_w = shape->w.dilation,
        .is_tiled = shape->is_tiled,
        .is_halved = shape->is_halved};
    p->in = (size_t)CHANNELS * shape->h.in * shape->w.in * lanes;
    p->out = (size_t)CHANNELS * shape->h.out * shape->w.out * lanes;
    random_start(1);
    p->x = random_block(p->in);
    p->dy = random_block(p->out);
    p->y = block(p->out);
    p->dx = block(p->in);
    p->want_y = calloc(p->out, sizeof *p->want_y);
    p->want_dx = calloc(p->in, sizeof *p->want_dx);
    for (size_t i = 0; i < p->in; i++) /* many are equal; no zero is negative */
        p->x[i] = roundf(p->x[i] * 3) / 3 + 0.0f;
}

static void pool_finish(Pool *p) {
    block_free(p->x, p->in);
    block_free(p->dy, p->out);
    block_free(p->y, p->out);
    block_free(p->dx, p->in);
    free(p->want_y);
    free(p->want_dx);
}

static size_t pixel_at(const Pool *p, int c, int h, int w, int s) {
    return (((size_t)c * p->shape->h.in + h) * p->shape->w.in + w) * p->pool.lanes + s;
}

/* Window (oh, ow) of a channel's lane s, output number `at`, by the definition. */
static void plain_max(Pool *p, int c, int oh, int ow, int s, size_t at, int relu) {
    size_t winner = 0;
    int found = 0, h, w;
    for (int i = 0; i < p->shape->h.kernel * p->shape->w.kernel; i++) {
        if (!is_inside(&p->shape->h, oh, i / p->shape->w.kernel, &h) ||
            !is_inside(&p->shape->w, ow, i % p->shape->w.kernel, &w))
            continue;
        size_t pixel = pixel_at(p, c, h, w, s);
        float v = p->x[pixel];
        if (!found || v > p->x[winner] || isnan(v)) winner = pixel;
        found = 1;
    }
    p->want_y[at] = relu && p->x[winner] < 0 ? 0 : p->x[winner];
    if (!relu || p->x[winner] > 0) p->want_dx[winner] += p->dy[at];
}

static void plain_mean(Pool *p, int c, int oh, int ow, int s, size_t at, int relu) {
    (void)relu;
    double share = 1.0 / (p->windows[0][oh].count * p->windows[1][ow].count);
    for (int i = 0, h, w; i < p->shape->h.kernel * p->shape->w.kernel; i++) {
        if (!is_inside(&p->shape->h, oh, i / p->shape->w.kernel, &h) ||
            !is_inside(&p->shape->w, ow, i % p->shape->w.kernel, &w))
            continue;
        size_t pixel = pixel_at(p, c, h, w, s);
        p->want_y[at] += p->x[pixel] * share;
        p->want_dx[pixel] += p->dy[at] * share;
    }
}

static void for_windows(
    Pool *p, int relu, void (*plain)(Pool *p, int c, int oh, int ow, int s, size_t at, int relu)) {
    size_t at = 0;
    for (int c = 0; c < CHANNELS; c++)
        for (int oh = 0; oh < p->shape->h.out; oh++)
            for (int ow = 0; ow < p->shape->w.out; ow++)
                for (int s = 0; s < p->pool.lanes; s++, at++) plain(p, c, oh, ow, s, at, relu);
}

static void assert_as_wanted(const Pool *p, double tolerance) {
    for (size_t i = 0; i < p->out; i++) {
        if (isnan(p->want_y[i]) && isnan(p->y[i])) continue;
        assert_close(p->y[i], p->want_y[i], 1, tolerance, "pooled");
    }
    for (size_t i = 0; i < p->in; i++)
        assert_close(p->dx[i], p->want_dx[i], 9, FLT_EPSILON, "gradient");
}

static void run_max(Pool *p, int relu) {
    p->kernels->max_pool_forward(p->x, p->y, &p->pool, relu, 0, 1);
    p->kernels->max_pool_forward(p->x, p->y, &p->pool, relu, 1, CHANNELS);
    p->kernels->max_pool_backward(p->x, p->dy, p->dx, &p->pool, relu, 0, 1);
    p->kernels->max_pool_backward(p->x, p->dy, p->dx, &p->pool, relu, 1, CHANNELS);
}

START_TEST(the_first_of_equal_pixels_wins) {
    FOR_EACH_TABLE(kernels, lanes) {
        for (int relu = 0; relu < 2; relu++) {
            Pool p;
            pool_begin(&p, kernels, lanes, &pool_cases[_i]);
            run_max(&p, relu);
            for_windows(&p, relu, plain_max);
            assert_as_wanted(&p, 0);
            pool_finish(&p);
        }
    }
}
END_TEST

START_TEST(the_first_of_zeros_keeps_its_sign) {
    FOR_EACH_TABLE(kernels, lanes) {
        Pool p;
        pool_begin(&p, kernels, lanes, &pool_cases[_i]);
        for (size_t i = 0; i < p.in; i++) p.x[i] = i % 5 % 2 ? -0.0f : 0.0f;
        run_max(&p, 0);
        for_windows(&p, 0, plain_max);
        assert_as_wanted(&p, 0);
        for (size_t i = 0; i < p.out; i++) ASSERT_EACH(!signbit(p.y[i]) == !signbit(p.want_y[i]));
        pool_finish(&p);
    }
}
END_TEST

START_TEST(nan_wins_and_takes_the_gradient) {
    FOR_EACH_TABLE(kernels, lanes) {
        Pool p;
        pool_begin(&p, kernels, lanes, &pool_cases[_i]);
        for (size_t i = 0; i < p.in; i += 7) p.x[i] = NAN;
        run_max(&p, 0);
        for_windows(&p, 0, plain_max);
        assert_as_wanted(&p, 0);
        pool_finish(&p);
    }
}
END_TEST

START_TEST(pixels_may_be_infinite) {
    FOR_EACH_TABLE(kernels, lanes) {
        Pool p;
        pool_begin(&p, kernels, lanes, &pool_cases[_i]);
        for (size_t i = 0; i < p.in; i++) p.x[i] = i % 3 ? -INFINITY : i % 7 ? p.x[i] : INFINITY;
        run_max(&p, 0);
        for_windows(&p, 0, plain_max);
        for (size_t i = 0; i < p.out; i++) ASSERT_EACH(p.y[i] == p.want_y[i]);
        for (size_t i = 0; i < p.in; i++)
            assert_close(p.dx[i], p.want_dx[i], 9, FLT_EPSILON, "gradient");
        pool_finish(&p);
    }
}
END_TEST

/* max(max, 0) is the max of the rectified pixels. */
START_TEST(a_fused_relu_is_a_relu_before) {
    FOR_EACH_TABLE(kernels, lanes) {
        Pool p;
        pool_begin(&p, kernels, lanes, &pool_cases[_i]);
        float *rectified = block(p.in), *y = block(p.out), *dx = block(p.in);
        kernels->relu_forward(p.x, rectified, p.in);
        kernels->max_pool_forward(rectified, y, &p.pool, 0, 0, CHANNELS);
        kernels->max_pool_backward(rectified, p.dy, dx, &p.pool, 0, 0, CHANNELS);
        kernels->relu_backward(rectified, dx, dx, p.in);
        run_max(&p, 1);
        assert_same_bits(p.y, y, p.out, "largest");
        for (size_t i = 0; i < p.in; i++) ASSERT_EACH(p.dx[i] == dx[i]);
        block_free(rectified, p.in);
        block_free(y, p.out);
        block_free(dx, p.in);
        pool_finish(&p);
    }
}
END_TEST

START_TEST(means_agree_with_a_plain_loop) {
    const PoolCase *shape = &pool_cases[_i];
    if (shape->h.dilation > 1 || shape->w.dilation > 1) return;
    FOR_EACH_TABLE(kernels, lanes) {
        Pool p;
        pool_begin(&p, kernels, lanes, shape);
        kernels->mean_pool_forward(p.x, p.y, &p.pool, 0, 2);
        kernels->mean_pool_forward(p.x, p.y, &p.pool, 2, CHANNELS);
        kernels->mean_pool_backward(p.dy, p.dx, &p.pool, 0, 2);
        kernels->mean_pool_backward(p.dy, p.dx, &p.pool, 2, CHANNELS);
        for_windows(&p, 0, plain_mean);
        assert_as_wanted(&p, FLT_EPSILON);
        pool_finish(&p);
    }
}
END_TEST

/* ---- dropout ---- */

START_TEST(factors_are_drawn_by_philox) {
    static const int row_counts[] = {1, 4, 11, 70};
    int rows = row_counts[_i];
    FOR_EACH_TABLE(kernels, lanes) {
        uint32_t low[64], high[64], bits[4];
        Rng rng = rng_stream(77, RNG_DROPOUT, 5);
        float *factors = block(rows * lanes);
        for (int s = 0; s < lanes; s++) low[s] = 123456u * s, high[s] = s % 3;
        KernelDropout dropout = {.key = {rng.key[0], rng.key[1]},
            .step = 4000000000u,
            .sample_low = low,
            .sample_high = high,
            .threshold = 0x90000000u,
            .keep = 2.5f};
        kernels->dropout_draw(&dropout, rows, lanes, factors);
        for (int i = 0; i < rows * lanes; i++) {
            int row = i / lanes, s = i % lanes;
            uint64_t sample = (uint64_t)high[s] << 32 | low[s];
            rng_draw(rng, dropout.step, sample, row / 4, bits);
            ASSERT_EACH(factors[i] == (bits[row % 4] < dropout.threshold ? 0 : 2.5f));
        }
        block_free(factors, rows * lanes);
    }
}
END_TEST

START_TEST(rows_are_multiplied_by_their_factors) {
    enum { ROWS = 29 };
    static const int pixel_counts[] = {1, 3, 25};
    int pixels = pixel_counts[_i];
    FOR_EACH_TABLE(kernels, lanes) {
        size_t n = (size_t)ROWS * pixels * lanes;
        float *x = random_block(n), *factors = random_block(ROWS * lanes), *y = block(n);
        kernels->multiply_rows(x, factors, y, pixels, lanes, 0, 2);
        kernels->multiply_rows(x, factors, y, pixels, lanes, 2, ROWS);
        for (size_t i = 0; i < n; i++) {
            size_t row = i / ((size_t)pixels * lanes);
            ASSERT_EACH(y[i] == x[i] * factors[row * lanes + i % lanes]);
        }
        kernels->multiply_rows(x, factors, x, pixels, lanes, 0, ROWS);
        assert_same_bits(x, y, n, "in place");
        block_free(x, n);
        block_free(factors, ROWS * lanes);
        block_free(y, n);
    }
}
END_TEST

/* ---- group norm ---- */

enum { GROUPS = 2 };
static const int group_shapes[][2] = {
    {1, 1}, {2, 1}, {6, 3}, {12, 12}, {35, 5}, {98, 49}, {12, 2}, {70, 1}, {600, 300}};
enum { GROUP_SHAPES = sizeof group_shapes / sizeof *group_shapes };

/* Samples of mean 1000 and deviation 1; in dead lanes dy is NaN, and x 0. */
typedef struct Norm {
    const Kernels *kernels;
    KernelGroupNorm norm;
    int weights; /* of all groups */
    size_t n;
    float *x, *dy, *y, *dx, *weight, *bias, *dweight, *dbias, *statistics;
} Norm;

static void norm_begin(Norm *g, const Kernels *kernels, int lanes, int valid, const int shape[2]) {
    g->kernels = kernels;
    g->weights = GROUPS * shape[0] / shape[1];
    g->n = (size_t)GROUPS * shape[0] * lanes;
    random_start(lanes + valid);
    g->x = random_block(g->n);
    g->dy = random_block(g->n);
    for (size_t i = 0; i < g->n; i++) {
        g->x[i] = 1000.0f + 1.7f * g->x[i];
        if ((int)(i % lanes) >= valid) g->x[i] = 0, g->dy[i] = NAN;
    }
    g->y = block(g->n);
    g->dx = block(g->n);
    g->weight = random_block(g->weights);
    g->bias = random_block(g->weights);
    g->dweight = block(g->weights);
    g->dbias = block(g->weights);
    g->statistics = block(GROUPS * 3 * lanes);
    g->norm = (KernelGroupNorm){.rows = shape[0],
        .rows_per_weight = shape[1],
        .lanes = lanes,
        .valid = valid,
        .eps = 1e-5,
        .statistics = g->statistics};
}

static void norm_finish(Norm *g) {
    block_free(g->x, g->n);
    block_free(g->dy, g->n);
    block_free(g->y, g->n);
    block_free(g->dx, g->n);
    block_free(g->weight, g->weights);
    block_free(g->bias, g->weights);
    block_free(g->dweight, g->weights);
    block_free(g->dbias, g->weights);
    block_free(g->statistics, GROUPS * 3 * g->norm.lanes);
}

/* One sample of one group, by the formulas in double; adds to the gradients of the weights. */
static void check_sample(const Norm *g, int group, int s, double *dweight, double *dbias) {
    int rows = g->norm.rows, lanes = g->norm.lanes;
    double mean = 0, variance = 0, of_g = 0, of_g_xhat = 0;
    size_t first = (size_t)group * rows * lanes + s;
    for (int r = 0; r < rows; r++) mean += g->x[first + (size_t)r * lanes] / (double)rows;
    for (int r = 0; r < rows; r++)
        variance += pow(g->x[first + (size_t)r * lanes] - mean, 2) / rows;
    double inverse_std = 1 / sqrt(variance + 1e-5);
    for (int r = 0; r < rows; r++) {
        size_t i = first + (size_t)r * lanes;
        int k = (group * rows + r) / g->norm.rows_per_weight;
        double xhat = (g->x[i] - mean) * inverse_std, dy = g->dy[i];
        assert_close(g->y[i], xhat * g->weight[k] + g->bias[k], 4, 2 * FLT_EPSILON, "y");
        dweight[k] += dy * xhat;
        dbias[k] += dy;
        of_g += dy * g->weight[k] / rows;
        of_g_xhat += dy * g->weight[k] * xhat / rows;
    }
    for (int r = 0; r < rows; r++) {
        size_t i = first + (size_t)r * lanes;
        int k = (group * rows + r) / g->norm.rows_per_weight;
        double xhat = (g->x[i] - mean) * inverse_std;
        double want = inverse_std * (g->dy[i] * g->weight[k] - of_g - xhat * of_g_xhat);
        assert_close(g->dx[i], want, 4 * (1 + inverse_std), 2 * FLT_EPSILON, "dx");
    }
}

static void check_norm(const Norm *g) {
    double dweight[256] = {0}, dbias[256] = {0};
    for (int group = 0; group < GROUPS; group++)
        for (int s = 0; s < g->norm.valid; s++) check_sample(g, group, s, dweight, dbias);
    for (int k = 0; k < g->weights; k++) {
        double size = fmax(1, g->norm.valid * g->norm.rows_per_weight);
        assert_close(g->dweight[k], dweight[k], size, 2 * FLT_EPSILON, "dweight");
        assert_close(g->dbias[k], dbias[k], size, FLT_EPSILON, "dbias");
    }
    for (size_t i = 0; i < g->n; i++) {
        if ((int)(i % g->norm.lanes) < g->norm.valid) continue;
        ASSERT_EACH(g->dx[i] == 0 && isfinite(g->y[i]));
    }
}

START_TEST(samples_far_from_zero_are_normalized_by_themselves) {
    FOR_EACH_TABLE(kernels, lanes) {
        int valids[] = {1, lanes / 2, lanes - 1, lanes};
        for (int i = 0; i < 4; i++) {
            if (valids[i] < 1) continue;
            Norm g;
            norm_begin(&g, kernels, lanes, valids[i], group_shapes[_i]);
            for (int group = 0; group < GROUPS; group++) {
                kernels->group_norm_forward(g.x, g.y, &g.norm, g.weight, g.bias, group, group + 1);
                kernels->group_norm_backward(
                    g.dy, g.x, g.dx, &g.norm, g.weight, g.dweight, g.dbias, group, group + 1);
            }
            check_norm(&g);
            norm_finish(&g);
        }
    }
}
END_TEST

START_TEST(without_weights_a_norm_has_ones_and_zeros) {
    FOR_EACH_TABLE(kernels, lanes) {
        Norm g;
        norm_begin(&g, kernels, lanes, lanes - 1, group_shapes[_i]);
        float *y = block(g.n), *dx = block(g.n);
        for (int k = 0; k < g.weights; k++) g.weight[k] = 1, g.bias[k] = 0;
        kernels->group_norm_forward(g.x, y, &g.norm, g.weight, g.bias, 0, GROUPS);
        kernels->group_norm_backward(
            g.dy, g.x, dx, &g.norm, g.weight, g.dweight, g.dbias, 0, GROUPS);
        kernels->group_norm_forward(g.x, g.y, &g.norm, NULL, NULL, 0, GROUPS);
        kernels->group_norm_backward(g.dy, g.x, g.dx, &g.norm, NULL, NULL, NULL, 0, GROUPS);
        assert_same_bits(g.y, y, g.n, "y");
        assert_same_bits(g.dx, dx, g.n, "dx");
        block_free(y, g.n);
        block_free(dx, g.n);
        norm_finish(&g);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels of pools, dropout and norms");
    TCase *tests = unit_check_case(suite, "kernels");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, the_first_of_equal_pixels_wins, 0, POOL_CASES);
    tcase_add_loop_test(tests, the_first_of_zeros_keeps_its_sign, 0, POOL_CASES);
    tcase_add_loop_test(tests, nan_wins_and_takes_the_gradient, 0, POOL_CASES);
    tcase_add_loop_test(tests, pixels_may_be_infinite, 0, POOL_CASES);
    tcase_add_loop_test(tests, a_fused_relu_is_a_relu_before, 0, POOL_CASES);
    tcase_add_loop_test(tests, means_agree_with_a_plain_loop, 0, POOL_CASES);
    tcase_add_loop_test(tests, factors_are_drawn_by_philox, 0, 4);
    tcase_add_loop_test(tests, rows_are_multiplied_by_their_factors, 0, 3);
    tcase_add_loop_test(tests, samples_far_from_zero_are_normalized_by_themselves, 0, GROUP_SHAPES);
    tcase_add_loop_test(tests, without_weights_a_norm_has_ones_and_zeros, 0, GROUP_SHAPES);
    return unit_check_run(suite);
}
