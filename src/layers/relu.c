/* relu.c - y = max(x, 0), element by element, any shape; a NaN stays a NaN. As torch.nn.ReLU. */
#include "src/layers/microbatch.h"

static void forward_rows(const Microbatch *microbatch) {
    size_t i = microbatch_offset(microbatch), n = microbatch_floats(microbatch);
    microbatch->kernels->relu_forward(microbatch->x + i, microbatch->out + i, n);
}

static void forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y) {
    microbatch_forward(self, pass, x, y, (int)shape_element_count(x->shape), forward_rows);
}

static void backward_rows(const Microbatch *microbatch) {
    size_t i = microbatch_offset(microbatch), n = microbatch_floats(microbatch);
    microbatch->kernels->relu_backward(
        microbatch->y + i, microbatch->dy + i, microbatch->out + i, n);
}

static void backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    if (dx->data == NULL) return;
    int rows = (int)shape_element_count(x->shape);
    microbatch_backward(self, pass, x, y, dy, dx, rows, backward_rows);
}

const LayerType layer_relu = {
    .name = "relu",
    .summary = "rectifier: y = max(x, 0)",
    .example = "",
    .is_relu = 1,
    .is_in_place = 1,
    .backward_reads_y = 1,
    .configure = microbatch_configure_same_shape,
    .forward = forward,
    .backward = backward,
};
