/* log_softmax.c - y_k = x_k - log(sum over j of exp(x_j)) over the features, or over the channels
 * of every pixel, as torch.nn.LogSoftmax(dim=1), with the largest x taken out first. Gradient: dx_k
 * = dy_k - exp(y_k) * (sum over j of dy_j). */
#include "src/layers/microbatch.h"

static void forward_one(const Microbatch *microbatch) {
    microbatch->kernels->log_softmax_forward(microbatch->x, microbatch->out,
        microbatch->shape.size[0], microbatch_channel_floats(microbatch));
}

static void backward_one(const Microbatch *microbatch) {
    microbatch->kernels->log_softmax_backward(microbatch->y, microbatch->dy, microbatch->out,
        microbatch->shape.size[0], microbatch_channel_floats(microbatch));
}

static Status configure(Layer *self, Shape in, Shape *out) {
    return microbatch_configure_whole(self, in, out, forward_one, backward_one);
}

const LayerType layer_log_softmax = {
    .name = "log_softmax",
    .summary = "logarithm of softmax over the features or channels",
    .example = "",
    .state_bytes = sizeof(MicrobatchState),
    .backward_reads_y = 1,
    .configure = configure,
    .forward = microbatch_state_forward,
    .backward = microbatch_state_backward,
};
