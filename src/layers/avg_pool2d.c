/* avg_pool2d.c - y = the mean of each window, as torch.nn.AvgPool2d. x [c, h, w], y [c, out_h,
 * out_w], sizes as max_pool2d's. With count_include_pad the zeros of the padding count. */
#include "src/layers/pool.h"

typedef struct Options {
    OptionInts kernel, stride, padding;
    int ceil_mode, count_include_pad;
} Options;

static const Option options[] = {
    {"kernel", OPTION_INTS, offsetof(Options, kernel), NULL, .minimum = 1, .maximum = POOL_SIZE_MAX,
        .doc = "size of a window: one number, or [h, w]"},
    {"stride", OPTION_INTS, offsetof(Options, stride), "null", .minimum = 1,
        .maximum = POOL_SIZE_MAX, .is_null_allowed = 1,
        .doc = "from one window to the next; null: the kernel's size"},
    {"padding", OPTION_INTS, offsetof(Options, padding), "0", .minimum = 0,
        .maximum = POOL_SIZE_MAX, .doc = "zeros around the image"},
    {"ceil_mode", OPTION_BOOL, offsetof(Options, ceil_mode), "false",
        .doc = "let a last window hang over the end"},
    {"count_include_pad", OPTION_BOOL, offsetof(Options, count_include_pad), "true",
        .doc = "divide by the pixels of the padding too"},
    {.key = NULL}};

static Status configure(Layer *self, Shape in, Shape *out) {
    const Options *chosen = self->options;
    PoolState *state = self->state;
    int kernel[2], stride[2], padding[2];
    TRY(pool_begin(self, in));
    TRY(layer_read_pair(self, "kernel", &chosen->kernel, kernel, kernel));
    TRY(layer_read_pair(self, "stride", &chosen->stride, kernel, stride));
    TRY(layer_read_pair(self, "padding", &chosen->padding, padding, padding));
    for (int d = 0; d < 2; d++) {
        PoolAxis *axis = &state->axis[d];
        axis->kernel = kernel[d];
        axis->stride = stride[d];
        axis->padding = padding[d];
        axis->counts_padding = chosen->count_include_pad;
        TRY(pool_slide(self, axis, chosen->ceil_mode));
    }
    pool_finish(self, out);
    return STATUS_OK;
}

const LayerType layer_avg_pool2d = {
    .name = "avg_pool2d",
    .summary = "mean of each window",
    .example = "{kernel: 2}",
    .options = options,
    .options_bytes = sizeof(Options),
    .state_bytes = sizeof(PoolState),
    .configure = configure,
    .forward = pool_mean_forward,
    .backward = pool_mean_backward,
};
