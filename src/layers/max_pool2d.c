/* max_pool2d.c - y = the largest x of each window, as torch.nn.MaxPool2d: the first of equal ones,
 * in scan order, gets the gradient; NaN goes through.
 *
 * x [c, h, w], y [c, out_h, out_w], out = floor((in + 2 padding - dilation (kernel - 1) - 1) /
 * stride) + 1, or ceil with ceil_mode. The padding never wins. */
#include "src/layers/pool.h"

static const Option options[] = {
    {"kernel", OPTION_INTS, offsetof(PoolWindows, kernel), NULL, .minimum = 1,
        .maximum = POOL_SIZE_MAX, .doc = "size of a window: one number, or [h, w]"},
    {"stride", OPTION_INTS, offsetof(PoolWindows, stride), "null", .minimum = 1,
        .maximum = POOL_SIZE_MAX, .is_null_allowed = 1,
        .doc = "from one window to the next; null: the kernel's size"},
    {"padding", OPTION_INTS, offsetof(PoolWindows, padding), "0", .minimum = 0,
        .maximum = POOL_SIZE_MAX, .doc = "pixels around the image, which never win"},
    {"dilation", OPTION_INTS, offsetof(PoolWindows, dilation), "1", .minimum = 1,
        .maximum = POOL_SIZE_MAX, .doc = "from one pixel of a window to the next"},
    {"ceil_mode", OPTION_BOOL, offsetof(PoolWindows, ceil_mode), "false",
        .doc = "let a last window hang over the end by less than a stride"},
    {.key = NULL}};

static Status configure(Layer *self, Shape in, Shape *out) {
    return pool_slide(self, self->options, in, out);
}

static void forward_channels(const Microbatch *microbatch) {
    KernelPool pool = pool_kernel(microbatch->self, microbatch->lanes);
    microbatch->kernels->max_pool_forward(microbatch->x, microbatch->out, &pool,
        microbatch->self->rectifies, microbatch->begin, microbatch->end);
}

static void forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y) {
    const PoolState *state = self->state;
    pool_set_windows(self);
    microbatch_forward(self, pass, x, y, state->channels, forward_channels);
}

static void backward_channels(const Microbatch *microbatch) {
    KernelPool pool = pool_kernel(microbatch->self, microbatch->lanes);
    microbatch->kernels->max_pool_backward(microbatch->x, microbatch->dy, microbatch->out, &pool,
        microbatch->self->rectifies, microbatch->begin, microbatch->end);
}

static void backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    const PoolState *state = self->state;
    if (dx->data == NULL) return;
    microbatch_backward(self, pass, x, y, dy, dx, state->channels, backward_channels);
}

const LayerType layer_max_pool2d = {
    .name = "max_pool2d",
    .summary = "largest value of each window",
    .example = "{kernel: 2}",
    .options = options,
    .options_bytes = sizeof(PoolWindows),
    .state_bytes = sizeof(PoolState),
    .takes_relu_before = 1,
    .configure = configure,
    .forward = forward,
    .backward = backward,
};
