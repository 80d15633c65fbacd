/* network.c - see network.h. */
#include "src/network.h"
#include "src/memory.h"
#include "src/plan.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Blocks start tensors and microbatches at multiples of 64 bytes. */
static size_t round_up(size_t floats, size_t unit) {
    return (floats + unit - 1) / unit * unit;
}

enum { ALIGNED_FLOATS = 16 };

/* ---- set-up ---- */

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names with dots may make one layer's tensor that of another. */
static Status check_names(const Network *network) {
    const char **names = NULL;
    size_t count = (size_t)network->tensor_count;
    TRY(MEMORY_ALLOCATE(&names, count, "tensor names"));
    for (size_t n = 0; n < count; n++) names[n] = network->tensors[n].name;
    qsort(names, count, sizeof *names, compare_names);
    Status status = STATUS_OK;
    for (size_t n = 1; n < count && status == STATUS_OK; n++)
        if (strcmp(names[n - 1], names[n]) == 0)
            status = FAIL(STATUS_CONFIG,
                "model: two layers have a tensor '%s': give one of them another name", names[n]);
    memory_free(names);
    return status;
}

/* List every tensor under its full name. */
static Status name_tensors(Network *network) {
    for (int i = 0; i < network->layer_count; i++)
        network->tensor_count += network->layers[i]->tensor_count;
    TRY(MEMORY_ALLOCATE(&network->tensors, (size_t)network->tensor_count, "tensor names"));
    NamedTensor *named = network->tensors;
    for (int i = 0; i < network->layer_count; i++)
        for (int t = 0; t < network->layers[i]->tensor_count; t++, named++) {
            named->tensor = &network->layers[i]->tensors[t];
            snprintf(named->name, sizeof named->name, "%s.%s", network->layers[i]->label,
                named->tensor->name);
        }
    return check_names(network);
}

/* Give every tensor its place in the block of its kind. */
static void place_tensors(Network *network) {
    size_t parameter_floats = 0, buffer_floats = 0;
    for (int n = 0; n < network->tensor_count; n++) {
        LayerTensor *tensor = network->tensors[n].tensor;
        size_t count = shape_element_count(tensor->shape);
        size_t *block = tensor->kind == TENSOR_PARAMETER ? &parameter_floats : &buffer_floats;
        if (tensor->kind == TENSOR_COUNTER) continue;
        tensor->offset = *block;
        *block += round_up(count, ALIGNED_FLOATS);
        if (tensor->kind == TENSOR_PARAMETER) network->parameter_count += count;
    }
    network->parameter_block_floats = round_up(parameter_floats, NETWORK_BLOCK_FLOATS);
    network->buffer_floats = buffer_floats;
}

static Status allocate_buffers(Network *network) {
    TRY(MEMORY_ALLOCATE(&network->buffers, network->buffer_floats, "buffers"));
    for (int n = 0; n < network->tensor_count; n++) {
        LayerTensor *tensor = network->tensors[n].tensor;
        if (tensor->kind == TENSOR_BUFFER) tensor->data = network->buffers + tensor->offset;
    }
    return STATUS_OK;
}

static size_t activation_floats(Network *network) {
    return plan_memory(network->body, network->lanes, network->microbatches_max, NULL);
}

/* With room for what kernels read before the first number and beyond the last, here and below. */
static Status allocate_activations(Network *network) {
    size_t floats = network->activation_bytes / sizeof(float) + 2 * KERNEL_WIDTH_MAX;
    TRY(MEMORY_ALLOCATE(&network->activation_block, floats, "activations"));
    plan_memory(network->body, network->lanes, network->microbatches_max,
        network->activation_block + KERNEL_WIDTH_MAX);
    return STATUS_OK;
}

static size_t place_scratch(Network *network, int layer, int scratch) {
    Layer *self = network->layers[layer];
    size_t floats = self->scratch[scratch].floats;
    self->scratch[scratch].stride = 0;
    if (self->scratch[scratch].layout == SCRATCH_CONTIGUOUS) self->scratch[scratch].stride = floats;
    if (self->scratch[scratch].layout == SCRATCH_PER_MICROBATCH)
        self->scratch[scratch].stride = round_up(floats, ALIGNED_FLOATS);
    if (self->scratch[scratch].layout != SCRATCH_ONCE)
        floats = self->scratch[scratch].stride * (size_t)network->microbatches_max;
    return round_up(floats, ALIGNED_FLOATS);
}

static size_t scratch_floats(Network *network) {
    size_t total = 0;
    for (int i = 0; i < network->layer_count; i++)
        for (int s = 0; s < network->layers[i]->scratch_count; s++)
            total += place_scratch(network, i, s);
    return total;
}

static Status allocate_scratch(Network *network) {
    size_t total = network->scratch_bytes / sizeof(float);
    TRY(MEMORY_ALLOCATE(
        &network->scratch_block, total + KERNEL_WIDTH_MAX, "scratch memory of layers"));
    float *next = network->scratch_block;
    for (int i = 0; i < network->layer_count; i++)
        for (int s = 0; s < network->layers[i]->scratch_count; s++) {
            network->layers[i]->scratch[s].data = next;
            next += place_scratch(network, i, s);
        }
    return STATUS_OK;
}

/* The layers, and the names of their tensors. */
static Status configure_layers(Network *network, const NetworkSpec *spec, SequenceSetup *setup) {
    TRY(sequence_create(
        &network->body, setup, &spec->list, NULL, "", spec->input, &network->output));
    TRY(MEMORY_ALLOCATE(&network->layers, (size_t)setup->layer_count, "layers"));
    network->layer_count = setup->layer_count;
    sequence_collect(network->body, network->layers);
    return name_tensors(network);
}

Status network_plan(Network **network_out, const NetworkSpec *spec, int lanes, int microbatches_max,
    int thread_count) {
    Network *network = NULL;
    *network_out = NULL;
    TRY(MEMORY_ALLOCATE(&network, 1, "network"));
    *network_out = network;
    network->input = spec->input;
    network->lanes = lanes;
    network->microbatches_max = microbatches_max;
    SequenceSetup setup = {
        .lanes = lanes, .thread_count = thread_count, .microbatches_max = microbatches_max};
    TRY(configure_layers(network, spec, &setup));
    place_tensors(network);
    network->activation_bytes = activation_floats(network) * sizeof(float);
    network->scratch_bytes = scratch_floats(network) * sizeof(float);
    return STATUS_OK;
}

Status network_create(
    Network **network, const NetworkSpec *spec, int lanes, int microbatches_max, int thread_count) {
    TRY(network_plan(network, spec, lanes, microbatches_max, thread_count));
    TRY(allocate_buffers(*network));
    TRY(allocate_activations(*network));
    return allocate_scratch(*network);
}

Status network_check(const NetworkSpec *spec, Shape *output, const LayerSpec **refused) {
    Network *network = NULL;
    SequenceSetup setup = {.lanes = 1, .thread_count = 1, .microbatches_max = 1};
    Status status = MEMORY_ALLOCATE(&network, 1, "network");
    if (status == STATUS_OK) status = configure_layers(network, spec, &setup);
    if (status == STATUS_OK) *output = network->output;
    *refused = setup.refused;
    network_free(network);
    return status;
}

void network_free(Network *network) {
    if (network == NULL) return;
    sequence_free(network->body);
    memory_free(network->layers);
    memory_free(network->tensors);
    memory_free(network->buffers);
    memory_free(network->activation_block);
    memory_free(network->scratch_block);
    memory_free(network);
}

void network_attach(Network *network, float *parameters) {
    network->parameters = parameters;
    for (int n = 0; n < network->tensor_count; n++) {
        LayerTensor *tensor = network->tensors[n].tensor;
        if (tensor->kind == TENSOR_PARAMETER) tensor->data = parameters + tensor->offset;
    }
}

/* ---- start values ---- */

static void fill_uniform(const LayerTensor *tensor, Rng rng, uint32_t tensor_index) {
    size_t count = shape_element_count(tensor->shape);
    double width = tensor->init.maximum - tensor->init.minimum;
    uint32_t bits[4] = {0};
    for (size_t e = 0; e < count; e++) {
        if (e % 4 == 0) rng_draw(rng, 0, e / 4, tensor_index, bits);
        tensor->data[e] = (float)(tensor->init.minimum + width * rng_uniform(bits[e % 4]));
    }
}

static void initialize_tensor(LayerTensor *tensor, Rng rng, uint32_t tensor_index) {
    size_t count = shape_element_count(tensor->shape);
    if (tensor->kind == TENSOR_COUNTER)
        tensor->counter = 0;
    else if (tensor->init.rule == INIT_UNIFORM)
        fill_uniform(tensor, rng, tensor_index);
    else
        for (size_t e = 0; e < count; e++) tensor->data[e] = (float)tensor->init.value;
}

void network_initialize(Network *network, uint64_t seed, int writes_parameters) {
    for (int i = 0; i < network->layer_count; i++) {
        Layer *layer = network->layers[i];
        Rng rng = rng_stream(seed, RNG_WEIGHTS, layer->index);
        for (int t = 0; t < layer->tensor_count; t++)
            if (writes_parameters || layer->tensors[t].kind != TENSOR_PARAMETER)
                initialize_tensor(&layer->tensors[t], rng, (uint32_t)t);
    }
}

/* ---- passes ---- */

void network_forward(Network *network, const Pass *pass) {
    REQUIRE(pass->batch->local_count <= network->microbatches_max);
    REQUIRE(pass->batch->lanes == network->lanes);
    sequence_forward(network->body, pass);
}

void network_backward(Network *network, const Pass *pass) {
    sequence_backward(network->body, pass, pass->input_gradient != NULL);
    if (pass->input_gradient != NULL) *pass->input_gradient = network->body->gradients[0];
}

double network_step_multiply_adds(const Network *network) {
    return sequence_multiply_adds(network->body, 0);
}

Tensor *network_input(Network *network) {
    return &network->body->activations[0];
}

const Tensor *network_output(const Network *network) {
    return sequence_output(network->body);
}

Tensor network_output_gradient(Network *network) {
    return *sequence_output_gradient(network->body);
}
