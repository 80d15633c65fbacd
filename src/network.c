/* network.c - see network.h. */
#include "src/network.h"
#include "src/memory.h"
#include <stdio.h>
#include <string.h>

/* Blocks start tensors and microbatches at multiples of 64 bytes. */
static size_t round_up(size_t floats, size_t unit) {
    return (floats + unit - 1) / unit * unit;
}

enum { ALIGNED_FLOATS = 16 };

/* ---- set-up ---- */

static Status check_label(const Network *network, int index, const char *label) {
    for (int i = 0; i < index; i++)
        if (strcmp(network->layers[i].label, label) == 0)
            return FAIL(STATUS_CONFIG, "model.layers[%d]: the name '%s' is taken by layer %d",
                index, label, i);
    return STATUS_OK;
}

static Status configure_layer(
    Network *network, const NetworkSpec *spec, int index, int thread_count) {
    Layer *layer = &network->layers[index];
    const LayerSpec *wanted = &spec->layers[index];
    layer->type = wanted->type;
    layer->index = (uint32_t)index;
    layer->lanes = network->lanes;
    layer->thread_count = thread_count;
    layer->options = wanted->options;
    if (wanted->label[0] != '\0')
        snprintf(layer->label, sizeof layer->label, "%s", wanted->label);
    else
        snprintf(layer->label, sizeof layer->label, "%d", index);
    TRY(check_label(network, index, layer->label));
    if (layer->type->state_bytes > 0)
        TRY(memory_allocate(&layer->state, layer->type->state_bytes, 1, "layer"));
    return layer->type->configure(
        layer, network->activations[index].shape, &network->activations[index + 1].shape);
}

/* Give every tensor its place in the block of its kind, and its full name. */
static Status place_tensors(Network *network) {
    size_t parameter_floats = 0, buffer_floats = 0;
    for (int i = 0; i < network->layer_count; i++)
        network->tensor_count += network->layers[i].tensor_count;
    TRY(MEMORY_ALLOCATE(&network->tensors, (size_t)network->tensor_count, "tensor names"));
    int n = 0;
    for (int i = 0; i < network->layer_count; i++) {
        Layer *layer = &network->layers[i];
        for (int t = 0; t < layer->tensor_count; t++, n++) {
            LayerTensor *tensor = &layer->tensors[t];
            size_t count = shape_element_count(tensor->shape);
            size_t *block = tensor->kind == TENSOR_PARAMETER ? &parameter_floats : &buffer_floats;
            network->tensors[n].tensor = tensor;
            snprintf(network->tensors[n].name, sizeof network->tensors[n].name, "%s.%s",
                layer->label, tensor->name);
            if (tensor->kind == TENSOR_COUNTER) continue;
            tensor->offset = *block;
            *block += round_up(count, ALIGNED_FLOATS);
            if (tensor->kind == TENSOR_PARAMETER) network->parameter_count += count;
        }
    }
    network->parameter_block_floats = round_up(parameter_floats, NETWORK_BLOCK_FLOATS);
    TRY(MEMORY_ALLOCATE(&network->buffers, buffer_floats, "buffers"));
    for (n = 0; n < network->tensor_count; n++) {
        LayerTensor *tensor = network->tensors[n].tensor;
        if (tensor->kind == TENSOR_BUFFER) tensor->data = network->buffers + tensor->offset;
    }
    return STATUS_OK;
}

/* Whether layer i writes its output over its input. */
static int is_in_place(const Network *network, int i) {
    const LayerType *type = network->layers[i].type;
    int previous = i - 1; /* the one that wrote x: views only show it */
    while (previous >= 0 && network->layers[previous].type->is_view) previous--;
    int previous_needs_it = previous >= 0 && network->layers[previous].type->backward_reads_y;
    return type->is_view || (type->is_in_place && previous >= 0 && !previous_needs_it);
}

static Status allocate_activations(Network *network) {
    size_t total = 0, largest = 0, microbatches = (size_t)network->microbatches_max;
    for (int i = 0; i <= network->layer_count; i++) {
        Tensor *x = &network->activations[i];
        x->stride =
            round_up(shape_element_count(x->shape) * (size_t)network->lanes, ALIGNED_FLOATS);
        if (x->stride > largest) largest = x->stride;
        if (i == 0 || !is_in_place(network, i - 1)) total += x->stride * microbatches;
    }
    total += 2 * largest * microbatches;
    network->activation_bytes = total * sizeof(float);
    TRY(MEMORY_ALLOCATE(&network->activation_block, total, "activations"));
    float *next = network->activation_block;
    for (int i = 0; i <= network->layer_count; i++) {
        Tensor *x = &network->activations[i];
        if (i > 0 && is_in_place(network, i - 1)) {
            x->data = network->activations[i - 1].data;
            continue;
        }
        x->data = next;
        next += x->stride * microbatches;
    }
    network->gradient_of_activation[0] = next;
    network->gradient_of_activation[1] = next + largest * microbatches;
    return STATUS_OK;
}

static size_t scratch_floats(Network *network, int layer, int scratch) {
    Layer *self = &network->layers[layer];
    size_t floats = self->scratch[scratch].floats;
    self->scratch[scratch].stride = 0;
    if (self->scratch[scratch].layout == SCRATCH_CONTIGUOUS) self->scratch[scratch].stride = floats;
    if (self->scratch[scratch].layout == SCRATCH_PER_MICROBATCH)
        self->scratch[scratch].stride = round_up(floats, ALIGNED_FLOATS);
    if (self->scratch[scratch].layout != SCRATCH_ONCE)
        floats = self->scratch[scratch].stride * (size_t)network->microbatches_max;
    return round_up(floats, ALIGNED_FLOATS);
}

static Status allocate_scratch(Network *network) {
    size_t total = 0;
    for (int i = 0; i < network->layer_count; i++)
        for (int s = 0; s < network->layers[i].scratch_count; s++)
            total += scratch_floats(network, i, s);
    network->scratch_bytes = total * sizeof(float);
    TRY(MEMORY_ALLOCATE(&network->scratch_block, total, "scratch memory of layers"));
    float *next = network->scratch_block;
    for (int i = 0; i < network->layer_count; i++)
        for (int s = 0; s < network->layers[i].scratch_count; s++) {
            network->layers[i].scratch[s].data = next;
            next += scratch_floats(network, i, s);
        }
    return STATUS_OK;
}

Status network_create(Network **network_out, const NetworkSpec *spec, int lanes,
    int microbatches_max, int thread_count) {
    Network *network = NULL;
    *network_out = NULL;
    TRY(MEMORY_ALLOCATE(&network, 1, "network"));
    *network_out = network;
    network->input = spec->input;
    network->lanes = lanes;
    network->microbatches_max = microbatches_max;
    TRY(MEMORY_ALLOCATE(&network->layers, (size_t)spec->layer_count, "layers"));
    network->layer_count = spec->layer_count;
    TRY(MEMORY_ALLOCATE(&network->activations, (size_t)spec->layer_count + 1, "activations"));
    network->activations[0].shape = spec->input;
    for (int i = 0; i < spec->layer_count; i++)
        TRY(configure_layer(network, spec, i, thread_count));
    network->output = network->activations[spec->layer_count].shape;
    TRY(place_tensors(network));
    TRY(allocate_activations(network));
    return allocate_scratch(network);
}

void network_free(Network *network) {
    if (network == NULL) return;
    for (int i = 0; i < network->layer_count; i++) memory_free(network->layers[i].state);
    memory_free(network->layers);
    memory_free(network->activations);
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
        Layer *layer = &network->layers[i];
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
    for (int i = 0; i < network->layer_count; i++) {
        Layer *layer = &network->layers[i];
        layer->type->forward(layer, pass, &network->activations[i], &network->activations[i + 1]);
    }
}

/* Below it nobody wants a gradient, unless that of the input is asked for. */
static int first_layer_with_parameters(const Network *network) {
    for (int i = 0; i < network->layer_count; i++)
        for (int t = 0; t < network->layers[i].tensor_count; t++)
            if (network->layers[i].tensors[t].kind == TENSOR_PARAMETER) return i;
    return network->layer_count;
}

void network_backward(Network *network, const Pass *pass) {
    int last_wanted = pass->input_gradient != NULL ? 0 : first_layer_with_parameters(network);
    Tensor dy = network_output_gradient(network);
    int present = 0; /* which of the two buffers dy is in */
    for (int i = network->layer_count - 1; i >= last_wanted; i--) {
        Layer *layer = &network->layers[i];
        Tensor dx = network->activations[i];
        if (!is_in_place(network, i)) present = 1 - present;
        int is_wanted = i > last_wanted || pass->input_gradient != NULL;
        dx.data = is_wanted ? network->gradient_of_activation[present] : NULL;
        layer->type->backward(
            layer, pass, &network->activations[i], &network->activations[i + 1], &dy, &dx);
        dy = dx;
    }
    if (pass->input_gradient != NULL) *pass->input_gradient = dy;
}

const Tensor *network_output(const Network *network) {
    return &network->activations[network->layer_count];
}

Tensor network_output_gradient(Network *network) {
    Tensor gradient = network->activations[network->layer_count];
    gradient.data = network->gradient_of_activation[0];
    return gradient;
}
