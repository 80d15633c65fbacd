/* pool.c - largest and mean values of windows, and their gradients, for channels [begin, end) of
 * one microbatch x [channels][height][width][lanes].
 *
 * Windows that are tiles of 2 x 2 pixels need no look at the tables: one pass over contiguous rows,
 * that of pool_narrow.c for fewer lanes than the widest vector has floats. Of windows of 3 x 3, two
 * apart, pool_halved.c has the gradients, and the values for few lanes.
 * Gradients of windows that may overlap are added one window after the other, in scan order. */
#include "src/kernels/pool.h"

/* Whether the tiles are pool_narrow.c's. */
INLINE int is_narrow(const KernelPool *pool) {
    return WIDTH < KERNEL_WIDEST && pool->is_tiled;
}

/* The same for gradients: for rows shorter than a vector its parts are slower than four floats. */
INLINE int is_narrow_backward(const KernelPool *pool) {
    return is_narrow(pool) && (WIDTH < 4 || pool->out_width * WIDTH >= KERNEL_WIDEST);
}

INLINE void set_zero(float *x, size_t n) {
    for (size_t i = 0; i < n; i += WIDTH) store(x + i, broadcast(0.0f));
}

/* ---- largest value ---- */

INLINE Tile load_tile(const float *upper, const float *lower, int lanes, int lane) {
    return (Tile){{load(upper + lane), load(upper + lanes + lane), load(lower + lane),
        load(lower + lanes + lane)}};
}

INLINE void tiles_forward(const float *x, float *y, const KernelPool *pool, int relu) {
    int lanes = pool->lanes;
    size_t row = (size_t)pool->width * lanes;
    for (int oh = 0; oh < pool->out_height; oh++) {
        const float *upper = x + 2 * oh * row;
        for (int ow = 0; ow < pool->out_width; ow++, upper += 2 * lanes, y += lanes) {
            for (int lane = 0; lane < lanes; lane += WIDTH) {
                Tile tile = load_tile(upper, upper + row, lanes, lane);
                store(y + lane, tile_best(tile, relu));
            }
        }
    }
}

/* Within its caller it would get the registers that windows_backward leaves. */
static __attribute__((noinline)) void tiles_backward(
    const float *x, const float *dy, float *dx, const KernelPool *pool, int relu) {
    int lanes = pool->lanes, odd = pool->width - 2 * pool->out_width;
    size_t row = (size_t)pool->width * lanes;
    for (int oh = 0; oh < pool->out_height; oh++) {
        const float *from = x + 2 * oh * row;
        float *to = dx + 2 * oh * row;
        for (int ow = 0; ow < pool->out_width; ow++) {
            for (int lane = 0; lane < lanes; lane += WIDTH) {
                Tile tile = load_tile(from, from + row, lanes, lane);
                VectorInt wins[4], is_open = (VectorInt){0} == 0;
                Vector best = tile_winner(tile, wins);
                if (relu) is_open = best > broadcast(0.0f);
                tile = tile_gradient(wins, load(dy + lane), is_open);
                store(to + lane, tile.v[0]);
                store(to + lanes + lane, tile.v[1]);
                store(to + row + lane, tile.v[2]);
                store(to + row + lanes + lane, tile.v[3]);
            }
            from += 2 * lanes, to += 2 * lanes, dy += lanes;
        }
        set_zero(to, (size_t)odd * lanes);
        set_zero(to + row, (size_t)odd * lanes);
    }
    set_zero(dx + 2 * pool->out_height * row, (size_t)(pool->height - 2 * pool->out_height) * row);
}

/* Windows side by side of as many pixels, `row_step` or `step` floats apart; columns [begin, end)
 * of a row of results. */
typedef struct Run {
    int rows, columns;
    size_t row_step, step;
    int begin, end;
} Run;

INLINE int span_of(KernelWindow window) {
    return window.end - window.begin;
}

/* The windows of row `oh` from column `begin` to where their size changes. */
INLINE Run run_at(const KernelPool *pool, int oh, int begin) {
    int span = span_of(pool->columns[begin]), end = begin + 1;
    while (end < pool->out_width && span_of(pool->columns[end]) == span) end++;
    return (Run){.rows = (span_of(pool->rows[oh]) + pool->step_h - 1) / pool->step_h,
        .columns = (span + pool->step_w - 1) / pool->step_w,
        .row_step = (size_t)pool->step_h * pool->width * pool->lanes,
        .step = (size_t)pool->step_w * pool->lanes,
        .begin = begin,
        .end = end};
}

/* Call function(rows, columns, run, ...) with these numbers constants where they are small: its
 * loops over them have no branches then. */
#define WITH_SIZE(run, function, ...)                                                              \
    ((run)->columns == 3      ? WITH_ROWS(3, run, function, __VA_ARGS__)                           \
        : (run)->columns == 2 ? WITH_ROWS(2, run, function, __VA_ARGS__)                           \
                              : function((run)->rows, (run)->columns, run, __VA_ARGS__))
#define WITH_ROWS(columns, run, function, ...)                                                     \
    ((run)->rows == 3      ? function(3, columns, run, __VA_ARGS__)                                \
        : (run)->rows == 2 ? function(2, columns, run, __VA_ARGS__)                                \
                           : function((run)->rows, columns, run, __VA_ARGS__))

/* The largest value of the window at x. */
INLINE Vector window_best(const int rows, const int columns, const Run *run, const float *x) {
    Vector best = load(x);
    for (int h = 0; h < rows; h++)
        for (int k = 0; k < columns; k++)
            best = better_of(load(x + h * run->row_step + k * run->step), best);
    return best;
}

enum { BLOCK_FLOATS = 4096 }; /* of x, and as many of dx, fit the first cache */

/* Channels of a block: what is found out about a run of windows serves them all. */
INLINE int channels_at_once(const KernelPool *pool, int begin, int end) {
    size_t count = BLOCK_FLOATS / input_floats(pool);
    return count == 0 ? 1 : count < (size_t)(end - begin) ? (int)count : end - begin;
}

INLINE void run_forward(const int rows, const int columns, const Run *run, const KernelPool *pool,
    const float *x, float *y, int channels, int relu) {
    int lanes = pool->lanes;
    for (int c = 0; c < channels; c++, x += input_floats(pool), y += output_floats(pool)) {
        for (int ow = run->begin; ow < run->end; ow++) {
            const float *from = x + (size_t)pool->columns[ow].begin * lanes;
            for (int lane = 0; lane < lanes; lane += WIDTH) {
                Vector best = window_best(rows, columns, run, from + lane);
                store(y + (size_t)ow * lanes + lane, relu ? rectified(best) : best);
            }
        }
    }
}

INLINE void windows_forward(
    const float *x, float *y, const KernelPool *pool, int channels, int relu) {
    size_t row = (size_t)pool->width * pool->lanes, out_row = (size_t)pool->out_width * pool->lanes;
    for (int oh = 0; oh < pool->out_height; oh++, y += out_row) {
        Run run = {.end = 0};
        const float *from = x + pool->rows[oh].begin * row;
        while (run.end < pool->out_width) {
            run = run_at(pool, oh, run.end);
            WITH_SIZE(&run, run_forward, pool, from, y, channels, relu);
        }
    }
}

/* Add dy at the largest pixel of the window at x, counted in scan order. */
INLINE void window_backward(const int rows, const int columns, const Run *run, const float *x,
    VectorInt gradient, float *dx, int relu) {
    /* best > 0, or always: as a choice of masks, GCC would split it into items */
    VectorInt low = (VectorInt){REPEAT(relu ? 1 : INT32_MIN)};
    VectorInt high = (VectorInt){REPEAT(relu ? 0x7f800000 : INT32_MAX)}; /* infinity, before NaN */
    Vector best = load(x);
    VectorInt where = {0};
    for (int h = 0; h < rows; h++) {
        for (int k = 0; k < columns; k++) {
            Vector v = load(x + h * run->row_step + k * run->step);
            VectorInt wins = is_better(v, best);
            best = better_of(v, best);
            where = (wins & (h * columns + k)) | (~wins & where);
        }
    }
    gradient &= ((VectorInt)best >= low) & ((VectorInt)best <= high);
    where = (VectorInt)rounded((Vector)where); /* or GCC would compare item by item */
    for (int h = 0; h < rows; h++) {
        for (int k = 0; k < columns; k++) {
            float *to = dx + h * run->row_step + k * run->step;
            store(to, load(to) + (Vector)(gradient & (where == h * columns + k)));
        }
    }
}

INLINE void run_backward(const int rows, const int columns, const Run *run, const KernelPool *pool,
    const float *x, const float *dy, float *dx, int channels, int relu) {
    int lanes = pool->lanes;
    size_t in = input_floats(pool), out = output_floats(pool);
    for (int c = 0; c < channels; c++, x += in, dx += in, dy += out) {
        for (int ow = run->begin; ow < run->end; ow++) {
            size_t at = (size_t)pool->columns[ow].begin * lanes;
            for (int lane = 0; lane < lanes; lane += WIDTH) {
                VectorInt gradient = (VectorInt)load(dy + (size_t)ow * lanes + lane);
                window_backward(rows, columns, run, x + at + lane, gradient, dx + at + lane, relu);
            }
        }
    }
}

INLINE void windows_backward(
    const float *x, const float *dy, float *dx, const KernelPool *pool, int channels, int relu) {
    size_t row = (size_t)pool->width * pool->lanes, out_row = (size_t)pool->out_width * pool->lanes;
    set_zero(dx, channels * input_floats(pool));
    for (int oh = 0; oh < pool->out_height; oh++, dy += out_row) {
        Run run = {.end = 0};
        size_t at = pool->rows[oh].begin * row;
        while (run.end < pool->out_width) {
            run = run_at(pool, oh, run.end);
            WITH_SIZE(&run, run_backward, pool, x + at, dy, dx + at, channels, relu);
        }
    }
}

/* 0 times anything else is NaN. */
INLINE int are_finite(const float *x, size_t n) {
    enum { SUMS = 4 };
    Vector sums[SUMS] = {{0}};
    size_t i = 0;
    for (; i + SUMS * WIDTH <= n; i += SUMS * WIDTH) {
        UNROLL
        for (int k = 0; k < SUMS; k++) sums[k] += load(x + i + k * WIDTH) * broadcast(0.0f);
    }
    for (; i < n; i += WIDTH) sums[0] += load(x + i) * broadcast(0.0f);
    return sum_lanes((sums[0] + sums[1]) + (sums[2] + sums[3])) == 0.0f;
}

void KERNEL(max_pool_forward)(
    const float *x, float *y, const KernelPool *pool, int relu, int begin, int end) {
    if (is_narrow(pool)) {
        KERNEL_OF_WIDEST(max_tiles_forward)(x, y, pool, relu, begin, end);
        return;
    }
    if (pool->is_halved && HAS_FEW_LANES) {
        KERNEL_OF_WIDEST(max_halved_forward_narrow)(x, y, pool, relu, begin, end);
        return;
    }
    size_t in = input_floats(pool), out = output_floats(pool);
    if (pool->is_tiled) {
        for (int c = begin; c < end; c++) tiles_forward(x + c * in, y + c * out, pool, relu);
        return;
    }
    for (int c = begin, count; c < end; c += count) {
        count = channels_at_once(pool, c, end);
        windows_forward(x + c * in, y + c * out, pool, count, relu);
    }
}

void KERNEL(max_pool_backward)(const float *x, const float *dy, float *dx, const KernelPool *pool,
    int relu, int begin, int end) {
    if (is_narrow_backward(pool)) {
        KERNEL_OF_WIDEST(max_tiles_backward)(x, dy, dx, pool, relu, begin, end);
        return;
    }
    size_t in = input_floats(pool), out = output_floats(pool);
    if (pool->is_tiled) {
        for (int c = begin; c < end; c++)
            tiles_backward(x + c * in, dy + c * out, dx + c * in, pool, relu);
        return;
    }
    for (int c = begin, count; c < end; c += count) {
        count = channels_at_once(pool, c, end);
        if (pool->is_halved && are_finite(x + c * in, count * in))
            MAX_HALVED_BACKWARD(x, dy, dx, pool, relu, c, c + count);
        else
            windows_backward(x + c * in, dy + c * out, dx + c * in, pool, count, relu);
    }
}

/* ---- mean ---- */

INLINE Vector window_size(KernelWindow rows, KernelWindow columns) {
    return broadcast((float)rows.count * (float)columns.count);
}

/* The sum of the pixels of a window of whole rows at x: each row from left to right, then the
 * rows'. Four rows at once do not wait for each other. */
INLINE Vector window_sum(const KernelPool *pool, const float *x, int rows, int columns) {
    size_t row = (size_t)pool->width * pool->lanes, end = (size_t)columns * pool->lanes;
    Vector sum = broadcast(0.0f);
    for (; rows >= 4; rows -= 4, x += 4 * row) {
        Vector a = broadcast(0.0f), b = a, c = a, d = a;
        for (size_t at = 0; at < end; at += pool->lanes) {
            a += load(x + at);
            b += load(x + at + row);
            c += load(x + at + 2 * row);
            d += load(x + at + 3 * row);
        }
        sum = (((sum + a) + b) + c) + d;
    }
    for (; rows > 0; rows--, x += row) {
        Vector a = broadcast(0.0f);
        for (size_t at = 0; at < end; at += pool->lanes) a += load(x + at);
        sum += a;
    }
    return sum;
}

INLINE void mean_forward(const float *x, float *y, const KernelPool *pool) {
    for (int oh = 0; oh < pool->out_height; oh++) {
        for (int ow = 0; ow < pool->out_width; ow++, y += pool->lanes) {
            KernelWindow rows = pool->rows[oh], columns = pool->columns[ow];
            const float *from =
                x + ((size_t)rows.begin * pool->width + columns.begin) * pool->lanes;
            for (int lane = 0; lane < pool->lanes; lane += WIDTH) {
                Vector sum = window_sum(pool, from + lane, span_of(rows), span_of(columns));
                store(y + lane, sum / window_size(rows, columns));
            }
        }
    }
}

/* Whether each window begins where the one before ends, the first and the last at the edges. */
INLINE int are_side_by_side(const KernelWindow *windows, int count, int size) {
    int at = 0;
    for (int i = 0; i < count; at = windows[i++].end)
        if (windows[i].begin != at) return 0;
    return at == size;
}

/* Add to each pixel of a window at dx, or put there where no other window has it. */
INLINE void spread_share(
    const KernelPool *pool, float *dx, int rows, int columns, Vector share, const int is_single) {
    size_t row = (size_t)pool->width * pool->lanes, end = (size_t)columns * pool->lanes;
    for (; rows > 0; rows--, dx += row)
        for (size_t at = 0; at < end; at += pool->lanes)
            store(dx + at, (is_single ? broadcast(0.0f) : load(dx + at)) + share);
}

INLINE void mean_backward_windows(
    const float *dy, float *dx, const KernelPool *pool, const int is_single) {
    for (int oh = 0; oh < pool->out_height; oh++) {
        for (int ow = 0; ow < pool->out_width; ow++, dy += pool->lanes) {
            KernelWindow rows = pool->rows[oh], columns = pool->columns[ow];
            float *to = dx + ((size_t)rows.begin * pool->width + columns.begin) * pool->lanes;
            for (int lane = 0; lane < pool->lanes; lane += WIDTH) {
                Vector share = load(dy + lane) / window_size(rows, columns);
                spread_share(pool, to + lane, span_of(rows), span_of(columns), share, is_single);
            }
        }
    }
}

INLINE void mean_backward(const float *dy, float *dx, const KernelPool *pool) {
    if (are_side_by_side(pool->rows, pool->out_height, pool->height) &&
        are_side_by_side(pool->columns, pool->out_width, pool->width)) {
        mean_backward_windows(dy, dx, pool, 1);
        return;
    }
    set_zero(dx, input_floats(pool));
    mean_backward_windows(dy, dx, pool, 0);
}

INLINE void tile_means_forward(const float *x, float *y, const KernelPool *pool) {
    int lanes = pool->lanes;
    size_t row = (size_t)pool->width * lanes;
    for (int oh = 0; oh < pool->out_height; oh++) {
        const float *upper = x + 2 * oh * row;
        for (int ow = 0; ow < pool->out_width; ow++, upper += 2 * lanes, y += lanes) {
            for (int lane = 0; lane < lanes; lane += WIDTH) {
                Tile tile = load_tile(upper, upper + row, lanes, lane);
                store(y + lane, tile_mean(tile));
            }
        }
    }
}

INLINE void tile_means_backward(const float *dy, float *dx, const KernelPool *pool) {
    int lanes = pool->lanes, odd = pool->width - 2 * pool->out_width;
    size_t row = (size_t)pool->width * lanes;
    for (int oh = 0; oh < pool->out_height; oh++) {
        float *to = dx + 2 * oh * row;
        for (int ow = 0; ow < pool->out_width; ow++, to += 2 * lanes, dy += lanes) {
            for (int lane = 0; lane < lanes; lane += WIDTH) {
                Vector share = load(dy + lane) * broadcast(0.25f);
                store(to + lane, share);
                store(to + lanes + lane, share);
                store(to + row + lane, share);
                store(to + row + lanes + lane, share);
            }
        }
        set_zero(to, (size_t)odd * lanes);
        set_zero(to + row, (size_t)odd * lanes);
    }
    set_zero(dx + 2 * pool->out_height * row, (size_t)(pool->height - 2 * pool->out_height) * row);
}

void KERNEL(mean_pool_forward)(
    const float *x, float *y, const KernelPool *pool, int begin, int end) {
    if (is_narrow(pool)) {
        KERNEL_OF_WIDEST(mean_tiles_forward)(x, y, pool, begin, end);
        return;
    }
    for (int c = begin; c < end; c++) {
        const float *from = x + c * input_floats(pool);
        float *to = y + c * output_floats(pool);
        if (pool->is_tiled)
            tile_means_forward(from, to, pool);
        else
            mean_forward(from, to, pool);
    }
}

void KERNEL(mean_pool_backward)(
    const float *dy, float *dx, const KernelPool *pool, int begin, int end) {
    if (is_narrow_backward(pool)) {
        KERNEL_OF_WIDEST(mean_tiles_backward)(dy, dx, pool, begin, end);
        return;
    }
    for (int c = begin; c < end; c++) {
        const float *gradient = dy + c * output_floats(pool);
        float *to = dx + c * input_floats(pool);
        if (pool->is_tiled)
            tile_means_backward(gradient, to, pool);
        else
            mean_backward(gradient, to, pool);
    }
}
