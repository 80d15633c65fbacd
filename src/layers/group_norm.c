/* group_norm.c - each sample normalized over groups of its channels (Wu & He, ECCV 2018), as
 * torch.nn.GroupNorm: y = (x - mean) / sqrt(var + eps) * weight + bias, var biased.
 *
 * x [c] or [c, h, w], y the same; weight, bias [c]. The same in training and evaluation. */
#include "src/layers/own_norm.h"

typedef struct Options {
    int64_t groups;
    double eps;
    int is_affine;
} Options;

static const Option options[] = {
    {"groups", OPTION_INT, offsetof(Options, groups), NULL, .minimum = 1, .maximum = 1 << 24,
        .doc = "groups of channels; must divide them"},
    {"eps", OPTION_FLOAT, offsetof(Options, eps), "1.0e-5", .minimum = 0, .maximum = 1,
        .doc = "added to the variance"},
    {"affine", OPTION_BOOL, offsetof(Options, is_affine), "true",
        .doc = "learn a scale and a shift per channel"},
    {.key = NULL}};

static Status configure(Layer *self, Shape in, Shape *out) {
    const Options *chosen = self->options;
    OwnNormState *state = self->state;
    int channels = in.size[0];
    if (channels % chosen->groups != 0)
        return FAIL(STATUS_CONFIG, "group_norm '%s': %d groups do not divide %d channels",
            self->label, (int)chosen->groups, channels);
    state->groups = (int)chosen->groups;
    state->rows = (int)shape_element_count(in) / state->groups;
    state->rows_per_weight = (int)shape_element_count(in) / channels;
    state->eps = chosen->eps;
    own_norm_configure(self, (Shape){.dimension_count = 1, .size = {channels}}, chosen->is_affine);
    *out = in;
    return STATUS_OK;
}

const LayerType layer_group_norm = {
    .name = "group_norm",
    .summary = "normalization of each sample over groups of channels",
    .example = "{groups: 1}",
    .options = options,
    .options_bytes = sizeof(Options),
    .state_bytes = sizeof(OwnNormState),
    .configure = configure,
    .forward = own_norm_forward,
    .backward = own_norm_backward,
};
