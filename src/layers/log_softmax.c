/* log_softmax.c - y_k = x_k - log(sum over j of exp(x_j)) over the features, as
 * torch.nn.LogSoftmax(dim=1), with the largest x taken out first.
 * Gradient: dx_k = dy_k - exp(y_k) * (sum over j of dy_j). */
#include "src/layer.h"
#include <math.h>

typedef struct State {
    int features;
    int lane_values; /* scratch: double [lanes] per microbatch */
} State;

static Status configure(Layer *self, Shape in, Shape *out) {
    State *state = self->state;
    char text[SHAPE_TEXT_BYTES];
    if (in.dimension_count != 1)
        return FAIL(STATUS_CONFIG, "log_softmax '%s' wants features, got %s: put flatten before it",
            self->label, shape_print(in, text));
    state->features = in.size[0];
    state->lane_values = layer_add_scratch_per_microbatch(
        self, (size_t)self->lanes * sizeof(double) / sizeof(float));
    *out = in;
    return STATUS_OK;
}

typedef struct Call {
    const Layer *self;
    const Pass *pass;
    const Tensor *x, *dy;
    Tensor *y;
} Call;

static void forward_microbatch(void *context, int item, int thread) {
    (void)thread;
    const Call *call = context;
    const State *state = call->self->state;
    int features = state->features, lanes = call->pass->batch->lanes;
    const float *x = layer_input(call->x, item).data; /* [features][lanes] */
    float *y = layer_output(call->y, item).data;
    double *sum = (double *)layer_scratch(call->self, state->lane_values, item);
    for (int s = 0; s < lanes; s++) {
        float largest = x[s];
        for (int f = 1; f < features; f++)
            if (x[f * lanes + s] > largest) largest = x[f * lanes + s];
        sum[s] = 0;
        for (int f = 0; f < features; f++) sum[s] += exp((double)x[f * lanes + s] - largest);
        sum[s] = log(sum[s]) + largest;
    }
    for (int f = 0; f < features; f++)
        for (int s = 0; s < lanes; s++)
            y[f * lanes + s] = (float)((double)x[f * lanes + s] - sum[s]);
}

static void forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y) {
    Call call = {.self = self, .pass = pass, .x = x, .y = y};
    threads_run(pass->threads, pass->batch->local_count, forward_microbatch, &call);
}

static void backward_microbatch(void *context, int item, int thread) {
    (void)thread;
    const Call *call = context;
    const State *state = call->self->state;
    int features = state->features, lanes = call->pass->batch->lanes;
    const float *y = layer_input(call->x, item).data;
    const float *dy = layer_input(call->dy, item).data;
    float *dx = layer_output(call->y, item).data;
    double *sum = (double *)layer_scratch(call->self, state->lane_values, item);
    for (int s = 0; s < lanes; s++) sum[s] = 0;
    for (int f = 0; f < features; f++)
        for (int s = 0; s < lanes; s++) sum[s] += dy[f * lanes + s];
    for (int i = 0; i < features * lanes; i++) dx[i] = (float)(dy[i] - exp(y[i]) * sum[i % lanes]);
}

static void backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    (void)x;
    if (dx->data == NULL) return;
    Call call = {.self = self, .pass = pass, .x = y, .dy = dy, .y = dx};
    threads_run(pass->threads, pass->batch->local_count, backward_microbatch, &call);
}

const LayerType layer_log_softmax = {
    .name = "log_softmax",
    .summary = "logarithm of softmax over the features",
    .example = "",
    .state_bytes = sizeof(State),
    .backward_reads_y = 1,
    .configure = configure,
    .forward = forward,
    .backward = backward,
};
