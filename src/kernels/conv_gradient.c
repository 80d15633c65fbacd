/* conv_gradient.c - the gradient of a convolution's weights: products of rows of dy and rows of x.
 *
 * A tile holds the sums of some output channels by some weights (pairs of input channel and tap), a
 * vector each, while it runs over the results; at the end the vectors' lanes are added. The sums of
 * large images are taken in bands of rows, so that dy stays in the L1 cache while all the weights
 * pass by. */
#include "src/kernels/kernel.h"

#if defined(__AVX512VL__) || defined(__aarch64__)
enum { WEIGHTS_MAX = 6 };
#else
enum { WEIGHTS_MAX = 3 };
#endif
enum { ROWS_MAX = 4 };
enum { BAND_BYTES = 16384 }; /* of dy in a band */

/* One weight of a tile. */
typedef struct Column {
    const float *x; /* what its tap meets for result row 0, column 0 */
    int row;        /* of the tap */
    int begin, end; /* result columns in which it lies inside x */
} Column;

typedef struct Tile {
    const KernelConv *conv;
    int lanes;
    const float *dy; /* at the tile's first output channel */
    Column columns[WEIGHTS_MAX];
    int row_begin, row_end;
    float *sums;    /* of earlier bands: [rows][weights][WIDTH] */
    int resumes;    /* start from them */
    int is_last;    /* add the lanes and write dweight, else write them */
    float *dweight; /* at the tile's first channel and weight */
    size_t dweight_row;
} Tile;

static const float zeros[WIDTH];

/* A stretch of a row in which every weight of the tile is either inside x or outside. */
typedef struct Stretch {
    const float *dy;
    const float *x[WEIGHTS_MAX];
    size_t x_step[WEIGHTS_MAX]; /* 0 where outside */
    int vectors;                /* one after the other */
} Stretch;

INLINE void add_products(Vector sum[ROWS_MAX][WEIGHTS_MAX], const float *dy, size_t dy_channel,
    const float *const *x, size_t at, VectorInt mask, const int masked, const int rows,
    const int weights) {
    Vector factor[WEIGHTS_MAX];
    UNROLL
    for (int c = 0; c < weights; c++) factor[c] = load(x[c] + at);
    UNROLL
    for (int r = 0; r < rows; r++) {
        Vector term = load(dy + r * dy_channel + at);
        if (masked) term = (Vector)((VectorInt)term & mask);
        UNROLL
        for (int c = 0; c < weights; c++) sum[r][c] += term * factor[c];
    }
}

/* Whether all weights are inside is known for most stretches, and saves their steps. */
INLINE void add_stretch(Vector sum[ROWS_MAX][WEIGHTS_MAX], const Stretch *stretch,
    size_t dy_channel, int all_inside, const int rows, const int weights) {
    const float *x[WEIGHTS_MAX], *dy = stretch->dy;
    UNROLL
    for (int c = 0; c < weights; c++) x[c] = stretch->x[c];
    if (all_inside) {
        for (int v = 0; v < stretch->vectors; v++)
            add_products(
                sum, dy, dy_channel, x, (size_t)v * WIDTH, (VectorInt){0}, 0, rows, weights);
        return;
    }
    for (int v = 0; v < stretch->vectors; v++, dy += WIDTH) {
        add_products(sum, dy, dy_channel, x, 0, (VectorInt){0}, 0, rows, weights);
        UNROLL
        for (int c = 0; c < weights; c++) x[c] += stretch->x_step[c];
    }
}

/* One row of results whose vectors hold several columns: all inside; the last vector ends where the
 * row ends, without what the one before had. */
INLINE void add_packed_row(Vector sum[ROWS_MAX][WEIGHTS_MAX], const Tile *tile, const float *dy,
    const float *const *x, const int rows, const int weights) {
    const KernelConv *conv = tile->conv;
    int floats = conv->columns * tile->lanes, whole = floats / WIDTH * WIDTH, left = floats - whole;
    for (int at = 0; at < whole; at += WIDTH)
        add_products(sum, dy, conv->y_channel, x, at, (VectorInt){0}, 0, rows, weights);
    if (left == 0) return;
    VectorInt mask = (VectorInt){COUNT_UP} >= (VectorInt){REPEAT(0)} + (WIDTH - left);
    add_products(sum, dy, conv->y_channel, x, floats - WIDTH, mask, 1, rows, weights);
}

/* From result column `column` on: how far the weights' being inside or outside does not change. */
INLINE int stretch_end(const Tile *tile, int column, const int weights) {
    int end = tile->conv->columns;
    UNROLL
    for (int c = 0; c < weights; c++) {
        const Column *weight = &tile->columns[c];
        int change = column < weight->begin ? weight->begin : weight->end;
        if (change > column && change < end) end = change;
    }
    return end;
}

INLINE void add_row(Vector sum[ROWS_MAX][WEIGHTS_MAX], const Tile *tile, int row, const int rows,
    const int weights) {
    const KernelConv *conv = tile->conv;
    size_t lanes = tile->lanes, x_row = (size_t)row * conv->row_step * conv->width * lanes;
    const float *dy = tile->dy + row * conv->y_row;
    int row_inside[WEIGHTS_MAX], all_rows_inside = 1;
    UNROLL
    for (int c = 0; c < weights; c++) {
        row_inside[c] =
            (unsigned)(row * conv->row_step + tile->columns[c].row) < (unsigned)conv->height;
        all_rows_inside &= row_inside[c];
    }
    if (tile->lanes < WIDTH) {
        const float *x[WEIGHTS_MAX];
        UNROLL
        for (int c = 0; c < weights; c++) x[c] = tile->columns[c].x + x_row;
        if (all_rows_inside) add_packed_row(sum, tile, dy, x, rows, weights);
        return;
    }
    for (int column = 0, end; column < conv->columns; column = end) {
        end = stretch_end(tile, column, weights);
        int all_inside = all_rows_inside;
        Stretch stretch;
        size_t x_column = x_row + (size_t)column * conv->column_step * lanes;
        UNROLL
        for (int c = 0; c < weights; c++) {
            const Column *weight = &tile->columns[c];
            int inside = row_inside[c] && column >= weight->begin && column < weight->end;
            all_inside &= inside;
            stretch.x[c] = inside ? weight->x + x_column : zeros;
            stretch.x_step[c] = inside ? WIDTH : 0;
        }
        int is_dense = conv->column_step == 1 && conv->y_column == lanes;
        int pieces = is_dense ? 1 : end - column;
        stretch.vectors = (int)((is_dense ? end - column : 1) * lanes / WIDTH);
        stretch.dy = dy + column * conv->y_column;
        for (int piece = 0; piece < pieces; piece++) {
            add_stretch(sum, &stretch, conv->y_channel, all_inside, rows, weights);
            stretch.dy += conv->y_column;
            UNROLL
            for (int c = 0; c < weights; c++)
                if (stretch.x_step[c]) stretch.x[c] += conv->column_step * lanes;
        }
    }
}

INLINE void gradient_tile(const Tile *tile, const int rows, const int weights) {
    Vector sum[ROWS_MAX][WEIGHTS_MAX];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < weights; c++)
            sum[r][c] =
                tile->resumes ? load(tile->sums + (r * weights + c) * WIDTH) : broadcast(0.0f);
    }
    for (int row = tile->row_begin; row < tile->row_end; row++)
        add_row(sum, tile, row, rows, weights);
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < weights; c++) {
            if (tile->is_last)
                tile->dweight[r * tile->dweight_row + c] = sum_lanes(sum[r][c]);
            else
                store(tile->sums + (r * weights + c) * WIDTH, sum[r][c]);
        }
    }
}

typedef void GradientTile(const Tile *tile);
#define MAKE_TILE(rows, weights)                                                                   \
    static void gradient_##rows##x##weights(const Tile *tile) {                                    \
        gradient_tile(tile, rows, weights);                                                        \
    }
#if defined(__AVX512VL__) || defined(__aarch64__)
#define FOR_WEIGHTS(MAKE, rows)                                                                    \
    MAKE(rows, 1) MAKE(rows, 2) MAKE(rows, 3) MAKE(rows, 4) MAKE(rows, 5) MAKE(rows, 6)
#define TABLE_ROW(rows)                                                                            \
    {                                                                                              \
        gradient_##rows##x1, gradient_##rows##x2, gradient_##rows##x3, gradient_##rows##x4,        \
            gradient_##rows##x5, gradient_##rows##x6                                               \
    }
#else
#define FOR_WEIGHTS(MAKE, rows) MAKE(rows, 1) MAKE(rows, 2) MAKE(rows, 3)
#define TABLE_ROW(rows)                                                                            \
    { gradient_##rows##x1, gradient_##rows##x2, gradient_##rows##x3 }
#endif
FOR_WEIGHTS(MAKE_TILE, 1)
FOR_WEIGHTS(MAKE_TILE, 2) FOR_WEIGHTS(MAKE_TILE, 3) FOR_WEIGHTS(MAKE_TILE, 4)

    static GradientTile *const tiles[ROWS_MAX][WEIGHTS_MAX] = {
        TABLE_ROW(1), TABLE_ROW(2), TABLE_ROW(3), TABLE_ROW(4)};

/* ceil(a / b) for b > 0. */
static int divide_up(int a, int b) {
    return a > 0 ? (a + b - 1) / b : -(-a / b);
}

static int clamp(int value, int maximum) {
    return value < 0 ? 0 : value > maximum ? maximum : value;
}

/* Weight number `weight` = i * tap_count + t. */
static Column column_of(const KernelConv *conv, const float *x, int lanes, int weight) {
    const KernelTap *tap = &conv->taps[weight % conv->tap_count];
    size_t plane = (size_t)conv->height * conv->width * lanes;
    ptrdiff_t offset = ((ptrdiff_t)tap->row * conv->width + tap->column) * lanes;
    return (Column){.x = x + (weight / conv->tap_count) * plane + offset,
        .row = tap->row,
        .begin = clamp(divide_up(-tap->column, conv->column_step), conv->columns),
        .end = clamp(divide_up(conv->width - tap->column, conv->column_step), conv->columns)};
}

/* One band of rows: all the weights of the tile's output channels. */
static void run_band(Tile *tile, const float *x, float *scratch, int rows) {
    const KernelConv *conv = tile->conv;
    int count = conv->in * conv->tap_count, tile_count = (count + WEIGHTS_MAX - 1) / WEIGHTS_MAX;
    float *dweight = tile->dweight;
    for (int i = 0, weight = 0; i < tile_count; i++) {
        int end = (int)((int64_t)count * (i + 1) / tile_count), weights = end - weight;
        for (int c = 0; c < weights; c++)
            tile->columns[c] = column_of(conv, x, tile->lanes, weight + c);
        tile->sums = scratch + (size_t)weight * rows * WIDTH;
        tile->dweight = dweight + weight;
        tiles[rows - 1][weights - 1](tile);
        weight = end;
    }
    tile->dweight = dweight;
}

void KERNEL(conv_weight_gradient)(const KernelConv *conv, const float *dy, const float *x,
    float *dweight, float *scratch, int lanes, int out_begin, int out_end) {
    size_t row_bytes = (size_t)conv->columns * lanes * ROWS_MAX * sizeof(float);
    int band = row_bytes < BAND_BYTES ? (int)(BAND_BYTES / row_bytes) : 1;
    int out = out_end - out_begin, tile_count = (out + ROWS_MAX - 1) / ROWS_MAX;
    Tile tile = {.conv = conv, .lanes = lanes, .dweight_row = (size_t)conv->in * conv->tap_count};
    for (int i = 0, o = 0; i < tile_count; i++) {
        int end = (int)((int64_t)out * (i + 1) / tile_count);
        tile.dy = dy + (out_begin + o) * conv->y_channel;
        tile.dweight = dweight + o * tile.dweight_row;
        for (int row = 0; row < conv->rows; row += band) {
            tile.row_begin = row;
            tile.row_end = row + band < conv->rows ? row + band : conv->rows;
            tile.resumes = row > 0;
            tile.is_last = tile.row_end == conv->rows;
            run_band(&tile, x, scratch, end - o);
        }
        o = end;
    }
}
