/* test_sync_batch_norm.c - batch norm over the ranks equals PyTorch's over the whole batch, and has
 * the same bits as one rank. */
#include "tests/support/harness.h"
#include "tests/support/mpi_check.h"
#include "tests/support/reference.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Case {
    const char *name, *layer, *input;
    int samples, microbatch;
} Case;

static const Case cases[] = {{"sync_batch_norm_64", "batch_norm", "[5]", 64, 16},
    {"sync_batch_norm_52", "batch_norm", "[5]", 52, 16},
    {"sync_batch_norm_52", "batch_norm", "[5]", 52, 5},
    {"sync_batch_norm_52", "batch_norm", "[5]", 52, 1},
    {"sync_batch_norm_2d_52", "batch_norm", "[3, 2, 3]", 52, 8},
    {"sync_batch_norm_2d_52", "batch_norm", "[3, 2, 3]", 52, 1},
    {"group_batch_norm_52", "{batch_norm: {sync: none}}", "[5]", 52, 16},
    {"group_batch_norm_52", "{batch_norm: {sync: {group: 4}}}", "[5]", 52, 4},
    {"batch_norm_mean_1000", "batch_norm", "[6]", 70, 8},
    {"batch_norm_2d_mean_1000", "batch_norm", "[3, 4, 5]", 10, 2}};
enum { CASES = sizeof cases / sizeof *cases };

/* One run: outputs and input gradients of this rank's samples, running statistics. */
typedef struct Result {
    float *y, *dx;
    float mean[8], var[8];
    int begin, end; /* this rank's samples */
    size_t features;
} Result;

static Result run(
    const Case *chosen, const Reference *reference, int rank, int size, Reducer *reducer) {
    Harness harness;
    Result result = {.y = NULL};
    char layers[128];
    snprintf(layers, sizeof layers, "[%s]", chosen->layer);
    harness_create(&harness, &(HarnessOptions){.input = chosen->input,
                                 .layers = layers,
                                 .samples = chosen->samples,
                                 .microbatch = chosen->microbatch,
                                 .rank = rank,
                                 .size = size,
                                 .reducer = reducer});
    result.features = shape_element_count(harness.network->input);
    size_t n = (size_t)chosen->samples * result.features;
    size_t channels = (size_t)harness.network->input.size[0];
    result.y = calloc(n, sizeof *result.y);
    result.dx = calloc(n, sizeof *result.dx);
    memcpy(harness_tensor(&harness, "0.weight")->data,
        reference_data(reference, "weight", channels), channels * sizeof(float));
    memcpy(harness_tensor(&harness, "0.bias")->data, reference_data(reference, "bias", channels),
        channels * sizeof(float));
    harness_samples(&harness, &result.begin, &result.end);
    harness_forward(&harness, reference_data(reference, "x", n), 1);
    harness_output(&harness, result.y);
    harness_backward(&harness, reference_data(reference, "dy", n));
    harness_input_gradient(&harness, result.dx);
    memcpy(result.mean, harness_tensor(&harness, "0.running_mean")->data, channels * sizeof(float));
    memcpy(result.var, harness_tensor(&harness, "0.running_var")->data, channels * sizeof(float));
    harness_free(&harness);
    return result;
}

static void result_free(Result *result) {
    free(result->y);
    free(result->dx);
}

static double distance_to(const Result *result, const Reference *reference, const char *name) {
    const ReferenceArray *wanted = reference_find(reference, name);
    size_t begin = (size_t)result->begin * result->features;
    size_t count = (size_t)(result->end - result->begin) * result->features;
    const float *ours = strcmp(name, "y") == 0 ? result->y : result->dx;
    if (strcmp(name, "running_mean") == 0)
        return harness_distance(result->mean, wanted->data, wanted->count);
    if (strcmp(name, "running_var") == 0)
        return harness_distance(result->var, wanted->data, wanted->count);
    return harness_distance(ours + begin, wanted->data + begin, count);
}

START_TEST(ranks_together_equal_pytorch_on_the_whole_batch) {
    static const char *const names[] = {"y", "dx", "running_mean", "running_var"};
    const Case *chosen = &cases[_i];
    Comm *comm = mpi_check_comm();
    Reference reference;
    int opened = reference_open(&reference, chosen->name) == STATUS_OK;
    ASSERT_ON_ALL(opened);
    Result result =
        run(chosen, &reference, comm_position(comm), comm_size(comm), comm_reducer(comm));
    for (int i = 0; i < 4; i++) ASSERT_ON_ALL(distance_to(&result, &reference, names[i]) <= 1e-5);
    result_free(&result);
    reference_free(&reference);
}
END_TEST

START_TEST(ranks_together_have_the_bits_of_one) {
    const Case *chosen = &cases[_i];
    Comm *comm = mpi_check_comm();
    Reference reference;
    int opened = reference_open(&reference, chosen->name) == STATUS_OK;
    ASSERT_ON_ALL(opened);
    Result many = run(chosen, &reference, comm_position(comm), comm_size(comm), comm_reducer(comm));
    Result one = run(chosen, &reference, 0, 1, reducer_of_one_rank());
    size_t begin = (size_t)many.begin * many.features;
    size_t bytes = (size_t)(many.end - many.begin) * many.features * sizeof(float);
    ASSERT_ON_ALL(memcmp(many.y + begin, one.y + begin, bytes) == 0);
    ASSERT_ON_ALL(memcmp(many.dx + begin, one.dx + begin, bytes) == 0);
    ASSERT_ON_ALL(memcmp(many.mean, one.mean, sizeof one.mean) == 0);
    ASSERT_ON_ALL(memcmp(many.var, one.var, sizeof one.var) == 0);
    result_free(&many);
    result_free(&one);
    reference_free(&reference);
}
END_TEST

int main(int argc, char **argv) {
    Suite *suite = suite_create("synchronised batch norm");
    TCase *tests = tcase_create("over the ranks");
    tcase_add_loop_test(tests, ranks_together_equal_pytorch_on_the_whole_batch, 0, CASES);
    tcase_add_loop_test(tests, ranks_together_have_the_bits_of_one, 0, CASES);
    suite_add_tcase(suite, tests);
    return mpi_check_run(argc, argv, suite);
}
