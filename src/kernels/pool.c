/* pool.c - largest and mean values of windows, and their gradients, for channels [begin, end) of
 * one microbatch x [channels][height][width][lanes].
 *
 * Windows that are tiles of 2 x 2 pixels need no look at the tables: one pass over contiguous rows,
 * that of pool_narrow.c for fewer lanes than the widest vector has floats.
 * Gradients of windows that may overlap are added one window after the other, in scan order. */
#include "src/kernels/pool.h"

/* Whether the tiles are pool_narrow.c's. */
INLINE int is_narrow(const KernelPool *pool) {
    return WIDTH < KERNEL_WIDEST && pool->is_tiled;
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

INLINE void tiles_backward(
    const float *x, const float *dy, float *dx, const KernelPool *pool, int relu) {
    int lanes = pool->lanes, odd = pool->width - 2 * pool->out_width;
    size_t row = (size_t)pool->width * lanes;
    for (int oh = 0; oh < pool->out_height; oh++) {
        const float *from = x + 2 * oh * row;
        float *to = dx + 2 * oh * row;
        for (int ow = 0; ow < pool->out_width; ow++) {
            for (int lane = 0; lane < lanes; lane += WIDTH) {
                Tile tile = load_tile(from, from + row, lanes, lane);
                tile = tile_gradient(tile, load(dy + lane), relu);
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

/* A window's pixels. */
typedef struct Window {
    KernelWindow rows;
    int column, step, columns; /* the first column, from one to the next, and how many */
} Window;

INLINE Window window_at(const KernelPool *pool, int oh, int ow) {
    KernelWindow columns = pool->columns[ow];
    int step = pool->step_w;
    return (Window){.rows = pool->rows[oh],
        .column = columns.begin,
        .step = step,
        .columns = (columns.end - columns.begin + step - 1) / step};
}

/* Call function(columns, ...) with the number of columns a constant where it is small: its loops
 * over them have no branches then. */
#define WITH_COLUMNS(window, function, ...)                                                        \
    ((window).columns == 3      ? function(3, __VA_ARGS__)                                         \
        : (window).columns == 2 ? function(2, __VA_ARGS__)                                         \
                                : function((window).columns, __VA_ARGS__))

/* The largest value of a window, at `lane`. */
INLINE Vector window_best(
    const int columns, const Window *window, const KernelPool *pool, const float *x, int lane) {
    size_t step = (size_t)window->step * pool->lanes, row = (size_t)pool->width * pool->lanes;
    const float *from = x + window->rows.begin * row + (size_t)window->column * pool->lanes + lane;
    Vector best = load(from);
    for (int h = window->rows.begin; h < window->rows.end; h += pool->step_h) {
        for (int k = 0; k < columns; k++) best = better_of(load(from + k * step), best);
        from += pool->step_h * row;
    }
    return best;
}

INLINE void windows_forward(const float *x, float *y, const KernelPool *pool, int relu) {
    for (int oh = 0; oh < pool->out_height; oh++) {
        for (int ow = 0; ow < pool->out_width; ow++, y += pool->lanes) {
            Window window = window_at(pool, oh, ow);
            for (int lane = 0; lane < pool->lanes; lane += WIDTH) {
                Vector best = WITH_COLUMNS(window, window_best, &window, pool, x, lane);
                store(y + lane, relu ? rectified(best) : best);
            }
        }
    }
}

/* Add dy at a window's largest pixel, counted in scan order. */
INLINE void window_backward(const int columns, const Window *window, const KernelPool *pool,
    const float *x, VectorInt gradient, float *dx, int lane, int relu) {
    size_t step = (size_t)window->step * pool->lanes, row = (size_t)pool->width * pool->lanes;
    size_t start = window->rows.begin * row + (size_t)window->column * pool->lanes + lane,
           at = start;
    Vector best = load(x + start);
    VectorInt where = {0};
    int pixel = 0;
    for (int h = window->rows.begin; h < window->rows.end; h += pool->step_h) {
        for (int k = 0; k < columns; k++, pixel++) {
            Vector v = load(x + at + k * step);
            VectorInt wins = is_better(v, best);
            best = choose(wins, v, best);
            where = (wins & pixel) | (~wins & where);
        }
        at += pool->step_h * row;
    }
    if (relu) gradient &= best > broadcast(0.0f);
    at = start, pixel = 0;
    for (int h = window->rows.begin; h < window->rows.end; h += pool->step_h) {
        for (int k = 0; k < columns; k++, pixel++) {
            float *to = dx + at + k * step;
            store(to, load(to) + (Vector)(gradient & (where == pixel)));
        }
        at += pool->step_h * row;
    }
}

INLINE void windows_backward(
    const float *x, const float *dy, float *dx, const KernelPool *pool, int relu) {
    set_zero(dx, input_floats(pool));
    for (int oh = 0; oh < pool->out_height; oh++) {
        for (int ow = 0; ow < pool->out_width; ow++, dy += pool->lanes) {
            Window window = window_at(pool, oh, ow);
            for (int lane = 0; lane < pool->lanes; lane += WIDTH) {
                VectorInt gradient = (VectorInt)load(dy + lane);
                WITH_COLUMNS(window, window_backward, &window, pool, x, gradient, dx, lane, relu);
            }
        }
    }
}

void KERNEL(max_pool_forward)(
    const float *x, float *y, const KernelPool *pool, int relu, int begin, int end) {
    if (is_narrow(pool)) {
        KERNEL_OF_WIDEST(max_tiles_forward)(x, y, pool, relu, begin, end);
        return;
    }
    for (int c = begin; c < end; c++) {
        const float *from = x + c * input_floats(pool);
        float *to = y + c * output_floats(pool);
        if (pool->is_tiled)
            tiles_forward(from, to, pool, relu);
        else
            windows_forward(from, to, pool, relu);
    }
}

void KERNEL(max_pool_backward)(const float *x, const float *dy, float *dx, const KernelPool *pool,
    int relu, int begin, int end) {
    if (is_narrow(pool)) {
        KERNEL_OF_WIDEST(max_tiles_backward)(x, dy, dx, pool, relu, begin, end);
        return;
    }
    for (int c = begin; c < end; c++) {
        const float *from = x + c * input_floats(pool), *gradient = dy + c * output_floats(pool);
        float *to = dx + c * input_floats(pool);
        if (pool->is_tiled)
            tiles_backward(from, gradient, to, pool, relu);
        else
            windows_backward(from, gradient, to, pool, relu);
    }
}

/* ---- mean ---- */

INLINE Vector window_size(KernelWindow rows, KernelWindow columns) {
    return broadcast((float)rows.count * (float)columns.count);
}

INLINE void mean_forward(const float *x, float *y, const KernelPool *pool) {
    for (int oh = 0; oh < pool->out_height; oh++) {
        for (int ow = 0; ow < pool->out_width; ow++, y += pool->lanes) {
            KernelWindow rows = pool->rows[oh], columns = pool->columns[ow];
            for (int lane = 0; lane < pool->lanes; lane += WIDTH) {
                Vector sum = broadcast(0.0f);
                for (int h = rows.begin; h < rows.end; h++) {
                    Vector row = broadcast(0.0f);
                    for (int w = columns.begin; w < columns.end; w++)
                        row += load(x + ((size_t)h * pool->width + w) * pool->lanes + lane);
                    sum += row;
                }
                store(y + lane, sum / window_size(rows, columns));
            }
        }
    }
}

INLINE void mean_backward(const float *dy, float *dx, const KernelPool *pool) {
    set_zero(dx, input_floats(pool));
    for (int oh = 0; oh < pool->out_height; oh++) {
        for (int ow = 0; ow < pool->out_width; ow++, dy += pool->lanes) {
            KernelWindow rows = pool->rows[oh], columns = pool->columns[ow];
            for (int lane = 0; lane < pool->lanes; lane += WIDTH) {
                Vector share = load(dy + lane) / window_size(rows, columns);
                for (int h = rows.begin; h < rows.end; h++) {
                    for (int w = columns.begin; w < columns.end; w++) {
                        float *to = dx + ((size_t)h * pool->width + w) * pool->lanes + lane;
                        store(to, load(to) + share);
                    }
                }
            }
        }
    }
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
    if (is_narrow(pool)) {
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
