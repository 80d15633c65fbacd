/* tanh.c - y = tanh(x), element by element, any shape; dx = dy (1 - y²). As torch.nn.Tanh. */
#include "src/layers/microbatch.h"

static void forward_rows(const Microbatch *microbatch) {
    size_t i = microbatch_offset(microbatch), n = microbatch_floats(microbatch);
    microbatch->kernels->tanh_forward(microbatch->x + i, microbatch->out + i, n);
}

static void backward_rows(const Microbatch *microbatch) {
    size_t i = microbatch_offset(microbatch), n = microbatch_floats(microbatch);
    microbatch->kernels->tanh_backward(
        microbatch->y + i, microbatch->dy + i, microbatch->out + i, n);
}

static Status configure(Layer *self, Shape in, Shape *out) {
    return microbatch_configure_elements(self, in, out, forward_rows, backward_rows);
}

const LayerType layer_tanh = {
    .name = "tanh",
    .summary = "hyperbolic tangent",
    .example = "",
    .state_bytes = sizeof(MicrobatchState),
    .is_in_place = 1,
    .backward_reads_y = 1,
    .configure = configure,
    .forward = microbatch_state_forward,
    .backward = microbatch_state_backward,
};
