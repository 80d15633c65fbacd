/* relu.c - y = max(x, 0), element by element, any shape; a NaN stays a NaN. As torch.nn.ReLU. */
#include "src/layer.h"

static Status configure(Layer *self, Shape in, Shape *out) {
    (void)self;
    *out = in;
    return STATUS_OK;
}

typedef struct Call {
    const Pass *pass;
    size_t floats; /* of a microbatch */
    const Tensor *x, *dy;
    Tensor *y;
} Call;

static void forward_microbatch(void *context, int item, int thread) {
    (void)thread;
    const Call *call = context;
    call->pass->kernels->relu_forward(
        layer_input(call->x, item).data, layer_output(call->y, item).data, call->floats);
}

static void forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y) {
    (void)self;
    Call call = {.pass = pass,
        .x = x,
        .y = y,
        .floats = shape_element_count(x->shape) * (size_t)pass->batch->lanes};
    threads_run(pass->threads, pass->batch->local_count, forward_microbatch, &call);
}

static void backward_microbatch(void *context, int item, int thread) {
    (void)thread;
    const Call *call = context;
    call->pass->kernels->relu_backward(layer_input(call->x, item).data,
        layer_input(call->dy, item).data, layer_output(call->y, item).data, call->floats);
}

static void backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    (void)self;
    (void)x;
    if (dx->data == NULL) return;
    Call call = {.pass = pass,
        .x = y,
        .dy = dy,
        .y = dx,
        .floats = shape_element_count(y->shape) * (size_t)pass->batch->lanes};
    threads_run(pass->threads, pass->batch->local_count, backward_microbatch, &call);
}

const LayerType layer_relu = {
    .name = "relu",
    .summary = "rectifier: y = max(x, 0)",
    .example = "",
    .is_relu = 1,
    .is_in_place = 1,
    .backward_reads_y = 1,
    .configure = configure,
    .forward = forward,
    .backward = backward,
};
