/* conv_gradient.c - the gradient of a convolution's weights: products of rows of dy and rows of x.
 *
 * A tile holds the sums of some output channels by some weights (pairs of input channel and tap), a
 * vector each, while it runs over the results; at the end the vectors' lanes are added. The sums of
 * large images are taken in bands of rows, so that dy stays in the L1 cache while all the weights
 * pass by, and then its sum, the gradient of the bias, is taken. */
#include "src/kernels/row_sum.h"

/* Tiles of 6 output channels where there are registers for them, or up to 4, by up to 6 weights. */
enum { ROWS_MAX = KERNEL_GRADIENT_ROWS, WEIGHTS_MAX = 6 };
#define WEIGHTS_OF(rows) (TILE_SUMS / (rows) < WEIGHTS_MAX ? TILE_SUMS / (rows) : WEIGHTS_MAX)
enum { BAND_BYTES = 32768 }; /* of a tile's channels of dy in a band, at most, or one row */

typedef struct Tile {
    const KernelConv *conv;
    int lanes;
    const float *dy;             /* at the tile's first output channel */
    const float *x[WEIGHTS_MAX]; /* what each weight's tap meets for result row 0, column 0 */
    int row_begin, row_end;
    float *sums;    /* of earlier bands: [rows][weights][WIDTH] */
    int resumes;    /* start from them */
    int is_last;    /* add the lanes and write dweight, else write them */
    float *dweight; /* at the tile's first channel and weight */
    size_t dweight_row;
} Tile;

INLINE Vector load_masked(const float *p, const VectorInt *mask) {
    return mask ? masked(load(p), *mask) : load(p);
}

/* The products of one vector of each channel's dy, masked, with one of each weight's x: the latter
 * are held while the channels pass by, or where the registers are too few, the other way round. */
INLINE void add_products(Vector sum[ROWS_MAX][WEIGHTS_MAX], const float *dy, size_t dy_channel,
    const float *const *x, size_t at, const VectorInt *mask, const int rows, const int weights) {
    const int holds_weights = rows * weights + weights + 1 <= REGISTERS;
    Vector held[WEIGHTS_MAX];
    if (holds_weights) {
        UNROLL
        for (int c = 0; c < weights; c++) held[c] = load(x[c] + at);
        UNROLL
        for (int r = 0; r < rows; r++) {
            Vector term = load_masked(dy + r * dy_channel, mask);
            UNROLL
            for (int c = 0; c < weights; c++) sum[r][c] += term * held[c];
        }
    } else {
        UNROLL
        for (int r = 0; r < rows; r++) held[r] = load_masked(dy + r * dy_channel, mask);
        UNROLL
        for (int c = 0; c < weights; c++) {
            Vector factor = load(x[c] + at);
            UNROLL
            for (int r = 0; r < rows; r++) sum[r][c] += held[r] * factor;
        }
    }
}

/* Results that lie side by side. The last vector ends where they end, without what the one before
 * had. */
INLINE void add_piece(Vector sum[ROWS_MAX][WEIGHTS_MAX], const Tile *tile, const float *dy,
    size_t x_at, int floats, const int rows, const int weights) {
    size_t dy_channel = tile->conv->y_channel;
    int left = floats % WIDTH;
    const float *last = dy + floats - WIDTH;
    UNROLL_BY_4
    for (; dy <= last; dy += WIDTH, x_at += WIDTH) {
        __asm__("" : "+r"(x_at)); /* one index for all, not a pointer each */
        add_products(sum, dy, dy_channel, tile->x, x_at, NULL, rows, weights);
    }
    if (left == 0) return;
    VectorInt mask = (VectorInt){COUNT_UP} >= (VectorInt){REPEAT(WIDTH - left)};
    add_products(sum, last, dy_channel, tile->x, x_at + left - WIDTH, &mask, rows, weights);
}

/* The tile's rows: one after the other where each is one piece, else each pixel by pixel. */
INLINE void add_rows(
    Vector sum[ROWS_MAX][WEIGHTS_MAX], const Tile *tile, const int rows, const int weights) {
    const KernelConv *conv = tile->conv;
    int lanes = tile->lanes, row_count = tile->row_end - tile->row_begin;
    size_t x_row = (size_t)conv->row_step * conv->width * lanes;
    int is_dense = conv->column_step == 1 && conv->y_column == (size_t)lanes;
    int runs = is_dense ? 1 : row_count, pieces = is_dense ? row_count : conv->columns;
    int floats = is_dense ? conv->columns * lanes : lanes;
    size_t dy_step = is_dense ? conv->y_row : conv->y_column;
    size_t x_step = is_dense ? x_row : (size_t)conv->column_step * lanes;
    for (int run = 0; run < runs; run++) {
        const float *dy = tile->dy + (tile->row_begin + run) * conv->y_row;
        size_t x = (tile->row_begin + run) * x_row;
        for (int piece = 0; piece < pieces; piece++, dy += dy_step, x += x_step)
            add_piece(sum, tile, dy, x, floats, rows, weights);
    }
}

/* Add up the lanes of all sums. */
INLINE void finish_tile(
    const Tile *tile, Vector sum[ROWS_MAX][WEIGHTS_MAX], const int rows, const int weights) {
    const int count = rows * weights;
    UNROLL
    for (int i = 0; i < count; i += 4) {
        float sums[4];
        Vector four[4];
        UNROLL
        for (int k = 0; k < 4; k++)
            four[k] = i + k < count ? sum[(i + k) / weights][(i + k) % weights] : broadcast(0.0f);
        sum_lanes_of_four(four[0], four[1], four[2], four[3], sums);
        UNROLL
        for (int k = 0; k < 4; k++)
            if (i + k < count)
                tile->dweight[(i + k) / weights * tile->dweight_row + (i + k) % weights] = sums[k];
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
    add_rows(sum, tile, rows, weights);
    if (tile->is_last) {
        finish_tile(tile, sum, rows, weights);
        return;
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < weights; c++) store(tile->sums + (r * weights + c) * WIDTH, sum[r][c]);
    }
}

typedef void GradientTile(const Tile *tile);
#define MAKE_TILE(rows, weights)                                                                   \
    static void gradient_##rows##x##weights(const Tile *tile) {                                    \
        gradient_tile(tile, rows, weights);                                                        \
    }
#define FOR_3_WEIGHTS(MAKE, rows) MAKE(rows, 1) MAKE(rows, 2) MAKE(rows, 3)
#define FOR_4_WEIGHTS(MAKE, rows) FOR_3_WEIGHTS(MAKE, rows) MAKE(rows, 4)
#define FOR_6_WEIGHTS(MAKE, rows) FOR_4_WEIGHTS(MAKE, rows) MAKE(rows, 5) MAKE(rows, 6)
#define FOR_1_AND_2(MAKE) FOR_6_WEIGHTS(MAKE, 1) FOR_6_WEIGHTS(MAKE, 2)
#if defined(__AVX512VL__) || defined(__aarch64__)
#define FOR_3_TO_6(MAKE) FOR_6_WEIGHTS(MAKE, 3) FOR_6_WEIGHTS(MAKE, 4) FOR_4_WEIGHTS(MAKE, 6)
#else
#define FOR_3_TO_6(MAKE) FOR_4_WEIGHTS(MAKE, 3) FOR_3_WEIGHTS(MAKE, 4)
#endif
#define FOR_TILES(MAKE) FOR_1_AND_2(MAKE) FOR_3_TO_6(MAKE)
FOR_TILES(MAKE_TILE)

#define TABLE_ENTRY(rows, weights) [rows - 1][weights - 1] = gradient_##rows##x##weights,
static GradientTile *const tiles[ROWS_MAX][WEIGHTS_MAX] = {FOR_TILES(TABLE_ENTRY)};

/* One band of rows: all the weights, number i * tap_count + t, of the tile's output channels. */
static void run_band(Tile *tile, const float *x, float *scratch, int rows) {
    const KernelConv *conv = tile->conv;
    size_t plane = (size_t)conv->height * conv->width * tile->lanes;
    int count = conv->in * conv->tap_count, most = WEIGHTS_OF(rows),
        tile_count = (count + most - 1) / most;
    float *dweight = tile->dweight;
    for (int i = 0, weight = 0, tap = 0; i < tile_count; i++) {
        int end = (int)((int64_t)count * (i + 1) / tile_count), weights = end - weight;
        for (int c = 0; c < weights; c++) {
            tile->x[c] = x + conv->taps[tap].offset;
            if (++tap < conv->tap_count) continue;
            tap = 0;
            x += plane;
        }
        tile->sums = scratch + (size_t)weight * rows * WIDTH;
        tile->dweight = dweight + weight;
        tiles[rows - 1][weights - 1](tile);
        weight = end;
    }
    tile->dweight = dweight;
}

/* The gradients of some output channels' bias, as far as row `end`. */
INLINE void sum_band(const Tile *tile, RowSum *sums, int rows, int end) {
    const KernelConv *conv = tile->conv;
    for (int r = 0; r < rows; r++)
        row_sum_pass(sums + r, tile->dy + r * conv->y_channel, end * (int)conv->y_row);
}

/* The sums' lanes added up, of four channels at a time. */
INLINE void finish_sums(const Tile *tile, const RowSum *sums, int rows, float *dbias) {
    const KernelConv *conv = tile->conv;
    int floats = (int)conv->y_channel;
    for (int done = 0; done < rows; done += 4) {
        Vector of_row[4];
        float of_four[KERNEL_ITEMS];
        for (int r = 0; r < 4; r++) {
            int row = done + r < rows ? done + r : done;
            of_row[r] = row_sum_finish(sums + row, tile->dy + row * conv->y_channel, floats);
        }
        sum_lanes_of_rows(of_row, of_four);
        for (int r = 0; r < 4 && done + r < rows; r++) dbias[done + r] = of_four[r];
    }
}

void KERNEL(conv_weight_gradient)(const KernelConv *conv, const float *dy, const float *x,
    float *dweight, float *dbias, float *scratch, int lanes, int out_begin, int out_end) {
    int out = out_end - out_begin;
    /* 6 channels at a time, or 3, only where 4 would not do: for 6, 18, ... */
    int rows_max = out % 4 == 0 || out % 6 != 0 ? 4
                   : REGISTERS == 32            ? 6
                                                : 3,
        tile_count = (out + rows_max - 1) / rows_max;
    size_t row_bytes = rows_max * conv->y_row * sizeof(float);
    int rows_of_band = row_bytes < BAND_BYTES ? (int)(BAND_BYTES / row_bytes) : 1;
    int bands = (conv->rows + rows_of_band - 1) / rows_of_band;
    Tile tile = {.conv = conv, .lanes = lanes, .dweight_row = (size_t)conv->in * conv->tap_count};
    for (int i = 0, o = 0; i < tile_count; i++) {
        int end = (int)((int64_t)out * (i + 1) / tile_count);
        tile.dy = dy + (out_begin + o) * conv->y_channel;
        tile.dweight = dweight + o * tile.dweight_row;
        RowSum sums[ROWS_MAX] = {{.passed = 0}};
        for (int band = 0; band < bands; band++) {
            tile.row_begin = (int)((int64_t)conv->rows * band / bands);
            tile.row_end = (int)((int64_t)conv->rows * (band + 1) / bands);
            tile.resumes = band > 0;
            tile.is_last = band + 1 == bands;
            run_band(&tile, x, scratch, end - o);
            if (dbias) sum_band(&tile, sums, end - o, tile.row_end);
        }
        if (dbias) finish_sums(&tile, sums, end - o, dbias + o);
        o = end;
    }
}
