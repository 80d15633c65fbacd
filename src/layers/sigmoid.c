/* sigmoid.c - y = 1 / (1 + exp(-x)), element by element, any shape; dx = dy y (1 - y). As
 * torch.nn.Sigmoid. */
#include "src/layers/microbatch.h"

static void forward_rows(const Microbatch *microbatch) {
    size_t i = microbatch_offset(microbatch), n = microbatch_floats(microbatch);
    microbatch->kernels->sigmoid_forward(microbatch->x + i, microbatch->out + i, n);
}

static void backward_rows(const Microbatch *microbatch) {
    size_t i = microbatch_offset(microbatch), n = microbatch_floats(microbatch);
    microbatch->kernels->sigmoid_backward(
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

const LayerType layer_sigmoid = {
    .name = "sigmoid",
    .summary = "y = 1 / (1 + exp(-x))",
    .example = "",
    .is_in_place = 1,
    .backward_reads_y = 1,
    .configure = microbatch_configure_same_shape,
    .forward = forward,
    .backward = backward,
};
