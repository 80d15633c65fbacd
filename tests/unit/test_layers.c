/* test_layers.c - every layer of the registry, and layers within layers: gradients against finite
 * differences, the same bits for any threads and microbatch cuts; and what single layers promise.
 */
#include "io/job_file.h"
#include "src/memory.h"
#include "tests/support/harness.h"
#include "tests/support/unit_check.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 13, MICROBATCH = 4 }; /* four microbatches, the last with one sample */
static const int small_microbatches[] = {1, 2, MICROBATCH};
#define FOR_SMALL_MICROBATCHES(microbatch)                                                         \
    for (int i_ = 0, microbatch; i_ < 3 && (microbatch = small_microbatches[i_]); i_++)

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

static void create_for(
    Harness *harness, const char *layers, const char *input, int microbatch, int threads) {
    harness_create(harness, &(HarnessOptions){.input = input,
                                .layers = layers,
                                .samples = SAMPLES,
                                .microbatch = microbatch,
                                .threads = threads});
}

static void create(Harness *harness, const char *layers, const char *input, int threads) {
    create_for(harness, layers, input, MICROBATCH, threads);
}

/* The layer of a type with its example's options; 0 if it does not take such an input. */
static int describe_if_accepted(const LayerType *type, const char *input, char layers[512]) {
    snprintf(
        layers, 512, "[{%s: %s}]", type->name, type->example[0] != '\0' ? type->example : "{}");
    return harness_accepts(&(HarnessOptions){
        .input = input, .layers = layers, .samples = SAMPLES, .microbatch = MICROBATCH});
}

/* Else it would not be tested at all. */
START_TEST(every_layer_takes_one_of_the_inputs) {
    char layers[512];
    int accepted = 0;
    for (int i = 0; i < INPUT_COUNT; i++)
        accepted += describe_if_accepted(layer_types()[_i], inputs[i], layers);
    ck_assert_msg(accepted > 0, "%s takes none of the inputs", layer_types()[_i]->name);
}
END_TEST

/* Layers within layers: every way in which they may share memory. */
static const struct {
    const char *input, *layers;
} nested[] = {
    {"[6]", "[sequential: {layers: [batch_norm, relu]}, linear: {out: 3}]"},
    {"[6]", "[linear: {out: 5}, sequential: {layers: [relu, sequential: {layers: [linear: {out: 4},"
            " relu]}, flatten]}, relu, linear: {out: 2}]"},
    {"[6]", "[residual: {layers: [linear: {out: 6}, batch_norm, relu, linear: {out: 6}, "
            "batch_norm]}, relu]"},
    {"[6]", "[residual: {layers: [linear: {out: 6}, relu]}, relu]"},
    {"[6]", "[linear: {out: 5}, residual: {layers: [relu]}, linear: {out: 3}]"},
    {"[6]", "[linear: {out: 5}, relu, residual: {layers: [relu, linear: {out: 5}]}, relu]"},
    {"[6]", "[linear: {out: 4}, residual: {layers: [flatten]}, linear: {out: 4}]"},
    {"[6]", "[linear: {out: 4}, residual: {layers: [relu], projection: [flatten]}]"},
    {"[6]", "[residual: {layers: [linear: {out: 4}, batch_norm], projection: [linear: {out: 4}, "
            "batch_norm]}, relu, linear: {out: 3}]"},
    {"[6]", "[residual: {layers: [linear: {out: 4}, relu], projection: [linear: {out: 4}, relu]}, "
            "relu, log_softmax]"},
    {"[3, 2, 2]", "[residual: {layers: [batch_norm, relu], projection: [batch_norm]}, relu]"},
    {"[3, 2, 2]", "[residual: {layers: [batch_norm, relu, residual: {layers: [batch_norm, residual:"
                  " {layers: [relu, batch_norm], projection: [batch_norm]}, relu]}, batch_norm]}, "
                  "relu, flatten, linear: {out: 2}]"},
    {"[6]", "[residual: {layers: [residual: {layers: [residual: {layers: [linear: {out: 6}]}]}]}]"},
    {"[6]", "[residual: {layers: [linear: {out: 6}, residual: {layers: [flatten]}]}]"},
    {"[6]", "[residual: {layers: [linear: {out: 6}, residual: {layers: [linear: {out: 6}, "
            "batch_norm]}, relu]}, linear: {out: 2}]"},
    {"[6]", "[residual: {layers: [linear: {out: 4}, residual: {layers: [linear: {out: 4}]}, relu],"
            " projection: [linear: {out: 4}, batch_norm, relu]}, relu]"},
    {"[6]", "[linear: {out: 4}, log_softmax, flatten, relu, linear: {out: 3}]"},
    {"[6]", "[linear: {out: 4}, sequential: {layers: [log_softmax]}, relu, linear: {out: 3}]"},
};
enum { NESTED_COUNT = sizeof nested / sizeof *nested };

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

/* The slopes on both sides of `value`; 0 where they differ, for a kink lies within the step. */
static int check_slope(Harness *harness, const float *x, const float *weights, float *value,
    float gradient, const char *what) {
    const float step = 2e-3f;
    float saved = *value;
    double here = weighted_output(harness, x, weights);
    *value = saved + step;
    double above = (weighted_output(harness, x, weights) - here) / ((double)*value - saved);
    *value = saved - step;
    double below = (here - weighted_output(harness, x, weights)) / ((double)saved - *value);
    *value = saved;
    double slope = (above + below) / 2, tolerance = 4e-3 * (1 + fabs(slope));
    if (fabs(above - below) > tolerance) return 0;
    ck_assert_msg(fabs(slope - gradient) < tolerance, "%s: slope %g, gradient %g", what, slope,
        (double)gradient);
    return 1;
}

static void check_gradients(const char *layers, const char *input, int microbatch) {
    Harness harness;
    create_for(&harness, layers, input, microbatch, 1);
    size_t in = SAMPLES * shape_element_count(harness.network->input);
    size_t out = SAMPLES * shape_element_count(harness.network->output);
    float *x = calloc(in, sizeof *x), *dx = calloc(in, sizeof *dx);
    float *weights = calloc(out, sizeof *weights);
    size_t checked = 0, all = in;
    fill(x, in, 1);
    for (size_t i = 0; i < in; i++) /* away from kinks at zero */
        x[i] += x[i] < 0 ? -0.05f : 0.05f;
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
        all += count;
        memcpy(copy, gradient, count * sizeof *copy);
        for (size_t e = 0; e < count; e++)
            checked += check_slope(&harness, x, weights, &tensor->data[e], copy[e], tensor->name);
    }
    for (size_t i = 0; i < in; i++)
        checked += check_slope(&harness, x, weights, &x[i], dx[i], "input");
    ck_assert_msg(10 * checked >= 9 * all, "only %zu of %zu slopes are steady", checked, all);
    free(x);
    free(dx);
    free(weights);
    harness_free(&harness);
}

START_TEST(gradients_are_slopes) {
    char layers[512];
    const char *input = inputs[_i % INPUT_COUNT];
    if (!describe_if_accepted(layer_types()[_i / INPUT_COUNT], input, layers)) return;
    FOR_SMALL_MICROBATCHES(microbatch) check_gradients(layers, input, microbatch);
}
END_TEST

START_TEST(gradients_of_nested_layers_are_slopes) {
    check_gradients(nested[_i].layers, nested[_i].input, MICROBATCH);
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

/* All results of two networks are the same, bit for bit. */
static void check_same_results(Harness *a, Harness *b) {
    size_t count_a, count_b;
    float *of_a = all_results(a, &count_a), *of_b = all_results(b, &count_b);
    ck_assert_uint_eq(count_a, count_b);
    ck_assert_int_eq(memcmp(of_a, of_b, count_a * sizeof *of_a), 0);
    free(of_a);
    free(of_b);
    harness_free(a);
    harness_free(b);
}

static void check_threads(const char *layers, const char *input) {
    FOR_SMALL_MICROBATCHES(microbatch) {
        Harness one, many;
        create_for(&one, layers, input, microbatch, 1);
        create_for(&many, layers, input, microbatch, 3);
        check_same_results(&one, &many);
    }
}

START_TEST(threads_do_not_change_a_bit) {
    char layers[512];
    const char *input = inputs[_i % INPUT_COUNT];
    if (describe_if_accepted(layer_types()[_i / INPUT_COUNT], input, layers))
        check_threads(layers, input);
}
END_TEST

START_TEST(threads_do_not_change_a_bit_of_nested_layers) {
    check_threads(nested[_i].layers, nested[_i].input);
}
END_TEST

/* ---- layers within layers ---- */

/* Rewrites a network's tensors to those of another with the same tensors in the same order. */
static void copy_parameters(const Harness *from, Harness *to) {
    size_t floats = from->network->parameter_block_floats;
    ck_assert_uint_eq(floats, to->network->parameter_block_floats);
    memcpy(to->parameters, from->parameters, floats * sizeof(float));
}

START_TEST(a_sequential_layer_computes_what_its_layers_do) {
    Harness flat, within;
    create(&flat, "[linear: {out: 5}, batch_norm, relu, linear: {out: 3}, log_softmax]", "[6]", 1);
    create(&within,
        "[sequential: {layers: [linear: {out: 5}, sequential: {layers: [batch_norm]}]}, relu, "
        "sequential: {layers: [linear: {out: 3}, log_softmax]}]",
        "[6]", 1);
    ck_assert_uint_le(within.network->activation_bytes, flat.network->activation_bytes);
    copy_parameters(&flat, &within);
    check_same_results(&flat, &within);
}
END_TEST

START_TEST(a_residual_adds_its_input) {
    Harness harness;
    create(&harness, "[residual: {layers: [linear: {out: 6, bias: false}], name: r}]", "[6]", 1);
    float x[SAMPLES * 6], y[SAMPLES * 6];
    const float *weight = harness_tensor(&harness, "r.layers.0.weight")->data;
    fill(x, SAMPLES * 6, 1);
    harness_forward(&harness, x, 1);
    harness_output(&harness, y);
    for (int i = 0; i < SAMPLES * 6; i++) {
        double want = x[i];
        for (int k = 0; k < 6; k++) want += (double)weight[i % 6 * 6 + k] * x[i / 6 * 6 + k];
        ck_assert_double_lt(fabs(y[i] - want), 1e-6);
    }
    harness_free(&harness);
}
END_TEST

START_TEST(tensors_are_named_as_pytorch_names_them) {
    Harness harness;
    static const char *const names[] = {"0.weight", "0.bias", "1.0.weight", "1.fc.weight",
        "1.fc.bias", "1.2.layers.0.weight", "1.2.layers.0.bias", "1.2.projection.0.weight",
        "r.layers.0.0.weight", "r.layers.0.0.bias"};
    create(&harness,
        "[linear: {out: 6}, sequential: {layers: [linear: {out: 6, bias: false}, linear: {out: 6, "
        "name: fc}, residual: {layers: [linear: {out: 4}], projection: [linear: {out: 4, bias: "
        "false}]}]}, residual: {name: r, layers: [sequential: {layers: [linear: {out: 4}]}]}]",
        "[6]", 1);
    ck_assert_int_eq(harness.network->tensor_count, sizeof names / sizeof *names);
    for (int n = 0; n < harness.network->tensor_count; n++)
        ck_assert_str_eq(harness.network->tensors[n].name, names[n]);
    harness_free(&harness);
}
END_TEST

START_TEST(layers_draw_other_numbers_wherever_they_are) {
    Harness harness;
    create(&harness,
        "[sequential: {layers: [linear: {out: 6}]}, linear: {out: 6}, residual: {layers: [linear: "
        "{out: 6}], projection: [linear: {out: 6}]}]",
        "[6]", 1);
    const Network *network = harness.network;
    for (int i = 0; i < network->layer_count; i++)
        ck_assert_uint_eq(network->layers[i]->index, (unsigned)i);
    for (int a = 0; a < network->tensor_count; a++)
        for (int b = 0; b < a; b++)
            ck_assert_float_ne(
                network->tensors[a].tensor->data[0], network->tensors[b].tensor->data[0]);
    harness_free(&harness);
}
END_TEST

/* What chains of residuals need for gradients does not grow with their length. */
START_TEST(gradients_take_turns_in_three_buffers) {
    size_t bytes[2];
    for (int i = 0; i < 2; i++) {
        Harness harness;
        char layers[1024] = "[linear: {out: 16}";
        for (int block = 0; block < (i == 0 ? 1 : 5); block++)
            strcat(layers, ", residual: {layers: [linear: {out: 16}, relu, linear: {out: 16}]}");
        strcat(layers, "]");
        create(&harness, layers, "[16]", 1);
        bytes[i] = harness.network->activation_bytes;
        harness_free(&harness);
    }
    size_t tensor = 4 * MICROBATCH * 16 * sizeof(float);
    ck_assert_uint_eq(bytes[0], (2 + 2 + 3) * tensor);
    ck_assert_uint_eq(bytes[1], (2 + 5 * 2 + 3) * tensor);
}
END_TEST

/* Pairs of networks that compute the same: with a relu that a neighbour does, and with a view in
 * between, so that the relu is on its own. */
static const struct {
    const char *input, *together, *apart;
} fused[] = {
    {"[6]", "[batch_norm, relu, linear: {out: 3}]",
        "[batch_norm, flatten, relu, linear: {out: 3}]"},
    {"[3, 2, 2]", "[batch_norm, relu]", "[batch_norm, sequential: {layers: [relu]}]"},
    {"[6]", "[linear: {out: 6}, residual: {layers: [linear: {out: 6}, relu]}, relu]",
        "[linear: {out: 6}, residual: {layers: [linear: {out: 6}, relu]}, flatten, relu]"},
    {"[6]", "[linear: {out: 6}, residual: {layers: [linear: {out: 6}, batch_norm]}, relu]",
        "[linear: {out: 6}, residual: {layers: [linear: {out: 6}, batch_norm, flatten]}, flatten, "
        "relu]"},
    {"[6]", "[residual: {layers: [linear: {out: 4}, batch_norm], projection: [linear: {out: 4}]}]",
        "[residual: {layers: [linear: {out: 4}, batch_norm, flatten], projection: [linear: {out: "
        "4}]}]"},
    {"[3, 2, 2]", "[batch_norm, relu, max_pool2d: {kernel: 2}]",
        "[batch_norm, sequential: {layers: [relu]}, max_pool2d: {kernel: 2}]"},
};

START_TEST(a_relu_that_a_neighbour_does_changes_nothing) {
    Harness together, apart;
    create(&together, fused[_i].together, fused[_i].input, 2);
    create(&apart, fused[_i].apart, fused[_i].input, 1);
    ck_assert_uint_le(together.network->activation_bytes, apart.network->activation_bytes);
    copy_parameters(&apart, &together);
    check_same_results(&together, &apart);
}
END_TEST

START_TEST(a_relu_that_a_neighbour_does_takes_no_memory) {
    Harness with, without;
    create(&with, "[batch_norm, relu, log_softmax, relu, batch_norm]", "[6]", 1);
    create(&without, "[batch_norm, log_softmax, relu, batch_norm]", "[6]", 1);
    ck_assert_int_eq(with.network->layers[1]->is_view, 1);
    ck_assert_int_eq(with.network->layers[0]->rectifies, 1);
    ck_assert_int_eq(with.network->layers[3]->is_view, 0);
    ck_assert_uint_eq(with.network->activation_bytes, without.network->activation_bytes);
    harness_free(&with);
    harness_free(&without);
}
END_TEST

static const struct {
    const char *layers, *message;
} refused[] = {
    {"[residual: {layers: [linear: {out: 4}]}]",
        "residual '0': its layers give [4], its input is [6], and only equal shapes can be added: "
        "give it a projection"},
    {"[sequential: {layers: [residual: {layers: [linear: {out: 4}], projection: [linear: {out: 5}],"
     " name: r}]}]",
        "residual '0.r': its layers give [4], its projection gives [5], and only equal shapes can"},
    {"[sequential: {layers: [linear: {out: 6}]}, linear: {out: 6, name: \"0.0\"}]",
        "model: two layers have a tensor '0.0.bias': give one of them another name"},
};

START_TEST(what_cannot_be_built_is_refused_with_its_name) {
    char text[1024];
    Job job;
    snprintf(text, sizeof text, "model: {input: [6], layers: %s}\n", refused[_i].layers);
    ck_assert_int_eq(job_file_parse(&job, "refused", text, NULL, 0), STATUS_CONFIG);
    ck_assert_msg(strstr(status_message(), refused[_i].message) != NULL, "wanted: %s\ngot: %s",
        refused[_i].message, status_message());
    job_free(&job);
    ck_assert_uint_eq(memory_in_use(), 0);
}
END_TEST

START_TEST(every_allocation_of_a_network_may_fail) {
    char text[1024];
    Job job;
    Network *network = NULL;
    Status status = STATUS_NO_MEMORY;
    long n = 1;
    snprintf(text, sizeof text, "model: {input: [6], layers: %s}\n", nested[8].layers);
    ck_assert_int_eq(job_file_parse(&job, "faults", text, NULL, 0), STATUS_OK);
    for (; status != STATUS_OK; n++) {
        size_t blocks = memory_in_use();
        status_arm_fault(n, 0);
        status = network_create(&network, &job.network, 4, 1, 1);
        status_arm_fault(0, 0);
        ck_assert(status == STATUS_OK || status == STATUS_NO_MEMORY);
        network_free(network);
        ck_assert_uint_eq(memory_in_use(), blocks);
    }
    ck_assert_int_gt(n, 20);
    job_free(&job);
}
END_TEST

/* A layer's own multiply-adds, as many for the gradient of its weights, and of its input if wanted.
 */
static const struct {
    const char *input, *layers;
    double multiply_adds;
} steps[] = {
    {"[6]", "[linear: {out: 5}, relu, linear: {out: 4}]", 2 * 30 + 3 * 20},
    {"[6]", "[batch_norm, linear: {out: 5}]", 2 * 12 + 3 * 30},
    {"[6]", "[relu, sequential: {layers: [relu, linear: {out: 5}, linear: {out: 4}]}]",
        2 * 30 + 3 * 20},
    {"[6]",
        "[residual: {layers: [linear: {out: 5}], projection: [linear: {out: 5}]}, linear: {out: "
        "4}]",
        2 * 30 + 2 * 30 + 3 * 20},
    {"[2, 4, 4]", "[conv2d: {out: 3, kernel: 3, padding: 1}, flatten, linear: {out: 4}]",
        2 * 16 * 54 + 3 * 192},
};

START_TEST(multiply_adds_of_a_step_are_those_that_are_done) {
    Harness harness;
    create(&harness, steps[_i].layers, steps[_i].input, 1);
    ck_assert_double_eq(network_step_multiply_adds(harness.network), steps[_i].multiply_adds);
    harness_free(&harness);
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
        for (int l = 0; l < harness.network->layer_count; l++)
            harness.network->layers[l]->index = 0;
        harness_forward(&harness, x, 1);
        harness_backward(&harness, dy);
        harness_input_gradient(&harness, dx[i]);
        harness_free(&harness);
    }
    ck_assert_mem_eq(dx[0], dx[1], sizeof dx[0]);
}
END_TEST

/* The last of windows may hang over the end of the image, also where it is the only one. */
static const struct {
    const char *layer;
    float y;
} overhanging[] = {
    {"{max_pool2d: {kernel: 4, stride: 3, ceil_mode: true}}", 9},
    {"{avg_pool2d: {kernel: 4, stride: 3, ceil_mode: true}}", 5},
    {"{avg_pool2d: {kernel: 6, stride: 3, padding: 1, ceil_mode: true}}", 45.0f / 25},
    {"{avg_pool2d: {kernel: 6, stride: 3, padding: 1, ceil_mode: true, count_include_pad: false}}",
        5},
};

START_TEST(a_window_larger_than_the_image_is_cut) {
    char layers[128];
    Harness harness;
    float x[9], y;
    for (int i = 0; i < 9; i++) x[i] = (float)(i + 1);
    snprintf(layers, sizeof layers, "[%s]", overhanging[_i].layer);
    harness_create(&harness,
        &(HarnessOptions){.input = "[1, 3, 3]", .layers = layers, .samples = 1, .microbatch = 1});
    ck_assert_int_eq((int)shape_element_count(harness.network->output), 1);
    harness_forward(&harness, x, 0);
    harness_output(&harness, &y);
    ck_assert_float_eq_tol(y, overhanging[_i].y, 1e-6f);
    harness_free(&harness);
}
END_TEST

/* ---- what is refused ---- */

static const struct {
    const char *input, *layer, *message;
} misfits[] = {
    {"[6]", "{max_pool2d: {kernel: 2}}", "wants images"},
    {"[6]", "dropout2d", "wants images"},
    {"[2, 4, 4]", "{max_pool2d: {kernel: 5}}", "does not fit"},
    {"[2, 4, 4]", "{avg_pool2d: {kernel: 7, stride: 3, ceil_mode: true}}", "does not fit"},
    {"[2, 4, 4]", "{max_pool2d: {kernel: [2, 2, 2]}}", "one number or two, [height, width]"},
    {"[2, 4, 4]", "{avg_pool2d: {kernel: 3, padding: 2}}", "more than half of the kernel"},
    {"[2, 2, 2]", "{max_pool2d: {kernel: 2, padding: 1, dilation: 3}}", "sees no pixel"},
    {"[6]", "{group_norm: {groups: 4}}", "do not divide"},
};
enum { MISFITS = sizeof misfits / sizeof *misfits };

START_TEST(shapes_that_do_not_fit_are_refused) {
    char layers[256];
    snprintf(layers, sizeof layers, "[%s]", misfits[_i].layer);
    ck_assert(!harness_accepts(&(HarnessOptions){
        .input = misfits[_i].input, .layers = layers, .samples = 4, .microbatch = 4}));
    ck_assert_msg(strstr(status_message(), misfits[_i].message) != NULL, "%s", status_message());
}
END_TEST

int main(void) {
    int types = 0;
    while (layer_types()[types] != NULL) types++;
    Suite *suite = suite_create("layers");
    TCase *registry = unit_check_case(suite, "registry"),
          *within = unit_check_case(suite, "layers within layers"),
          *single = unit_check_case(suite, "single layers");
    tcase_add_loop_test(registry, every_layer_takes_one_of_the_inputs, 0, types);
    tcase_add_loop_test(registry, gradients_are_slopes, 0, types * INPUT_COUNT);
    tcase_add_loop_test(registry, threads_do_not_change_a_bit, 0, types * INPUT_COUNT);
    tcase_add_loop_test(within, gradients_of_nested_layers_are_slopes, 0, NESTED_COUNT);
    tcase_add_loop_test(within, threads_do_not_change_a_bit_of_nested_layers, 0, NESTED_COUNT);
    tcase_add_test(within, a_sequential_layer_computes_what_its_layers_do);
    tcase_add_test(within, a_residual_adds_its_input);
    tcase_add_test(within, tensors_are_named_as_pytorch_names_them);
    tcase_add_test(within, layers_draw_other_numbers_wherever_they_are);
    tcase_add_test(within, gradients_take_turns_in_three_buffers);
    tcase_add_loop_test(
        within, a_relu_that_a_neighbour_does_changes_nothing, 0, sizeof fused / sizeof *fused);
    tcase_add_loop_test(within, multiply_adds_of_a_step_are_those_that_are_done, 0,
        (int)(sizeof steps / sizeof *steps));
    tcase_add_test(within, a_relu_that_a_neighbour_does_takes_no_memory);
    tcase_add_loop_test(
        within, what_cannot_be_built_is_refused_with_its_name, 0, sizeof refused / sizeof *refused);
    tcase_add_test(within, every_allocation_of_a_network_may_fail);
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
    tcase_add_loop_test(single, a_window_larger_than_the_image_is_cut, 0,
        (int)(sizeof overhanging / sizeof *overhanging));
    tcase_add_loop_test(single, shapes_that_do_not_fit_are_refused, 0, MISFITS);
    return unit_check_run(suite);
}
