/* harness.c - see harness.h. */
#include "tests/support/harness.h"
#include "io/job_file.h"
#include "src/memory.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A harness that cannot be set up is a broken test, not a failed one. */
static void must(Status status) {
    if (status == STATUS_OK) return;
    fprintf(stderr, "harness: %s\n", status_message());
    exit(EXIT_FAILURE);
}

void harness_use_batch(Harness *harness, int samples) {
    Batch *batch = &harness->batch;
    Batch old = *batch;
    int rank = harness->rank, size = harness->size;
    batch_plan(batch, samples, old.microbatch, rank, size);
    REQUIRE(batch->local_count <= harness->network->microbatches_max);
}

static Status read_job(Harness *harness, const HarnessOptions *options) {
    char text[4096];
    snprintf(text, sizeof text, "model: {input: %s, layers: %s}\ndata: {format: synthetic}\n",
        options->input, options->layers);
    return job_file_parse(&harness->job, "harness", text, NULL, 0);
}

int harness_accepts(const HarnessOptions *options) {
    Harness harness = {.size = 1};
    Network *network = NULL;
    Status status = read_job(&harness, options);
    if (status == STATUS_OK)
        status =
            network_create(&network, &harness.job.network, batch_lanes(options->microbatch), 1, 1);
    if (status != STATUS_CONFIG) must(status);
    network_free(network);
    job_free(&harness.job);
    return status == STATUS_OK;
}

void harness_create(Harness *harness, const HarnessOptions *options) {
    *harness = (Harness){.rank = options->rank, .size = options->size > 0 ? options->size : 1};
    Batch *batch = &harness->batch;
    int threads = options->threads > 0 ? options->threads : 1;
    must(read_job(harness, options));
    batch_plan(batch, options->samples, options->microbatch, harness->rank, harness->size);
    harness->kernels = kernels_find(options->isa, batch->lanes);
    REQUIRE(harness->kernels != NULL);
    must(threads_create(&harness->threads, threads));
    must(network_create(
        &harness->network, &harness->job.network, batch->lanes, batch->local_count, threads));
    size_t floats = harness->network->parameter_block_floats;
    must(MEMORY_ALLOCATE(&harness->parameters, floats, "parameters"));
    network_attach(harness->network, harness->parameters);
    network_initialize(harness->network, 1, 1);
    for (int node = 0; node < TREE_NODES_MAX && node <= batch->node_count + 8; node++)
        must(MEMORY_ALLOCATE(&harness->gradients[node], floats, "gradients"));
    must(MEMORY_ALLOCATE(&harness->sample_index,
        (size_t)batch->local_count * (size_t)batch->microbatch, "sample numbers"));
    harness->pass = (Pass){.batch = batch,
        .kernels = harness->kernels,
        .threads = harness->threads,
        .reducer = options->reducer != NULL ? options->reducer : reducer_of_one_rank(),
        .gradients = harness->gradients,
        .seed = 1,
        .sample_index = harness->sample_index};
}

void harness_free(Harness *harness) {
    network_free(harness->network);
    threads_free(harness->threads);
    memory_free(harness->parameters);
    memory_free(harness->sample_index);
    for (int node = 0; node < TREE_NODES_MAX; node++) memory_free(harness->gradients[node]);
    job_free(&harness->job);
}

void harness_samples(const Harness *harness, int *begin, int *end) {
    const Batch *batch = &harness->batch;
    *begin = (int)batch->local_begin * batch->microbatch;
    *end = *begin;
    for (int m = 0; m < batch->local_count; m++) *end += batch_valid_lanes(batch, m);
}

/* Copy between lanes and [samples][features]; lanes without a sample become zero. */
static void copy_in(const Harness *harness, Tensor *tensor, const float *values) {
    const Batch *batch = &harness->batch;
    size_t features = shape_element_count(tensor->shape);
    for (int m = 0; m < batch->local_count; m++) {
        int valid = batch_valid_lanes(batch, m);
        const float *sample = values + (size_t)batch_first_sample(batch, m) * features;
        float *lanes = layer_output(tensor, m).data;
        for (size_t f = 0; f < features; f++)
            for (int s = 0; s < batch->lanes; s++)
                lanes[f * (size_t)batch->lanes + (size_t)s] =
                    s < valid ? sample[(size_t)s * features + f] : 0.0f;
    }
}

static void copy_out(const Harness *harness, const Tensor *tensor, float *values) {
    const Batch *batch = &harness->batch;
    size_t features = shape_element_count(tensor->shape);
    for (int m = 0; m < batch->local_count; m++) {
        float *sample = values + (size_t)batch_first_sample(batch, m) * features;
        const float *lanes = layer_input(tensor, m).data;
        for (size_t f = 0; f < features; f++)
            for (int s = 0; s < batch_valid_lanes(batch, m); s++)
                sample[(size_t)s * features + f] = lanes[f * (size_t)batch->lanes + (size_t)s];
    }
}

void harness_forward(Harness *harness, const float *x, int is_training) {
    harness->pass.is_training = is_training;
    harness->pass.uses_batch_statistics = is_training;
    for (int m = 0; m < harness->batch.local_count; m++)
        for (int s = 0; s < harness->batch.microbatch; s++)
            harness->sample_index[m * harness->batch.microbatch + s] =
                batch_first_sample(&harness->batch, m) + s;
    copy_in(harness, network_input(harness->network), x);
    network_forward(harness->network, &harness->pass);
}

void harness_backward(Harness *harness, const float *dy) {
    Tensor gradient = network_output_gradient(harness->network);
    copy_in(harness, &gradient, dy);
    harness->pass.input_gradient = &harness->input_gradient;
    network_backward(harness->network, &harness->pass);
}

void harness_output(const Harness *harness, float *y) {
    copy_out(harness, network_output(harness->network), y);
}

void harness_input_gradient(const Harness *harness, float *dx) {
    copy_out(harness, &harness->input_gradient, dx);
}

LayerTensor *harness_tensor(const Harness *harness, const char *name) {
    for (int n = 0; n < harness->network->tensor_count; n++)
        if (strcmp(harness->network->tensors[n].name, name) == 0)
            return harness->network->tensors[n].tensor;
    fprintf(stderr, "harness: the network has no tensor '%s'\n", name);
    exit(EXIT_FAILURE);
}

const float *harness_gradient(const Harness *harness, const char *name) {
    REQUIRE(harness->batch.node_count == 1);
    return harness->gradients[0] + harness_tensor(harness, name)->offset;
}

double harness_distance(const float *a, const float *b, size_t n) {
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        double distance = fabs((double)a[i] - b[i]) / (1 + fabs((double)b[i]));
        if (isnan(a[i]) != isnan(b[i])) return INFINITY;
        if (distance > largest) largest = distance;
    }
    return largest;
}
