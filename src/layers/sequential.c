/* sequential.c - layers one after the other, under one name, as torch.nn.Sequential. Any shapes. */
#include "src/sequence.h"

static Status configure(Layer *self, Shape in, Shape *out) {
    return layer_add_sequence(self, 0, in, out);
}

static void forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y) {
    (void)x;
    (void)y;
    sequence_forward(self->sequences[0], pass);
}

static void backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    (void)x;
    (void)y;
    (void)dy;
    sequence_backward(self->sequences[0], pass, dx->data != NULL);
}

const LayerType layer_sequential = {
    .name = "sequential",
    .summary = "layers one after the other, under one name",
    .example = "{layers: [batch_norm, relu]}",
    .lists = {{.key = "layers", .prefix = "", .doc = "first to last"}},
    .configure = configure,
    .forward = forward,
    .backward = backward,
};
