/* test_parity.c - layers, losses, whole networks, optimizers and schedules against numbers saved
 * from PyTorch (tests/reference). */
#include "src/loss.h"
#include "src/memory.h"
#include "src/optimizer.h"
#include "src/schedule.h"
#include "tests/support/harness.h"
#include "tests/support/reference.h"
#include "tests/support/unit_check.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double CLOSE = 1e-5;       /* one pass */
static const double CLOSE_STEPS = 1e-4; /* after steps that build on each other */

static void open_case(Reference *reference, const char *name) {
    ck_assert_msg(reference_open(reference, name) == STATUS_OK, "%s", status_message());
}

static void assert_close(
    const float *ours, const Reference *reference, const char *name, size_t count, double limit) {
    const float *theirs = reference_data(reference, name, count);
    ck_assert_ptr_nonnull(theirs);
    double distance = harness_distance(ours, theirs, count);
    ck_assert_msg(distance <= limit, "%s differs by %g, more than %g", name, distance, limit);
}

static void put(const Harness *harness, const char *tensor_name, const Reference *reference,
    const char *array) {
    const ReferenceArray *values = reference_find(reference, array);
    if (values == NULL) return;
    LayerTensor *tensor = harness_tensor(harness, tensor_name);
    if (tensor->kind == TENSOR_COUNTER)
        tensor->counter = (int64_t)values->data[0];
    else
        memcpy(tensor->data, values->data, values->count * sizeof *values->data);
}

/* ---- single layers ---- */

typedef struct LayerCase {
    const char *name, *layer, *input;
    int samples, microbatch;
} LayerCase;

static const LayerCase layer_cases[] = {{"linear", "{linear: {out: 5}}", "[7]", 13, 4},
    {"linear", "{linear: {out: 5}}", "[7]", 13, 16},
    {"linear_no_bias", "{linear: {out: 5, bias: false}}", "[7]", 13, 4},
    {"batch_norm_4", "batch_norm", "[6]", 4, 4}, {"batch_norm_4", "batch_norm", "[6]", 4, 1},
    {"batch_norm_16", "batch_norm", "[6]", 16, 16}, {"batch_norm_37", "batch_norm", "[6]", 37, 8},
    {"batch_norm_70", "batch_norm", "[6]", 70, 16}, {"batch_norm_70", "batch_norm", "[6]", 70, 70},
    {"batch_norm_no_affine", "{batch_norm: {affine: false}}", "[6]", 21, 8},
    {"batch_norm_eps", "{batch_norm: {eps: 1.0e-3}}", "[6]", 21, 5},
    {"batch_norm_mean_1000", "batch_norm", "[6]", 70, 16},
    {"batch_norm_2d", "batch_norm", "[3, 4, 5]", 10, 4},
    {"batch_norm_2d_mean_1000", "batch_norm", "[3, 4, 5]", 10, 4},
    {"sync_batch_norm_52", "batch_norm", "[5]", 52, 16},
    {"sync_batch_norm_2d_52", "batch_norm", "[3, 2, 3]", 52, 16},
    {"group_batch_norm_52", "{batch_norm: {sync: none}}", "[5]", 52, 16},
    {"group_batch_norm_52", "{batch_norm: {sync: {group: 2}}}", "[5]", 52, 8},
    {"relu", "relu", "[8]", 13, 4}, {"log_softmax", "log_softmax", "[10]", 13, 8}};
enum { LAYER_CASES = sizeof layer_cases / sizeof *layer_cases };

static void check_parameter(
    const Harness *harness, const Reference *reference, const char *name, const char *gradient) {
    const ReferenceArray *wanted = reference_find(reference, gradient);
    char full[64];
    if (wanted == NULL) return;
    snprintf(full, sizeof full, "0.%s", name);
    assert_close(harness_gradient(harness, full), reference, gradient, wanted->count, CLOSE);
}

static void check_statistic(const Harness *harness, const Reference *reference, const char *name) {
    const ReferenceArray *wanted = reference_find(reference, name);
    char full[64];
    if (wanted == NULL) return;
    snprintf(full, sizeof full, "0.%s", name);
    const LayerTensor *tensor = harness_tensor(harness, full);
    if (tensor->kind == TENSOR_COUNTER)
        ck_assert_int_eq(tensor->counter, (int64_t)wanted->data[0]);
    else
        assert_close(tensor->data, reference, name, wanted->count, CLOSE);
}

static void check_layer(const LayerCase *layer) {
    Harness harness;
    Reference reference;
    char layers[256];
    open_case(&reference, layer->name);
    snprintf(layers, sizeof layers, "[%s]", layer->layer);
    harness_create(&harness, &(HarnessOptions){.input = layer->input,
                                 .layers = layers,
                                 .samples = layer->samples,
                                 .microbatch = layer->microbatch});
    size_t in = (size_t)layer->samples * shape_element_count(harness.network->input);
    size_t out = (size_t)layer->samples * shape_element_count(harness.network->output);
    float *y = calloc(out, sizeof *y), *dx = calloc(in, sizeof *dx);
    if (reference_find(&reference, "weight") != NULL)
        put(&harness, "0.weight", &reference, "weight");
    if (reference_find(&reference, "bias") != NULL) put(&harness, "0.bias", &reference, "bias");
    harness_forward(&harness, reference_data(&reference, "x", in), 1);
    harness_output(&harness, y);
    harness_backward(&harness, reference_data(&reference, "dy", out));
    harness_input_gradient(&harness, dx);
    assert_close(y, &reference, "y", out, CLOSE);
    assert_close(dx, &reference, "dx", in, CLOSE);
    check_parameter(&harness, &reference, "weight", "dweight");
    check_parameter(&harness, &reference, "bias", "dbias");
    check_statistic(&harness, &reference, "running_mean");
    check_statistic(&harness, &reference, "running_var");
    check_statistic(&harness, &reference, "num_batches_tracked");
    free(y);
    free(dx);
    harness_free(&harness);
    reference_free(&reference);
}

START_TEST(layers_equal_pytorchs) {
    check_layer(&layer_cases[_i]);
}
END_TEST

START_TEST(cumulative_momentum_equals_pytorchs) {
    static const int samples[3] = {16, 16, 9};
    Harness harness;
    Reference reference;
    float y[16 * 6];
    open_case(&reference, "batch_norm_cumulative");
    harness_create(&harness, &(HarnessOptions){.input = "[6]",
                                 .layers = "[{batch_norm: {momentum: null}}]",
                                 .samples = 16,
                                 .microbatch = 8});
    put(&harness, "0.weight", &reference, "weight");
    put(&harness, "0.bias", &reference, "bias");
    for (int i = 0; i < 3; i++) {
        char x_name[16], y_name[16], mean[32], var[32];
        size_t n = (size_t)samples[i] * 6;
        snprintf(x_name, sizeof x_name, "x%d", i);
        snprintf(y_name, sizeof y_name, "y%d", i);
        snprintf(mean, sizeof mean, "running_mean%d", i);
        snprintf(var, sizeof var, "running_var%d", i);
        harness_use_batch(&harness, samples[i]);
        harness_forward(&harness, reference_data(&reference, x_name, n), 1);
        harness_output(&harness, y);
        assert_close(y, &reference, y_name, n, CLOSE);
        assert_close(harness_tensor(&harness, "0.running_mean")->data, &reference, mean, 6, CLOSE);
        assert_close(harness_tensor(&harness, "0.running_var")->data, &reference, var, 6, CLOSE);
        ck_assert_int_eq(harness_tensor(&harness, "0.num_batches_tracked")->counter, i + 1);
    }
    harness_free(&harness);
    reference_free(&reference);
}
END_TEST

START_TEST(evaluation_mode_equals_pytorchs) {
    Harness harness;
    Reference reference;
    float y[19 * 6];
    open_case(&reference, "batch_norm_eval");
    harness_create(
        &harness, &(HarnessOptions){
                      .input = "[6]", .layers = "[batch_norm]", .samples = 19, .microbatch = 8});
    static const char *const names[] = {"weight", "bias", "running_mean", "running_var"};
    for (int i = 0; i < 4; i++) {
        char full[32];
        snprintf(full, sizeof full, "0.%s", names[i]);
        put(&harness, full, &reference, names[i]);
    }
    harness_forward(&harness, reference_data(&reference, "x", 19 * 6), 0);
    harness_output(&harness, y);
    assert_close(y, &reference, "y", 19 * 6, CLOSE);
    check_statistic(&harness, &reference, "running_mean");
    check_statistic(&harness, &reference, "running_var");
    harness_free(&harness);
    reference_free(&reference);
}
END_TEST

/* ---- losses ---- */

START_TEST(losses_equal_pytorchs) {
    static const char *const names[] = {"cross_entropy", "cross_entropy_large", "nll"};
    static const int losses[] = {LOSS_CROSS_ENTROPY, LOSS_CROSS_ENTROPY, LOSS_NLL};
    enum { SAMPLES = 13, CLASSES = 10, LANES = 16 };
    Reference reference;
    float output[CLASSES * LANES] = {0}, gradient[CLASSES * LANES], dx[SAMPLES * CLASSES];
    int labels[LANES];
    double record[LOSS_RECORD_LENGTH] = {0};
    open_case(&reference, names[_i]);
    const float *x = reference_data(&reference, "x", SAMPLES * CLASSES);
    const float *wanted = reference_data(&reference, "labels", SAMPLES);
    for (int s = 0; s < LANES; s++) labels[s] = s < SAMPLES ? (int)wanted[s] : -1;
    for (int s = 0; s < SAMPLES; s++)
        for (int k = 0; k < CLASSES; k++) output[k * LANES + s] = x[s * CLASSES + k];
    loss_type(losses[_i])->compute(output, labels, CLASSES, LANES, SAMPLES, gradient, record);
    for (int s = 0; s < SAMPLES; s++)
        for (int k = 0; k < CLASSES; k++) dx[s * CLASSES + k] = gradient[k * LANES + s];
    float loss = (float)(record[LOSS_SUM] / SAMPLES);
    assert_close(&loss, &reference, "loss", 1, CLOSE);
    assert_close(dx, &reference, "dx", SAMPLES * CLASSES, CLOSE);
    for (int k = 0; k < CLASSES; k++) ck_assert_float_eq(gradient[k * LANES + LANES - 1], 0);
    reference_free(&reference);
}
END_TEST

/* ---- whole networks ---- */

enum { DATA_COUNT = 53, IN = 12, CLASSES = 4, BATCH = 20, STEPS = 20 };

static const char *const mlp =
    "[{linear: {out: 9}}, relu, {linear: {out: 7}}, relu, {linear: {out: 4}}]";
static const char *const mlp_bn =
    "[{linear: {out: 9, bias: false}}, batch_norm, relu, {linear: {out: 7, bias: false}}, "
    "batch_norm, relu, {linear: {out: 4}}]";

/* Set every tensor from arrays PREFIX.NAME, or compare with them. */
static void put_state(Harness *harness, const Reference *reference, const char *prefix) {
    for (int n = 0; n < harness->network->tensor_count; n++) {
        char array[512];
        snprintf(array, sizeof array, "%.64s.%s", prefix, harness->network->tensors[n].name);
        ck_assert_ptr_nonnull(reference_find(reference, array));
        put(harness, harness->network->tensors[n].name, reference, array);
    }
}

static void check_state(
    const Harness *harness, const Reference *reference, const char *prefix, double limit) {
    for (int n = 0; n < harness->network->tensor_count; n++) {
        const LayerTensor *tensor = harness->network->tensors[n].tensor;
        char array[512];
        snprintf(array, sizeof array, "%.64s.%s", prefix, harness->network->tensors[n].name);
        if (tensor->kind == TENSOR_COUNTER)
            ck_assert_int_eq(tensor->counter, (int64_t)reference_data(reference, array, 1)[0]);
        else
            assert_close(tensor->data, reference, array, shape_element_count(tensor->shape), limit);
    }
}

/* One pass over samples [first, first + count): mean loss; gradients are in the harness. */
static double run_batch(Harness *harness, const Reference *reference, int first, int count) {
    const float *x = reference_data(reference, "x", DATA_COUNT * IN);
    const float *wanted = reference_data(reference, "labels", DATA_COUNT);
    const Batch *batch = &harness->batch;
    int labels[DATA_COUNT * 16];
    double records[DATA_COUNT * LOSS_RECORD_LENGTH], sum = 0;
    harness_use_batch(harness, count);
    harness_forward(harness, x + first * IN, 1);
    for (int m = 0; m < batch->local_count; m++)
        for (int s = 0; s < batch->lanes; s++) {
            int64_t sample = batch_first_sample(batch, m) + s;
            labels[m * batch->lanes + s] =
                s < batch_valid_lanes(batch, m) ? (int)wanted[first + sample] : -1;
        }
    Tensor gradient = network_output_gradient(harness->network);
    loss_compute(loss_type(LOSS_CROSS_ENTROPY), &harness->pass, network_output(harness->network),
        labels, &gradient, records);
    harness->pass.input_gradient = &harness->input_gradient;
    network_backward(harness->network, &harness->pass);
    for (int m = 0; m < batch->local_count; m++) sum += records[m * LOSS_RECORD_LENGTH + LOSS_SUM];
    return sum / count;
}

static void create_mlp(Harness *harness, int has_norm, int microbatch) {
    harness_create(harness, &(HarnessOptions){.input = "[12]",
                                .layers = has_norm ? mlp_bn : mlp,
                                .samples = BATCH,
                                .microbatch = microbatch});
}

static void check_pass(int has_norm, int microbatch, const char *prefix, int first, int count) {
    Harness harness;
    Reference reference;
    char name[512];
    float logits[BATCH * CLASSES], dx[BATCH * IN];
    open_case(&reference, has_norm ? "mlp_bn" : "mlp");
    create_mlp(&harness, has_norm, microbatch);
    put_state(&harness, &reference, "initial");
    float loss = (float)run_batch(&harness, &reference, first, count);
    harness_output(&harness, logits);
    harness_input_gradient(&harness, dx);
    snprintf(name, sizeof name, "%s.loss", prefix);
    assert_close(&loss, &reference, name, 1, CLOSE);
    snprintf(name, sizeof name, "%s.logits", prefix);
    assert_close(logits, &reference, name, (size_t)count * CLASSES, CLOSE);
    snprintf(name, sizeof name, "%s.dx", prefix);
    assert_close(dx, &reference, name, (size_t)count * IN, CLOSE);
    for (int n = 0; n < harness.network->tensor_count; n++) {
        const LayerTensor *tensor = harness.network->tensors[n].tensor;
        const char *tensor_name = harness.network->tensors[n].name;
        size_t size = shape_element_count(tensor->shape);
        if (tensor->kind == TENSOR_PARAMETER) {
            snprintf(name, sizeof name, "%.64s.d.%s", prefix, tensor_name);
            assert_close(harness_gradient(&harness, tensor_name), &reference, name, size, CLOSE);
        } else if (tensor->kind == TENSOR_BUFFER) {
            snprintf(name, sizeof name, "%.64s.%s", prefix, tensor_name);
            assert_close(tensor->data, &reference, name, size, CLOSE);
        }
    }
    harness_free(&harness);
    reference_free(&reference);
}

START_TEST(whole_networks_equal_pytorchs) {
    static const int microbatches[] = {1, 2, 4, 7, 16, 20};
    check_pass(_i % 2, microbatches[_i / 2], "full", 0, BATCH);
    check_pass(_i % 2, microbatches[_i / 2], "short", 2 * BATCH, DATA_COUNT - 2 * BATCH);
}
END_TEST

typedef struct OptimizerCase {
    const char *name;
    JobOptimizer job;
} OptimizerCase;

#define ADAM_NUMBERS .lr = 0.01, .betas = {2, {0.9, 0.999}}, .eps = 1e-8
static const OptimizerCase optimizer_cases[] = {{"sgd", {.name = OPTIMIZER_SGD, .lr = 0.1}},
    {"sgd_momentum", {.name = OPTIMIZER_SGD, .lr = 0.1, .momentum = 0.9}},
    {"sgd_dampening", {.name = OPTIMIZER_SGD, .lr = 0.1, .momentum = 0.9, .dampening = 0.1}},
    {"sgd_nesterov", {.name = OPTIMIZER_SGD, .lr = 0.1, .momentum = 0.9, .nesterov = 1}},
    {"sgd_weight_decay", {.name = OPTIMIZER_SGD, .lr = 0.1, .weight_decay = 0.01}},
    {"adam", {.name = OPTIMIZER_ADAM, ADAM_NUMBERS}},
    {"adam_weight_decay", {.name = OPTIMIZER_ADAM, ADAM_NUMBERS, .weight_decay = 0.01}},
    {"adamw", {.name = OPTIMIZER_ADAMW, ADAM_NUMBERS, .weight_decay = 0.01}}};
enum { OPTIMIZER_CASES = sizeof optimizer_cases / sizeof *optimizer_cases };

/* The optimizer's state after the last step, in arrays STATE.NAME. */
static void check_optimizer_state(
    const Harness *harness, const Optimizer *optimizer, const Reference *reference) {
    for (int i = 0; i < optimizer->state_count; i++)
        for (int n = 0; n < harness->network->tensor_count; n++) {
            const LayerTensor *tensor = harness->network->tensors[n].tensor;
            char array[512];
            if (tensor->kind != TENSOR_PARAMETER) continue;
            snprintf(array, sizeof array, "%s.%s", optimizer->state_names[i],
                harness->network->tensors[n].name);
            assert_close(optimizer->states[i] + tensor->offset, reference, array,
                shape_element_count(tensor->shape), CLOSE_STEPS);
        }
}

START_TEST(twenty_optimizer_steps_equal_pytorchs) {
    static const int firsts[3] = {0, 20, 40}, counts[3] = {20, 20, 13};
    const OptimizerCase *wanted = &optimizer_cases[_i / 2];
    Harness harness;
    Reference steps, start;
    Optimizer *optimizer = NULL;
    char name[512];
    snprintf(name, sizeof name, "%s_%s", _i % 2 ? "mlp_bn" : "mlp", wanted->name);
    open_case(&steps, name);
    open_case(&start, _i % 2 ? "mlp_bn" : "mlp");
    create_mlp(&harness, _i % 2, 8);
    put_state(&harness, &start, "initial");
    size_t floats = harness.network->parameter_block_floats;
    ck_assert_int_eq(
        optimizer_create(&optimizer, &wanted->job, harness.kernels, 0, floats), STATUS_OK);
    const float *losses = reference_data(&steps, "losses", STEPS);
    for (int step = 0; step < STEPS; step++) {
        double loss = run_batch(&harness, &start, firsts[step % 3], counts[step % 3]);
        ck_assert_double_lt(fabs(loss - losses[step]), CLOSE_STEPS);
        optimizer_update(optimizer, 0, floats, harness.parameters, harness.gradients[0]);
        optimizer_finish_step(optimizer);
        snprintf(name, sizeof name, "step%d", step + 1);
        if (step == 0 || step == 4 || step == STEPS - 1)
            check_state(&harness, &steps, name, CLOSE_STEPS);
    }
    check_optimizer_state(&harness, optimizer, &steps);
    optimizer_free(optimizer);
    harness_free(&harness);
    reference_free(&steps);
    reference_free(&start);
}
END_TEST

/* ---- schedules ---- */

START_TEST(schedules_equal_their_formulas) {
    static const char *const names[] = {"constant", "step", "cosine", "linear"};
    Reference reference;
    char name[64];
    float lr[40];
    Job job = {.optimizer = {.lr = 0.1},
        .schedule = {.name = _i / 2,
            .warmup_epochs = _i % 2 ? 1.5 : 0,
            .step_epochs = 3,
            .gamma = 0.5,
            .final_lr = 0.001},
        .train = {.epochs = 10}};
    snprintf(name, sizeof name, "schedule_%s%s", names[_i / 2], _i % 2 ? "_warmup" : "");
    open_case(&reference, name);
    for (int step = 0; step < 40; step++) lr[step] = (float)schedule_lr(&job, step, 4);
    assert_close(lr, &reference, "lr", 40, 1e-7);
    reference_free(&reference);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("parity with PyTorch");
    TCase *tests = unit_check_case(suite, "parity");
    tcase_add_loop_test(tests, layers_equal_pytorchs, 0, LAYER_CASES);
    tcase_add_test(tests, cumulative_momentum_equals_pytorchs);
    tcase_add_test(tests, evaluation_mode_equals_pytorchs);
    tcase_add_loop_test(tests, losses_equal_pytorchs, 0, 3);
    tcase_add_loop_test(tests, whole_networks_equal_pytorchs, 0, 12);
    tcase_add_loop_test(tests, twenty_optimizer_steps_equal_pytorchs, 0, 2 * OPTIMIZER_CASES);
    tcase_add_loop_test(tests, schedules_equal_their_formulas, 0, 8);
    return unit_check_run(suite);
}
