/* relu.c - y = max(x, 0), element by element, any shape; a NaN stays a NaN. As torch.nn.ReLU. */
#include "src/layers/microbatch.h"

static void forward_rows(const Microbatch *microbatch) {
    size_t i = microbatch_offset(microbatch), n = microbatch_floats(microbatch);
    microbatch->kernels->relu_forward(microbatch->x + i, microbatch->out + i, n);
}

static void backward_rows(const Microbatch *microbatch) {
    size_t i = microbatch_offset(microbatch), n = microbatch_floats(microbatch);
    microbatch->kernels->relu_backward(
        microbatch->y + i, microbatch->dy + i, microbatch->out + i, n);
}

static Status configure(Layer *self, Shape in, Shape *out) {
    return microbatch_configure_elements(self, in, out, forward_rows, backward_rows);
}

const LayerType layer_relu = {
    .name = "relu",
    .summary = "rectifier: y = max(x, 0)",
    .example = "",
    .state_bytes = sizeof(MicrobatchState),
    .is_relu = 1,
    .is_in_place = 1,
    .backward_reads_y = 1,
    .configure = configure,
    .forward = microbatch_state_forward,
    .backward = microbatch_state_backward,
};
