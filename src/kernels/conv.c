/* conv.c - convolution in register tiles: some output channels by some vectors of results.
 *
 * A vector of results is a piece of a row, lanes and all, or its halves are pieces of two rows,
 * where one would leave half of it empty; for each input channel and tap a tile loads as many
 * vectors of x, wherever their rows are, and multiplies them with one weight per output channel.
 * The grid of results is cut into regions whose results meet x with the same taps; the other taps,
 * which meet the zeros around x, are left out. Every result adds the same terms in the same order
 * whatever tile it falls into. */
#include "src/kernels/kernel.h"
#include <string.h>

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
    size_t x_apart, y_apart;     /* where vectors are halves: floats from the first to the second */
} Tile;

INLINE Vector load_halves(const float *first, const float *second) {
    return __builtin_shufflevector(load_half(first), load_half(second), COUNT_UP);
}

/* One vector, or where `apart` is not NULL its halves, so far apart. */
INLINE Vector load_term(const float *p, const ptrdiff_t *apart) {
    return apart ? load_halves(p, p + *apart) : load(p);
}

INLINE void store_halves(float *first, float *second, Vector v) {
    HalfVector half[2];
    memcpy(half, &v, sizeof v);
    store_half(first, half[0]);
    store_half(second, half[1]);
}

/* The products of one tap: its vectors are held while the weights pass by, or where the registers
 * are too few, its weights while the vectors do. */
INLINE void add_weight_by_weight(Vector sum[ROWS_MAX][VECTORS_MAX], const float *weight,
    const float *const *x, ptrdiff_t at, const ptrdiff_t *apart, const int rows,
    const int vectors) {
    Vector term[VECTORS_MAX];
    UNROLL
    for (int v = 0; v < vectors; v++) term[v] = load_term(x[v] + at, apart);
    UNROLL
    for (int r = 0; r < rows; r++) {
        Vector factor = broadcast(weight[r]);
        UNROLL
        for (int v = 0; v < vectors; v++) sum[r][v] += factor * term[v];
    }
}

INLINE void add_vector_by_vector(Vector sum[ROWS_MAX][VECTORS_MAX], const float *weight,
    const float *const *x, ptrdiff_t at, const ptrdiff_t *apart, const int rows,
    const int vectors) {
    Vector factor[ROWS_MAX];
    UNROLL
    for (int r = 0; r < rows; r++) factor[r] = broadcast(weight[r]);
    UNROLL
    for (int v = 0; v < vectors; v++) {
        Vector term = load_term(x[v] + at, apart);
        UNROLL
        for (int r = 0; r < rows; r++) sum[r][v] += factor[r] * term;
    }
}

/* Channel by channel of x, so that the taps find in the L1 cache what they share. */
INLINE void add_products(const Tile *tile, Vector sum[ROWS_MAX][VECTORS_MAX], const int rows,
    const int vectors, const int in_halves) {
    const KernelConv *conv = tile->conv;
    const ptrdiff_t x_apart = (ptrdiff_t)tile->x_apart, *apart = in_halves ? &x_apart : NULL;
    const float *x[VECTORS_MAX], *weights = tile->weight;
    const int weights_of_channel = conv->tap_count * rows;
    UNROLL
    for (int v = 0; v < vectors; v++) x[v] = tile->x[v];
    const float *end = weights;
    if (tile->met_count > 0) end += (size_t)conv->in * weights_of_channel;
    const Met *met_end = tile->met + tile->met_count;
    ptrdiff_t channel = 0;
    for (; weights < end; weights += weights_of_channel, channel += tile->plane) {
        for (const Met *met = tile->met; met < met_end; met++) {
            const float *weight = weights + met->tap * rows;
            ptrdiff_t at = channel + met->offset;
            if (rows * vectors + vectors + 1 <= REGISTERS)
                add_weight_by_weight(sum, weight, x, at, apart, rows, vectors);
            else
                add_vector_by_vector(sum, weight, x, at, apart, rows, vectors);
        }
    }
}

INLINE void conv_tile(const Tile *tile, const int rows, const int vectors, const int in_halves) {
    Vector sum[ROWS_MAX][VECTORS_MAX];
    UNROLL
    for (int r = 0; r < rows; r++) {
        Vector start = broadcast(tile->bias ? tile->bias[r] : 0.0f);
        UNROLL
        for (int v = 0; v < vectors; v++) sum[r][v] = start;
    }
    add_products(tile, sum, rows, vectors, in_halves);
    size_t offset = tile->y_offset, channel = tile->conv->y_channel, apart = tile->y_apart;
    UNROLL
    for (int v = 0; v < vectors; v++) {
        float *y = tile->y[v] + offset;
        UNROLL
        for (int r = 0; r < rows; r++) {
            float *to = y + r * channel;
            if (in_halves)
                store_halves(to, to + apart, sum[r][v]);
            else
                store(to, sum[r][v]);
        }
    }
}

#define MAKE_TILE(rows, vectors)                                                                   \
    static void tile_##rows##x##vectors(const Tile *tile) {                                        \
        conv_tile(tile, rows, vectors, 0);                                                         \
    }                                                                                              \
    static void halves_##rows##x##vectors(const Tile *tile) {                                      \
        conv_tile(tile, rows, vectors, 1);                                                         \
    }
FOR_TILES(MAKE_TILE)

typedef void ConvTile(const Tile *tile);
#define TABLE_ENTRY(rows, vectors) [0][rows][vectors] = tile_##rows##x##vectors,
#define HALVES_ENTRY(rows, vectors) [1][rows][vectors] = halves_##rows##x##vectors,
static ConvTile *const tiles[2][ROWS_MAX + 1][VECTORS_MAX + 1] = {
    FOR_TILES(TABLE_ENTRY) FOR_TILES(HALVES_ENTRY)};

/* ---- regions of results ---- */

/* Rows and columns of results that meet x with the same taps. */
typedef struct Region {
    int row_begin, row_end, column_begin, column_end;
} Region;

/* What KERNEL(conv) is called with. */
typedef struct Call {
    const KernelConv *conv;
    const float *packed, *bias;
    KernelInput x;
    KernelOutput y;
    int lanes, count;
} Call;

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

/* A walk over a region's vectors, in pieces that lie side by side in x and y: row by row, through
 * all the microbatches, or else pixel by pixel. Where vectors do not fill a piece, the first is for
 * less; what it writes beyond is overwritten by the next. */
typedef struct Walk {
    int64_t vectors;
    const float *x; /* at the next vector's piece */
    float *y;
    int floats, first;        /* of a piece, and of its first vector */
    int at;                   /* floats of this piece that are passed */
    int pieces, piece;        /* of a microbatch, or of a row; those of them that are passed */
    size_t x_piece, y_piece;  /* floats to the next piece, */
    ptrdiff_t x_next, y_next; /* and from there to the next microbatch's or row's */
} Walk;

/* `in_halves`: two rows together; columns narrower than half a vector. */
static Walk walk_begin(const Call *call, const Region *region, int in_halves) {
    const KernelConv *conv = call->conv;
    int lanes = call->lanes, is_dense = conv->column_step == 1 && conv->y_column == (size_t)lanes;
    int columns = region->column_end - region->column_begin;
    int rows = region->row_end - region->row_begin, steps = in_halves ? (rows + 1) / 2 : rows;
    size_t x_row = (size_t)conv->row_step * conv->width * lanes;
    size_t x_column = (size_t)conv->column_step * lanes;
    Walk walk = {.x = call->x.data + region->row_begin * x_row + region->column_begin * x_column,
        .y = call->y.data + region->row_begin * conv->y_row + region->column_begin * conv->y_column,
        .floats = is_dense ? columns * lanes : lanes,
        .pieces = is_dense ? steps : columns,
        .x_piece = is_dense ? x_row << in_halves : x_column,
        .y_piece = is_dense ? conv->y_row << in_halves : conv->y_column};
    walk.first = walk.floats % WIDTH > 0 ? walk.floats % WIDTH : WIDTH;
    walk.x_next = (ptrdiff_t)(is_dense ? call->x.stride : x_row);
    walk.y_next = (ptrdiff_t)(is_dense ? call->y.stride : conv->y_row);
    walk.x_next -= (ptrdiff_t)(walk.pieces * walk.x_piece);
    walk.y_next -= (ptrdiff_t)(walk.pieces * walk.y_piece);
    walk.vectors = (int64_t)(walk.floats + WIDTH - 1) / WIDTH * walk.pieces;
    walk.vectors *= is_dense ? call->count : rows;
    return walk;
}

/* Make the next vector number v of the tile. */
INLINE void walk_on(Walk *walk, Tile *tile, int v) {
    tile->x[v] = walk->x + walk->at;
    tile->y[v] = walk->y + walk->at;
    walk->at += walk->at == 0 ? walk->first : WIDTH;
    if (walk->at < walk->floats) return;
    walk->at = 0;
    walk->x += walk->x_piece;
    walk->y += walk->y_piece;
    if (++walk->piece < walk->pieces) return;
    walk->piece = 0;
    walk->x += walk->x_next;
    walk->y += walk->y_next;
}

/* For windows of one pixel, and so nothing but channels to run through: put the vectors of x that a
 * tile meets side by side. A plane apart, which is often a power of two, they would drive each
 * other out of the caches before the next output channels want them. Only where these are many, and
 * half an L1 cache holds it. */
enum { GATHER_OUTPUTS_MIN = 48, GATHERED_FLOATS = 4096 };

static void gather(const Tile *from, Tile *tile, int vectors, float *gathered) {
    static const Met in_place = {0, 0};
    int in = tile->conv->in;
    for (int v = 0; v < vectors; v++) {
        const float *x = tile->x[v] + from->met[0].offset;
        tile->x[v] = gathered + v * WIDTH;
        for (int i = 0; i < in; i++)
            store(gathered + (i * vectors + v) * WIDTH, load(x + i * from->plane));
    }
    tile->plane = (size_t)vectors * WIDTH;
    tile->met = &in_place;
}

/* Let the second-level cache get what a tile will write while it computes: the lines of y, a plane
 * apart, are fetched before they are written, and on some CPUs would be waited for. Only where
 * there are so many results that they are not there yet, and for small vectors so many terms of
 * each that asking for them costs less than it saves. */
enum { VECTORS_OF_LINE = KERNEL_WIDTH < LINE ? LINE / KERNEL_WIDTH : 1 };
enum { FETCHED_FLOATS_MIN = 32768, FETCHED_TERMS_MIN = KERNEL_WIDTH < LINE ? 64 : 1 };

static void fetch_results(const Tile *tile, int rows, int vectors) {
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < vectors; v += VECTORS_OF_LINE)
            __builtin_prefetch(tile->y[v] + tile->y_offset + r * tile->conv->y_channel, 0, 2);
    }
}

/* The output channels [begin, end), whose tiles have up to `most` vectors: for one tile's vectors
 * after the other, so that their x stays in the L1 cache. */
static void run_band(
    const Call *call, const Tile *of_part, Walk walk, int in_halves, int begin, int end, int most) {
    float gathered[GATHERED_FLOATS];
    Tile tile = *of_part;
    const KernelConv *conv = call->conv;
    size_t weights_of_one = (size_t)conv->in * conv->tap_count;
    int fetches = conv->out * conv->y_channel >= FETCHED_FLOATS_MIN &&
                  weights_of_one >= FETCHED_TERMS_MIN && kernels_fetches();
    int gathers = !in_halves && conv->tap_count == 1 && tile.met_count == 1 &&
                  end - begin >= GATHER_OUTPUTS_MIN &&
                  (int64_t)conv->in * most * WIDTH <= GATHERED_FLOATS;
    for (int vectors; walk.vectors > 0; walk.vectors -= vectors) {
        vectors = next_vectors(walk.vectors, most);
        for (int v = 0; v < vectors; v++) walk_on(&walk, &tile, v);
        if (gathers) gather(of_part, &tile, vectors, gathered);
        for (int channel = begin, rows; channel < end; channel += rows) {
            rows = next_rows(conv->out - channel);
            tile.weight = call->packed + channel * weights_of_one;
            tile.bias = call->bias ? call->bias + channel : NULL;
            tile.y_offset = channel * conv->y_channel;
            if (fetches) fetch_results(&tile, rows, vectors);
            tiles[in_halves][rows][vectors](&tile);
        }
    }
}

static void run_part(const Call *call, const Tile *tile, const Region *part, int in_halves) {
    Walk walk = walk_begin(call, part, in_halves);
    int out = call->conv->out;
    for (int o = 0, end; o < out; o = end) {
        int most = VECTORS_OF(next_rows(out - o));
        end = o + next_rows(out - o);
        while (end < out && VECTORS_OF(next_rows(out - end)) == most) end += next_rows(out - end);
        run_band(call, tile, walk, in_halves, o, end, most);
    }
}

/* At most half a vector of each row: two rows in a vector, the last of an odd number twice. */
static void run_halves(const Call *call, Tile *tile, Region part) {
    int row_end = part.row_end, is_odd = (row_end - part.row_begin) % 2;
    part.row_end -= is_odd;
    tile->x_apart = (size_t)call->conv->row_step * call->conv->width * call->lanes;
    tile->y_apart = call->conv->y_row;
    run_part(call, tile, &part, 1);
    if (!is_odd) return;
    part.row_begin = row_end - 1;
    part.row_end = row_end;
    tile->x_apart = tile->y_apart = 0;
    run_part(call, tile, &part, 1);
}

/* What leaves half a vector or more empty goes in halves, where there are rows to share it or
 * nothing may be written beyond. */
static void run_region(const Call *call, Tile *tile, const Region *region) {
    Region part = *region;
    int fit = WIDTH / call->lanes;
    int rest = fit > 1 ? (region->column_end - region->column_begin) % fit : 0;
    int has_rows = region->row_end - region->row_begin > 1;
    if (rest > 0 && 2 * rest <= fit && (has_rows || region->column_begin > 0)) {
        part.column_end = part.column_begin + rest;
        run_halves(call, tile, part);
        part.column_begin = part.column_end;
        part.column_end = region->column_end;
    }
    run_part(call, tile, &part, 0);
}

void KERNEL(conv)(const KernelConv *conv, const float *packed, const float *bias, KernelInput x,
    KernelOutput y, int lanes, int count, int row_begin, int row_end) {
    int rows[KERNEL_TAPS_MAX + 1], columns[KERNEL_TAPS_MAX + 1]; /* of the window */
    Met met[KERNEL_TAPS_MAX];
    Tile tile = {.conv = conv, .plane = (size_t)conv->height * conv->width * lanes, .met = met};
    Call call = {conv, packed, bias, x, y, lanes, count};
    int window_columns = conv->tap_columns;
    int window_rows = window_columns > 0 ? conv->tap_count / window_columns : 0;
    Region region;
    for (int row = row_begin; row < row_end; row = region.row_end) {
        region.row_begin = row;
        region.row_end = row_end;
        int row_count =
            find_meeting(conv->taps, window_rows, window_columns, 1, row, &region.row_end, rows);
        for (int column = 0; column < conv->columns; column = region.column_end) {
            region.column_begin = column;
            region.column_end = conv->columns;
            int column_count =
                find_meeting(conv->taps, window_columns, 1, 0, column, &region.column_end, columns);
            tile.met_count = list_met(conv, rows, row_count, columns, column_count, met);
            run_region(&call, &tile, &region);
        }
    }
}
