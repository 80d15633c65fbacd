/* own_norm.c - see own_norm.h. */
#include "src/layers/own_norm.h"

void own_norm_configure(Layer *self, Shape weights, int is_affine) {
    OwnNormState *state = self->state;
    Init ones = {.rule = INIT_CONSTANT, .value = 1}, zeros = {.rule = INIT_CONSTANT, .value = 0};
    size_t lanes = (size_t)self->lanes, groups = (size_t)state->groups;
    size_t count = shape_element_count(weights);
    state->statistics = layer_add_scratch_per_microbatch(self, groups * 3 * lanes);
    state->weight = state->bias = -1;
    if (!is_affine) return;
    state->weight = layer_add_parameter(self, "weight", weights, ones);
    state->bias = layer_add_parameter(self, "bias", weights, zeros);
    state->dweight = layer_add_scratch_per_microbatch(self, count);
    state->dbias = layer_add_scratch_per_microbatch(self, count);
}

static KernelGroupNorm norm_of(const Microbatch *microbatch) {
    const Layer *self = microbatch->self;
    const OwnNormState *state = self->state;
    return (KernelGroupNorm){.rows = state->rows,
        .rows_per_weight = state->rows_per_weight,
        .lanes = microbatch->lanes,
        .valid = microbatch->valid,
        .eps = state->eps,
        .statistics = layer_scratch(self, state->statistics, microbatch->m)};
}

static const float *parameter(const Layer *self, int tensor) {
    return tensor < 0 ? NULL : self->tensors[tensor].data;
}

static void forward_groups(const Microbatch *microbatch) {
    const OwnNormState *state = microbatch->self->state;
    KernelGroupNorm norm = norm_of(microbatch);
    microbatch->kernels->group_norm_forward(microbatch->x, microbatch->out, &norm,
        parameter(microbatch->self, state->weight), parameter(microbatch->self, state->bias),
        microbatch->begin, microbatch->end);
}

void own_norm_forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y) {
    const OwnNormState *state = self->state;
    microbatch_forward(self, pass, x, y, state->groups, forward_groups);
}

static void backward_groups(const Microbatch *microbatch) {
    const Layer *self = microbatch->self;
    const OwnNormState *state = self->state;
    KernelGroupNorm norm = norm_of(microbatch);
    int is_affine = state->weight >= 0;
    microbatch->kernels->group_norm_backward(microbatch->dy, microbatch->x, microbatch->out, &norm,
        parameter(self, state->weight),
        is_affine ? layer_scratch(self, state->dweight, microbatch->m) : NULL,
        is_affine ? layer_scratch(self, state->dbias, microbatch->m) : NULL, microbatch->begin,
        microbatch->end);
}

void own_norm_backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    const OwnNormState *state = self->state;
    microbatch_backward(self, pass, x, y, dy, dx, state->groups, backward_groups);
    if (state->weight < 0 || pass->batch->local_count == 0) return;
    layer_fold_gradient(self, pass, state->weight, layer_scratch(self, state->dweight, 0),
        self->scratch[state->dweight].stride);
    layer_fold_gradient(self, pass, state->bias, layer_scratch(self, state->dbias, 0),
        self->scratch[state->dbias].stride);
}
