/* sigmoid.c - y = 1 / (1 + exp(-x)), element by element, any shape; dx = dy y (1 - y). As
 * torch.nn.Sigmoid. */
#include "src/layers/microbatch.h"

static void forward_rows(const Microbatch *microbatch) {
    size_t i = microbatch_offset(microbatch), n = microbatch_floats(microbatch);
    microbatch->kernels->sigmoid_forward(microbatch->x + i, microbatch->out + i, n);
}

static void backward_rows(const Microbatch *microbatch) {
    size_t i = microbatch_offset(microbatch), n = microbatch_floats(microbatch);
    microbatch->kernels->sigmoid_backward(
        microbatch->y + i, microbatch->dy + i, microbatch->out + i, n);
}

static Status configure(Layer *self, Shape in, Shape *out) {
    return microbatch_configure_elements(self, in, out, forward_rows, backward_rows);
}

const LayerType layer_sigmoid = {
    .name = "sigmoid",
    .summary = "y = 1 / (1 + exp(-x))",
    .example = "",
    .state_bytes = sizeof(MicrobatchState),
    .is_in_place = 1,
    .backward_reads_y = 1,
    .configure = configure,
    .forward = microbatch_state_forward,
    .backward = microbatch_state_backward,
};
