/* test_depthwise.c - the depthwise kernels, as conv2d's plans call them, against plain loops over
 * the taps; and that they write and read nothing beside the channels that they are given. */
#include "src/layers/depthwise.h"
#include "tests/support/kernel_check.h"
#include "tests/support/unit_check.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { CHANNELS = 3 };

static const struct {
    int multiplier, height, width, kernel, stride, padding, dilation;
} cases[] = {{1, 7, 20, 3, 1, 1, 1}, {1, 8, 9, 3, 2, 1, 1}, {2, 6, 7, 3, 1, 0, 2},
    {2, 9, 18, 5, 1, 2, 1}, {2, 5, 6, 4, 2, 3, 1}, {1, 10, 9, 8, 1, 4, 1}, {1, 1, 3, 1, 2, 2, 1},
    {1, 4, 4, 3, 1, 24, 9}, {1, 20, 17, 16, 1, 8, 1}};
enum { CASE_COUNT = sizeof cases / sizeof *cases };

typedef struct Depthwise {
    const Kernels *kernels;
    Conv2dSizes sizes;
    int lanes, taps;
    size_t x_plane, y_plane;
    float *x, *y, *weight, *bias;
    double *sums, *sizes_of_terms; /* as many as the largest result has floats */
} Depthwise;

static size_t x_floats(const Depthwise *d) {
    return (size_t)d->sizes.in * d->x_plane;
}

static size_t y_floats(const Depthwise *d) {
    return (size_t)d->sizes.out * d->y_plane;
}

static void depthwise_begin(Depthwise *d, const Kernels *kernels, int lanes, int number) {
    int k = cases[number].kernel, s = cases[number].stride, p = cases[number].padding;
    int dilation = cases[number].dilation, window = dilation * (k - 1) + 1;
    int height = cases[number].height, width = cases[number].width;
    *d = (Depthwise){.kernels = kernels,
        .lanes = lanes,
        .taps = k * k,
        .sizes = {.in = CHANNELS,
            .out = CHANNELS * cases[number].multiplier,
            .groups = CHANNELS,
            .x_size = {height, width},
            .y_size = {(height + 2 * p - window) / s + 1, (width + 2 * p - window) / s + 1},
            .kernel = {k, k},
            .stride = {s, s},
            .padding = {p, p},
            .dilation = {dilation, dilation}}};
    ck_assert(depthwise_suits(&d->sizes));
    d->x_plane = (size_t)height * width * lanes;
    d->y_plane = (size_t)d->sizes.y_size[0] * d->sizes.y_size[1] * lanes;
    random_start(number + 1);
    d->x = random_block(x_floats(d));
    d->y = random_block(y_floats(d));
    d->weight = random_block((size_t)d->sizes.out * d->taps);
    d->bias = random_block(d->sizes.out);
    size_t most = x_floats(d) + y_floats(d) + (size_t)d->sizes.out * d->taps;
    d->sums = calloc(most, sizeof *d->sums);
    d->sizes_of_terms = calloc(most, sizeof *d->sizes_of_terms);
}

static void depthwise_finish(Depthwise *d) {
    block_free(d->x, x_floats(d));
    block_free(d->y, y_floats(d));
    block_free(d->weight, (size_t)d->sizes.out * d->taps);
    block_free(d->bias, d->sizes.out);
    free(d->sums);
    free(d->sizes_of_terms);
}

/* Call `visit` for every product: floats of x, of y, and of the weights. */
typedef void Visit(Depthwise *d, size_t x, size_t y, size_t weight);

static void for_products_of(Depthwise *d, int o, int row, int column, Visit *visit) {
    const Conv2dSizes *s = &d->sizes;
    int lanes = d->lanes, in = o / (s->out / s->in);
    size_t y = o * d->y_plane + ((size_t)row * s->y_size[1] + column) * lanes;
    for (int t = 0; t < d->taps; t++) {
        int h = row * s->stride[0] - s->padding[0] + t / s->kernel[1] * s->dilation[0];
        int w = column * s->stride[1] - s->padding[1] + t % s->kernel[1] * s->dilation[1];
        if (h < 0 || h >= s->x_size[0] || w < 0 || w >= s->x_size[1]) continue;
        size_t x = in * d->x_plane + ((size_t)h * s->x_size[1] + w) * lanes;
        for (int lane = 0; lane < lanes; lane++)
            visit(d, x + lane, y + lane, (size_t)o * d->taps + t);
    }
}

static void for_products(Depthwise *d, Visit *visit) {
    for (int o = 0; o < d->sizes.out; o++)
        for (int row = 0; row < d->sizes.y_size[0]; row++)
            for (int column = 0; column < d->sizes.y_size[1]; column++)
                for_products_of(d, o, row, column, visit);
}

static void add(Depthwise *d, size_t at, double product) {
    d->sums[at] += product;
    d->sizes_of_terms[at] += fabs(product);
}

static void add_to_y(Depthwise *d, size_t x, size_t y, size_t weight) {
    add(d, y, (double)d->x[x] * d->weight[weight]);
}

static void add_to_dx(Depthwise *d, size_t x, size_t y, size_t weight) {
    add(d, x, (double)d->y[y] * d->weight[weight]);
}

static void add_to_dweight(Depthwise *d, size_t x, size_t y, size_t weight) {
    add(d, weight, (double)d->y[y] * d->x[x]);
}

static void assert_sums(const Depthwise *d, const float *got, size_t n, const char *what) {
    for (size_t i = 0; i < n; i++)
        assert_close(got[i], d->sums[i], d->sizes_of_terms[i], 16 * FLT_EPSILON, what);
}

START_TEST(results_are_those_of_plain_loops) {
    FOR_EACH_TABLE(kernels, lanes) {
        Depthwise d;
        DepthwisePlan plan;
        depthwise_begin(&d, kernels, lanes, _i);
        depthwise_plan_forward(&plan, &d.sizes, kernels, lanes);
        for (size_t i = 0; i < y_floats(&d); i++) add(&d, i, d.bias[i / d.y_plane]);
        for_products(&d, add_to_y);
        depthwise_run(&plan, d.weight, d.bias, d.x, d.y, 0, 1);
        depthwise_run(&plan, d.weight, d.bias, d.x, d.y, 1, d.sizes.out);
        assert_sums(&d, d.y, y_floats(&d), "y");
        depthwise_finish(&d);
    }
}
END_TEST

START_TEST(input_gradients_are_those_of_plain_loops) {
    FOR_EACH_TABLE(kernels, lanes) {
        Depthwise d;
        DepthwisePlan plan;
        depthwise_begin(&d, kernels, lanes, _i);
        depthwise_plan_input_gradient(&plan, &d.sizes, kernels, lanes);
        for_products(&d, add_to_dx);
        depthwise_run(&plan, d.weight, NULL, d.y, d.x, 0, 1);
        depthwise_run(&plan, d.weight, NULL, d.y, d.x, 1, d.sizes.in);
        assert_sums(&d, d.x, x_floats(&d), "dx");
        depthwise_finish(&d);
    }
}
END_TEST

START_TEST(weight_gradients_are_those_of_plain_loops) {
    FOR_EACH_TABLE(kernels, lanes) {
        Depthwise d;
        DepthwisePlan plan;
        depthwise_begin(&d, kernels, lanes, _i);
        depthwise_plan_forward(&plan, &d.sizes, kernels, lanes);
        for_products(&d, add_to_dweight);
        depthwise_weight_gradient(&plan, d.y, d.x, d.weight, 0, 1);
        depthwise_weight_gradient(&plan, d.y, d.x, d.weight + d.taps, 1, d.sizes.out);
        assert_sums(&d, d.weight, (size_t)d.sizes.out * d.taps, "dweight");
        depthwise_finish(&d);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("depthwise");
    TCase *tests = unit_check_case(suite, "depthwise");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, results_are_those_of_plain_loops, 0, CASE_COUNT);
    tcase_add_loop_test(tests, input_gradients_are_those_of_plain_loops, 0, CASE_COUNT);
    tcase_add_loop_test(tests, weight_gradients_are_those_of_plain_loops, 0, CASE_COUNT);
    return unit_check_run(suite);
}
