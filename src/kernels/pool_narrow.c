/* pool_narrow.c - pooling of tiles of 2 x 2 pixels for fewer lanes than a vector has floats.
 *
 * A vector holds several pixels of a row of results, of which two vectors of each row of x hold the
 * tiles. The last vector of a row ends with the row, and gives what was given before once more. */
#include "src/kernels/narrow.h"
#include "src/kernels/pool.h"
#include <string.h>

/* What the rows of one call have in common, all but the sizes known to the compiler. */
typedef struct Rows {
    int lanes;
    int is_mean, relu;
    int is_part;     /* a row of results has fewer floats than a vector */
    size_t floats;   /* of a row of results */
    size_t x_floats; /* of a row of x */
} Rows;

/* Where the vector after that at `at` begins; the row's end after the last. */
INLINE size_t next_vector(const Rows *rows, size_t at) {
    size_t next = at + WIDTH;
    return next >= rows->floats || next + WIDTH <= rows->floats ? next : rows->floats - WIDTH;
}

INLINE Vector load_row(const Rows *rows, const float *p, size_t at, size_t floats) {
    return rows->is_part ? load_up_to(p, at, floats) : load(p + at);
}

INLINE void store_row(const Rows *rows, float *p, size_t at, size_t floats, Vector v) {
    if (rows->is_part)
        store_up_to(p, at, floats, v);
    else
        store(p + at, v);
}

/* The tiles of the results at `at`; x is at the first of two rows. */
INLINE Tile load_tiles(const Rows *rows, const float *x, size_t at) {
    Tile tile;
    UNROLL
    for (int k = 0; k < 2; k++, x += rows->x_floats) {
        Vector a = load_row(rows, x, 2 * at, 2 * rows->floats);
        Vector b = load_row(rows, x, 2 * at + WIDTH, 2 * rows->floats);
        tile.v[2 * k] = unzipped(rows->lanes, a, b, 0);
        tile.v[2 * k + 1] = unzipped(rows->lanes, a, b, 1);
    }
    return tile;
}

INLINE void store_tiles(const Rows *rows, float *x, size_t at, Tile tile) {
    UNROLL
    for (int k = 0; k < 2; k++, x += rows->x_floats) {
        Vector left = tile.v[2 * k], right = tile.v[2 * k + 1];
        store_row(rows, x, 2 * at, 2 * rows->floats, zipped(rows->lanes, left, right, 0));
        store_row(rows, x, 2 * at + WIDTH, 2 * rows->floats, zipped(rows->lanes, left, right, 1));
    }
}

/* ---- one channel ---- */

INLINE void forward(const Rows *rows, const float *x, float *y, int out_height) {
    for (int oh = 0; oh < out_height; oh++, x += 2 * rows->x_floats, y += rows->floats) {
        for (size_t at = 0; at < rows->floats; at = next_vector(rows, at)) {
            Tile tile = load_tiles(rows, x, at);
            Vector result = rows->is_mean ? tile_mean(tile) : tile_best(tile, rows->relu);
            store_row(rows, y, at, rows->floats, result);
        }
    }
}

INLINE Tile gradient_of_tiles(const Rows *rows, const float *x, size_t at, Vector dy) {
    if (rows->is_mean) {
        Vector share = dy * broadcast(0.25f);
        return (Tile){{share, share, share, share}};
    }
    VectorInt wins[4];
    Vector best = tile_winner(load_tiles(rows, x, at), wins);
    if (rows->relu) dy = masked(dy, best > broadcast(0.0f)); /* faster than a mask for each pixel */
    return tile_gradient(wins, dy, (VectorInt){0} == 0);
}

INLINE void backward(
    const Rows *rows, const float *x, const float *dy, float *dx, int out_height, int height) {
    size_t row = rows->x_floats, used = 2 * rows->floats;
    for (int oh = 0; oh < out_height; oh++, dy += rows->floats, x += 2 * row, dx += 2 * row) {
        for (size_t at = 0; at < rows->floats; at = next_vector(rows, at)) {
            Vector gradient = load_row(rows, dy, at, rows->floats);
            store_tiles(rows, dx, at, gradient_of_tiles(rows, x, at, gradient));
        }
        if (used == row) continue;
        memset(dx + used, 0, (row - used) * sizeof *dx);
        memset(dx + row + used, 0, (row - used) * sizeof *dx);
    }
    memset(dx, 0, (size_t)(height - 2 * out_height) * row * sizeof *dx);
}

/* ---- all channels ---- */

INLINE Rows rows_of(
    const int lanes, const int is_mean, int relu, const int is_part, const KernelPool *pool) {
    return (Rows){.lanes = lanes,
        .is_mean = is_mean,
        .relu = relu,
        .is_part = is_part,
        .floats = (size_t)pool->out_width * lanes,
        .x_floats = (size_t)pool->width * lanes};
}

INLINE void forward_all(const int lanes, const int is_mean, int relu, const float *x, float *y,
    const KernelPool *pool, int begin, int end) {
    Rows whole = rows_of(lanes, is_mean, relu, 0, pool);
    Rows part = rows_of(lanes, is_mean, relu, 1, pool);
    size_t in = input_floats(pool), out = output_floats(pool);
    for (int c = begin; c < end; c++) {
        if (whole.floats < WIDTH)
            forward(&part, x + c * in, y + c * out, pool->out_height);
        else
            forward(&whole, x + c * in, y + c * out, pool->out_height);
    }
}

/* x is read for the largest values alone. */
INLINE void backward_all(const int lanes, const int is_mean, int relu, const float *x,
    const float *dy, float *dx, const KernelPool *pool, int begin, int end) {
    Rows whole = rows_of(lanes, is_mean, relu, 0, pool);
    Rows part = rows_of(lanes, is_mean, relu, 1, pool);
    size_t in = input_floats(pool), out = output_floats(pool);
    int out_height = pool->out_height, height = pool->height;
    for (int c = begin; c < end; c++) {
        if (lanes < 4 && whole.floats < WIDTH)
            backward(&part, x + c * in, dy + c * out, dx + c * in, out_height, height);
        else
            backward(&whole, x + c * in, dy + c * out, dx + c * in, out_height, height);
    }
}

void KERNEL(max_tiles_forward)(
    const float *x, float *y, const KernelPool *pool, int relu, int begin, int end) {
    WITH_LANES(pool->lanes, forward_all, 0, relu, x, y, pool, begin, end);
}

void KERNEL(max_tiles_backward)(const float *x, const float *dy, float *dx, const KernelPool *pool,
    int relu, int begin, int end) {
    WITH_LANES(pool->lanes, backward_all, 0, relu, x, dy, dx, pool, begin, end);
}

void KERNEL(mean_tiles_forward)(
    const float *x, float *y, const KernelPool *pool, int begin, int end) {
    WITH_LANES(pool->lanes, forward_all, 1, 0, x, y, pool, begin, end);
}

void KERNEL(mean_tiles_backward)(
    const float *dy, float *dx, const KernelPool *pool, int begin, int end) {
    WITH_LANES(pool->lanes, backward_all, 1, 0, dx, dy, dx, pool, begin, end);
}
