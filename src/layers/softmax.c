/* softmax.c - y_k = exp(x_k) / sum over j of exp(x_j), over the features, or over the channels of
 * every pixel, as torch.nn.Softmax(dim=1). Gradient: dx_k = y_k (dy_k - sum over j of dy_j y_j). */
#include "src/layers/microbatch.h"

static void forward_one(const Microbatch *microbatch) {
    microbatch->kernels->softmax_forward(microbatch->x, microbatch->out, microbatch->shape.size[0],
        microbatch_channel_floats(microbatch));
}

static void backward_one(const Microbatch *microbatch) {
    microbatch->kernels->softmax_backward(microbatch->y, microbatch->dy, microbatch->out,
        microbatch->shape.size[0], microbatch_channel_floats(microbatch));
}

static Status configure(Layer *self, Shape in, Shape *out) {
    return microbatch_configure_whole(self, in, out, forward_one, backward_one);
}

const LayerType layer_softmax = {
    .name = "softmax",
    .summary = "softmax over the features or channels",
    .example = "",
    .state_bytes = sizeof(MicrobatchState),
    .backward_reads_y = 1,
    .configure = configure,
    .forward = microbatch_state_forward,
    .backward = microbatch_state_backward,
};
