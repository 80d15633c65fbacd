/* log_softmax.c - y_k = x_k - log(sum over j of exp(x_j)) over the features, or over the channels
 * of every pixel, as torch.nn.LogSoftmax(dim=1), with the largest x taken out first. Gradient: dx_k
 * = dy_k - exp(y_k) * (sum over j of dy_j). */
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
    microbatch->kernels->log_softmax_forward(microbatch->x, microbatch->out, state->channels,
        (size_t)state->pixels * (size_t)microbatch->lanes);
}

static void forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y) {
    microbatch_forward(self, pass, x, y, 1, forward_one);
}

static void backward_one(const Microbatch *microbatch) {
    const State *state = microbatch->self->state;
    microbatch->kernels->log_softmax_backward(microbatch->y, microbatch->dy, microbatch->out,
        state->channels, (size_t)state->pixels * (size_t)microbatch->lanes);
}

static void backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    if (dx->data != NULL) microbatch_backward(self, pass, x, y, dy, dx, 1, backward_one);
}

const LayerType layer_log_softmax = {
    .name = "log_softmax",
    .summary = "logarithm of softmax over the features or channels",
    .example = "",
    .state_bytes = sizeof(State),
    .backward_reads_y = 1,
    .configure = configure,
    .forward = forward,
    .backward = backward,
};
