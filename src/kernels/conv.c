/* conv.c - convolution in register tiles: some output channels by some vectors of results.
 *
 * A vector of results is a piece of a row, lanes and all; for each tap and input channel a tile
 * loads as many vectors of x, wherever their rows are, and multiplies them with one weight per
 * output channel. Taps outside x read zeros, so padding costs no copy. Every result adds the same
 * terms in the same order whatever tile it falls into. */
#include "src/kernels/kernel.h"

/* Tiles of 8, 6, 4, 3, 2 or 1 output channels, by as many vectors as the registers hold. */
enum { ROWS_MAX = 8, VECTORS_MAX = 6 };
#if defined(__AVX512VL__) || defined(__aarch64__)
#define VECTORS_OF(rows) ((rows) == 8 ? 3 : (rows) == 6 ? 4 : 6)
#define FOR_TILES(MAKE) MAKE(8, 3) MAKE(6, 4) MAKE(4, 6) MAKE(3, 6) MAKE(2, 6) MAKE(1, 6)
#else
#define VECTORS_OF(rows) ((rows) == 6 ? 2 : (rows) >= 3 ? 3 : 4)
#define FOR_TILES(MAKE) MAKE(6, 2) MAKE(4, 3) MAKE(3, 3) MAKE(2, 4) MAKE(1, 4)
#endif

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

void KERNEL(conv_pack)(const KernelConv *conv, const float *weight, float *packed) {
    for (int o = 0, rows; o < conv->out; o += rows) {
        rows = next_rows(conv->out - o);
        for (int t = 0; t < conv->tap_count; t++) {
            const float *from = weight + o * conv->weight_out + conv->taps[t].weight;
            for (int i = 0; i < conv->in; i++, from += conv->weight_in)
                for (int r = 0; r < rows; r++) *packed++ = from[r * conv->weight_out];
        }
    }
}

/* Where a vector of results lies: the x that a tap at row 0, column 0 would meet. */
typedef struct Place {
    const float *x;
    int row, column;
    float *y; /* in the first output channel */
} Place;

/* The rows and columns from which every tap meets x. */
typedef struct Inside {
    int row_begin, row_end, column_begin, column_end;
} Inside;

typedef struct Tile {
    const KernelConv *conv;
    size_t plane; /* floats of x from one channel to the next */
    const float *weight;
    const float *bias; /* at the first output channel; NULL: start from zero */
    Place places[VECTORS_MAX];
    size_t y_offset; /* of the first output channel */
} Tile;

static const float zeros[WIDTH];

/* The products of one tap and input channel: of `vectors` vectors and `rows` weights. */
INLINE void add_products(Vector sum[ROWS_MAX][VECTORS_MAX], const float *weight, const Vector *term,
    const int rows, const int vectors) {
    UNROLL
    for (int r = 0; r < rows; r++) {
        Vector factor = broadcast(weight[r]);
        UNROLL
        for (int v = 0; v < vectors; v++) sum[r][v] += factor * term[v];
    }
}

/* All taps meet x: one index serves all vectors. */
INLINE void add_inside(
    const Tile *tile, Vector sum[ROWS_MAX][VECTORS_MAX], const int rows, const int vectors) {
    const KernelConv *conv = tile->conv;
    const float *weight = tile->weight, *x[VECTORS_MAX];
    UNROLL
    for (int v = 0; v < vectors; v++) x[v] = tile->places[v].x;
    for (int t = 0; t < conv->tap_count; t++) {
        ptrdiff_t at = conv->taps[t].offset;
        for (int i = 0; i < conv->in; i++, at += tile->plane, weight += rows) {
            Vector term[VECTORS_MAX];
            UNROLL
            for (int v = 0; v < vectors; v++) term[v] = load(x[v] + at);
            add_products(sum, weight, term, rows, vectors);
        }
    }
}

/* Some taps may lie outside x, where they read zeros. */
INLINE void add_at_border(
    const Tile *tile, Vector sum[ROWS_MAX][VECTORS_MAX], const int rows, const int vectors) {
    const KernelConv *conv = tile->conv;
    const float *weight = tile->weight;
    for (int t = 0; t < conv->tap_count; t++) {
        const KernelTap *tap = &conv->taps[t];
        const float *x[VECTORS_MAX];
        size_t step[VECTORS_MAX];
        int any_inside = 0;
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const Place *place = &tile->places[v];
            int inside = (unsigned)(place->row + tap->row) < (unsigned)conv->height &&
                         (unsigned)(place->column + tap->column) < (unsigned)conv->width;
            x[v] = inside ? place->x + tap->offset : zeros;
            step[v] = inside ? tile->plane : 0;
            any_inside |= inside;
        }
        if (!any_inside) {
            weight += (size_t)conv->in * rows;
            continue;
        }
        for (int i = 0; i < conv->in; i++, weight += rows) {
            Vector term[VECTORS_MAX];
            UNROLL
            for (int v = 0; v < vectors; v++) {
                term[v] = load(x[v]);
                x[v] += step[v];
            }
            add_products(sum, weight, term, rows, vectors);
        }
    }
}

INLINE void conv_tile(const Tile *tile, const int inside, const int rows, const int vectors) {
    Vector sum[ROWS_MAX][VECTORS_MAX];
    UNROLL
    for (int r = 0; r < rows; r++) {
        Vector start = broadcast(tile->bias ? tile->bias[r] : 0.0f);
        UNROLL
        for (int v = 0; v < vectors; v++) sum[r][v] = start;
    }
    if (inside)
        add_inside(tile, sum, rows, vectors);
    else
        add_at_border(tile, sum, rows, vectors);
    UNROLL
    for (int v = 0; v < vectors; v++) {
        float *y = tile->places[v].y + tile->y_offset;
        UNROLL
        for (int r = 0; r < rows; r++) store(y + r * tile->conv->y_channel, sum[r][v]);
    }
}

#define MAKE_TILE(rows, vectors)                                                                   \
    static void inside_##rows(const Tile *tile) {                                                  \
        conv_tile(tile, 1, rows, vectors);                                                         \
    }                                                                                              \
    static void border_##rows(const Tile *tile) {                                                  \
        conv_tile(tile, 0, rows, vectors);                                                         \
    }
FOR_TILES(MAKE_TILE)

typedef void ConvTile(const Tile *tile);
#define INSIDE_ENTRY(rows, vectors) [rows] = inside_##rows,
#define BORDER_ENTRY(rows, vectors) [rows] = border_##rows,
static ConvTile *const tiles[2][ROWS_MAX + 1] = {
    {FOR_TILES(BORDER_ENTRY)}, {FOR_TILES(INSIDE_ENTRY)}};

/* A walk over the vectors of results, row by row. The last of a row ends where the row ends. */
typedef struct Walk {
    const KernelConv *conv;
    const float *x;
    float *y;
    int lanes, row_end;
    int row, column, lane; /* of the next vector */
} Walk;

/* The next vector; the last one again when there is no more. */
INLINE Place walk_next(Walk *walk) {
    const KernelConv *conv = walk->conv;
    size_t x_column = (size_t)walk->column * conv->column_step;
    Place place = {.row = walk->row * conv->row_step, .column = (int)x_column};
    place.x = walk->x + ((size_t)place.row * conv->width + x_column) * walk->lanes + walk->lane;
    place.y = walk->y + walk->row * conv->y_row + walk->column * conv->y_column + walk->lane;
    int column = walk->column, lane = walk->lane + WIDTH, row = walk->row;
    if (walk->lanes < WIDTH) {
        int fit = WIDTH / walk->lanes;
        lane = 0;
        column += fit;
        if (column < conv->columns && column + fit > conv->columns) column = conv->columns - fit;
    } else if (lane == walk->lanes) {
        lane = 0;
        column++;
    }
    if (column >= conv->columns) {
        column = 0;
        row++;
    }
    if (row == walk->row_end) return place;
    walk->row = row;
    walk->column = column;
    walk->lane = lane;
    return place;
}

static int64_t vectors_in_row(const KernelConv *conv, int lanes) {
    return ((int64_t)conv->columns * lanes + WIDTH - 1) / WIDTH;
}

static Inside find_inside(const KernelConv *conv) {
    Inside inside = {.row_end = conv->height, .column_end = conv->width};
    for (int t = 0; t < conv->tap_count; t++) {
        const KernelTap *tap = &conv->taps[t];
        if (-tap->row > inside.row_begin) inside.row_begin = -tap->row;
        if (conv->height - tap->row < inside.row_end) inside.row_end = conv->height - tap->row;
        if (-tap->column > inside.column_begin) inside.column_begin = -tap->column;
        if (conv->width - tap->column < inside.column_end)
            inside.column_end = conv->width - tap->column;
    }
    return inside;
}

/* The places of the next vectors; whether all their taps meet x. */
static int next_places(Walk *walk, const Inside *inside, Place *places, int vectors) {
    int all_inside = 1;
    for (int v = 0; v < vectors; v++) {
        places[v] = walk_next(walk);
        all_inside &= places[v].row >= inside->row_begin && places[v].row < inside->row_end &&
                      places[v].column >= inside->column_begin &&
                      places[v].column < inside->column_end;
    }
    return all_inside;
}

/* The output channels [begin, end), whose tiles have the same number of vectors: for one tile's
 * vectors after the other, so that their x stays in the L1 cache. */
static void run_band(
    Tile *tile, Walk walk, const float *packed, const float *bias, int begin, int end) {
    const KernelConv *conv = tile->conv;
    size_t weights_of_one = (size_t)conv->in * conv->tap_count;
    int vectors = VECTORS_OF(next_rows(conv->out - begin));
    int64_t count = vectors_in_row(conv, walk.lanes) * (walk.row_end - walk.row);
    Inside inside = find_inside(conv);
    for (int64_t at = 0; at < count; at += vectors) {
        int is_inside = next_places(&walk, &inside, tile->places, vectors);
        for (int channel = begin, rows; channel < end; channel += rows) {
            rows = next_rows(conv->out - channel);
            tile->weight = packed + channel * weights_of_one;
            tile->bias = bias ? bias + channel : NULL;
            tile->y_offset = channel * conv->y_channel;
            tiles[is_inside][rows](tile);
        }
    }
}

void KERNEL(conv)(const KernelConv *conv, const float *packed, const float *bias, const float *x,
    float *y, int lanes, int row_begin, int row_end) {
    Tile tile = {.conv = conv, .plane = (size_t)conv->height * conv->width * lanes};
    Walk walk = {
        .conv = conv, .x = x, .y = y, .lanes = lanes, .row = row_begin, .row_end = row_end};
    for (int o = 0, end; o < conv->out; o = end) {
        int vectors = VECTORS_OF(next_rows(conv->out - o));
        end = o + next_rows(conv->out - o);
        while (end < conv->out && VECTORS_OF(next_rows(conv->out - end)) == vectors)
            end += next_rows(conv->out - end);
        run_band(&tile, walk, packed, bias, o, end);
    }
}
