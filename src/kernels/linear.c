/* linear.c - products with a weight matrix, in register tiles whose vectors run over the lanes.
 *
 * A tile is some rows by some vectors of sums that stay in registers while operands stream by. The
 * vectors of a tile run over the lanes of one microbatch or over several microbatches alike, and
 * tiles of any shape add the same terms to an element in the same order. */
#include "src/kernels/linear.h"

/* About as many terms are added before the next tile's turn. Their x stays in L2; that of fewer
 * would stay in L1, but their sums would be loaded and stored more often, which costs more. */
enum { DEPTH = 512 };
enum { LINES_AHEAD = 8 }; /* how early to fetch a line */

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
    int block_count = call->depth > DEPTH ? (call->depth + DEPTH / 2) / DEPTH : 1;
    for (int block = 0, k = 0, depth; block < block_count; block++, k += depth) {
        depth = (int)((int64_t)call->depth * (block + 1) / block_count) - k;
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
