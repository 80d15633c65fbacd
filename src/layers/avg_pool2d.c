/* avg_pool2d.c - y = the mean of each window, as torch.nn.AvgPool2d. x [c, h, w], y [c, out_h,
 * out_w], sizes as max_pool2d's. With count_include_pad the zeros of the padding count. */
#include "src/layers/pool.h"

typedef struct Options {
    PoolWindows windows;
    int count_include_pad;
} Options;

static const Option options[] = {
    {"kernel", OPTION_INTS, offsetof(Options, windows.kernel), NULL, .minimum = 1,
        .maximum = POOL_SIZE_MAX, .doc = "size of a window: one number, or [h, w]"},
    {"stride", OPTION_INTS, offsetof(Options, windows.stride), "null", .minimum = 1,
        .maximum = POOL_SIZE_MAX, .is_null_allowed = 1,
        .doc = "from one window to the next; null: the kernel's size"},
    {"padding", OPTION_INTS, offsetof(Options, windows.padding), "0", .minimum = 0,
        .maximum = POOL_SIZE_MAX, .doc = "zeros around the image"},
    {"ceil_mode", OPTION_BOOL, offsetof(Options, windows.ceil_mode), "false",
        .doc = "let a last window hang over the end by less than a stride"},
    {"count_include_pad", OPTION_BOOL, offsetof(Options, count_include_pad), "true",
        .doc = "divide by the pixels of the padding too"},
    {.key = NULL}};

static Status configure(Layer *self, Shape in, Shape *out) {
    const Options *chosen = self->options;
    PoolState *state = self->state;
    TRY(pool_slide(self, &chosen->windows, in, out));
    for (int d = 0; d < 2; d++) state->axis[d].counts_padding = chosen->count_include_pad;
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
