/* sequence.c - see sequence.h. */
#include "src/sequence.h"
#include "src/memory.h"
#include <limits.h>
#include <stdio.h>

/* ---- set-up ---- */

static Status name_layer(Layer *layer, const char *prefix, int position) {
    char number[16];
    const char *own = layer->spec->label,
               *parent = layer->parent == NULL ? "" : layer->parent->label;
    if (own[0] == '\0') {
        snprintf(number, sizeof number, "%d", position);
        own = number;
    }
    int bytes = snprintf(layer->label, sizeof layer->label, "%s%s%s%s", parent,
        layer->parent == NULL ? "" : ".", prefix, own);
    if (bytes < (int)sizeof layer->label) return STATUS_OK;
    return FAIL(STATUS_CONFIG, "model: the names down to layer '%s' make more than %d letters",
        layer->label, LAYER_PATH_BYTES - 1);
}

/* Which neighbour does relu `index` of a list along with its own work: rather the one behind, a
 * pooling, say, that has fewer numbers to rectify. -1: none, or this is no relu. */
static int relu_taker(const LayerList *list, int index) {
    if (index < 0 || index >= list->count || !list->layers[index].type->is_relu) return -1;
    if (index + 1 < list->count && list->layers[index + 1].type->takes_relu_before)
        return index + 1;
    if (index > 0 && list->layers[index - 1].type->takes_relu_after) return index - 1;
    return -1;
}

/* Layers count the numbers of a sample in an int. */
static Status check_output(const Layer *layer) {
    char text[SHAPE_TEXT_BYTES];
    double numbers = 1;
    for (int d = 0; d < layer->out.dimension_count; d++) numbers *= layer->out.size[d];
    if (numbers <= INT_MAX) return STATUS_OK;
    return FAIL(STATUS_CONFIG,
        "%s '%s' gives %s: a sample of %.0f numbers is too large; at most %d", layer->type->name,
        layer->label, shape_print(layer->out, text), numbers, INT_MAX);
}

static Status configure_layer(
    Layer *layer, SequenceSetup *setup, const LayerList *list, const char *prefix, int position) {
    layer->spec = &list->layers[position];
    layer->type = layer->spec->type;
    layer->index = (uint32_t)setup->layer_count++;
    layer->lanes = setup->lanes;
    layer->thread_count = setup->thread_count;
    layer->microbatches_max = setup->microbatches_max;
    layer->options = layer->spec->options;
    layer->is_view = layer->type->is_view || relu_taker(list, position) >= 0;
    layer->rectifies =
        relu_taker(list, position - 1) == position || relu_taker(list, position + 1) == position;
    layer->backward_reads_y = layer->type->backward_reads_y;
    layer->setup = setup;
    TRY(name_layer(layer, prefix, position));
    if (layer->type->state_bytes > 0)
        TRY(memory_allocate(&layer->state, layer->type->state_bytes, 1, "layer"));
    TRY(layer->type->configure(layer, layer->in, &layer->out));
    return check_output(layer);
}

Status sequence_create(Sequence **sequence_out, SequenceSetup *setup, const LayerList *list,
    const Layer *parent, const char *prefix, Shape in, Shape *out) {
    Sequence *sequence = NULL;
    *sequence_out = NULL;
    TRY(MEMORY_ALLOCATE(&sequence, 1, "layers"));
    *sequence_out = sequence;
    TRY(MEMORY_ALLOCATE(&sequence->layers, (size_t)list->count, "layers"));
    sequence->layer_count = list->count;
    TRY(MEMORY_ALLOCATE(&sequence->activations, (size_t)list->count + 1, "activations"));
    TRY(MEMORY_ALLOCATE(&sequence->gradients, (size_t)list->count + 1, "gradients"));
    sequence->activations[0].shape = in;
    for (int i = 0; i < list->count; i++) {
        Layer *layer = &sequence->layers[i];
        layer->parent = parent;
        layer->in = sequence->activations[i].shape;
        Status status = configure_layer(layer, setup, list, prefix, i);
        if (status != STATUS_OK && setup->refused == NULL) setup->refused = layer->spec;
        TRY(status);
        sequence->activations[i + 1].shape = layer->out;
    }
    *out = sequence_output(sequence)->shape;
    return STATUS_OK;
}

Status layer_add_sequence(Layer *self, int list, Shape in, Shape *out) {
    return sequence_create(&self->sequences[list], self->setup, &self->spec->lists[list], self,
        self->type->lists[list].prefix, in, out);
}

void sequence_free(Sequence *sequence) {
    if (sequence == NULL) return;
    for (int i = 0; i < sequence->layer_count; i++) {
        Layer *layer = &sequence->layers[i];
        for (int list = 0; list < LAYER_LISTS_MAX; list++) sequence_free(layer->sequences[list]);
        memory_free(layer->state);
    }
    memory_free(sequence->layers);
    memory_free(sequence->activations);
    memory_free(sequence->gradients);
    memory_free(sequence);
}

void sequence_collect(const Sequence *sequence, Layer **layers) {
    for (int i = 0; i < sequence->layer_count; i++) {
        Layer *layer = &sequence->layers[i];
        layers[layer->index] = layer;
        for (int list = 0; list < LAYER_LISTS_MAX; list++)
            if (layer->sequences[list] != NULL) sequence_collect(layer->sequences[list], layers);
    }
}

/* ---- passes ---- */

void sequence_forward(Sequence *sequence, const Pass *pass) {
    for (int i = 0; i < sequence->layer_count; i++) {
        Layer *layer = &sequence->layers[i];
        if (layer->is_view) continue;
        int before = profile_switch(pass->profile, profile_slot(layer->index, PROFILE_FORWARD));
        layer->type->forward(layer, pass, &sequence->activations[i], &sequence->activations[i + 1]);
        profile_switch(pass->profile, before);
    }
}

static int has_parameters(const Layer *layer) {
    for (int t = 0; t < layer->tensor_count; t++)
        if (layer->tensors[t].kind == TENSOR_PARAMETER) return 1;
    for (int list = 0; list < LAYER_LISTS_MAX; list++)
        for (int i = 0; layer->sequences[list] && i < layer->sequences[list]->layer_count; i++)
            if (has_parameters(&layer->sequences[list]->layers[i])) return 1;
    return 0;
}

/* The layer below which nobody wants a gradient. */
static int first_of_backward(const Sequence *sequence, int wants_input) {
    int first = 0;
    if (!wants_input)
        while (first < sequence->layer_count && !has_parameters(&sequence->layers[first])) first++;
    return first;
}

void sequence_backward(Sequence *sequence, const Pass *pass, int wants_input) {
    int first = first_of_backward(sequence, wants_input);
    for (int i = sequence->layer_count - 1; i >= first; i--) {
        Layer *layer = &sequence->layers[i];
        Tensor dx = sequence->gradients[i];
        if (layer->is_view) continue;
        if (i == first && !wants_input) dx.data = NULL;
        int before = profile_switch(pass->profile, profile_slot(layer->index, PROFILE_BACKWARD));
        layer->type->backward(layer, pass, &sequence->activations[i], &sequence->activations[i + 1],
            &sequence->gradients[i + 1], &dx);
        profile_switch(pass->profile, before);
    }
}

double sequence_multiply_adds(const Sequence *sequence, int wants_input) {
    int first = first_of_backward(sequence, wants_input);
    double sum = 0;
    for (int i = 0; i < sequence->layer_count; i++) {
        const Layer *layer = &sequence->layers[i];
        int gives_input = i > first || (i == first && wants_input);
        sum += layer->multiply_adds * (2 + gives_input);
        for (int list = 0; list < LAYER_LISTS_MAX; list++)
            if (layer->sequences[list] != NULL)
                sum += sequence_multiply_adds(layer->sequences[list], gives_input);
    }
    return sum;
}

Tensor *sequence_output(const Sequence *sequence) {
    return &sequence->activations[sequence->layer_count];
}

Tensor *sequence_output_gradient(const Sequence *sequence) {
    return &sequence->gradients[sequence->layer_count];
}
