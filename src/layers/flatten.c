/* flatten.c - [c, h, w] becomes [c * h * w], in that order, as torch.nn.Flatten. Free: the samples
 * are the innermost dimension, so the memory stays as it is. */
#include "src/layer.h"

static Status configure(Layer *self, Shape in, Shape *out) {
    (void)self;
    *out = (Shape){.dimension_count = 1, .size = {(int)shape_element_count(in)}};
    return STATUS_OK;
}

const LayerType layer_flatten = {
    .name = "flatten",
    .summary = "[c, h, w] to [c * h * w]",
    .example = "",
    .is_view = 1,
    .configure = configure,
};
