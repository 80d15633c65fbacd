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

/* Surround the image with what the taps reach beyond it: for all the results, or `!all_sides`, for
 * those for which the kernel reads them.
 * `phases` is 1, or the column step: then the columns that one tap meets come to lie side by side.
 */
static void add_halo(Conv2dPlan *plan, int all_sides, int phases) {
    KernelConv *conv = &plan->conv;
    int top = 0, left = 0, bottom = 0, right = 0;
    for (int t = 0; t < conv->tap_count; t++) {
        const KernelTap *tap = &plan->taps[t];
        KernelRange rows = all_sides ? (KernelRange){0, conv->rows} : tap->rows;
        KernelRange columns =
            all_sides || phases > 1 ? (KernelRange){0, conv->columns} : tap->columns;
        if (rows.end == 0 || columns.end == 0) continue;
        top = larger(top, -(tap->row + rows.begin * conv->row_step));
        left = larger(left, -(tap->column + columns.begin * conv->column_step));
        bottom = larger(bottom, tap->row + (rows.end - 1) * conv->row_step - conv->height + 1);
        right =
            larger(right, tap->column + (columns.end - 1) * conv->column_step - conv->width + 1);
    }
    if (top + left + bottom + right == 0 && phases == 1) return;
    int tail = 0;
    if (phases == 1) { /* what lies between two rows serves both */
        tail = left = larger(left, right);
        right = 0;
    } else {
        left = (left + phases - 1) / phases * phases;
    }
    int phase_width = (conv->width + left + right + phases - 1) / phases;
    conv->height += top + bottom;
    conv->width = phases * phase_width;
    conv->column_step /= phases;
    plan->halo = (Conv2dHalo){top, left, conv->height, conv->width, tail, phases};
    for (int t = 0; t < conv->tap_count; t++) {
        int column = plan->taps[t].column + left;
        plan->taps[t].row += top;
        plan->taps[t].column = column % phases * phase_width + column / phases;
    }
}

size_t conv2d_halo_floats(const Conv2dPlan *plan, int channels) {
    const Conv2dHalo *halo = &plan->halo;
    size_t pixels = (size_t)channels * (size_t)halo->height * (size_t)halo->width;
    return (pixels + (size_t)halo->tail) * (size_t)plan->lanes;
}

/* What the window reaches beyond the image on both sides, seen from x and from dy. */
size_t conv2d_halo_floats_max(const Conv2dSizes *sizes, int lanes) {
    size_t x = (size_t)(sizes->in / sizes->groups) * (size_t)lanes;
    size_t dy = (size_t)(sizes->out / sizes->groups) * (size_t)lanes;
    for (int d = 0; d < SIDES; d++) {
        int window = sizes->dilation[d] * (sizes->kernel[d] - 1) + 1;
        x *= (size_t)(sizes->x_size[d] + 2 * (sizes->padding[d] + sizes->stride[d] - 1));
        dy *= (size_t)(sizes->y_size[d] + 2 * window + 2 * sizes->padding[d]);
    }
    return x > dy ? x : dy;
}

/* Pixels of `lanes` floats, from_step and to_step pixels apart; quick for few lanes. */
static void copy_pixels(
    float *to, size_t to_step, const float *from, size_t from_step, int count, size_t lanes) {
#define COPY(n)                                                                                    \
    for (int c = 0; c < count; c++, to += to_step * (n), from += from_step * (n))                  \
    memcpy(to, from, (n) * sizeof *to)
    if (to_step == 1 && from_step == 1)
        memcpy(to, from, (size_t)count * lanes * sizeof *to);
    else if (lanes == 1)
        COPY(1);
    else if (lanes == 2)
        COPY(2);
    else if (lanes == 4)
        COPY(4);
    else
        COPY(lanes);
#undef COPY
}

/* A channel's rows, each followed by what columns the copy has more. Returns where they end. */
static float *surround_rows(const Conv2dPlan *plan, const float *image, float *row) {
    size_t floats = (size_t)plan->image_width * (size_t)plan->lanes;
    size_t copy_row = (size_t)plan->halo.width * (size_t)plan->lanes;
    plan->kernels->copy_rows(image, row, floats, copy_row - floats, plan->image_height);
    return row + (size_t)plan->image_height * copy_row;
}

/* The same with the columns in phases, but nothing after the last. */
static float *surround_phases(const Conv2dPlan *plan, const float *image, float *row) {
    const Conv2dHalo *halo = &plan->halo;
    size_t lanes = (size_t)plan->lanes;
    size_t phase_row = (size_t)(halo->width / halo->phases) * lanes;
    int count = plan->image_width / halo->phases, rest = plan->image_width % halo->phases;
    float *done = row;
    for (int r = 0; r < plan->image_height; r++, image += (size_t)plan->image_width * lanes)
        for (int phase = 0; phase < halo->phases; phase++, row += phase_row) {
            int pixels = count + (phase < rest);
            memset(done, 0, (size_t)(row - done) * sizeof *done);
            copy_pixels(row, 1, image + (size_t)phase * lanes, (size_t)halo->phases, pixels, lanes);
            done = row + (size_t)pixels * lanes;
        }
    return done;
}

const float *conv2d_surround(
    const Conv2dPlan *plan, const float *image, int channels, float *copy) {
    const Conv2dHalo *halo = &plan->halo;
    if (halo->height == 0) return image;
    size_t lanes = (size_t)plan->lanes;
    size_t image_channel = (size_t)plan->image_height * (size_t)plan->image_width * lanes;
    size_t copy_channel = (size_t)halo->height * (size_t)halo->width * lanes;
    float *row = copy + (size_t)(halo->top * halo->width + halo->left / halo->phases) * lanes;
    float *end = copy + conv2d_halo_floats(plan, channels), *done = copy;
    for (int c = 0; c < channels; c++, image += image_channel, row += copy_channel) {
        memset(done, 0, (size_t)(row - done) * sizeof *done);
        done =
            halo->phases == 1 ? surround_rows(plan, image, row) : surround_phases(plan, image, row);
    }
    memset(done, 0, (size_t)(end - done) * sizeof *done);
    return copy;
}

size_t conv2d_spread_floats_max(const Conv2dSizes *sizes, int lanes) {
    size_t floats = (size_t)(sizes->in / sizes->groups) * (size_t)lanes;
    for (int d = 0; d < SIDES; d++)
        floats *= (size_t)((sizes->x_size[d] + sizes->stride[d] - 1) / sizes->stride[d]);
    return sizes->stride[WIDTH] > 1 ? floats : 0;
}

void conv2d_spread(
    const Conv2dPlan *plan, const float *results, float *image, int row_begin, int row_end) {
    const KernelConv *conv = &plan->conv;
    const Conv2dSteps *steps = &plan->steps;
    for (int o = 0; o < conv->out; o++)
        for (int r = row_begin; r < row_end; r++)
            copy_pixels(image + (size_t)o * steps->channel + (size_t)r * steps->row, steps->column,
                results + (size_t)o * conv->y_channel + (size_t)r * conv->y_row, 1, conv->columns,
                (size_t)plan->lanes);
}

/* ---- plans ---- */

/* Let the results lie side by side, for conv2d_spread to take them to their places. */
static void gather_results(Conv2dPlan *plan) {
    KernelConv *conv = &plan->conv;
    conv->y_column = (size_t)plan->lanes;
    conv->y_row = (size_t)conv->columns * conv->y_column;
    conv->y_channel = (size_t)conv->rows * conv->y_row;
    plan->spreads = 1;
}

/* The results, of `count`, for which a tap at `place` of a dimension meets the image. */
static KernelRange meeting(int place, int step, int size, int count) {
    int begin = place < 0 ? (-place + step - 1) / step : 0;
    int end = place < size ? (size - place + step - 1) / step : 0;
    if (end > count) end = count;
    return begin < end ? (KernelRange){begin, end} : (KernelRange){0, 0};
}

/* The same in whole groups of `fit` results, of which the first lacks some. */
static KernelRange in_groups(KernelRange range, int fit, int lacking) {
    int begin = (range.begin + lacking) / fit * fit - lacking;
    int end = (range.end + lacking + fit - 1) / fit * fit - lacking;
    return range.end == 0 ? range : (KernelRange){larger(begin, 0), end};
}

/* Where taps meet the image; groups of `fit` columns, and of `fit_rows` rows, meet it wherever one
 * does. Returns whether all columns meet the same taps. */
static int find_meetings(Conv2dPlan *plan, int fit, int fit_rows) {
    const KernelConv *conv = &plan->conv;
    int are_same = 1;
    for (int t = 0; t < conv->tap_count; t++) {
        KernelTap *tap = &plan->taps[t];
        KernelRange rows = meeting(tap->row, conv->row_step, conv->height, conv->rows);
        KernelRange columns = meeting(tap->column, conv->column_step, conv->width, conv->columns);
        tap->rows = in_groups(rows, fit_rows, 0);
        if (tap->rows.end > conv->rows) tap->rows.end = conv->rows;
        tap->columns = in_groups(columns, fit, (fit - conv->columns % fit) % fit);
        are_same &= tap->columns.begin == 0 && tap->columns.end == conv->columns;
    }
    return are_same;
}

/* The columns of results on either side whose taps leave the image, in whole vectors of `fit`: a
 * kernel that masks what these meet needs no halo. 0: there are none, or a halo costs less. It is
 * copied once for all the results; masks cost a part of the work at an edge, a larger one where
 * registers are few, and an edge is met when all between the two is done: by then, the second-level
 * cache shall still have the image. */
static int find_edge(const Conv2dPlan *plan, int fit) {
    enum { PRODUCTS_MAX = 160, PRODUCTS_MAX_NARROW = 32, FLOATS_MAX = 131072, ROW_SHARE = 3 };
    const KernelConv *conv = &plan->conv;
    int is_narrow = plan->kernels->width < KERNEL_WIDTH_MAX, edge = 0;
    int64_t floats = (int64_t)conv->in * conv->height * conv->width * plan->lanes;
    if (conv->out > conv->in ||
        conv->out * conv->tap_count > (is_narrow ? PRODUCTS_MAX_NARROW : PRODUCTS_MAX) ||
        floats > FLOATS_MAX || conv->column_step > 1 || conv->columns % fit != 0 ||
        conv->tap_columns > KERNEL_EDGE_TAPS)
        return 0;
    for (int t = 0; t < conv->tap_count; t++) {
        const KernelTap *tap = &plan->taps[t];
        if (tap->columns.end == 0) continue;
        if (tap->column + tap->columns.begin < 0) edge = larger(edge, -tap->column);
        if (tap->column + tap->columns.end > conv->width)
            edge = larger(edge, tap->column + conv->columns - conv->width);
    }
    edge = (edge + fit - 1) / fit * fit;
    return ROW_SHARE * 2 * edge <= conv->columns ? edge : 0;
}

/* Lanes narrower than the machine's vectors: let these hold several columns where that can be. */
static void finish_plan(Conv2dPlan *plan, const Kernels *kernels, int lanes, int leaves_image) {
    /* Regions of less cost more than the taps that they leave out; in two rows, of half of it. */
    enum { GROUP_FLOATS = 16, PAIR_FLOATS = 8 };
    KernelConv *conv = &plan->conv;
    const Kernels *wide = kernels_for_rows(kernels, (size_t)conv->columns * (size_t)lanes);
    int packs_columns = wide->width > lanes && !plan->uses_winograd;
    plan->kernels = packs_columns ? wide : kernels;
    plan->lanes = lanes;
    plan->image_height = conv->height;
    plan->image_width = conv->width;
    int fit = packs_columns ? larger(wide->width, GROUP_FLOATS) / lanes : 1;
    int are_same = find_meetings(plan, fit, 1);
    if (packs_columns && leaves_image) conv->edge = find_edge(plan, wide->width / lanes);
    if (packs_columns && !are_same && conv->edge == 0) find_meetings(plan, PAIR_FLOATS / lanes, 2);
    plan->steps = (Conv2dSteps){conv->y_channel, conv->y_row, conv->y_column / (size_t)lanes};
    plan->spreads = 0;
    if (packs_columns && plan->steps.column > 1) gather_results(plan);
    if (!leaves_image || (packs_columns && conv->edge == 0))
        add_halo(plan, !leaves_image, packs_columns ? conv->column_step : 1);
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
        .tap_columns = sizes->kernel[WIDTH],
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
    KernelConv *conv = &plan->conv;
    for (int kh = sizes->kernel[HEIGHT] - 1; kh >= 0; kh--) {
        KernelTap tap = {.weight = 0};
        if (!meets_phase(sizes, HEIGHT, kh, phase_row, &tap.row)) continue;
        conv->tap_columns = 0;
        for (int kw = sizes->kernel[WIDTH] - 1; kw >= 0; kw--) {
            if (!meets_phase(sizes, WIDTH, kw, phase_column, &tap.column)) continue;
            tap.weight = (size_t)(kh * sizes->kernel[WIDTH] + kw);
            plan->taps[conv->tap_count++] = tap;
            conv->tap_columns++;
        }
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
