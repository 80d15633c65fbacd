/* softmax.c - y_k = exp(x_k) / sum over j of exp(x_j), over the features, or over the channels of
 * every pixel, as torch.nn.Softmax(dim=1). Gradient: dx_k = y_k (dy_k - sum over j of dy_j y_j). */
#include "src/layers/microbatch.h"

static void forward_one(const Microbatch *microbatch) {
    microbatch->kernels->softmax_forward(microbatch->x, microbatch->out, microbatch->shape.size[0],
        microbatch_channel_floats(microbatch));
}

static void forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y) {
    microbatch_forward(self, pass, x, y, 1, forward_one);
}

static void backward_one(const Microbatch *microbatch) {
    microbatch->kernels->softmax_backward(microbatch->y, microbatch->dy, microbatch->out,
        microbatch->shape.size[0], microbatch_channel_floats(microbatch));
}

static void backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    if (dx->data != NULL) microbatch_backward(self, pass, x, y, dy, dx, 1, backward_one);
}

const LayerType layer_softmax = {
    .name = "softmax",
    .summary = "softmax over the features or channels",
    .example = "",
    .backward_reads_y = 1,
    .configure = microbatch_configure_same_shape,
    .forward = forward,
    .backward = backward,
};
