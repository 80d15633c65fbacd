/* test_conv2d.c - the convolution layer, with every instruction set and several microbatch sizes,
 * against the definition in plain loops: results, and gradients of weights, bias and input. */
#include "src/layers/conv2d_plan.h"
#include "src/memory.h"
#include "tests/support/harness.h"
#include "tests/support/unit_check.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Case {
    int in, height, width, out;
    int kernel[2], stride[2], padding[2], dilation[2], groups;
    int is_winograd; /* asked for */
} Case;

#define ONE                                                                                        \
    { 1, 1 }
#define NONE                                                                                       \
    { 0, 0 }
static const Case cases[] = {
    {3, 8, 9, 6, {5, 5}, ONE, NONE, ONE, 1, 0},
    {1, 7, 7, 6, {5, 5}, ONE, NONE, ONE, 1, 0},
    {6, 10, 9, 16, {5, 5}, ONE, NONE, ONE, 1, 0},
    {3, 13, 14, 4, {5, 5}, ONE, NONE, ONE, 1, 0}, /* half a vector left of rows of 10 and 14 */
    {2, 8, 7, 3, {7, 6}, {1, 2}, {3, 4}, ONE, 1, 0},
    {3, 8, 8, 16, {3, 3}, ONE, {1, 1}, ONE, 1, 0},
    {16, 6, 6, 16, {3, 3}, ONE, {1, 1}, ONE, 1, 0},
    {5, 7, 6, 7, {3, 3}, {2, 2}, {1, 1}, ONE, 1, 0},
    {4, 9, 8, 5, {3, 3}, {3, 2}, {1, 0}, ONE, 1, 0},
    {8, 6, 6, 12, {1, 1}, ONE, NONE, ONE, 1, 0},
    {8, 6, 5, 10, {1, 1}, {2, 2}, NONE, ONE, 1, 0},
    {3, 5, 5, 9, {1, 1}, ONE, {1, 2}, ONE, 1, 0},
    {5, 4, 5, 70, {1, 1}, ONE, {1, 0}, ONE, 1, 0}, /* pixels gathered */
    {66, 5, 4, 7, {1, 1}, {2, 1}, NONE, ONE, 1, 0},
    {4, 8, 9, 3, {3, 2}, ONE, {1, 0}, {2, 3}, 1, 0},
    {2, 11, 10, 4, {3, 3}, {2, 1}, {2, 2}, {2, 2}, 1, 0},
    {6, 6, 6, 6, {3, 3}, ONE, {1, 1}, ONE, 6, 0},
    {6, 7, 7, 12, {3, 3}, {2, 2}, {1, 1}, ONE, 6, 0},
    {2, 12, 20, 2, {3, 3}, ONE, {1, 1}, ONE, 2, 0},
    {3, 9, 11, 6, {5, 5}, ONE, {2, 2}, ONE, 3, 0},
    {2, 14, 18, 2, {9, 9}, ONE, {4, 4}, ONE, 2, 0},
    {2, 9, 12, 6, {3, 3}, ONE, {2, 2}, {2, 2}, 2, 0},
    {3, 10, 9, 9, {3, 5}, {2, 1}, {1, 2}, ONE, 3, 0},
    {2, 10, 11, 4, {3, 3}, {2, 2}, {2, 3}, {2, 1}, 2, 0},
    {2, 7, 8, 4, {1, 3}, {1, 2}, {0, 1}, ONE, 2, 0},
    {3, 8, 10, 3, {2, 2}, {3, 2}, ONE, ONE, 3, 0},
    {2, 1, 2, 4, {3, 3}, ONE, {4, 5}, ONE, 2, 0}, /* results that meet nothing but zeros */
    {2, 3, 1, 2, {1, 1}, {2, 2}, NONE, ONE, 2, 0},
    {2, 6, 18, 8, {3, 3}, ONE, {1, 1}, ONE, 2, 0},
    {6, 5, 6, 9, {2, 3}, ONE, {0, 1}, ONE, 3, 0},
    {8, 6, 6, 8, {3, 3}, ONE, {1, 1}, ONE, 2, 0},
    {2, 4, 4, 3, {4, 4}, ONE, NONE, ONE, 1, 0},
    {2, 3, 3, 3, {5, 5}, ONE, {2, 2}, ONE, 1, 0},
    {2, 2, 3, 3, {1, 3}, {4, 4}, {3, 3}, ONE, 1, 0},
    {3, 9, 9, 2, {7, 7}, {2, 2}, {3, 3}, ONE, 1, 0},
    {1, 1, 1, 1, {1, 1}, ONE, NONE, ONE, 1, 0},
    {13, 5, 4, 11, {2, 2}, ONE, {1, 1}, ONE, 1, 0},
    {2, 30, 33, 5, {3, 3}, ONE, {1, 1}, ONE, 1, 0},
    {3, 6, 32, 3, {3, 3}, ONE, {1, 1}, ONE, 1, 0}, /* edges masked, as in the next ten */
    {4, 7, 32, 5, {5, 5}, ONE, NONE, ONE, 1, 0},
    {2, 5, 96, 1, {3, 5}, ONE, {0, 2}, ONE, 1, 0},
    {6, 9, 33, 6, {3, 4}, {2, 1}, ONE, ONE, 3, 0},
    {2, 4, 48, 2, {3, 3}, ONE, {1, 3}, {1, 3}, 1, 0},
    {2, 3, 51, 2, {1, 4}, ONE, {0, 1}, ONE, 1, 0},
    {3, 2, 400, 2, {1, 3}, ONE, {0, 41}, ONE, 1, 0},  /* and columns that meet nothing */
    {64, 2, 48, 80, {1, 3}, {1, 2}, NONE, ONE, 1, 0}, /* in a phase */
    {80, 2, 46, 64, {1, 1}, ONE, {0, 1}, ONE, 1, 0},  /* between them, pixels gathered */
    {2, 2, 96, 2, {1, 16}, {2, 1}, {0, 2}, ONE, 1, 0},
    {2, 2, 97, 2, {1, 17}, {2, 1}, {0, 8}, ONE, 1, 0}, /* too many tap columns to be masked */
    {32, 6, 7, 34, {3, 3}, ONE, {1, 1}, ONE, 1, 0},    /* winograd where it pays */
    {5, 8, 8, 7, {3, 3}, ONE, {1, 1}, ONE, 1, 1},
    {3, 7, 9, 4, {3, 3}, ONE, {0, 2}, ONE, 1, 1},
    {4, 3, 3, 6, {3, 3}, ONE, NONE, ONE, 2, 1},
    {1, 1, 1, 1, {3, 3}, ONE, {1, 1}, ONE, 1, 1},
    {17, 5, 34, 3, {3, 3}, ONE, {1, 1}, ONE, 1, 1},
};
enum { CASE_COUNT = sizeof cases / sizeof *cases };

/* ---- the definition ---- */

typedef struct Reference {
    Case shape;
    int samples, rows, columns;
    size_t x_count, y_count, weight_count;
    float *x, *dy, *weight, *bias;
    double *y, *dx, *dweight, *dbias, *y_size, *dx_size, *dweight_size, *dbias_size;
} Reference;

static uint32_t random_state;

static float random_float(void) {
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(random_state >> 8) / (1 << 23) - 1.0f;
}

static float *random_floats(size_t n) {
    float *values = calloc(n, sizeof *values);
    for (size_t i = 0; i < n; i++) values[i] = random_float();
    return values;
}

/* Add product `a * b` to a sum and its size to the sum of sizes. */
static void add(double *sum, double *size, size_t at, double a, double b) {
    sum[at] += a * b;
    size[at] += fabs(a * b);
}

/* All the products of one output pixel of one sample. */
static void add_pixel(Reference *r, int n, int o, int row, int column) {
    const Case *c = &r->shape;
    int in = c->in / c->groups, group = o / (c->out / c->groups);
    size_t y = (((size_t)n * c->out + o) * r->rows + row) * r->columns + column;
    add(r->y, r->y_size, y, 1, r->bias[o]);
    add(r->dbias, r->dbias_size, o, 1, r->dy[y]);
    for (int i = 0; i < in; i++)
        for (int kh = 0; kh < c->kernel[0]; kh++)
            for (int kw = 0; kw < c->kernel[1]; kw++) {
                int h = row * c->stride[0] - c->padding[0] + kh * c->dilation[0];
                int w = column * c->stride[1] - c->padding[1] + kw * c->dilation[1];
                if (h < 0 || h >= c->height || w < 0 || w >= c->width) continue;
                size_t x = (((size_t)n * c->in + group * in + i) * c->height + h) * c->width + w;
                size_t k = (((size_t)o * in + i) * c->kernel[0] + kh) * c->kernel[1] + kw;
                add(r->y, r->y_size, y, r->weight[k], r->x[x]);
                add(r->dx, r->dx_size, x, r->weight[k], r->dy[y]);
                add(r->dweight, r->dweight_size, k, r->dy[y], r->x[x]);
            }
}

static int output_size(const Case *c, int d, int size) {
    return (size + 2 * c->padding[d] - c->dilation[d] * (c->kernel[d] - 1) - 1) / c->stride[d] + 1;
}

static void reference_create(Reference *r, const Case *c, int samples) {
    *r = (Reference){.shape = *c, .samples = samples};
    random_state = (uint32_t)(c->in * 100 + c->out);
    r->rows = output_size(c, 0, c->height);
    r->columns = output_size(c, 1, c->width);
    r->x_count = (size_t)samples * c->in * c->height * c->width;
    r->y_count = (size_t)samples * c->out * r->rows * r->columns;
    r->weight_count = (size_t)c->out * (c->in / c->groups) * c->kernel[0] * c->kernel[1];
    r->x = random_floats(r->x_count);
    r->dy = random_floats(r->y_count);
    r->weight = random_floats(r->weight_count);
    r->bias = random_floats(c->out);
    r->y = calloc(2 * r->y_count, sizeof *r->y);
    r->y_size = r->y + r->y_count;
    r->dx = calloc(2 * r->x_count, sizeof *r->dx);
    r->dx_size = r->dx + r->x_count;
    r->dweight = calloc(2 * r->weight_count, sizeof *r->dweight);
    r->dweight_size = r->dweight + r->weight_count;
    r->dbias = calloc(2 * (size_t)c->out, sizeof *r->dbias);
    r->dbias_size = r->dbias + c->out;
    for (int n = 0; n < samples; n++)
        for (int o = 0; o < c->out; o++)
            for (int row = 0; row < r->rows; row++)
                for (int column = 0; column < r->columns; column++) add_pixel(r, n, o, row, column);
}

static void reference_free(Reference *r) {
    free(r->x);
    free(r->dy);
    free(r->weight);
    free(r->bias);
    free(r->y);
    free(r->dx);
    free(r->dweight);
    free(r->dbias);
}

/* ---- the layer ---- */

static void create(
    Harness *harness, const Case *c, const char *isa, int samples, int microbatch, int threads) {
    static char input[64], layers[256]; /* the harness keeps them */
    snprintf(input, sizeof input, "[%d, %d, %d]", c->in, c->height, c->width);
    snprintf(layers, sizeof layers,
        "[{conv2d: {out: %d, kernel: [%d, %d], stride: [%d, %d], padding: [%d, %d], "
        "dilation: [%d, %d], groups: %d, algorithm: %s}}]",
        c->out, c->kernel[0], c->kernel[1], c->stride[0], c->stride[1], c->padding[0],
        c->padding[1], c->dilation[0], c->dilation[1], c->groups,
        c->is_winograd ? "winograd" : "auto");
    harness_create(harness, &(HarnessOptions){.input = input,
                                .layers = layers,
                                .isa = isa,
                                .samples = samples,
                                .microbatch = microbatch,
                                .threads = threads});
}

/* Of the sum of the terms' sizes; Winograd's transforms stay within it too. */
static const double ERROR_MAX = 2e-6;

static void assert_close(const float *got, const double *want, const double *size, size_t n,
    const char *what, const Case *c) {
    for (size_t i = 0; i < n; i++) {
        if (fabs(got[i] - want[i]) <= ERROR_MAX * size[i]) continue;
        ck_abort_msg("%s[%zu] of %d->%d, %dx%d: got %.9g, want %.9g", what, i, c->in, c->out,
            c->kernel[0], c->kernel[1], got[i], want[i]);
    }
}

/* With NaN where nothing was computed: what a kernel reads beyond its images must not count. */
static void run(Harness *harness, const Reference *r) {
    Network *network = harness->network;
    size_t floats = network->activation_bytes / sizeof(float) + 2 * KERNEL_WIDTH_MAX;
    for (size_t i = 0; i < floats; i++) network->activation_block[i] = NAN;
    memcpy(
        harness_tensor(harness, "0.weight")->data, r->weight, r->weight_count * sizeof *r->weight);
    memcpy(
        harness_tensor(harness, "0.bias")->data, r->bias, (size_t)r->shape.out * sizeof *r->bias);
    harness_forward(harness, r->x, 1);
    harness_backward(harness, r->dy);
}

static void check(const Reference *r, const char *isa, int microbatch) {
    Harness harness;
    create(&harness, &r->shape, isa, r->samples, microbatch, 1);
    float *y = calloc(r->y_count, sizeof *y), *dx = calloc(r->x_count, sizeof *dx);
    run(&harness, r);
    harness_output(&harness, y);
    harness_input_gradient(&harness, dx);
    assert_close(y, r->y, r->y_size, r->y_count, "y", &r->shape);
    assert_close(dx, r->dx, r->dx_size, r->x_count, "dx", &r->shape);
    assert_close(harness_gradient(&harness, "0.weight"), r->dweight, r->dweight_size,
        r->weight_count, "dweight", &r->shape);
    assert_close(harness_gradient(&harness, "0.bias"), r->dbias, r->dbias_size,
        (size_t)r->shape.out, "dbias", &r->shape);
    free(y);
    free(dx);
    harness_free(&harness);
}

/* Whether the plan of a direction of the case, -1 forward, or else of a gradient's phase of
 * columns, has an edge with four lanes. */
static int has_edge(const Case *c, const Kernels *kernels, int phase) {
    Conv2dSizes sizes = {.in = c->in, .out = c->out, .groups = c->groups};
    sizes.x_size[HEIGHT] = c->height;
    sizes.x_size[WIDTH] = c->width;
    for (int d = 0; d < SIDES; d++) {
        sizes.kernel[d] = c->kernel[d];
        sizes.stride[d] = c->stride[d];
        sizes.padding[d] = c->padding[d];
        sizes.dilation[d] = c->dilation[d];
        sizes.y_size[d] = output_size(c, d, sizes.x_size[d]);
    }
    static Conv2dPlan plan;
    if (phase < 0)
        conv2d_plan_forward(&plan, &sizes, kernels, 4);
    else
        conv2d_plan_input_gradient(&plan, &sizes, kernels, 4, 0, phase);
    return plan.conv.edge > 0;
}

/* So that the cases still meet edges when somebody changes where these pay. */
START_TEST(cases_have_edges) {
    int forward = 0, gradient = 0, phases = 0;
    const Kernels *kernels = kernels_find("auto", 4);
    if (kernels_for_rows(kernels, KERNEL_WIDTH_MAX)->width < KERNEL_WIDTH_MAX) {
        printf("edges: not counted, as vectors of this CPU have fewer than 16 floats\n");
        return;
    }
    for (int i = 0; i < CASE_COUNT; i++) {
        forward += has_edge(&cases[i], kernels, -1);
        gradient += has_edge(&cases[i], kernels, 0);
        phases += cases[i].stride[WIDTH] > 1 && has_edge(&cases[i], kernels, 1);
    }
    printf("edges: %d forward, %d of gradients, %d in phases\n", forward, gradient, phases);
    ck_assert_int_ge(forward, 5);
    ck_assert_int_ge(gradient, 5);
    ck_assert_int_ge(phases, 1);
}
END_TEST

START_TEST(results_and_gradients_are_those_of_the_definition) {
    static const int microbatches[] = {1, 2, 3, 4, 8, 16, 40};
    Reference reference;
    reference_create(&reference, &cases[_i], 19);
    for (const char *const *isa = kernels_isa_names(); *isa != NULL; isa++)
        for (int m = 0; m < 7; m++)
            if (kernels_find(*isa, 4) != NULL) check(&reference, *isa, microbatches[m]);
    reference_free(&reference);
}
END_TEST

static void assert_same_bits(const Harness *a, const Harness *b, const Reference *r) {
    size_t n = r->y_count > r->x_count ? r->y_count : r->x_count;
    float *of_a = calloc(n, sizeof *of_a), *of_b = calloc(n, sizeof *of_b);
    harness_output(a, of_a);
    harness_output(b, of_b);
    ck_assert_int_eq(memcmp(of_a, of_b, r->y_count * sizeof *of_a), 0);
    harness_input_gradient(a, of_a);
    harness_input_gradient(b, of_b);
    ck_assert_int_eq(memcmp(of_a, of_b, r->x_count * sizeof *of_a), 0);
    ck_assert_int_eq(memcmp(a->gradients[0], b->gradients[0],
                         a->network->parameter_block_floats * sizeof(float)),
        0);
    free(of_a);
    free(of_b);
}

/* So often that the caller does not take all items before another thread wakes. */
START_TEST(threads_do_not_change_a_bit) {
    enum { SAMPLES = 67, TURNS = 5 };
    static const int microbatches[] = {8, 4, 2};
    Reference reference;
    Harness one, many;
    const Case *shape = &cases[_i % CASE_COUNT];
    int microbatch = microbatches[_i / CASE_COUNT];
    reference_create(&reference, shape, SAMPLES);
    create(&one, shape, NULL, SAMPLES, microbatch, 1);
    create(&many, shape, NULL, SAMPLES, microbatch, 4);
    run(&one, &reference);
    for (int turn = 0; turn < TURNS; turn++) {
        run(&many, &reference);
        assert_same_bits(&one, &many, &reference);
    }
    harness_free(&one);
    harness_free(&many);
    reference_free(&reference);
}
END_TEST

/* Where a row of results fills the widest vectors, the bias's gradient has the bits of row_sums. */
START_TEST(biases_have_the_gradient_that_row_sums_give) {
    static const int microbatches[] = {4, 16, 40};
    Reference reference;
    const Case *shape = &cases[_i];
    reference_create(&reference, shape, 67);
    for (const char *const *isa = kernels_isa_names(); *isa != NULL; isa++)
        for (int m = 0; m < 3 && kernels_find(*isa, 4) != NULL; m++) {
            Harness harness;
            create(&harness, shape, *isa, 67, microbatches[m], 1);
            run(&harness, &reference);
            Tensor dy = network_output_gradient(harness.network);
            int lanes = harness.batch.lanes, columns = dy.shape.size[2];
            int pixels = dy.shape.size[1] * columns;
            float *sums = calloc((size_t)shape->out, sizeof *sums);
            harness.kernels->row_sums((KernelInput){dy.data, dy.stride}, sums, pixels * lanes,
                (int)harness.batch.local_count, 0, shape->out);
            if (kernels_for_rows(harness.kernels, (size_t)(columns * lanes))->width ==
                harness.kernels->widest)
                ck_assert_mem_eq(
                    harness_gradient(&harness, "0.bias"), sums, (size_t)shape->out * sizeof *sums);
            free(sums);
            harness_free(&harness);
        }
    reference_free(&reference);
}
END_TEST

/* Rows narrower than a vector, which the kernels read beyond: for a sanitizer to see. */
START_TEST(images_narrower_than_a_vector_are_read_within_their_memory) {
    static const char *const windows[] = {"[1, 3]", "[1, 2]", "1"};
    enum { SAMPLES = 32, FLOATS = SAMPLES * 10 };
    char layers[128];
    snprintf(layers, sizeof layers,
        "[{conv2d: {out: 4, kernel: 1}}, {conv2d: {out: 4, kernel: %s}}, flatten, "
        "{linear: {out: 10}}]",
        windows[_i]);
    float x[FLOATS], dy[FLOATS];
    for (int i = 0; i < FLOATS; i++) {
        x[i] = (float)(i % 7);
        dy[i] = (float)(i % 5);
    }
    for (int microbatch = 1; microbatch <= 8; microbatch *= 2) {
        Harness harness;
        harness_create(&harness, &(HarnessOptions){.input = "[1, 1, 3]",
                                     .layers = layers,
                                     .samples = SAMPLES,
                                     .microbatch = microbatch});
        harness_forward(&harness, x, 1);
        harness_backward(&harness, dy);
        harness_free(&harness);
    }
}
END_TEST

START_TEST(what_does_not_fit_is_refused_with_the_reason) {
    static const struct {
        const char *layer, *reason;
    } bad[] = {{"{conv2d: {out: 2, kernel: 9}}", "a window of 9 pixels does not fit"},
        {"{conv2d: {out: 3, kernel: 1, groups: 2}}", "groups 2 must divide"},
        {"{conv2d: {out: 2, kernel: [1, 2, 3]}}",
            "kernel wants one number or two, [height, width], got 3"},
        {"{conv2d: {out: 2, kernel: [64, 64], padding: 64}}", "more than 1024 weights"},
        {"{conv2d: {out: 2, kernel: 40}}", "a window of 40 pixels does not fit"},
        {"{conv2d: {out: 2, kernel: 5, algorithm: winograd}}", "winograd is for kernel 3"}};
    char layers[128];
    snprintf(layers, sizeof layers, "[%s]", bad[_i].layer);
    ck_assert(!harness_accepts(
        &(HarnessOptions){.input = "[4, 8, 8]", .layers = layers, .samples = 4, .microbatch = 4}));
    ck_assert_msg(strstr(status_message(), bad[_i].reason) != NULL, "%s", status_message());
}
END_TEST

int main(void) {
    Suite *suite = suite_create("conv2d");
    TCase *tests = unit_check_case(suite, "conv2d");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, cases_have_edges);
    tcase_add_loop_test(tests, results_and_gradients_are_those_of_the_definition, 0, CASE_COUNT);
    tcase_add_loop_test(tests, threads_do_not_change_a_bit, 0, 3 * CASE_COUNT);
    tcase_add_loop_test(tests, biases_have_the_gradient_that_row_sums_give, 0, CASE_COUNT);
    tcase_add_loop_test(tests, images_narrower_than_a_vector_are_read_within_their_memory, 0, 3);
    tcase_add_loop_test(tests, what_does_not_fit_is_refused_with_the_reason, 0, 6);
    return unit_check_run(suite);
}
