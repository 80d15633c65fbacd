/* dropout2d.c - as dropout, but whole channels of a sample are dropped or kept (Tompson et al.,
 * CVPR 2015). As torch.nn.Dropout2d. x [c, h, w]. */
#include "src/layers/thin_out.h"

static Status configure(Layer *self, Shape in, Shape *out) {
    char text[SHAPE_TEXT_BYTES];
    if (in.dimension_count != 3)
        return FAIL(STATUS_CONFIG, "dropout2d '%s' wants images [c, h, w], got %s: use dropout",
            self->label, shape_print(in, text));
    thin_out_configure(self, in, in.size[0]);
    *out = in;
    return STATUS_OK;
}

const LayerType layer_dropout2d = {
    .name = "dropout2d",
    .summary = "channels dropped at random in training",
    .example = "{p: 0.25}",
    .options = thin_out_options,
    .options_bytes = sizeof(ThinOutOptions),
    .state_bytes = sizeof(ThinOutState),
    .is_in_place = 1,
    .configure = configure,
    .forward = thin_out_forward,
    .backward = thin_out_backward,
};
