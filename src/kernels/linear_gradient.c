/* linear_gradient.c - the gradient of a weight matrix, and the transposition of x that it wants.
 * Its vectors run along the rows of the matrix, so they are the widest whatever the lanes. */
#include "src/kernels/linear.h"
#include "src/kernels/narrow.h"

/* ---- dweight [o][i] = sum over the tree of leaves of (sum over s of dy [o][s] * xt [s][i]) ----
 */

typedef struct Gradient {
    KernelInput dy; /* at the tile's first row */
    KernelInput xt; /* at its first column */
    size_t xt_row;
    float *dweight;
    size_t in;
    int columns; /* of the tile that exist */
    int lanes;
    int count;
} Gradient;

typedef void GradientTile(const Gradient *g);

/* Write one row of a tile; beyond its last column another row begins. */
INLINE void store_columns(float *row, const Vector *sum, int vectors, int columns) {
    UNROLL
    for (int v = 0; v < vectors; v++) {
        int left = columns - v * WIDTH;
        if (left >= WIDTH) {
            store(row + v * WIDTH, sum[v]);
        } else {
            float last[WIDTH];
            store(last, sum[v]);
            for (int i = 0; i < left; i++) row[v * WIDTH + i] = last[i];
        }
    }
}

/* The same pointer, of which the compiler knows nothing: else it keeps dozens of sums with it in
 * memory instead of adding where needed. */
INLINE const float *opaque(const float *p) {
    __asm__("" : "+r"(p));
    return p;
}

/* Add the products of sample s, whose row of xt is at `xt`. */
INLINE void gradient_step(Vector sum[TILE_ROWS_MAX][TILE_VECTORS], const float *dy, const float *xt,
    size_t lanes, const int rows, const int vectors) {
    Vector term[TILE_VECTORS];
    UNROLL
    for (int v = 0; v < vectors; v++) term[v] = load(xt + v * WIDTH);
    UNROLL
    for (int r = 0; r < rows; r++) {
        Vector factor = broadcast(dy[r * lanes]);
        UNROLL
        for (int v = 0; v < vectors; v++) sum[r][v] += factor * term[v];
    }
}

/* The first sample's products: 24 zeros to start from would cost as much as a step. */
INLINE void gradient_start(Vector sum[TILE_ROWS_MAX][TILE_VECTORS], const float *dy,
    const float *xt, size_t lanes, const int rows, const int vectors) {
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            sum[r][v] = rounded(broadcast(dy[r * lanes]) * load(xt + v * WIDTH));
        __builtin_prefetch(dy + (rows + r) * lanes); /* the next tile's */
    }
}

/* The sums of one leaf; the common 16 lanes unrolled. */
INLINE void gradient_leaf(Vector sum[TILE_ROWS_MAX][TILE_VECTORS], const float *dy, const float *xt,
    size_t lanes, size_t xt_row, const int rows, const int vectors) {
    dy = opaque(dy);
    gradient_start(sum, dy, xt, lanes, rows, vectors);
    if (lanes == 16 && rows * vectors >= TILE_SUMS / 2) {
        UNROLL_LANES
        for (int s = 1; s < 16; s++) {
            xt = opaque(xt + xt_row);
            gradient_step(sum, dy + s, xt, 16, rows, vectors);
        }
    } else {
        for (size_t s = 1; s < lanes; s++) {
            xt += xt_row;
            gradient_step(sum, dy + s, xt, lanes, rows, vectors);
        }
    }
}

/* One leaf after the other; sums whose sibling is still to come are parked in L1. */
INLINE void gradient_tile(const Gradient *g, const int rows, const int vectors) {
    Vector sum[TILE_ROWS_MAX][TILE_VECTORS];
    Vector parked[PARKED_MAX][TILE_SUMS];
    int depth = 0;
    for (int m = 0;; m++) {
        gradient_leaf(sum, g->dy.data + m * g->dy.stride, g->xt.data + m * g->xt.stride, g->lanes,
            g->xt_row, rows, vectors);
        int merges = m + 1 < g->count ? __builtin_ctz(m + 1) : depth;
        for (int merge = 0; merge < merges; merge++) {
            const Vector *left = parked[--depth];
            UNROLL
            for (int r = 0; r < rows; r++) {
                UNROLL
                for (int v = 0; v < vectors; v++) sum[r][v] = left[r * vectors + v] + sum[r][v];
            }
        }
        if (m + 1 == g->count) break;
        Vector *park = parked[depth++];
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int v = 0; v < vectors; v++) park[r * vectors + v] = sum[r][v];
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++)
        store_columns(g->dweight + r * g->in, sum[r], vectors, g->columns);
}

#define MAKE_GRADIENT(rows, vectors)                                                               \
    static void gradient_##rows##x##vectors(const Gradient *g) {                                   \
        gradient_tile(g, rows, vectors);                                                           \
    }
FOR_TILES(MAKE_GRADIENT)

static GradientTile *const gradient_tiles[TILE_VECTORS][4] = TILE_TABLE(gradient);

void KERNEL(linear_weight_gradient)(KernelInput dy, KernelInput xt, size_t xt_row, float *dweight,
    int in, int out, int lanes, int count, int row_begin, int row_end) {
    (void)out;
    int vector_count = (in + WIDTH - 1) / WIDTH;
    for (int vector = 0, vectors; vector < vector_count; vector += vectors) {
        vectors = next_vectors(vector_count - vector);
        int column = vector * WIDTH, choice;
        Gradient g = {.xt = {xt.data + column, xt.stride},
            .xt_row = xt_row,
            .in = in,
            .columns = in - column,
            .lanes = lanes,
            .count = count};
        for (int row = row_begin, rows; row < row_end; row += rows) {
            rows = next_rows(row_end - row, vectors, &choice);
            g.dy = (KernelInput){dy.data + (size_t)row * lanes, dy.stride};
            g.dweight = dweight + (size_t)row * in + column;
            gradient_tiles[vectors - 1][choice](&g);
        }
    }
}

/* ---- the transposition ---- */

/* WIDTH rows by four lanes. */
INLINE void transpose_block(const float *x, float *xt, size_t xt_row, size_t lanes) {
    Vector r0 = load_fours(x, lanes), r1 = load_fours(x + lanes, lanes);
    Vector r2 = load_fours(x + 2 * lanes, lanes), r3 = load_fours(x + 3 * lanes, lanes);
    Vector low01 = FOURS(r0, r1, 0, 1, 0, 1), high01 = FOURS(r0, r1, 2, 3, 2, 3);
    Vector low23 = FOURS(r2, r3, 0, 1, 0, 1), high23 = FOURS(r2, r3, 2, 3, 2, 3);
    store(xt, FOURS(low01, low23, 0, 2, 0, 2));
    store(xt + xt_row, FOURS(low01, low23, 1, 3, 1, 3));
    store(xt + 2 * xt_row, FOURS(high01, high23, 0, 2, 0, 2));
    store(xt + 3 * xt_row, FOURS(high01, high23, 1, 3, 1, 3));
}

/* WIDTH rows of one or two lanes. */
INLINE void transpose_few(const float *x, float *xt, size_t xt_row, int lanes) {
    if (lanes == 1) {
        store(xt, load(x));
        return;
    }
    Vector a = load(x), b = load(x + WIDTH);
    store(xt, unzipped(1, a, b, 0));
    store(xt + xt_row, unzipped(1, a, b, 1));
}

void KERNEL(transpose)(const float *x, float *xt, size_t xt_row, int rows, int lanes) {
    int whole = rows / WIDTH * WIDTH;
    for (int r = 0; r < whole; r += WIDTH) {
        if (lanes < 4) transpose_few(x + (size_t)r * lanes, xt + r, xt_row, lanes);
        for (int s = 0; s + 4 <= lanes; s += 4)
            transpose_block(x + (size_t)r * lanes + s, xt + s * xt_row + r, xt_row, lanes);
    }
    for (int s = 0; s < lanes; s++) {
        for (size_t r = whole; r < xt_row; r++)
            xt[s * xt_row + r] = r < (size_t)rows ? x[r * lanes + s] : 0.0f;
    }
}
