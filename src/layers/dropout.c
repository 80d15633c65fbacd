/* dropout.c - in training mode each number is set to 0 with probability p, independently, and the
 * others are scaled by 1 / (1 - p); y = x in evaluation mode. As torch.nn.Dropout. Any shape.
 *
 * The random numbers are those of (seed, layer; step, sample, element): no matter which rank or
 * thread computes the sample. */
#include "src/layers/thin_out.h"

static Status configure(Layer *self, Shape in, Shape *out) {
    thin_out_configure(self, in, (int)shape_element_count(in));
    *out = in;
    return STATUS_OK;
}

const LayerType layer_dropout = {
    .name = "dropout",
    .summary = "numbers dropped at random in training",
    .example = "{p: 0.25}",
    .options = thin_out_options,
    .options_bytes = sizeof(ThinOutOptions),
    .state_bytes = sizeof(ThinOutState),
    .is_in_place = 1,
    .configure = configure,
    .forward = thin_out_forward,
    .backward = thin_out_backward,
};
