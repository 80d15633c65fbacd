/* winograd.c - 3 x 3 convolution of stride 1 by Winograd's minimal filtering F(2 x 2, 3 x 3) (Lavin
 * & Gray, CVPR 2016, section 4.1): 16 products for four results where the definition takes 36.
 *
 * A tile is 2 x 2 results from 4 x 4 pixels d of x; with the weights g of a pair of channels
 *   y = A' [(G g G') * (B' d B)] A,   summed over input channels between the brackets and A.
 * The sums are 16 matrix products, one for each place of a tile, over the lanes of some tiles side
 * by side: enough to fill the registers, few enough to stay in the cache. */
#include "src/kernels/kernel.h"

enum { SIDE = 4, PLACES = KERNEL_WINOGRAD_PLACES };
_Static_assert(PLACES == SIDE * SIDE, "a tile's numbers");

/* ---- weights ---- */

/* G g of three: g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2. */
INLINE void expand(const Vector g[3], Vector out[SIDE]) {
    Vector sum = g[0] + g[2], half = broadcast(0.5f);
    out[0] = g[0];
    out[1] = half * (sum + g[1]);
    out[2] = half * (sum - g[1]);
    out[3] = g[2];
}

static const KernelTap *first_tap(const KernelConv *conv) {
    const KernelTap *first = &conv->taps[0];
    for (int t = 1; t < conv->tap_count; t++)
        if (conv->taps[t].row <= first->row && conv->taps[t].column <= first->column)
            first = &conv->taps[t];
    return first;
}

/* The weights g [9] of one output channel and up to WIDTH input channels from `pair` on. */
INLINE void gather(const KernelConv *conv, const float *pair, int count, Vector g[9]) {
    const KernelTap *first = first_tap(conv);
    for (int t = 0; t < 9; t++) {
        const KernelTap *tap = &conv->taps[t];
        float lanes[WIDTH] = {0};
        for (int i = 0; i < count; i++) lanes[i] = pair[i * conv->weight_in + tap->weight];
        g[3 * (tap->row - first->row) + tap->column - first->column] = load(lanes);
    }
}

static void store_first(float *to, Vector v, int count) {
    float lanes[WIDTH];
    store(lanes, v);
    for (int i = 0; i < count; i++) to[i] = lanes[i];
}

void KERNEL(winograd_pack)(const KernelConv *conv, const float *weight, float *packed) {
    size_t matrix = (size_t)conv->out * conv->in;
    for (int o = 0; o < conv->out; o++)
        for (int i = 0; i < conv->in; i += WIDTH) {
            int count = conv->in - i < WIDTH ? conv->in - i : WIDTH;
            float *u = packed + (size_t)o * conv->in + i;
            Vector g[9], half[SIDE][3], row[SIDE];
            gather(conv, weight + o * conv->weight_out + i * conv->weight_in, count, g);
            for (int c = 0; c < 3; c++) {
                Vector column[3] = {g[c], g[3 + c], g[6 + c]}, out[SIDE];
                expand(column, out);
                for (int r = 0; r < SIDE; r++) half[r][c] = out[r];
            }
            for (int r = 0; r < SIDE; r++) {
                expand(half[r], row);
                for (int c = 0; c < SIDE; c++, u += matrix) store_first(u, row[c], count);
            }
        }
}

/* ---- tiles ---- */

/* Some tiles side by side, and where their numbers are: v [PLACES][in][lanes of all tiles], m
 * [PLACES][out][...]. */
typedef struct Block {
    const KernelConv *conv;
    const float *x;
    float *y;
    float *v, *m;
    const float *bias;
    int lanes;
    int row, column; /* of x, of the first tile; may lie outside */
    int out_row, out_column, tile_count;
} Block;

/* B' d of one column of four pixels: d0 - d2, d1 + d2, d2 - d1, d1 - d3. */
INLINE void transform_four(const Vector d[SIDE], Vector out[SIDE]) {
    out[0] = d[0] - d[2];
    out[1] = d[1] + d[2];
    out[2] = d[2] - d[1];
    out[3] = d[1] - d[3];
}

/* Column `column` of x, the block's four rows of it, transformed. */
INLINE void load_column(const Block *block, const float *x, int column, Vector out[SIDE]) {
    const KernelConv *conv = block->conv;
    Vector d[SIDE];
    int inside = (unsigned)column < (unsigned)conv->width;
    for (int r = 0; r < SIDE; r++) {
        int row = block->row + r;
        d[r] = broadcast(0.0f);
        if (inside && (unsigned)row < (unsigned)conv->height)
            d[r] = load(x + ((ptrdiff_t)row * conv->width + column) * block->lanes);
    }
    transform_four(d, out);
}

/* Two columns of every tile are the first two of the next. */
INLINE void transform_channel(const Block *block, int channel, int lane) {
    const KernelConv *conv = block->conv;
    size_t row = (size_t)block->tile_count * block->lanes, place = row * conv->in;
    const float *x = block->x + (size_t)channel * conv->height * conv->width * block->lanes + lane;
    float *v = block->v + channel * row + lane;
    Vector columns[SIDE][SIDE];
    load_column(block, x, block->column, columns[0]);
    load_column(block, x, block->column + 1, columns[1]);
    for (int tile = 0; tile < block->tile_count; tile++, v += block->lanes) {
        load_column(block, x, block->column + 2 * tile + 2, columns[2]);
        load_column(block, x, block->column + 2 * tile + 3, columns[3]);
        UNROLL
        for (int r = 0; r < SIDE; r++) {
            Vector d[SIDE] = {columns[0][r], columns[1][r], columns[2][r], columns[3][r]},
                   out[SIDE];
            transform_four(d, out);
            UNROLL
            for (int c = 0; c < SIDE; c++) store(v + (r * SIDE + c) * place, out[c]);
            columns[0][r] = columns[2][r];
            columns[1][r] = columns[3][r];
        }
    }
}

/* A' m of four: m0 + m1 + m2, m1 - m2 - m3. */
INLINE void finish_four(const Vector m[SIDE], Vector out[2]) {
    out[0] = (m[0] + m[1]) + m[2];
    out[1] = (m[1] - m[2]) - m[3];
}

INLINE void finish_channel(const Block *block, int channel, int lane) {
    const KernelConv *conv = block->conv;
    size_t row = (size_t)block->tile_count * block->lanes, place = row * conv->out;
    const float *m = block->m + channel * row + lane;
    float *y = block->y + channel * conv->y_channel + block->out_row * conv->y_row +
               block->out_column * conv->y_column + lane;
    Vector bias = broadcast(block->bias ? block->bias[channel] : 0.0f);
    int rows = conv->rows - block->out_row < 2 ? 1 : 2;
    for (int tile = 0; tile < block->tile_count; tile++, m += block->lanes) {
        int columns = conv->columns - block->out_column - 2 * tile < 2 ? 1 : 2;
        Vector half[2][SIDE];
        UNROLL
        for (int c = 0; c < SIDE; c++) {
            Vector four[SIDE], out[2];
            UNROLL
            for (int r = 0; r < SIDE; r++) four[r] = load(m + (r * SIDE + c) * place);
            finish_four(four, out);
            half[0][c] = out[0];
            half[1][c] = out[1];
        }
        for (int r = 0; r < rows; r++) {
            Vector out[2];
            finish_four(half[r], out);
            for (int c = 0; c < columns; c++)
                store(y + r * conv->y_row + (2 * tile + c) * conv->y_column, out[c] + bias);
        }
    }
}

static void run_block(const Block *block, const float *packed) {
    const KernelConv *conv = block->conv;
    int row = block->tile_count * block->lanes;
    size_t matrix = (size_t)conv->out * conv->in;
    for (int i = 0; i < conv->in; i++)
        for (int lane = 0; lane < block->lanes; lane += WIDTH) transform_channel(block, i, lane);
    for (int place = 0; place < PLACES; place++) {
        KernelInput v = {.data = block->v + (size_t)place * conv->in * row};
        KernelOutput m = {.data = block->m + (size_t)place * conv->out * row};
        const float *u = packed + place * matrix;
        KERNEL(linear_forward)(u, NULL, v, m, conv->in, conv->out, row, 1, 0, conv->out);
    }
    for (int o = 0; o < conv->out; o++)
        for (int lane = 0; lane < block->lanes; lane += WIDTH) finish_channel(block, o, lane);
}

void KERNEL(winograd)(const KernelConv *conv, const float *packed, const float *bias,
    const float *x, float *y, float *scratch, int lanes, int row_begin, int row_end) {
    const KernelTap *first = first_tap(conv);
    int together = lanes < KERNEL_WINOGRAD_LANES ? KERNEL_WINOGRAD_LANES / lanes : 1,
        tiles = (conv->columns + 1) / 2;
    Block block = {.conv = conv,
        .x = x,
        .y = y,
        .v = scratch,
        .m = scratch + (size_t)PLACES * conv->in * together * lanes,
        .bias = bias,
        .lanes = lanes};
    for (block.out_row = row_begin; block.out_row < row_end; block.out_row += 2)
        for (int tile = 0; tile < tiles; tile += block.tile_count) {
            block.tile_count = tiles - tile < together ? tiles - tile : together;
            block.out_column = 2 * tile;
            block.row = block.out_row + first->row;
            block.column = block.out_column + first->column;
            run_block(&block, packed);
        }
}
