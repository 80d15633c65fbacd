/* test_layers.c - every layer of the registry: gradients against finite differences, the same bits
 * for any threads and microbatch cuts; and what single layers promise. */
#include "io/job_file.h"
#include "src/memory.h"
#include "tests/support/harness.h"
#include "tests/support/unit_check.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 13, MICROBATCH = 4 }; /* four microbatches, the last with one sample */

static float pseudo_random(uint32_t i) {
    uint32_t bits[4];
    rng_draw(rng_stream(7, RNG_SYNTHETIC, 0), 0, i, 0, bits);
    return 2 * rng_uniform(bits[0]) - 1;
}

static void fill(float *values, size_t n, uint32_t salt) {
    for (size_t i = 0; i < n; i++) values[i] = pseudo_random((uint32_t)i + salt * 100000u);
}

/* Inputs that a layer can be tried on: those it accepts. */
static const char *const inputs[] = {"[6]", "[3, 2, 2]"};
enum { INPUT_COUNT = 2 };

static int create_if_accepted(
    Harness *harness, const LayerType *type, const char *input, int threads) {
    static char layers[512];
    int is_image = strchr(input, ',') != NULL;
    int features_only = strcmp(type->name, "linear") == 0;
    int images_only = strstr(type->name, "2d") != NULL;
    if ((features_only && is_image) || (images_only && !is_image)) return 0;
    snprintf(layers, sizeof layers, "[{%s: %s}]", type->name,
        type->example[0] != '\0' ? type->example : "{}");
    harness_create(harness, &(HarnessOptions){.input = input,
                                .layers = layers,
                                .samples = SAMPLES,
                                .microbatch = MICROBATCH,
                                .threads = threads});
    return 1;
}

/* The scalar whose gradients are checked: sum of weights * outputs, in double. */
static double weighted_output(Harness *harness, const float *x, const float *weights) {
    size_t n = SAMPLES * shape_element_count(harness->network->output);
    float *y = calloc(n, sizeof *y);
    double sum = 0;
    harness_forward(harness, x, 1);
    harness_output(harness, y);
    for (size_t i = 0; i < n; i++) sum += (double)y[i] * weights[i];
    free(y);
    return sum;
}

static void check_slope(Harness *harness, const float *x, const float *weights, float *value,
    float gradient, const char *what) {
    const float step = 1e-2f;
    float saved = *value;
    *value = saved + step;
    double above = weighted_output(harness, x, weights);
    *value = saved - step;
    double below = weighted_output(harness, x, weights);
    double slope = (above - below) / ((double)(saved + step) - (double)(saved - step));
    *value = saved;
    ck_assert_msg(fabs(slope - gradient) < 4e-3 * (1 + fabs(slope)), "%s: slope %g, gradient %g",
        what, slope, (double)gradient);
}

static void check_gradients(const LayerType *type, const char *input) {
    Harness harness;
    if (!create_if_accepted(&harness, type, input, 1)) return;
    size_t in = SAMPLES * shape_element_count(harness.network->input);
    size_t out = SAMPLES * shape_element_count(harness.network->output);
    float *x = calloc(in, sizeof *x), *dx = calloc(in, sizeof *dx);
    float *weights = calloc(out, sizeof *weights);
    fill(x, in, 1);
    for (size_t i = 0; i < in; i++) { /* away from kinks: zero, and equal pixels of a window */
        x[i] = 0.1f * roundf(10 * x[i]) + 0.025f * (float)(i % 4);
        x[i] += x[i] < 0 ? -0.05f : 0.05f;
    }
    fill(weights, out, 2);
    harness_forward(&harness, x, 1);
    harness_backward(&harness, weights);
    harness_input_gradient(&harness, dx);
    for (int n = 0; n < harness.network->tensor_count; n++) {
        LayerTensor *tensor = harness.network->tensors[n].tensor;
        if (tensor->kind != TENSOR_PARAMETER) continue;
        const float *gradient = harness_gradient(&harness, harness.network->tensors[n].name);
        float copy[512];
        size_t count = shape_element_count(tensor->shape);
        ck_assert_uint_le(count, 512);
        memcpy(copy, gradient, count * sizeof *copy);
        for (size_t e = 0; e < count; e++)
            check_slope(&harness, x, weights, &tensor->data[e], copy[e], tensor->name);
    }
    for (size_t i = 0; i < in; i++) check_slope(&harness, x, weights, &x[i], dx[i], "input");
    free(x);
    free(dx);
    free(weights);
    harness_free(&harness);
}

START_TEST(gradients_are_slopes) {
    check_gradients(layer_types()[_i / INPUT_COUNT], inputs[_i % INPUT_COUNT]);
}
END_TEST

/* Forward and backward; the bits of all results. */
static float *all_results(Harness *harness, size_t *count) {
    const Network *network = harness->network;
    size_t in = SAMPLES * shape_element_count(network->input);
    size_t out = SAMPLES * shape_element_count(network->output);
    *count = in + out + network->parameter_block_floats;
    float *results = calloc(*count, sizeof *results);
    float *x = calloc(in, sizeof *x), *dy = calloc(out, sizeof *dy);
    fill(x, in, 3);
    fill(dy, out, 4);
    harness_forward(harness, x, 1);
    harness_output(harness, results);
    harness_backward(harness, dy);
    harness_input_gradient(harness, results + out);
    memcpy(results + out + in, harness->gradients[0],
        network->parameter_block_floats * sizeof *results);
    free(x);
    free(dy);
    return results;
}

START_TEST(threads_do_not_change_a_bit) {
    const LayerType *type = layer_types()[_i / INPUT_COUNT];
    Harness one, many;
    size_t count_one, count_many;
    if (!create_if_accepted(&one, type, inputs[_i % INPUT_COUNT], 1)) return;
    create_if_accepted(&many, type, inputs[_i % INPUT_COUNT], 3);
    float *a = all_results(&one, &count_one), *b = all_results(&many, &count_many);
    ck_assert_uint_eq(count_one, count_many);
    ck_assert_int_eq(memcmp(a, b, count_one * sizeof *a), 0);
    free(a);
    free(b);
    harness_free(&one);
    harness_free(&many);
}
END_TEST

/* ---- single layers ---- */

START_TEST(relu_keeps_nan) {
    Harness harness;
    harness_create(&harness,
        &(HarnessOptions){.input = "[3]", .layers = "[relu]", .samples = 1, .microbatch = 4});
    float x[3] = {NAN, -1, 2}, y[3];
    harness_forward(&harness, x, 0);
    harness_output(&harness, y);
    ck_assert(isnan(y[0]));
    ck_assert_float_eq(y[1], 0);
    ck_assert_float_eq(y[2], 2);
    harness_free(&harness);
}
END_TEST

START_TEST(weights_start_within_pytorchs_bounds) {
    Harness harness;
    harness_create(&harness, &(HarnessOptions){.input = "[100]",
                                 .layers = "[{linear: {out: 300, name: first}}]",
                                 .samples = 4,
                                 .microbatch = 4});
    const LayerTensor *weight = harness_tensor(&harness, "first.weight");
    double sum = 0, squares = 0, count = 300 * 100;
    for (int i = 0; i < 300 * 100; i++) {
        ck_assert_float_lt(fabsf(weight->data[i]), 0.1f + 1e-6f);
        sum += weight->data[i];
        squares += (double)weight->data[i] * weight->data[i];
    }
    ck_assert_double_lt(fabs(sum / count), 1e-3);
    ck_assert_double_lt(fabs(squares / count - 0.01 / 3), 1e-4);
    harness_free(&harness);
}
END_TEST

START_TEST(evaluation_changes_no_running_statistic) {
    Harness harness;
    harness_create(&harness, &(HarnessOptions){.input = "[6]",
                                 .layers = "[batch_norm]",
                                 .samples = SAMPLES,
                                 .microbatch = MICROBATCH});
    float x[SAMPLES * 6], y[SAMPLES * 6];
    fill(x, SAMPLES * 6, 5);
    harness_forward(&harness, x, 0);
    harness_output(&harness, y);
    ck_assert_double_lt(harness_distance(y, x, SAMPLES * 6), 1e-4); /* mean 0, var 1 */
    for (int c = 0; c < 6; c++) {
        ck_assert_float_eq(harness_tensor(&harness, "0.running_mean")->data[c], 0);
        ck_assert_float_eq(harness_tensor(&harness, "0.running_var")->data[c], 1);
    }
    ck_assert_int_eq(harness_tensor(&harness, "0.num_batches_tracked")->counter, 0);
    harness_free(&harness);
}
END_TEST

START_TEST(init_gamma_uniform_starts_between_zero_and_one) {
    Harness harness;
    harness_create(&harness, &(HarnessOptions){.input = "[64]",
                                 .layers = "[{batch_norm: {init_gamma: uniform}}]",
                                 .samples = 4,
                                 .microbatch = 4});
    const float *gamma = harness_tensor(&harness, "0.weight")->data;
    double sum = 0;
    for (int c = 0; c < 64; c++) {
        ck_assert(gamma[c] >= 0 && gamma[c] < 1);
        sum += gamma[c];
    }
    ck_assert(sum > 20 && sum < 44);
    harness_free(&harness);
}
END_TEST

/* ---- dropout ---- */

static const char *const dropouts[] = {"[{dropout: {p: 0.3}}]", "[{dropout2d: {p: 0.3}}]"};
enum { CHANNELS = 8, PIXELS = 4, DROPPED = CHANNELS * PIXELS };

/* What becomes of ones in `step`: the mask, [samples][channels][pixels]. */
static void draw_mask(const HarnessOptions *options, uint32_t step, float *mask) {
    Harness harness;
    int n = options->samples * DROPPED;
    harness_create(&harness, options);
    harness.pass.step = step;
    float *ones = calloc((size_t)n, sizeof *ones);
    for (int i = 0; i < n; i++) ones[i] = 1;
    harness_forward(&harness, ones, 1);
    harness_output(&harness, mask);
    free(ones);
    harness_free(&harness);
}

START_TEST(masks_do_not_depend_on_ranks_threads_or_microbatches) {
    enum { COUNT = 37, N = COUNT * DROPPED };
    float one[N], many[N];
    HarnessOptions options = {
        .input = "[8, 2, 2]", .layers = dropouts[_i], .samples = COUNT, .microbatch = 16};
    draw_mask(&options, 5, one);
    options.microbatch = 5;
    options.threads = 3;
    for (options.size = 1; options.size <= 8; options.size++) {
        for (options.rank = 0; options.rank < options.size; options.rank++)
            draw_mask(&options, 5, many); /* fills this rank's samples */
        ck_assert_mem_eq(one, many, sizeof one);
        memset(many, 0, sizeof many);
    }
}
END_TEST

START_TEST(masks_are_new_for_each_step_layer_and_sample) {
    enum { COUNT = 4, N = COUNT * DROPPED };
    float first[N], again[N], other[N];
    HarnessOptions options = {
        .input = "[8, 2, 2]", .layers = dropouts[_i], .samples = COUNT, .microbatch = 4};
    draw_mask(&options, 5, first);
    draw_mask(&options, 5, again);
    ck_assert_mem_eq(first, again, sizeof first);
    draw_mask(&options, 6, other);
    ck_assert_mem_ne(first, other, sizeof first);
    for (int s = 1; s < COUNT; s++)
        ck_assert_mem_ne(first, first + s * DROPPED, DROPPED * sizeof *first);
    options.layers = _i == 0 ? "[{avg_pool2d: {kernel: 1}}, {dropout: {p: 0.3}}]"
                             : "[{avg_pool2d: {kernel: 1}}, {dropout2d: {p: 0.3}}]";
    draw_mask(&options, 5, other);
    ck_assert_mem_ne(first, other, sizeof first);
}
END_TEST

START_TEST(masks_are_what_philox_draws) {
    enum { COUNT = 6, N = COUNT * DROPPED };
    float mask[N];
    uint32_t bits[4], threshold = (uint32_t)(0.3 * 0x1p32);
    HarnessOptions options = {
        .input = "[8, 2, 2]", .layers = dropouts[_i], .samples = COUNT, .microbatch = 4};
    draw_mask(&options, 9, mask);
    for (int i = 0; i < N; i++) {
        int sample = i / DROPPED, row = _i == 0 ? i % DROPPED : i % DROPPED / PIXELS;
        rng_draw(rng_stream(1, RNG_DROPOUT, 0), 9, (uint64_t)sample, (uint32_t)row / 4, bits);
        ck_assert_float_eq(mask[i], bits[row % 4] < threshold ? 0 : 1 / 0.7f);
    }
}
END_TEST

START_TEST(dropout_keeps_the_share_it_should) {
    enum { COUNT = 400, N = COUNT * DROPPED };
    static float mask[N];
    HarnessOptions options = {
        .input = "[8, 2, 2]", .layers = dropouts[_i], .samples = COUNT, .microbatch = 16};
    draw_mask(&options, 1, mask);
    int kept = 0, of_channels = 0;
    for (int i = 0; i < N; i++) kept += mask[i] > 0;
    for (int i = 0; i < N; i += PIXELS) {
        int whole = 1;
        for (int p = 1; p < PIXELS; p++) whole &= mask[i + p] == mask[i];
        of_channels += whole;
    }
    ck_assert_double_lt(fabs(kept / (double)N - 0.7), 0.04); /* five deviations of the 2d one */
    ck_assert(_i == 1 ? of_channels == N / PIXELS : of_channels < N / PIXELS / 2);
}
END_TEST

START_TEST(dropout_drops_nothing_in_evaluation) {
    Harness harness;
    float x[SAMPLES * DROPPED], y[SAMPLES * DROPPED];
    fill(x, SAMPLES * DROPPED, 8);
    harness_create(&harness, &(HarnessOptions){.input = "[8, 2, 2]",
                                 .layers = dropouts[_i],
                                 .samples = SAMPLES,
                                 .microbatch = MICROBATCH});
    harness_forward(&harness, x, 0);
    harness_output(&harness, y);
    ck_assert_mem_eq(x, y, sizeof x);
    harness_free(&harness);
}
END_TEST

/* A view between them must not let dropout write over what sigmoid's backward reads. */
START_TEST(nothing_is_written_over_through_a_view) {
    enum { N = SAMPLES * 12 };
    static const char *const layers[] = {"[sigmoid, flatten, dropout]", "[sigmoid, dropout]"};
    float x[N], dy[N], dx[2][N];
    fill(x, N, 9);
    fill(dy, N, 10);
    for (int i = 0; i < 2; i++) {
        Harness harness;
        harness_create(&harness, &(HarnessOptions){.input = "[3, 2, 2]",
                                     .layers = layers[i],
                                     .samples = SAMPLES,
                                     .microbatch = MICROBATCH});
        /* The layer's index is part of the mask. */
        for (int l = 0; l < harness.network->layer_count; l++) harness.network->layers[l].index = 0;
        harness_forward(&harness, x, 1);
        harness_backward(&harness, dy);
        harness_input_gradient(&harness, dx[i]);
        harness_free(&harness);
    }
    ck_assert_mem_eq(dx[0], dx[1], sizeof dx[0]);
}
END_TEST

/* ---- what is refused ---- */

static const struct {
    const char *input, *layer, *message;
} refused[] = {
    {"[6]", "{max_pool2d: {kernel: 2}}", "wants images"},
    {"[6]", "dropout2d", "wants images"},
    {"[2, 4, 4]", "{max_pool2d: {kernel: 5}}", "does not fit"},
    {"[2, 4, 4]", "{max_pool2d: {kernel: [2, 2, 2]}}", "one number or [h, w]"},
    {"[2, 4, 4]", "{avg_pool2d: {kernel: 3, padding: 2}}", "more than half of the kernel"},
    {"[2, 2, 2]", "{max_pool2d: {kernel: 2, padding: 1, dilation: 3}}", "sees no pixel"},
    {"[6]", "{group_norm: {groups: 4}}", "do not divide"},
};
enum { REFUSED = sizeof refused / sizeof *refused };

START_TEST(shapes_that_do_not_fit_are_refused) {
    char text[256];
    Job job = {.seed = 0};
    Network *network;
    snprintf(text, sizeof text, "model: {input: %s, layers: [%s]}\ndata: {format: synthetic}\n",
        refused[_i].input, refused[_i].layer);
    ck_assert_int_eq(job_file_parse(&job, "test", text, NULL, 0), STATUS_OK);
    ck_assert_int_eq(network_create(&network, &job.network, 4, 1, 1), STATUS_CONFIG);
    ck_assert_msg(strstr(status_message(), refused[_i].message) != NULL, "%s", status_message());
    network_free(network);
    job_free(&job);
}
END_TEST

int main(void) {
    int types = 0;
    while (layer_types()[types] != NULL) types++;
    Suite *suite = suite_create("layers");
    TCase *registry = unit_check_case(suite, "registry"),
          *single = unit_check_case(suite, "single layers");
    tcase_add_loop_test(registry, gradients_are_slopes, 0, types * INPUT_COUNT);
    tcase_add_loop_test(registry, threads_do_not_change_a_bit, 0, types * INPUT_COUNT);
    tcase_add_test(single, relu_keeps_nan);
    tcase_add_test(single, weights_start_within_pytorchs_bounds);
    tcase_add_test(single, evaluation_changes_no_running_statistic);
    tcase_add_test(single, init_gamma_uniform_starts_between_zero_and_one);
    TCase *dropout = unit_check_case(suite, "dropout");
    tcase_add_loop_test(dropout, masks_do_not_depend_on_ranks_threads_or_microbatches, 0, 2);
    tcase_add_loop_test(dropout, masks_are_new_for_each_step_layer_and_sample, 0, 2);
    tcase_add_loop_test(dropout, masks_are_what_philox_draws, 0, 2);
    tcase_add_loop_test(dropout, dropout_keeps_the_share_it_should, 0, 2);
    tcase_add_loop_test(dropout, dropout_drops_nothing_in_evaluation, 0, 2);
    tcase_add_test(single, nothing_is_written_over_through_a_view);
    tcase_add_loop_test(single, shapes_that_do_not_fit_are_refused, 0, REFUSED);
    return unit_check_run(suite);
}
