/* conv.c - convolution in tiles (conv_tile.h): some output channels by some vectors of results.
 *
 * A vector of results is a piece of a row, lanes and all, or its halves are pieces of two rows,
 * where one would leave half of it empty. The grid of results is cut into regions whose results
 * meet x with the same taps; the other taps, which meet the zeros around x, are left out or, where
 * other columns of the same vector meet x, masked. A band of output channels with equal tiles goes
 * through all regions. Every result adds the same terms in the same order whatever tile it falls
 * into. */
#include "src/kernels/conv_tile.h"

void KERNEL(conv_pack)(const KernelConv *conv, const float *weight, float *packed) {
    for (int o = 0, rows; o < conv->out; o += rows) {
        rows = next_rows(conv, conv->out - o);
        for (int i = 0; i < conv->in; i++) {
            const float *pair = weight + o * conv->weight_out + i * conv->weight_in;
            for (int t = 0; t < conv->tap_count; t++)
                for (int r = 0; r < rows; r++)
                    *packed++ = pair[conv->taps[t].weight + r * conv->weight_out];
        }
    }
}

/* ---- regions of results ---- */

/* Rows and columns of results that meet x with the same taps. */
typedef struct Region {
    int row_begin, row_end, column_begin, column_end;
    int is_edge; /* a vector wide: some of its columns meet zeros with some of the taps */
} Region;

/* What is read after all tiles: floats left to fetch, so many lines at a time. */
typedef struct Next {
    const float *at;
    int64_t left;
    int lines;
} Next;

/* What KERNEL(conv) is called with. */
typedef struct Call {
    const KernelConv *conv;
    const float *packed, *bias;
    KernelInput x;
    KernelOutput y;
    int lanes, count;
    int fit;                  /* pixels in a vector */
    size_t plane;             /* floats of x from one channel to the next */
    int fetches_x, fetches_y; /* as Tile's */
    int fetches_ahead;        /* y one tile before: with few terms, its own would wait for it */
    Next *next;
    int64_t next_floats; /* in all */
    int64_t vectors;     /* of results in a channel */
} Call;

/* Output channels [begin, end) in tiles of `rows`, by up to so many vectors. */
typedef struct Band {
    int begin, end, rows, vectors;
    int gathers, fetches_x;
} Band;

/* Where, from result `at` up to `end`, a range begins or ends. */
INLINE int next_change(KernelRange range, int at, int end) {
    int change = range.begin > at ? range.begin : range.end;
    return change > at && change < end ? change : end;
}

/* Those rows (or columns) of the window, `count` taps `step` apart, that meet x in result row (or
 * column) `at`: how far they are from the window's first, in x and in the tile's weights; and up to
 * which one, at most *end, they are the same. */
INLINE int find_meeting(const Band *band, const KernelTap *taps, int count, int step,
    const int in_rows, int at, int *end, Term *found) {
    const KernelTap *tap = taps;
    int found_count = 0;
    for (int i = 0; i < count; i++, tap += step) {
        KernelRange range = in_rows ? tap->rows : tap->columns;
        *end = next_change(range, at, *end);
        found[found_count] = (Term){tap->offset - taps->offset, i * step * band->rows};
        found_count += (at >= range.begin) & (at < range.end);
    }
    return found_count;
}

/* The terms of several channels, where those of one are few, or of all where these are: a loop over
 * them is soon at its end. More stay apart, as a CPU notices that a term's x is equally far from
 * channel to channel and fetches it, if the same instruction loads it. */
enum { TERMS_MAX = 64, FEW_TERMS = 4, FEW_IN_ALL = 32 };

static int count_channels(int in, int terms) {
    if (terms == 0 || (int64_t)in * terms <= FEW_IN_ALL) return in;
    int channels = terms <= FEW_TERMS ? TERMS_MAX / terms : 1;
    return channels < in ? channels : in;
}

/* Those of some of the window's rows and columns. */
static void list_terms(const Band *band, const Term *rows, int row_count, const Term *columns,
    int column_count, Tile *tile, Term *terms) {
    const KernelConv *conv = tile->conv;
    tile->term_count = row_count * column_count;
    tile->channels = count_channels(conv->in, tile->term_count);
    Term first = {conv->tap_count > 0 ? conv->taps->offset : 0, 0};
    for (int i = 0; i < tile->channels; i++) {
        for (int r = 0; r < row_count; r++)
            for (int c = 0; c < column_count; c++)
                *terms++ = (Term){first.x + rows[r].x + columns[c].x,
                    first.weight + rows[r].weight + columns[c].weight};
        first.x += (ptrdiff_t)tile->plane;
        first.weight += conv->tap_count * band->rows;
    }
}

/* Where the taps of some columns meet x in a vector of results, the first in column `at`. */
static void list_masks(
    const Call *call, const Term *columns, int column_count, int at, Tile *tile, VectorInt *masks) {
    const VectorInt places = {COUNT_UP};
    int begin = -(call->conv->taps->column + at) * call->lanes;
    int end = begin + call->conv->width * call->lanes;
    for (int c = 0; c < column_count; c++) {
        int passed = (int)columns[c].x;
        masks[c] = (places >= begin - passed) & (places < end - passed);
    }
    tile->masks_end = masks + column_count;
}

/* Those of the window's furthest rows and columns: what they meet, the others meet later, for the
 * next row or pixel. */
static void list_ahead(Tile *tile, int row_count, int column_count, ptrdiff_t *ahead) {
    const Term *terms = tile->terms;
    int row_begin = row_count - tile->conv->row_step;
    int column_begin = column_count - tile->conv->column_step;
    if (row_begin < 0) row_begin = 0;
    if (column_begin < 0) column_begin = 0;
    tile->ahead_count = tile->channels * (row_count - row_begin) * (column_count - column_begin);
    for (int i = 0; i < tile->channels; i++, terms += tile->term_count)
        for (int r = row_begin; r < row_count; r++)
            for (int c = column_begin; c < column_count; c++)
                *ahead++ = terms[r * column_count + c].x;
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

/* Pass some floats of the piece. */
INLINE void walk_by(Walk *walk, int floats) {
    walk->at += floats;
    if (walk->at < walk->floats) return;
    walk->at = 0;
    walk->x += walk->x_piece;
    walk->y += walk->y_piece;
    if (++walk->piece < walk->pieces) return;
    walk->piece = 0;
    walk->x += walk->x_next;
    walk->y += walk->y_next;
}

/* Make the next vector number v of the tile. */
INLINE void walk_on(Walk *walk, Tile *tile, int v) {
    tile->x[v] = walk->x + walk->at;
    tile->y[v] = walk->y + walk->at;
    walk_by(walk, walk->at == 0 ? walk->first : WIDTH);
}

/* Pass up to `most` more tiles of as many vectors that follow one in its piece. Returns how many.
 */
INLINE int walk_far(Walk *walk, int vectors, int most) {
    int floats = vectors * WIDTH;
    if (walk->at < floats) return 0; /* it began in another piece, or with less than a vector */
    int64_t times = walk->vectors / vectors - 2;
    if (times > most) times = most;
    if (times > (walk->floats - walk->at) / floats) times = (walk->floats - walk->at) / floats;
    if (times <= 0) return 0;
    walk_by(walk, (int)times * floats);
    return (int)times;
}

/* How many tiles side by side to make for one range of output channels before the next: the fewer
 * the terms, the more, but their x, much of which they share, shall stay in the L1 cache. A piece
 * may be too short for more than one. */
static int count_times(const Tile *tile, const Walk *walk, int vectors) {
    enum { TERM_FLOATS_MAX = 12288, TIMES_MAX = 16 };
    int64_t floats = (int64_t)tile->conv->in * tile->term_count * vectors * WIDTH;
    if (walk->floats < 2 * vectors * WIDTH || floats > TERM_FLOATS_MAX) return 1;
    if (floats * TIMES_MAX <= TERM_FLOATS_MAX) return TIMES_MAX;
    return (int)(TERM_FLOATS_MAX / floats);
}

static void fetch_next(Next *next) {
    int64_t floats = (int64_t)next->lines * LINE;
    if (floats > next->left) floats = next->left;
    for (int64_t i = 0; i < floats; i += LINE) __builtin_prefetch(next->at + i, 0, 2);
    next->at += floats;
    next->left -= floats;
}

/* From the y of a tile's channels to those that the next will write. */
static ptrdiff_t find_ahead(const Band *band, const Tile *tile, int channel) {
    const KernelConv *conv = tile->conv;
    if (channel + band->rows < band->end) return (ptrdiff_t)(band->rows * conv->y_channel);
    return tile->y_to_next - (ptrdiff_t)((channel - band->begin) * conv->y_channel);
}

/* The same vectors for all the band's channels. */
static void run_channels(const Call *call, const Band *band, Tile *tile, ConvTile *run) {
    const KernelConv *conv = call->conv;
    size_t weights_of_one = (size_t)conv->in * conv->tap_count;
    for (int channel = band->begin; channel < band->end; channel += band->rows) {
        tile->weight = call->packed + channel * weights_of_one;
        tile->bias = call->bias ? call->bias + channel : NULL;
        tile->y_offset = channel * conv->y_channel;
        if (call->fetches_ahead) tile->y_ahead = find_ahead(band, tile, channel);
        tile->fetches_x = band->fetches_x && channel == band->begin;
        if (call->next_floats > 0) fetch_next(call->next);
        run(tile);
    }
}

/* What to fetch while tiles of so many vectors compute, from x and y on: the walk is at the next.
 */
static void plan_fetches(const Call *call, const Band *band, const Walk *walk, const float *x,
    const float *y, int vectors, Tile *tile) {
    tile->x_to_next = walk->x + walk->at - x;
    tile->y_to_next = walk->y + walk->at - y;
    if (call->next_floats == 0) return;
    int64_t results = call->vectors * ((call->conv->out + band->rows - 1) / band->rows);
    call->next->lines = (int)(call->next_floats * vectors / (results * LINE)) + 1;
}

/* Some tiles' vectors for all the band's channels, then the next, so that their x stays in the L1
 * cache. */
static void run_part(const Call *call, const Band *band, Tile *tile, const Region *part, int kind) {
    ConvTile *const *run = tiles[kind][band->rows];
    Walk walk = walk_begin(call, part, kind == HALVES);
    int times_max = count_times(tile, &walk, band->vectors);
    for (int vectors; walk.vectors > 0; walk.vectors -= vectors * tile->times) {
        vectors = next_vectors(walk.vectors, band->vectors);
        for (int v = 0; v < vectors; v++) walk_on(&walk, tile, v);
        tile->times = 1;
        if (times_max > 1 && vectors == band->vectors)
            tile->times += walk_far(&walk, vectors, times_max - 1);
        plan_fetches(call, band, &walk, tile->x[0], tile->y[0], vectors * tile->times, tile);
        run_channels(call, band, tile, run[vectors]);
    }
}

/* For windows of one pixel, and so nothing but channels to run through: put the vectors of x that a
 * tile meets side by side. A plane apart, which is often a power of two, they would drive each
 * other out of the caches before the next output channels want them. Only where these are many, and
 * half an L1 cache holds it. */
enum { GATHER_OUTPUTS_MIN = 48, GATHERED_FLOATS = 4096 };

static void gather(const Tile *tile, int vectors, float *gathered, size_t apart) {
    ptrdiff_t offset = tile->terms[0].x;
    for (int v = 0; v < vectors; v++)
        for (int i = 0; i < tile->conv->in; i++)
            store(gathered + i * apart + v * WIDTH, load(tile->x[v] + offset + i * tile->plane));
}

static void run_gathered(const Call *call, const Band *band, Tile *spread, const Region *part) {
    float gathered[GATHERED_FLOATS];
    Term terms[TERMS_MAX];
    Tile tile = *spread;
    Walk walk = walk_begin(call, part, 0);
    tile.plane = (size_t)band->vectors * WIDTH;
    tile.terms = terms;
    tile.times = 1;
    for (int i = 0; i < tile.channels; i++)
        terms[i] = (Term){i * (ptrdiff_t)tile.plane, i * band->rows};
    for (int v = 0; v < band->vectors; v++) tile.x[v] = gathered + v * WIDTH;
    for (int vectors; walk.vectors > 0; walk.vectors -= vectors) {
        vectors = next_vectors(walk.vectors, band->vectors);
        for (int v = 0; v < vectors; v++) walk_on(&walk, spread, v);
        plan_fetches(call, band, &walk, spread->x[0], spread->y[0], vectors, &tile);
        memcpy(tile.y, spread->y, sizeof tile.y);
        gather(spread, vectors, gathered, tile.plane);
        run_channels(call, band, &tile, tiles[WHOLE][band->rows][vectors]);
    }
}

/* At most half a vector of each row: two rows in a vector, the last of an odd number twice. */
static void run_halves(const Call *call, const Band *band, Tile *tile, Region part) {
    int row_end = part.row_end, is_odd = (row_end - part.row_begin) % 2;
    part.row_end -= is_odd;
    tile->x_apart = (size_t)call->conv->row_step * call->conv->width * call->lanes;
    tile->y_apart = call->conv->y_row;
    run_part(call, band, tile, &part, HALVES);
    if (!is_odd) return;
    part.row_begin = row_end - 1;
    part.row_end = row_end;
    tile->x_apart = tile->y_apart = 0;
    run_part(call, band, tile, &part, HALVES);
}

/* What leaves half a vector or more empty goes in halves, where there are rows to share it or
 * nothing may be written beyond. */
static void run_region(const Call *call, const Band *band, Tile *tile, const Region *region) {
    Region part = *region;
    int fit = call->fit;
    int rest = fit > 1 ? (region->column_end - region->column_begin) % fit : 0;
    int has_rows = region->row_end - region->row_begin > 1;
    if (rest > 0 && 2 * rest <= fit && (has_rows || region->column_begin > 0)) {
        part.column_end = part.column_begin + rest;
        run_halves(call, band, tile, part);
        part.column_begin = part.column_end;
        part.column_end = region->column_end;
    }
    if (region->is_edge)
        run_part(call, band, tile, &part, MASKED);
    else if (band->gathers && tile->term_count == 1)
        run_gathered(call, band, tile, &part);
    else
        run_part(call, band, tile, &part, WHOLE);
}

/* Lines are fetched where there are so many that they are not there yet; of x where these are of so
 * many channels that the CPU would not do it. */
enum { FETCHED_FLOATS_MIN = 32768, FETCHED_CHANNELS_MIN = 6 };

static int fetches(int channels, size_t plane) {
    return channels * plane >= FETCHED_FLOATS_MIN && kernels_fetches();
}

/* The columns of results from `column` on that are cut alike: a vector of the edge, or all between
 * its two sides. */
static Region next_columns(const Call *call, int column) {
    const KernelConv *conv = call->conv;
    int middle_end = conv->columns - conv->edge;
    Region region = {.column_begin = column, .column_end = middle_end};
    region.is_edge = column < conv->edge || column >= middle_end;
    if (region.is_edge) region.column_end = column + call->fit;
    return region;
}

static void run_band(const Call *call, const Band *band, int row_begin, int row_end) {
    Term terms[KERNEL_TAPS_MAX], rows[KERNEL_TAPS_MAX], columns[KERNEL_TAPS_MAX]; /* of a window */
    ptrdiff_t ahead[KERNEL_TAPS_MAX];
    VectorInt masks[KERNEL_EDGE_TAPS];
    const KernelConv *conv = call->conv;
    Tile tile = {
        .conv = conv, .plane = call->plane, .terms = terms, .ahead = ahead, .masks = masks};
    tile.fetches_y = call->fetches_y;
    int window_columns = conv->tap_columns;
    int window_rows = window_columns > 0 ? conv->tap_count / window_columns : 0;
    for (int row = row_begin, next_row; row < row_end; row = next_row) {
        next_row = row_end;
        int row_count =
            find_meeting(band, conv->taps, window_rows, window_columns, 1, row, &next_row, rows);
        for (int column = conv->edge, left = conv->columns; left > 0;) {
            Region region = next_columns(call, column);
            region.row_begin = row;
            region.row_end = next_row;
            int column_count = find_meeting(
                band, conv->taps, window_columns, 1, 0, column, &region.column_end, columns);
            list_terms(band, rows, row_count, columns, column_count, &tile, terms);
            if (band->fetches_x) list_ahead(&tile, row_count, column_count, ahead);
            if (region.is_edge) list_masks(call, columns, column_count, column, &tile, masks);
            run_region(call, band, &tile, &region);
            left -= region.column_end - column;
            column = region.column_end < conv->columns ? region.column_end : 0;
        }
    }
}

void KERNEL(conv)(const KernelConv *conv, const float *packed, const float *bias, KernelInput x,
    KernelOutput y, int lanes, int count, int row_begin, int row_end, KernelBlock next) {
    Next to_fetch = {next.data, kernels_fetches() ? (int64_t)next.floats : 0, 0};
    Call call = {.conv = conv, .packed = packed, .bias = bias, .x = x, .y = y, .next = &to_fetch};
    call.lanes = lanes;
    call.count = count;
    call.fit = WIDTH / lanes;
    call.plane = (size_t)conv->height * conv->width * lanes;
    call.fetches_x = conv->in >= FETCHED_CHANNELS_MIN && fetches(conv->in, call.plane);
    call.fetches_y = fetches(conv->out, conv->y_channel);
    call.fetches_ahead = call.fetches_y && has_few_terms(conv);
    call.next_floats = to_fetch.left;
    call.vectors = (int64_t)(row_end - row_begin) * conv->columns * lanes * count / WIDTH + 1;
    for (int o = 0, end; o < conv->out; o = end) {
        int rows = next_rows(conv, conv->out - o);
        end = o + rows;
        while (end < conv->out && next_rows(conv, conv->out - end) == rows) end += rows;
        Band band = {.begin = o, .end = end, .rows = rows, .vectors = VECTORS_OF(rows)};
        band.gathers = conv->tap_count == 1 && end - o >= GATHER_OUTPUTS_MIN &&
                       (int64_t)conv->in * band.vectors * WIDTH <= GATHERED_FLOATS;
        band.fetches_x = call.fetches_x && !band.gathers;
        run_band(&call, &band, row_begin, row_end);
    }
}
