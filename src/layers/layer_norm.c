/* layer_norm.c - each sample normalized over all its numbers (Ba, Kiros & Hinton,
 * arXiv:1607.06450), as torch.nn.LayerNorm with the input's shape as its normalized_shape: y = (x -
 * mean) / sqrt(var + eps) * weight + bias, var biased.
 *
 * x any shape, y the same; weight, bias of that shape. The same in training and evaluation. */
#include "src/layers/own_norm.h"

typedef struct Options {
    double eps;
    int is_affine;
} Options;

static const Option options[] = {{"eps", OPTION_FLOAT, offsetof(Options, eps), "1.0e-5",
                                     .minimum = 0, .maximum = 1, .doc = "added to the variance"},
    {"affine", OPTION_BOOL, offsetof(Options, is_affine), "true",
        .doc = "learn a scale and a shift per number (PyTorch's elementwise_affine)"},
    {.key = NULL}};

static Status configure(Layer *self, Shape in, Shape *out) {
    const Options *chosen = self->options;
    OwnNormState *state = self->state;
    state->groups = 1;
    state->rows = (int)shape_element_count(in);
    state->rows_per_weight = 1;
    state->eps = chosen->eps;
    own_norm_configure(self, in, chosen->is_affine);
    *out = in;
    return STATUS_OK;
}

const LayerType layer_layer_norm = {
    .name = "layer_norm",
    .summary = "normalization of each sample over all its numbers",
    .example = "{eps: 1.0e-4}",
    .options = options,
    .options_bytes = sizeof(Options),
    .state_bytes = sizeof(OwnNormState),
    .configure = configure,
    .forward = own_norm_forward,
    .backward = own_norm_backward,
};
