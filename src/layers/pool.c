/* pool.c - see pool.h. */
#include "src/layers/pool.h"

/* ---- configure ---- */

Status pool_begin(Layer *self, Shape in) {
    PoolState *state = self->state;
    char text[SHAPE_TEXT_BYTES];
    if (in.dimension_count != 3)
        return FAIL(STATUS_CONFIG, "%s '%s' wants images [c, h, w], got %s", self->type->name,
            self->label, shape_print(in, text));
    state->channels = in.size[0];
    for (int d = 0; d < 2; d++) state->axis[d] = (PoolAxis){.in = in.size[d + 1], .dilation = 1};
    return STATUS_OK;
}

/* The pixels of window `o`, clipped to the input: begin is the first of begin, begin + dilation,
 * ... that is in it. Before clipping to the padded input it is `count` long. */
static KernelWindow slide_window(const PoolAxis *axis, int o) {
    int start = o * axis->stride - axis->padding;
    int end = start + (axis->kernel - 1) * axis->dilation + 1, begin = start;
    int padded_end = end < axis->in + axis->padding ? end : axis->in + axis->padding;
    while (begin < 0) begin += axis->dilation;
    KernelWindow window = {.begin = begin, .end = end < axis->in ? end : axis->in};
    window.count = axis->counts_padding ? padded_end - start : window.end - begin;
    return window;
}

/* torch.nn.AdaptiveAvgPool2d: from floor(o in / out) to ceil((o + 1) in / out). */
static KernelWindow adaptive_window(const PoolAxis *axis, int o) {
    int64_t in = axis->in, out = axis->out;
    int begin = (int)(o * in / out), end = (int)(((o + 1) * in + out - 1) / out);
    return (KernelWindow){.begin = begin, .end = end, .count = end - begin};
}

static KernelWindow window_of(const PoolAxis *axis, int o) {
    return axis->kernel > 0 ? slide_window(axis, o) : adaptive_window(axis, o);
}

static Status slide_axis(const Layer *self, PoolAxis *axis, int is_ceil) {
    const char *type = self->type->name;
    int span = (axis->kernel - 1) * axis->dilation + 1;
    int overhang = is_ceil ? axis->stride - 1 : 0; /* of the last window, at most */
    int room = axis->in + 2 * axis->padding + overhang - span;
    if (axis->padding > axis->kernel / 2)
        return FAIL(STATUS_CONFIG, "%s '%s': padding %d is more than half of the kernel, %d", type,
            self->label, axis->padding, axis->kernel);
    if (room < 0)
        return FAIL(STATUS_CONFIG, "%s '%s': a window of %d does not fit %d pixels with padding %d",
            type, self->label, span, axis->in, axis->padding);
    axis->out = room / axis->stride + 1;
    if ((axis->out - 1) * axis->stride >= axis->in + axis->padding) axis->out--;
    for (int o = 0; o < axis->out; o++) {
        KernelWindow window = slide_window(axis, o);
        if (window.begin >= window.end)
            return FAIL(STATUS_CONFIG, "%s '%s': window %d of %d sees no pixel", type, self->label,
                o, axis->out);
    }
    return STATUS_OK;
}

void pool_finish(Layer *self, Shape *out) {
    PoolState *state = self->state;
    int windows = state->axis[0].out + state->axis[1].out;
    *out = (Shape){
        .dimension_count = 3, .size = {state->channels, state->axis[0].out, state->axis[1].out}};
    state->windows =
        layer_add_scratch(self, (size_t)windows * sizeof(KernelWindow) / sizeof(float));
}

Status pool_slide(Layer *self, const PoolWindows *chosen, Shape in, Shape *out) {
    static const int one[2] = {1, 1};
    PoolState *state = self->state;
    int kernel[2], stride[2], padding[2], dilation[2];
    TRY(pool_begin(self, in));
    TRY(layer_read_pair(self, "kernel", &chosen->kernel, NULL, kernel));
    TRY(layer_read_pair(self, "stride", &chosen->stride, kernel, stride));
    TRY(layer_read_pair(self, "padding", &chosen->padding, NULL, padding));
    TRY(layer_read_pair(self, "dilation", &chosen->dilation, one, dilation));
    for (int d = 0; d < 2; d++) {
        PoolAxis *axis = &state->axis[d];
        axis->kernel = kernel[d];
        axis->stride = stride[d];
        axis->padding = padding[d];
        axis->dilation = dilation[d];
        TRY(slide_axis(self, axis, chosen->ceil_mode));
    }
    pool_finish(self, out);
    return STATUS_OK;
}

/* ---- passes ---- */

static KernelWindow *windows_of(const Layer *self) {
    const PoolState *state = self->state;
    return (KernelWindow *)(void *)layer_scratch(self, state->windows, 0);
}

void pool_set_windows(Layer *self) {
    const PoolState *state = self->state;
    KernelWindow *window = windows_of(self);
    for (int d = 0; d < 2; d++)
        for (int o = 0; o < state->axis[d].out; o++) *window++ = window_of(&state->axis[d], o);
}

static int is_tiled(const PoolAxis *axis) {
    return axis->kernel == 2 && axis->stride == 2 && axis->padding == 0 && axis->dilation == 1 &&
           2 * axis->out <= axis->in;
}

static int is_halved(const PoolAxis *axis) {
    return axis->kernel == 3 && axis->stride == 2 && axis->dilation == 1 && axis->in > 1 &&
           2 * axis->out <= axis->in + axis->padding;
}

KernelPool pool_kernel(const Layer *self, int lanes) {
    const PoolState *state = self->state;
    const PoolAxis *height = &state->axis[0], *width = &state->axis[1];
    const KernelWindow *windows = windows_of(self);
    return (KernelPool){.height = height->in,
        .width = width->in,
        .out_height = height->out,
        .out_width = width->out,
        .lanes = lanes,
        .rows = windows,
        .columns = windows + height->out,
        .step_h = height->dilation,
        .step_w = width->dilation,
        .is_tiled = is_tiled(height) && is_tiled(width),
        .is_halved = is_halved(height) && is_halved(width)};
}

static void mean_forward_channels(const Microbatch *microbatch) {
    KernelPool pool = pool_kernel(microbatch->self, microbatch->lanes);
    microbatch->kernels->mean_pool_forward(
        microbatch->x, microbatch->out, &pool, microbatch->begin, microbatch->end);
}

void pool_mean_forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y) {
    const PoolState *state = self->state;
    pool_set_windows(self);
    microbatch_forward(self, pass, x, y, state->channels, mean_forward_channels);
}

static void mean_backward_channels(const Microbatch *microbatch) {
    KernelPool pool = pool_kernel(microbatch->self, microbatch->lanes);
    microbatch->kernels->mean_pool_backward(
        microbatch->dy, microbatch->out, &pool, microbatch->begin, microbatch->end);
}

void pool_mean_backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    const PoolState *state = self->state;
    if (dx->data == NULL) return;
    microbatch_backward(self, pass, x, y, dy, dx, state->channels, mean_backward_channels);
}
