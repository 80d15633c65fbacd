/* test_layers.c - every layer of the registry: gradients against finite differences, the same bits
 * for any threads and microbatch cuts; and what single layers promise. */
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
    return unit_check_run(suite);
}
