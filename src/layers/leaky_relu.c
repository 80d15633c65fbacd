/* leaky_relu.c - y = x where x > 0, else negative_slope * x, element by element, any shape. As
 * torch.nn.LeakyReLU. */
#include "src/layers/microbatch.h"

typedef struct Options {
    double negative_slope;
} Options;

static const Option options[] = {
    {"negative_slope", OPTION_FLOAT, offsetof(Options, negative_slope), "0.01", .minimum = 0,
        .maximum = 1e6, .doc = "factor of what is not positive"},
    {.key = NULL}};

static float slope_of(const Layer *self) {
    const Options *chosen = self->options;
    return (float)chosen->negative_slope;
}

static void forward_rows(const Microbatch *microbatch) {
    size_t i = microbatch_offset(microbatch), n = microbatch_floats(microbatch);
    microbatch->kernels->leaky_relu_forward(
        microbatch->x + i, microbatch->out + i, n, slope_of(microbatch->self));
}

static void backward_rows(const Microbatch *microbatch) {
    size_t i = microbatch_offset(microbatch), n = microbatch_floats(microbatch);
    microbatch->kernels->leaky_relu_backward(
        microbatch->y + i, microbatch->dy + i, microbatch->out + i, n, slope_of(microbatch->self));
}

static Status configure(Layer *self, Shape in, Shape *out) {
    return microbatch_configure_elements(self, in, out, forward_rows, backward_rows);
}

const LayerType layer_leaky_relu = {
    .name = "leaky_relu",
    .summary = "y = x where positive, else a small multiple of it",
    .example = "{negative_slope: 0.1}",
    .options = options,
    .options_bytes = sizeof(Options),
    .state_bytes = sizeof(MicrobatchState),
    .is_in_place = 1,
    .backward_reads_y = 1,
    .configure = configure,
    .forward = microbatch_state_forward,
    .backward = microbatch_state_backward,
};
