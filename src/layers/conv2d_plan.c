/* conv2d_plan.c - see conv2d_plan.h. */
#include "src/layers/conv2d_plan.h"
#include <string.h>

int conv2d_taps(const Conv2dSizes *sizes) {
    return sizes->kernel[HEIGHT] * sizes->kernel[WIDTH];
}

size_t conv2d_weights_of_output(const Conv2dSizes *sizes) {
    return (size_t)(sizes->in / sizes->groups) * (size_t)conv2d_taps(sizes);
}

/* ---- halos ---- */

static int larger(int a, int b) {
    return a > b ? a : b;
}

/* Surround the image with what the taps reach beyond it, left and right alone or on all sides. */
static void add_halo(Conv2dPlan *plan, int all_sides) {
    KernelConv *conv = &plan->conv;
    int top = 0, left = 0, bottom = 0, right = 0;
    for (int t = 0; t < conv->tap_count; t++) {
        const KernelTap *tap = &plan->taps[t];
        int last_row = tap->row + (conv->rows - 1) * conv->row_step;
        int last_column = tap->column + (conv->columns - 1) * conv->column_step;
        left = larger(left, -tap->column);
        right = larger(right, last_column - conv->width + 1);
        if (!all_sides) continue;
        top = larger(top, -tap->row);
        bottom = larger(bottom, last_row - conv->height + 1);
    }
    if (top + left + bottom + right == 0) return;
    conv->height += top + bottom;
    conv->width += left + right;
    plan->halo = (Conv2dHalo){top, left, conv->height, conv->width};
    for (int t = 0; t < conv->tap_count; t++) {
        plan->taps[t].row += top;
        plan->taps[t].column += left;
    }
}

size_t conv2d_halo_floats(const Conv2dPlan *plan, int channels) {
    return (size_t)channels * (size_t)plan->halo.height * (size_t)plan->halo.width *
           (size_t)plan->lanes;
}

/* What the window reaches beyond the image on both sides, seen from x and from dy. */
size_t conv2d_halo_floats_max(const Conv2dSizes *sizes, int lanes) {
    size_t x = (size_t)(sizes->in / sizes->groups) * (size_t)lanes;
    size_t dy = (size_t)(sizes->out / sizes->groups) * (size_t)lanes;
    for (int d = 0; d < SIDES; d++) {
        int window = sizes->dilation[d] * (sizes->kernel[d] - 1) + 1;
        x *= (size_t)(sizes->x_size[d] + 2 * sizes->padding[d]);
        dy *= (size_t)(sizes->y_size[d] + 2 * window + 2 * sizes->padding[d]);
    }
    return x > dy ? x : dy;
}

const float *conv2d_surround(
    const Conv2dPlan *plan, const float *image, int channels, float *copy) {
    const Conv2dHalo *halo = &plan->halo;
    if (halo->height == 0) return image;
    size_t lanes = (size_t)plan->lanes, row = (size_t)plan->image_width * lanes;
    size_t left = (size_t)halo->left * lanes, copy_row = (size_t)halo->width * lanes;
    size_t right = copy_row - left - row;
    float *to = copy;
    for (int c = 0; c < channels; c++)
        for (int r = 0; r < halo->height; r++, to += copy_row) {
            if (r < halo->top || r >= halo->top + plan->image_height) {
                memset(to, 0, copy_row * sizeof *to);
                continue;
            }
            memset(to, 0, left * sizeof *to);
            memcpy(to + left, image, row * sizeof *to);
            memset(to + left + row, 0, right * sizeof *to);
            image += row;
        }
    return copy;
}

/* ---- plans ---- */

/* Lanes narrower than the machine's vectors: let these hold several columns where that can be. */
static void finish_plan(Conv2dPlan *plan, const Kernels *kernels, int lanes, int leaves_image) {
    KernelConv *conv = &plan->conv;
    int is_dense = conv->column_step == 1 && conv->y_column == (size_t)lanes;
    const Kernels *wide = kernels_for_rows(kernels, (size_t)conv->columns * (size_t)lanes);
    int packs_columns = is_dense && wide->width > lanes && !plan->uses_winograd;
    plan->kernels = packs_columns ? wide : kernels;
    plan->lanes = lanes;
    plan->image_height = conv->height;
    plan->image_width = conv->width;
    if (packs_columns || !leaves_image) add_halo(plan, !leaves_image);
    for (int t = 0; t < conv->tap_count; t++) {
        KernelTap *tap = &plan->taps[t];
        tap->offset = ((ptrdiff_t)tap->row * conv->width + tap->column) * lanes;
    }
    conv->taps = plan->taps;
}

static void plan_forward(Conv2dPlan *plan, const Conv2dSizes *sizes, const Kernels *kernels,
    int lanes, int leaves_image) {
    size_t row = (size_t)sizes->y_size[WIDTH] * (size_t)lanes;
    plan->halo = (Conv2dHalo){0};
    plan->out_offset = 0;
    plan->uses_winograd = sizes->uses_winograd && leaves_image;
    plan->conv = (KernelConv){.in = sizes->in / sizes->groups,
        .out = sizes->out / sizes->groups,
        .height = sizes->x_size[HEIGHT],
        .width = sizes->x_size[WIDTH],
        .rows = sizes->y_size[HEIGHT],
        .columns = sizes->y_size[WIDTH],
        .row_step = sizes->stride[HEIGHT],
        .column_step = sizes->stride[WIDTH],
        .tap_count = conv2d_taps(sizes),
        .weight_out = conv2d_weights_of_output(sizes),
        .weight_in = (size_t)conv2d_taps(sizes),
        .y_channel = row * (size_t)sizes->y_size[HEIGHT],
        .y_row = row,
        .y_column = (size_t)lanes};
    for (int t = 0; t < plan->conv.tap_count; t++) {
        int kh = t / sizes->kernel[WIDTH], kw = t % sizes->kernel[WIDTH];
        plan->taps[t] = (KernelTap){.row = kh * sizes->dilation[HEIGHT] - sizes->padding[HEIGHT],
            .column = kw * sizes->dilation[WIDTH] - sizes->padding[WIDTH],
            .weight = (size_t)t};
    }
    finish_plan(plan, kernels, lanes, leaves_image);
}

void conv2d_plan_forward(
    Conv2dPlan *plan, const Conv2dSizes *sizes, const Kernels *kernels, int lanes) {
    plan_forward(plan, sizes, kernels, lanes, 1);
}

void conv2d_plan_weight_gradient(
    Conv2dPlan *plan, const Conv2dSizes *sizes, const Kernels *kernels, int lanes) {
    plan_forward(plan, sizes, kernels, lanes, 0);
}

/* The dy that tap k of dimension d meets for the first pixel of `phase`; whether it meets any. */
static int meets_phase(const Conv2dSizes *sizes, int d, int k, int phase, int *dy) {
    int at = phase + sizes->padding[d] - k * sizes->dilation[d];
    *dy = at / sizes->stride[d];
    return at % sizes->stride[d] == 0;
}

static void add_phase_taps(
    Conv2dPlan *plan, const Conv2dSizes *sizes, int phase_row, int phase_column) {
    for (int kh = sizes->kernel[HEIGHT] - 1; kh >= 0; kh--)
        for (int kw = sizes->kernel[WIDTH] - 1; kw >= 0; kw--) {
            KernelTap tap = {.weight = (size_t)(kh * sizes->kernel[WIDTH] + kw)};
            if (meets_phase(sizes, HEIGHT, kh, phase_row, &tap.row) &&
                meets_phase(sizes, WIDTH, kw, phase_column, &tap.column))
                plan->taps[plan->conv.tap_count++] = tap;
        }
}

void conv2d_plan_input_gradient(Conv2dPlan *plan, const Conv2dSizes *sizes, const Kernels *kernels,
    int lanes, int phase_row, int phase_column) {
    size_t row = (size_t)sizes->x_size[WIDTH] * (size_t)lanes;
    int row_step = sizes->stride[HEIGHT], column_step = sizes->stride[WIDTH];
    plan->halo = (Conv2dHalo){0};
    plan->uses_winograd = sizes->uses_winograd;
    plan->out_offset = (size_t)phase_row * row + (size_t)(phase_column * lanes);
    plan->conv = (KernelConv){.in = sizes->out / sizes->groups,
        .out = sizes->in / sizes->groups,
        .height = sizes->y_size[HEIGHT],
        .width = sizes->y_size[WIDTH],
        .rows = (sizes->x_size[HEIGHT] - phase_row + row_step - 1) / row_step,
        .columns = (sizes->x_size[WIDTH] - phase_column + column_step - 1) / column_step,
        .row_step = 1,
        .column_step = 1,
        .weight_out = (size_t)conv2d_taps(sizes),
        .weight_in = conv2d_weights_of_output(sizes),
        .y_channel = row * (size_t)sizes->x_size[HEIGHT],
        .y_row = row * (size_t)row_step,
        .y_column = (size_t)(column_step * lanes)};
    add_phase_taps(plan, sizes, phase_row, phase_column);
    finish_plan(plan, kernels, lanes, 1);
}
