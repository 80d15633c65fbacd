/* adaptive_avg_pool2d.c - y = the mean of each of out_h x out_w regions, as
 * torch.nn.AdaptiveAvgPool2d: region i of a direction reaches from floor(i in / out) to
 * ceil((i + 1) in / out). x [c, h, w], y [c, out_h, out_w]. */
#include "src/layers/pool.h"

typedef struct Options {
    OptionInts out;
} Options;

static const Option options[] = {
    {"out", OPTION_INTS, offsetof(Options, out), NULL, .minimum = 1, .maximum = POOL_SIZE_MAX,
        .is_null_allowed = 1, .doc = "output size: one number, or [h, w]; null: the input's"},
    {.key = NULL}};

static Status configure(Layer *self, Shape in, Shape *out) {
    const Options *chosen = self->options;
    PoolState *state = self->state;
    int sizes[2];
    TRY(pool_begin(self, in));
    TRY(layer_read_pair(self, "out", &chosen->out, &in.size[1], sizes));
    for (int d = 0; d < 2; d++) state->axis[d].out = sizes[d];
    pool_finish(self, out);
    return STATUS_OK;
}

const LayerType layer_adaptive_avg_pool2d = {
    .name = "adaptive_avg_pool2d",
    .summary = "mean of each of a given number of regions",
    .example = "{out: 1}",
    .options = options,
    .options_bytes = sizeof(Options),
    .state_bytes = sizeof(PoolState),
    .configure = configure,
    .forward = pool_mean_forward,
    .backward = pool_mean_backward,
};
