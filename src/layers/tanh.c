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

static void forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y) {
    microbatch_forward(self, pass, x, y, (int)shape_element_count(x->shape), forward_rows);
}

static void backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    if (dx->data == NULL) return;
    int rows = (int)shape_element_count(x->shape);
    microbatch_backward(self, pass, x, y, dy, dx, rows, backward_rows);
}

const LayerType layer_tanh = {
    .name = "tanh",
    .summary = "hyperbolic tangent",
    .example = "",
    .is_in_place = 1,
    .backward_reads_y = 1,
    .configure = microbatch_configure_same_shape,
    .forward = forward,
    .backward = backward,
};
