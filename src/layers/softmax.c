/* softmax.c - y_k = exp(x_k) / sum over j of exp(x_j), over the features, or over the channels of
 * every pixel, as torch.nn.Softmax(dim=1). Gradient: dx_k = y_k (dy_k - sum over j of dy_j y_j). */
#include "src/layers/microbatch.h"

typedef struct State {
    int channels, pixels;
} State;

static Status configure(Layer *self, Shape in, Shape *out) {
    State *state = self->state;
    state->channels = in.size[0];
    state->pixels = (int)shape_element_count(in) / in.size[0];
    *out = in;
    return STATUS_OK;
}

static void forward_one(const Microbatch *microbatch) {
    const State *state = microbatch->self->state;
    microbatch->kernels->softmax_forward(microbatch->x, microbatch->out, state->channels,
        (size_t)state->pixels * (size_t)microbatch->lanes);
}

static void forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y) {
    microbatch_forward(self, pass, x, y, 1, forward_one);
}

static void backward_one(const Microbatch *microbatch) {
    const State *state = microbatch->self->state;
    microbatch->kernels->softmax_backward(microbatch->y, microbatch->dy, microbatch->out,
        state->channels, (size_t)state->pixels * (size_t)microbatch->lanes);
}

static void backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    if (dx->data != NULL) microbatch_backward(self, pass, x, y, dy, dx, 1, backward_one);
}

const LayerType layer_softmax = {
    .name = "softmax",
    .summary = "softmax over the features or channels",
    .example = "",
    .state_bytes = sizeof(State),
    .backward_reads_y = 1,
    .configure = configure,
    .forward = forward,
    .backward = backward,
};
