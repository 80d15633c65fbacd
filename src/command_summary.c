/* command_summary.c - lockstep summary: the layers of a job with shapes and sizes, and what
 * training it takes in memory and communication. */
#include "io/job_file.h"
#include "src/command.h"
#include "src/memory.h"
#include "src/optimizer.h"
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = LAYER_PATH_BYTES + LAYER_NAME_BYTES };
static const double MEBIBYTE = 1048576.0;

static size_t layer_parameters(const Layer *layer) {
    size_t count = 0;
    for (int t = 0; t < layer->tensor_count; t++)
        if (layer->tensors[t].kind == TENSOR_PARAMETER)
            count += shape_element_count(layer->tensors[t].shape);
    return count;
}

/* "  layers.0 (linear)": what its own list adds to the label, indented below the layer that holds
 * it.
 */
static void print_name(const Layer *layer, char text[NAME_BYTES]) {
    size_t known = layer->parent == NULL ? 0 : strlen(layer->parent->label) + 1;
    int depth = 0;
    for (const Layer *parent = layer->parent; parent != NULL; parent = parent->parent) depth++;
    snprintf(
        text, NAME_BYTES, "%*s%s (%s)", 2 * depth, "", layer->label + known, layer->type->name);
}

static void print_rule(void) {
    printf("------------------------------------------------------------------------------\n");
}

static void print_layers(const Network *network, double *multiply_adds) {
    char shape[SHAPE_TEXT_BYTES], name[NAME_BYTES];
    printf("%-30s %-18s %12s %14s\n", "Layer (type)", "Output shape", "Param #", "Mult-adds");
    print_rule();
    printf("%-30s %-18s %12s %14s\n", "input", shape_print(network->input, shape), "", "");
    for (int i = 0; i < network->layer_count; i++) {
        const Layer *layer = network->layers[i];
        print_name(layer, name);
        if (layer->sequences[0] != NULL)
            printf("%-30s %s\n", name, shape_print(layer->out, shape));
        else
            printf("%-30s %-18s %12zu %14.0f\n", name, shape_print(layer->out, shape),
                layer_parameters(layer), layer->multiply_adds);
        *multiply_adds += layer->multiply_adds;
    }
    print_rule();
}

/* One collective per batch norm and direction, in doubles. */
static size_t norm_bytes(const Network *network) {
    size_t bytes = 0;
    for (int i = 0; i < network->layer_count; i++)
        if (strcmp(network->layers[i]->type->name, "batch_norm") == 0)
            bytes += 2 * sizeof(double) * (2 * (size_t)network->layers[i]->in.size[0] + 1);
    return bytes;
}

static void print_costs(const Job *job, const Network *network, double multiply_adds) {
    double block = (double)network->parameter_block_floats * sizeof(float);
    int states = job->optimizer.name != OPTIMIZER_SGD ? 2 : job->optimizer.momentum != 0 ? 1 : 0;
    int64_t batch = job->train.batch_size, size = job->train.microbatch;
    int64_t microbatches = (batch + size - 1) / size;
    printf("Trained parameters: %zu\n", network->parameter_count);
    printf("Mult-adds of a sample, forward: %.0f\n", multiply_adds);
    printf("Global batch: %lld samples in %lld microbatches: at most %lld ranks\n",
        (long long)batch, (long long)microbatches, (long long)microbatches);
    printf(
        "Exchanged in a step: %.2f MiB of gradients, as much of parameters; batch norm %zu bytes\n",
        block / MEBIBYTE, norm_bytes(network));
    printf("Memory, MiB (P ranks on one node):\n");
    printf("  parameters, one copy per node     %8.2f\n", block / MEBIBYTE);
    printf("  gradients, each subtree of a rank %8.2f\n", block / MEBIBYTE);
    printf("  optimizer state, each rank        %8.2f / P\n", states * block / MEBIBYTE);
    printf("  activations, each rank            %8.2f / P\n",
        (double)(network->activation_bytes + network->scratch_bytes) * (double)microbatches /
            MEBIBYTE);
}

static Status run(Comm *comm, const CommandLine *line) {
    (void)comm;
    Job job;
    Network *network = NULL;
    const char *path = line->argument_count > 0 ? line->arguments[0] : NULL;
    Status status = job_file_read(&job, path, line->sets, line->train.set_count);
    /* One microbatch stands for all, and nothing is allocated: a login node need not hold the
     * memory of a cluster. */
    if (status == STATUS_OK)
        status = network_plan(&network, &job.network, batch_lanes(job_microbatch(&job)), 1, 1);
    if (status == STATUS_OK) {
        double multiply_adds = 0;
        print_layers(network, &multiply_adds);
        print_costs(&job, network, multiply_adds);
    }
    network_free(network);
    job_free(&job);
    return status;
}

const Command command_summary = {
    .name = "summary",
    .usage = "[JOB.yaml] [--set a.b=v]...",
    .summary = "layers, shapes, parameters, memory and bytes exchanged",
    .examples = "  lockstep summary jobs/cifar-resnet20.yaml\n"
                "  lockstep summary job.yaml --set train.batch_size=256\n",
    .options = "s",
    .maximum_arguments = 1,
    .run = run,
};
