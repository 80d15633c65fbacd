/* conv.c - convolution in register tiles: some output channels by some vectors of results.
 *
 * A vector of results is a piece of a row, lanes and all; for each input channel and tap a tile
 * loads as many vectors of x, wherever their rows are, and multiplies them with one weight per
 * output channel. The grid of results is cut into regions whose results meet x with the same taps;
 * the other taps, which meet the zeros around x, are left out. Every result adds the same terms in
 * the same order whatever tile it falls into. */
#include "src/kernels/kernel.h"

/* Tiles of 8, 6, 4, 3, 2 or 1 output channels, by up to as many vectors as the registers hold. */
enum { ROWS_MAX = 8, VECTORS_MAX = 6 };
#define UP_TO_2(MAKE, rows) MAKE(rows, 1) MAKE(rows, 2)
#define UP_TO_3(MAKE, rows) UP_TO_2(MAKE, rows) MAKE(rows, 3)
#define UP_TO_4(MAKE, rows) UP_TO_3(MAKE, rows) MAKE(rows, 4)
#if defined(__AVX512VL__) || defined(__aarch64__)
#define UP_TO_6(MAKE, rows) UP_TO_4(MAKE, rows) MAKE(rows, 5) MAKE(rows, 6)
#define VECTORS_OF(rows) ((rows) == 8 ? 3 : (rows) == 6 ? 4 : 6)
#define FOR_8_AND_6(MAKE) UP_TO_3(MAKE, 8) UP_TO_4(MAKE, 6)
#define FOR_4_AND_3(MAKE) UP_TO_6(MAKE, 4) UP_TO_6(MAKE, 3)
#define FOR_2_AND_1(MAKE) UP_TO_6(MAKE, 2) UP_TO_6(MAKE, 1)
#else
#define VECTORS_OF(rows) ((rows) == 6 ? 2 : (rows) == 4 ? 3 : 4)
#define FOR_8_AND_6(MAKE) UP_TO_2(MAKE, 6)
#define FOR_4_AND_3(MAKE) UP_TO_3(MAKE, 4) UP_TO_4(MAKE, 3)
#define FOR_2_AND_1(MAKE) UP_TO_4(MAKE, 2) UP_TO_4(MAKE, 1)
#endif
#define FOR_TILES(MAKE) FOR_8_AND_6(MAKE) FOR_4_AND_3(MAKE) FOR_2_AND_1(MAKE)

/* Output channels of the next tile: the largest that leaves no small rest. */
INLINE int next_rows(int rows_left) {
#if defined(__AVX512VL__) || defined(__aarch64__)
    if (rows_left == 6 || rows_left == 9 || rows_left == 10 || rows_left == 12) return 6;
    if (rows_left >= 8) return 8;
#else
    if (rows_left >= 6 && rows_left != 7 && rows_left != 8) return 6;
#endif
    if (rows_left == 3 || rows_left == 5) return 3;
    return rows_left >= 4 ? 4 : rows_left >= 2 ? 2 : 1;
}

/* Vectors of the next tile; the last two share what is left. */
INLINE int next_vectors(int64_t vectors_left, int most) {
    if (vectors_left <= most) return (int)vectors_left;
    return vectors_left < 2 * most ? (int)(vectors_left + 1) / 2 : most;
}

void KERNEL(conv_pack)(const KernelConv *conv, const float *weight, float *packed) {
    for (int o = 0, rows; o < conv->out; o += rows) {
        rows = next_rows(conv->out - o);
        for (int i = 0; i < conv->in; i++) {
            const float *pair = weight + o * conv->weight_out + i * conv->weight_in;
            for (int t = 0; t < conv->tap_count; t++)
                for (int r = 0; r < rows; r++)
                    *packed++ = pair[conv->taps[t].weight + r * conv->weight_out];
        }
    }
}

/* ---- one tile ---- */

/* A tap that meets x: how far on, and which one. */
typedef struct Met {
    ptrdiff_t offset;
    int tap;
} Met;

typedef struct Tile {
    const KernelConv *conv;
    size_t plane; /* floats of x from one channel to the next */
    const Met *met;
    int met_count;
    const float *weight;
    const float *bias;           /* at the first output channel; NULL: start from zero */
    const float *x[VECTORS_MAX]; /* what a tap at row 0, column 0 would meet */
    float *y[VECTORS_MAX];       /* in output channel 0 */
    size_t y_offset;             /* of the first output channel */
} Tile;

/* The products of one tap: its vectors are held while the weights pass by, or where the registers
 * are too few, its weights while the vectors do. */
INLINE void add_weight_by_weight(Vector sum[ROWS_MAX][VECTORS_MAX], const float *weight,
    const float *const *x, ptrdiff_t at, const int rows, const int vectors) {
    Vector term[VECTORS_MAX];
    UNROLL
    for (int v = 0; v < vectors; v++) term[v] = load(x[v] + at);
    UNROLL
    for (int r = 0; r < rows; r++) {
        Vector factor = broadcast(weight[r]);
        UNROLL
        for (int v = 0; v < vectors; v++) sum[r][v] += factor * term[v];
    }
}

INLINE void add_vector_by_vector(Vector sum[ROWS_MAX][VECTORS_MAX], const float *weight,
    const float *const *x, ptrdiff_t at, const int rows, const int vectors) {
    Vector factor[ROWS_MAX];
    UNROLL
    for (int r = 0; r < rows; r++) factor[r] = broadcast(weight[r]);
    UNROLL
    for (int v = 0; v < vectors; v++) {
        Vector term = load(x[v] + at);
        UNROLL
        for (int r = 0; r < rows; r++) sum[r][v] += factor[r] * term;
    }
}

/* Channel by channel of x, so that the taps find in the L1 cache what they share. */
INLINE void add_products(
    const Tile *tile, Vector sum[ROWS_MAX][VECTORS_MAX], const int rows, const int vectors) {
    const KernelConv *conv = tile->conv;
    const float *weights = tile->weight, *x[VECTORS_MAX];
    UNROLL
    for (int v = 0; v < vectors; v++) x[v] = tile->x[v];
    ptrdiff_t channel = 0;
    for (int i = 0; i < conv->in; i++, channel += tile->plane, weights += conv->tap_count * rows) {
        for (int k = 0; k < tile->met_count; k++) {
            ptrdiff_t at = channel + tile->met[k].offset;
            const float *weight = weights + tile->met[k].tap * rows;
            if (rows * vectors + vectors + 1 <= REGISTERS)
                add_weight_by_weight(sum, weight, x, at, rows, vectors);
            else
                add_vector_by_vector(sum, weight, x, at, rows, vectors);
        }
    }
}

INLINE void conv_tile(const Tile *tile, const int rows, const int vectors) {
    Vector sum[ROWS_MAX][VECTORS_MAX];
    UNROLL
    for (int r = 0; r < rows; r++) {
        Vector start = broadcast(tile->bias ? tile->bias[r] : 0.0f);
        UNROLL
        for (int v = 0; v < vectors; v++) sum[r][v] = start;
    }
    add_products(tile, sum, rows, vectors);
    UNROLL
    for (int v = 0; v < vectors; v++) {
        float *y = tile->y[v] + tile->y_offset;
        UNROLL
        for (int r = 0; r < rows; r++) store(y + r * tile->conv->y_channel, sum[r][v]);
    }
}

#define MAKE_TILE(rows, vectors)                                                                   \
    static void tile_##rows##x##vectors(const Tile *tile) {                                        \
        conv_tile(tile, rows, vectors);                                                            \
    }
FOR_TILES(MAKE_TILE)

typedef void ConvTile(const Tile *tile);
#define TABLE_ENTRY(rows, vectors) [rows][vectors] = tile_##rows##x##vectors,
static ConvTile *const tiles[ROWS_MAX + 1][VECTORS_MAX + 1] = {FOR_TILES(TABLE_ENTRY)};

/* ---- regions of results ---- */

/* Rows and columns of results that meet x with the same taps. */
typedef struct Region {
    int row_begin, row_end, column_begin, column_end;
} Region;

/* Where, from result `at` up to `end`, a range begins or ends. */
INLINE int next_change(KernelRange range, int at, int end) {
    int change = range.begin > at ? range.begin : range.end;
    return change > at && change < end ? change : end;
}

/* The rows (or columns) of the window, `count` taps `step` apart, that meet x in result row (or
 * column) `at`; and up to which one, at most *end, they are the same. */
INLINE int find_meeting(
    const KernelTap *taps, int count, int step, const int in_rows, int at, int *end, int *found) {
    int found_count = 0;
    for (int i = 0; i < count; i++, taps += step) {
        KernelRange range = in_rows ? taps->rows : taps->columns;
        *end = next_change(range, at, *end);
        found[found_count] = i;
        found_count += (at >= range.begin) & (at < range.end);
    }
    return found_count;
}

/* The taps of some of the window's rows and columns. */
static int list_met(const KernelConv *conv, const int *rows, int row_count, const int *columns,
    int column_count, Met *met) {
    int count = 0;
    for (int r = 0; r < row_count; r++)
        for (int c = 0; c < column_count; c++) {
            int tap = rows[r] * conv->tap_columns + columns[c];
            met[count++] = (Met){conv->taps[tap].offset, tap};
        }
    return count;
}

/* A walk over a region's vectors, row by row. Where a vector holds several columns that do not fill
 * the row, the first vector is for fewer; what it writes beyond them is overwritten by the next. */
typedef struct Walk {
    const KernelConv *conv;
    const float *x;
    float *y;
    int lanes;
    int fit, first; /* columns in a vector, and in the first of a row; 0: less than one */
    Region region;
    int row, column, lane; /* of the next vector */
} Walk;

static int64_t vectors_of_region(const Region *region, int lanes) {
    int64_t row = (int64_t)(region->column_end - region->column_begin) * lanes;
    return (row + WIDTH - 1) / WIDTH * (region->row_end - region->row_begin);
}

/* The next vector is number v of the tile. */
INLINE void walk_next(Walk *walk, Tile *tile, int v) {
    const KernelConv *conv = walk->conv;
    size_t x_row = (size_t)walk->row * conv->row_step;
    size_t x_column = (size_t)walk->column * conv->column_step;
    tile->x[v] = walk->x + (x_row * conv->width + x_column) * walk->lanes + walk->lane;
    tile->y[v] = walk->y + walk->row * conv->y_row + walk->column * conv->y_column + walk->lane;
    if (walk->lanes < WIDTH) {
        walk->column += walk->column == 0 ? walk->first : walk->fit;
    } else {
        walk->lane += WIDTH;
        if (walk->lane < walk->lanes) return;
        walk->lane = 0;
        walk->column++;
    }
    if (walk->column >= walk->region.column_end) {
        walk->column = walk->region.column_begin;
        walk->row++;
    }
}

/* The output channels [begin, end), whose tiles have up to `most` vectors: for one tile's vectors
 * after the other, so that their x stays in the L1 cache. */
static void run_band(
    Tile *tile, Walk walk, const float *packed, const float *bias, int begin, int end, int most) {
    const KernelConv *conv = tile->conv;
    size_t weights_of_one = (size_t)conv->in * conv->tap_count;
    int64_t left = vectors_of_region(&walk.region, walk.lanes);
    for (int vectors; left > 0; left -= vectors) {
        vectors = next_vectors(left, most);
        for (int v = 0; v < vectors; v++) walk_next(&walk, tile, v);
        for (int channel = begin, rows; channel < end; channel += rows) {
            rows = next_rows(conv->out - channel);
            tile->weight = packed + channel * weights_of_one;
            tile->bias = bias ? bias + channel : NULL;
            tile->y_offset = channel * conv->y_channel;
            tiles[rows][vectors](tile);
        }
    }
}

static void run_region(Tile *tile, const Walk *walk, const float *packed, const float *bias) {
    int out = tile->conv->out;
    for (int o = 0, end; o < out; o = end) {
        int most = VECTORS_OF(next_rows(out - o));
        end = o + next_rows(out - o);
        while (end < out && VECTORS_OF(next_rows(out - end)) == most) end += next_rows(out - end);
        run_band(tile, *walk, packed, bias, o, end, most);
    }
}

void KERNEL(conv)(const KernelConv *conv, const float *packed, const float *bias, const float *x,
    float *y, int lanes, int row_begin, int row_end) {
    int rows[KERNEL_TAPS_MAX + 1], columns[KERNEL_TAPS_MAX + 1]; /* of the window */
    Met met[KERNEL_TAPS_MAX];
    Tile tile = {.conv = conv, .plane = (size_t)conv->height * conv->width * lanes, .met = met};
    int fit = WIDTH / lanes, rest = fit == 0 ? 0 : conv->columns % fit;
    Walk walk = {
        .conv = conv, .x = x, .y = y, .lanes = lanes, .fit = fit, .first = rest > 0 ? rest : fit};
    Region *region = &walk.region;
    int window_columns = conv->tap_columns;
    int window_rows = window_columns > 0 ? conv->tap_count / window_columns : 0;
    for (int row = row_begin; row < row_end; row = region->row_end) {
        walk.row = region->row_begin = row;
        region->row_end = row_end;
        int row_count =
            find_meeting(conv->taps, window_rows, window_columns, 1, row, &region->row_end, rows);
        for (int column = 0; column < conv->columns; column = region->column_end) {
            walk.column = region->column_begin = column;
            region->column_end = conv->columns;
            int column_count = find_meeting(
                conv->taps, window_columns, 1, 0, column, &region->column_end, columns);
            tile.met_count = list_met(conv, rows, row_count, columns, column_count, met);
            run_region(&tile, &walk, packed, bias);
        }
    }
}
