/* microbatch.c - see microbatch.h. */
#include "src/layers/microbatch.h"

/* What the threads share. */
typedef struct Call {
    Layer *self;
    const Pass *pass;
    const Tensor *x, *y, *dy;
    Tensor *out;
    int rows;
    int chunks; /* ranges of a microbatch's rows */
    MicrobatchWork work;
} Call;

static const float *data_of(const Tensor *tensor, int m) {
    return tensor != NULL ? layer_input(tensor, m).data : NULL;
}

static void do_range(void *context, int item, int thread) {
    (void)thread;
    const Call *call = context;
    int m = item / call->chunks, chunk = item % call->chunks;
    Microbatch microbatch = {.self = call->self,
        .kernels = call->pass->kernels,
        .m = m,
        .lanes = call->pass->batch->lanes,
        .valid = batch_valid_lanes(call->pass->batch, m),
        .begin = (int)((int64_t)call->rows * chunk / call->chunks),
        .end = (int)((int64_t)call->rows * (chunk + 1) / call->chunks),
        .shape = call->x->shape,
        .x = data_of(call->x, m),
        .y = data_of(call->y, m),
        .dy = data_of(call->dy, m),
        .out = call->out->data != NULL ? layer_output(call->out, m).data : NULL};
    call->work(&microbatch);
}

static void run(Call *call) {
    int count = call->pass->batch->local_count;
    if (count == 0) return;
    call->chunks = (threads_count(call->pass->threads) + count - 1) / count;
    if (call->chunks > call->rows) call->chunks = call->rows;
    threads_run(call->pass->threads, count * call->chunks, do_range, call);
}

void microbatch_forward(
    Layer *self, const Pass *pass, const Tensor *x, Tensor *y, int rows, MicrobatchWork work) {
    Call call = {.self = self, .pass = pass, .x = x, .out = y, .rows = rows, .work = work};
    run(&call);
}

void microbatch_backward(Layer *self, const Pass *pass, const Tensor *x, const Tensor *y,
    const Tensor *dy, Tensor *dx, int rows, MicrobatchWork work) {
    Call call = {.self = self,
        .pass = pass,
        .x = x,
        .y = y,
        .dy = dy,
        .out = dx,
        .rows = rows,
        .work = work};
    run(&call);
}

static Status configure_same_shape(Layer *self, MicrobatchState state, Shape in, Shape *out) {
    *(MicrobatchState *)self->state = state;
    *out = in;
    return STATUS_OK;
}

Status microbatch_configure_elements(
    Layer *self, Shape in, Shape *out, MicrobatchWork forward, MicrobatchWork backward) {
    MicrobatchState state = {(int)shape_element_count(in), forward, backward};
    return configure_same_shape(self, state, in, out);
}

Status microbatch_configure_whole(
    Layer *self, Shape in, Shape *out, MicrobatchWork forward, MicrobatchWork backward) {
    return configure_same_shape(self, (MicrobatchState){1, forward, backward}, in, out);
}

void microbatch_state_forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y) {
    const MicrobatchState *state = self->state;
    microbatch_forward(self, pass, x, y, state->rows, state->forward);
}

void microbatch_state_backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    const MicrobatchState *state = self->state;
    if (dx->data != NULL)
        microbatch_backward(self, pass, x, y, dy, dx, state->rows, state->backward);
}

size_t microbatch_floats(const Microbatch *microbatch) {
    return (size_t)(microbatch->end - microbatch->begin) * (size_t)microbatch->lanes;
}

size_t microbatch_offset(const Microbatch *microbatch) {
    return (size_t)microbatch->begin * (size_t)microbatch->lanes;
}

size_t microbatch_channel_floats(const Microbatch *microbatch) {
    Shape shape = microbatch->shape;
    return shape_element_count(shape) / (size_t)shape.size[0] * (size_t)microbatch->lanes;
}
