/* depthwise.c - see depthwise.h. */
#include "src/layers/depthwise.h"
#include <string.h>

int depthwise_suits(const Conv2dSizes *sizes) {
    enum { OUTPUTS_MAX = 2 }; /* of a group: tiles of more use what they load as often */
    return sizes->in == sizes->groups && sizes->out / sizes->groups <= OUTPUTS_MAX &&
           sizes->kernel[HEIGHT] <= KERNEL_DEPTHWISE_SIDE &&
           sizes->kernel[WIDTH] <= KERNEL_DEPTHWISE_SIDE &&
           sizes->stride[HEIGHT] * sizes->stride[WIDTH] <= DEPTHWISE_PHASES_MAX;
}

/* ---- one direction ---- */

/* Tap t of result r meets pixel first + t * tap_step + r * step of `size`. */
typedef struct Direction {
    int taps, first, tap_step, step, size, results;
    int weight_first, weight_step; /* which weight a tap is */
} Direction;

/* From x to y. */
static Direction forward_direction(const Conv2dSizes *sizes, int d) {
    return (Direction){.taps = sizes->kernel[d],
        .first = -sizes->padding[d],
        .tap_step = sizes->dilation[d],
        .step = sizes->stride[d],
        .size = sizes->x_size[d],
        .results = sizes->y_size[d],
        .weight_step = 1};
}

/* From dy to the pixels phase, phase + stride, ... of dx: the last weight meets the first dy, and
 * those that meet any are at equal distances. */
static Direction phase_direction(const Conv2dSizes *sizes, int d, int phase) {
    Direction direction = {.step = 1,
        .size = sizes->y_size[d],
        .results = (sizes->x_size[d] - phase + sizes->stride[d] - 1) / sizes->stride[d]};
    for (int k = sizes->kernel[d] - 1; k >= 0; k--) {
        int at = phase + sizes->padding[d] - k * sizes->dilation[d], dy = at / sizes->stride[d];
        if (at % sizes->stride[d] != 0) continue;
        if (direction.taps == 0) {
            direction.first = dy;
            direction.weight_first = k;
        } else if (direction.taps == 1) {
            direction.tap_step = dy - direction.first;
            direction.weight_step = k - direction.weight_first;
        }
        direction.taps++;
    }
    return direction;
}

/* The taps that meet a pixel for result r. */
static KernelSpan meet(const Direction *direction, int r) {
    int at = direction->first + r * direction->step, begin = 0, end = direction->taps;
    while (begin < end && at + begin * direction->tap_step < 0) begin++;
    while (begin < end && at + (end - 1) * direction->tap_step >= direction->size) end--;
    if (begin == end) begin = end = 0;
    return (KernelSpan){r, r + 1, begin, end};
}

/* Neighbours in what is read, what is written and the weights are this many floats apart. */
typedef struct Pitch {
    ptrdiff_t x, y, weight;
} Pitch;

static void plan_axis(KernelAxis *axis, const Direction *direction, Pitch pitch) {
    *axis = (KernelAxis){.tap_count = direction->taps,
        .x_step = direction->step * pitch.x,
        .y_step = pitch.y,
        .tap_step = direction->tap_step * pitch.x,
        .weight_step = direction->weight_step * pitch.weight};
    KernelSpan *last = axis->spans;
    for (int r = 0; r < direction->results; r++) {
        KernelSpan span = meet(direction, r);
        if (r > 0 && last->tap_begin == span.tap_begin && last->tap_end == span.tap_end)
            last->end = r + 1;
        else
            *(last = &axis->spans[axis->span_count++]) = span;
    }
}

static void plan_grid(
    KernelDepthwise *grid, const Direction directions[SIDES], Pitch row, Pitch column, int lanes) {
    const Direction *down = &directions[HEIGHT], *right = &directions[WIDTH];
    *grid = (KernelDepthwise){.in = 1,
        .lanes = lanes,
        .is_dense = right->step == 1 && column.y == lanes,
        .x_first = down->first * row.x + right->first * column.x,
        .weight_first = down->weight_first * row.weight + right->weight_first * column.weight};
    plan_axis(&grid->rows, down, row);
    plan_axis(&grid->columns, right, column);
}

/* ---- plans ---- */

/* The spans of columns whose floats are, or are not, enough for a vector. */
static void add_part(DepthwisePlan *plan, const KernelDepthwise *grid, const Kernels *kernels,
    size_t to_offset, int least_floats, int has_them) {
    KernelDepthwise *part = &plan->parts[plan->part_count].grid;
    *part = *grid;
    part->columns.span_count = 0;
    for (int i = 0; i < grid->columns.span_count; i++) {
        KernelSpan span = grid->columns.spans[i];
        if (((span.end - span.begin) * grid->lanes >= least_floats) == has_them)
            part->columns.spans[part->columns.span_count++] = span;
    }
    if (part->columns.span_count == 0) return;
    plan->parts[plan->part_count].kernels = kernels;
    plan->parts[plan->part_count++].to_offset = to_offset;
}

/* Lanes narrower than the machine's vectors: these run along the columns where they can. A vector
 * as long as a cache line then meets two of them, and is no faster than two of half the length. */
static void add_parts(
    DepthwisePlan *plan, const KernelDepthwise *grid, const Kernels *kernels, size_t to_offset) {
    enum { LINE_FLOATS = 16 };
    int longest = 1;
    for (int i = 0; i < grid->columns.span_count; i++) {
        KernelSpan span = grid->columns.spans[i];
        if (span.end - span.begin > longest) longest = span.end - span.begin;
    }
    const Kernels *wide = kernels_for_rows(kernels, (size_t)(longest * grid->lanes));
    if (!grid->is_dense || wide->width < kernels->width ||
        (wide->width == LINE_FLOATS && 2 * kernels->width == LINE_FLOATS))
        wide = kernels;
    int least_floats = wide == kernels ? 0 : wide->width;
    add_part(plan, grid, wide, to_offset, least_floats, 1);
    add_part(plan, grid, kernels, to_offset, least_floats, 0);
}

static size_t plane(const int size[SIDES], int lanes) {
    return (size_t)size[HEIGHT] * (size_t)size[WIDTH] * (size_t)lanes;
}

void depthwise_plan_forward(
    DepthwisePlan *plan, const Conv2dSizes *sizes, const Kernels *kernels, int lanes) {
    KernelDepthwise grid;
    Direction directions[SIDES] = {
        forward_direction(sizes, HEIGHT), forward_direction(sizes, WIDTH)};
    Pitch column = {lanes, lanes, 1},
          row = {(ptrdiff_t)sizes->x_size[WIDTH] * lanes, (ptrdiff_t)sizes->y_size[WIDTH] * lanes,
              sizes->kernel[WIDTH]};
    *plan = (DepthwisePlan){.from_channels = sizes->in,
        .to_channels = sizes->out,
        .from_plane = plane(sizes->x_size, lanes),
        .to_plane = plane(sizes->y_size, lanes),
        .to_weights = (size_t)conv2d_taps(sizes)};
    plan_grid(&grid, directions, row, column, lanes);
    add_parts(plan, &grid, kernels, 0);
}

static void add_phase(DepthwisePlan *plan, const Conv2dSizes *sizes, const Kernels *kernels,
    int lanes, int phase_row, int phase_column) {
    KernelDepthwise grid;
    Direction directions[SIDES] = {
        phase_direction(sizes, HEIGHT, phase_row), phase_direction(sizes, WIDTH, phase_column)};
    ptrdiff_t dx_row = (ptrdiff_t)sizes->x_size[WIDTH] * lanes;
    Pitch row = {(ptrdiff_t)sizes->y_size[WIDTH] * lanes, sizes->stride[HEIGHT] * dx_row,
        sizes->kernel[WIDTH]};
    Pitch column = {lanes, (ptrdiff_t)sizes->stride[WIDTH] * lanes, 1};
    plan_grid(&grid, directions, row, column, lanes);
    grid.in = sizes->out / sizes->in;
    grid.x_channel = (ptrdiff_t)plan->from_plane;
    grid.weight_channel = conv2d_taps(sizes);
    add_parts(plan, &grid, kernels, (size_t)(phase_row * dx_row) + (size_t)(phase_column * lanes));
}

void depthwise_plan_input_gradient(
    DepthwisePlan *plan, const Conv2dSizes *sizes, const Kernels *kernels, int lanes) {
    *plan = (DepthwisePlan){.from_channels = sizes->out,
        .to_channels = sizes->in,
        .from_plane = plane(sizes->y_size, lanes),
        .to_plane = plane(sizes->x_size, lanes),
        .to_weights = (size_t)(sizes->out / sizes->in * conv2d_taps(sizes))};
    for (int r = 0; r < sizes->stride[HEIGHT] && r < sizes->x_size[HEIGHT]; r++)
        for (int c = 0; c < sizes->stride[WIDTH] && c < sizes->x_size[WIDTH]; c++)
            add_phase(plan, sizes, kernels, lanes, r, c);
}

/* ---- running them ---- */

/* The channel read, or the first of those, for channel `to` of what is written. */
static size_t read_for(const DepthwisePlan *plan, int to) {
    return (size_t)to * (size_t)plan->from_channels / (size_t)plan->to_channels;
}

void depthwise_run(const DepthwisePlan *plan, const float *weight, const float *bias,
    const float *from, float *to, int begin, int end) {
    for (int c = begin; c < end; c++)
        for (int p = 0; p < plan->part_count; p++)
            plan->parts[p].kernels->depthwise(&plan->parts[p].grid,
                weight + (size_t)c * plan->to_weights, bias == NULL ? NULL : bias + c,
                from + read_for(plan, c) * plan->from_plane,
                to + (size_t)c * plan->to_plane + plan->parts[p].to_offset);
}

void depthwise_weight_gradient(const DepthwisePlan *plan, const float *dy, const float *x,
    float *dweight, int begin, int end) {
    memset(dweight, 0, (size_t)(end - begin) * plan->to_weights * sizeof *dweight);
    for (int c = begin; c < end; c++, dweight += plan->to_weights)
        for (int p = 0; p < plan->part_count; p++)
            plan->parts[p].kernels->depthwise_weight_gradient(&plan->parts[p].grid,
                dy + (size_t)c * plan->to_plane, x + read_for(plan, c) * plan->from_plane, dweight);
}
