/* linear.c - products with a weight matrix, in register tiles.
 *
 * A tile is some rows by some vectors of sums that stay in registers while operands stream by. The
 * vectors of a tile run over the lanes of one microbatch or over several microbatches alike, and
 * tiles of any shape add the same terms to an element in the same order. */
#include "src/kernels/kernel.h"

enum { DEPTH_MAX = 128 }; /* terms added before the next tile's turn: their x stays in L1 */
enum { LINE = 16, LINES_AHEAD = 8 }; /* floats of a cache line; how early to fetch one */
enum { TILE_ROWS_MAX = 12 };
enum { PARKED_MAX = 32 }; /* levels of a tree over up to 2^31 microbatches */

/* ---- tile shapes: 1, 2, 4 or FULL_ROWS rows by 1..TILE_VECTORS vectors ---- */

#if defined(__AVX512VL__) || defined(__aarch64__)
#define FULL_ROWS(vectors) ((vectors) == 1 ? 12 : TILE_SUMS / (vectors))
#define FOR_TILES(MAKE)                                                                            \
    FOR_ROWS(MAKE, 1, 12) FOR_ROWS(MAKE, 2, 12) FOR_ROWS(MAKE, 3, 8) FOR_ROWS(MAKE, 4, 6)
#define TILE_TABLE(name)                                                                           \
    { TABLE_ROW(name, 1, 12), TABLE_ROW(name, 2, 12), TABLE_ROW(name, 3, 8), TABLE_ROW(name, 4, 6) }
#else
#define FULL_ROWS(vectors) (TILE_SUMS / (vectors))
#define FOR_TILES(MAKE) FOR_ROWS(MAKE, 1, 12) FOR_ROWS(MAKE, 2, 6)
#define TILE_TABLE(name)                                                                           \
    { TABLE_ROW(name, 1, 12), TABLE_ROW(name, 2, 6) }
#endif
#define FOR_ROWS(MAKE, vectors, full)                                                              \
    MAKE(1, vectors) MAKE(2, vectors) MAKE(4, vectors) MAKE(full, vectors)
#define TABLE_ROW(name, vectors, full)                                                             \
    { name##_1x##vectors, name##_2x##vectors, name##_4x##vectors, name##_##full##x##vectors }

/* Rows of the next tile, and which of the four row counts that is. */
INLINE int next_rows(int rows_left, int vectors, int *choice) {
    int full = FULL_ROWS(vectors);
    *choice = rows_left >= full ? 3 : rows_left >= 4 ? 2 : rows_left >= 2 ? 1 : 0;
    return *choice == 3 ? full : 1 << *choice;
}

/* Vectors of the next tile; the last two share what is left. */
INLINE int next_vectors(int vectors_left) {
    if (vectors_left <= TILE_VECTORS) return vectors_left;
    if (vectors_left < 2 * TILE_VECTORS) return (vectors_left + 1) / 2;
    return TILE_VECTORS;
}

/* ---- y [r][s] = start + sum over k of weight (r, k) * x [k][s] ---- */

typedef struct Product {
    const float *weight; /* at the tile's first row and first k */
    size_t in;           /* floats from one row of the matrix to the next */
    const float *bias;   /* at the first row; NULL: start from zero */
    const float *x[TILE_VECTORS];
    float *y[TILE_VECTORS];
    size_t lanes;
    int depth;   /* number of k */
    int resumes; /* y holds the sums over earlier k */
} Product;

typedef void ProductTile(const Product *p);

/* Add the products of one k, whose weights are at `weight`, `row_step` apart. */
INLINE void product_step(Vector sum[TILE_ROWS_MAX][TILE_VECTORS], const float *weight,
    size_t row_step, const float *const *x, size_t offset, const int rows, const int vectors) {
    Vector term[TILE_VECTORS];
    UNROLL
    for (int v = 0; v < vectors; v++) term[v] = load(x[v] + offset);
    UNROLL
    for (int r = 0; r < rows; r++) {
        Vector factor = broadcast(weight[r * row_step]);
        UNROLL
        for (int v = 0; v < vectors; v++) sum[r][v] += factor * term[v];
    }
}

INLINE void product_start(
    const Product *p, Vector sum[TILE_ROWS_MAX][TILE_VECTORS], const int rows, const int vectors) {
    UNROLL
    for (int r = 0; r < rows; r++) {
        Vector start = broadcast(p->bias ? p->bias[r] : 0.0f);
        UNROLL
        for (int v = 0; v < vectors; v++)
            sum[r][v] = p->resumes ? load(p->y[v] + r * p->lanes) : start;
    }
}

INLINE void product_finish(
    const Product *p, Vector sum[TILE_ROWS_MAX][TILE_VECTORS], const int rows, const int vectors) {
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++) store(p->y[v] + r * p->lanes, sum[r][v]);
    }
}

/* weight (r, k) is weight [r * in + k]. For each line of weights, fetch the next tile's. */
INLINE void forward_tile(const Product *p, const int rows, const int vectors) {
    Vector sum[TILE_ROWS_MAX][TILE_VECTORS];
    const float *x[TILE_VECTORS], *weight = p->weight;
    size_t lanes = p->lanes, in = p->in;
    UNROLL
    for (int v = 0; v < vectors; v++) x[v] = p->x[v];
    product_start(p, sum, rows, vectors);
    for (int k = 0; k < p->depth;) {
        int stop = p->depth - k > LINE ? k + LINE : p->depth;
        UNROLL
        for (int r = 0; r < rows; r++) __builtin_prefetch(weight + (rows + r) * in);
        for (; k < stop; k++) product_step(sum, weight++, in, x, k * lanes, rows, vectors);
    }
    product_finish(p, sum, rows, vectors);
}

/* weight (r, k) is weight [k * in + r]. Each k has a line of its own, which is fetched early. */
INLINE void backward_tile(const Product *p, const int rows, const int vectors) {
    Vector sum[TILE_ROWS_MAX][TILE_VECTORS];
    const float *x[TILE_VECTORS], *weight = p->weight;
    size_t lanes = p->lanes, in = p->in;
    UNROLL
    for (int v = 0; v < vectors; v++) x[v] = p->x[v];
    product_start(p, sum, rows, vectors);
    for (int k = 0; k < p->depth; k++) {
        product_step(sum, weight, 1, x, k * lanes, rows, vectors);
        __builtin_prefetch(weight + LINES_AHEAD * in);
        weight += in;
    }
    product_finish(p, sum, rows, vectors);
}

#define MAKE_FORWARD(rows, vectors)                                                                \
    static void forward_##rows##x##vectors(const Product *p) {                                     \
        forward_tile(p, rows, vectors);                                                            \
    }
#define MAKE_BACKWARD(rows, vectors)                                                               \
    static void backward_##rows##x##vectors(const Product *p) {                                    \
        backward_tile(p, rows, vectors);                                                           \
    }
FOR_TILES(MAKE_FORWARD)
FOR_TILES(MAKE_BACKWARD)

static ProductTile *const forward_tiles[TILE_VECTORS][4] = TILE_TABLE(forward);
static ProductTile *const backward_tiles[TILE_VECTORS][4] = TILE_TABLE(backward);

/* What one call computes; weights as in Product. */
typedef struct ProductCall {
    ProductTile *const (*tiles)[4];
    const float *weight;
    const float *bias;
    size_t row_step, k_step, in;
    KernelInput x;
    KernelOutput y;
    int depth, lanes, row_begin, row_end;
} ProductCall;

/* All rows for some vectors, counted through the microbatches, and the k in [k, k + depth). */
static void product_column(const ProductCall *call, int vector, int vectors, int k, int depth) {
    Product p = {.in = call->in, .lanes = call->lanes, .depth = depth, .resumes = k > 0};
    int per_microbatch = call->lanes / WIDTH;
    size_t x_offset[TILE_VECTORS], y_offset[TILE_VECTORS];
    for (int v = 0; v < vectors; v++) {
        size_t m = (vector + v) / per_microbatch;
        size_t lane = (size_t)((vector + v) % per_microbatch) * WIDTH;
        x_offset[v] = m * call->x.stride + (size_t)k * call->lanes + lane;
        y_offset[v] = m * call->y.stride + lane;
        p.x[v] = call->x.data + x_offset[v];
    }
    int choice;
    for (int row = call->row_begin, rows; row < call->row_end; row += rows) {
        rows = next_rows(call->row_end - row, vectors, &choice);
        p.weight = call->weight + row * call->row_step + k * call->k_step;
        p.bias = call->bias ? call->bias + row : NULL;
        for (int v = 0; v < vectors; v++)
            p.y[v] = call->y.data + y_offset[v] + (size_t)row * call->lanes;
        call->tiles[vectors - 1][choice](&p);
    }
}

static void product(const ProductCall *call, int count) {
    int vector_count = count * (call->lanes / WIDTH);
    int depth_max = call->lanes > 64 ? DEPTH_MAX / 2 : DEPTH_MAX;
    for (int k = 0; k < call->depth; k += depth_max) {
        int depth = call->depth - k < depth_max ? call->depth - k : depth_max;
        for (int vector = 0, vectors; vector < vector_count; vector += vectors) {
            vectors = next_vectors(vector_count - vector);
            product_column(call, vector, vectors, k, depth);
        }
    }
}

void KERNEL(linear_forward)(const float *weight, const float *bias, KernelInput x, KernelOutput y,
    int in, int out, int lanes, int count, int row_begin, int row_end) {
    (void)out;
    ProductCall call = {.tiles = forward_tiles,
        .weight = weight,
        .bias = bias,
        .row_step = in,
        .k_step = 1,
        .in = in,
        .x = x,
        .y = y,
        .depth = in,
        .lanes = lanes,
        .row_begin = row_begin,
        .row_end = row_end};
    product(&call, count);
}

void KERNEL(linear_input_gradient)(const float *weight, KernelInput dy, KernelOutput dx, int in,
    int out, int lanes, int count, int row_begin, int row_end) {
    ProductCall call = {.tiles = backward_tiles,
        .weight = weight,
        .row_step = 1,
        .k_step = in,
        .in = in,
        .x = dy,
        .y = dx,
        .depth = out,
        .lanes = lanes,
        .row_begin = row_begin,
        .row_end = row_end};
    product(&call, count);
}

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

/* ---- sums over lanes, and the transposition ---- */

static float sum_row(const float *x, int lanes) {
    Vector sum = load(x);
    for (int s = WIDTH; s < lanes; s += WIDTH) sum += load(x + s);
    return sum_lanes(sum);
}

void KERNEL(row_sums)(
    KernelInput x, float *sums, int lanes, int count, int row_begin, int row_end) {
    float parked[PARKED_MAX];
    for (int row = row_begin; row < row_end; row++) {
        int depth = 0;
        for (int m = 0; m < count; m++) {
            float sum = sum_row(x.data + m * x.stride + (size_t)row * lanes, lanes);
            int merges = m + 1 < count ? __builtin_ctz(m + 1) : depth;
            for (int merge = 0; merge < merges; merge++) sum = parked[--depth] + sum;
            parked[depth++] = sum;
        }
        sums[row] = parked[0];
    }
}

typedef float Four __attribute__((vector_size(16)));
typedef float FourInMemory __attribute__((vector_size(16), aligned(4), may_alias));

/* Four floats each of the rows r, r + 4, r + 8, ... of x, side by side. */
INLINE Vector load_fours(const float *x, size_t lanes) {
    Four a = *(const FourInMemory *)x;
#if KERNEL_WIDTH == 4
    (void)lanes;
    return a;
#else
    Four b = *(const FourInMemory *)(x + 4 * lanes);
    float ab __attribute__((vector_size(32))) =
        __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
#if KERNEL_WIDTH == 8
    return ab;
#else
    Four c = *(const FourInMemory *)(x + 8 * lanes), d = *(const FourInMemory *)(x + 12 * lanes);
    float cd __attribute__((vector_size(32))) =
        __builtin_shufflevector(c, d, 0, 1, 2, 3, 4, 5, 6, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#endif
#endif
}

/* Items a, b of each four of x and then c, d of each four of y. */
#if KERNEL_WIDTH == 4
#define FOURS(x, y, a, b, c, d) __builtin_shufflevector(x, y, a, b, 4 + c, 4 + d)
#elif KERNEL_WIDTH == 8
#define FOURS(x, y, a, b, c, d)                                                                    \
    __builtin_shufflevector(x, y, a, b, 8 + c, 8 + d, 4 + a, 4 + b, 12 + c, 12 + d)
#else
#define FOURS(x, y, a, b, c, d)                                                                    \
    __builtin_shufflevector(x, y, a, b, 16 + c, 16 + d, 4 + a, 4 + b, 20 + c, 20 + d, 8 + a,       \
        8 + b, 24 + c, 24 + d, 12 + a, 12 + b, 28 + c, 28 + d)
#endif

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

void KERNEL(transpose)(const float *x, float *xt, size_t xt_row, int rows, int lanes) {
    int whole = rows / WIDTH * WIDTH;
    for (int r = 0; r < whole; r += WIDTH) {
        for (int s = 0; s < lanes; s += 4)
            transpose_block(x + (size_t)r * lanes + s, xt + s * xt_row + r, xt_row, lanes);
    }
    for (int s = 0; s < lanes; s++) {
        for (size_t r = whole; r < xt_row; r++)
            xt[s * xt_row + r] = r < (size_t)rows ? x[r * lanes + s] : 0.0f;
    }
}
