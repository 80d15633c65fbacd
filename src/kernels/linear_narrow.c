/* linear_narrow.c - products with a weight matrix where a microbatch has fewer lanes than a vector:
 * the vectors run along the rows of the matrix, for four lanes at a time. */
#include "src/kernels/linear.h"

enum { FOUR = 4 };
/* Rows of a tile of the forward pass, and vectors of one of the gradient: by four lanes. */
#if defined(__AVX512VL__) || defined(__aarch64__)
enum { TILE_MAX = 6 };
#define FOR_NARROW_TILES(MAKE) MAKE(1) MAKE(2) MAKE(3) MAKE(4) MAKE(5) MAKE(6)
#else
enum { TILE_MAX = 3 };
#define FOR_NARROW_TILES(MAKE) MAKE(1) MAKE(2) MAKE(3)
#endif

/* ---- y [o][s] = sum over i of weight [o][i] * xt [s][i] ---- */

typedef struct Dot {
    const float *weight; /* at the tile's first row */
    const float *bias;   /* NULL: 0 */
    const float *xt;     /* at its first lane */
    float *y;
    size_t in, xt_row, lanes;
} Dot;

typedef void DotTile(const Dot *dot);

INLINE void dot_step(Vector sum[TILE_MAX][FOUR], const Vector *weight, const float *xt,
    size_t xt_row, const int rows) {
    UNROLL
    for (int s = 0; s < FOUR; s++) {
        Vector term = load(xt + s * xt_row);
        UNROLL
        for (int r = 0; r < rows; r++) sum[r][s] += weight[r] * term;
    }
}

/* The columns beyond the last whole vector: the vector that ends with the row, without what was
 * there before; or what a short row has. xt is zero beyond the row. */
INLINE void dot_rest(const Dot *dot, Vector sum[TILE_MAX][FOUR], size_t done, const int rows) {
    int left = (int)(dot->in - done);
    size_t from = dot->in < WIDTH ? 0 : dot->in - WIDTH;
    VectorInt mask = (VectorInt){COUNT_UP} >= (VectorInt){REPEAT(WIDTH - left)};
    Vector weight[TILE_MAX];
    UNROLL
    for (int r = 0; r < rows; r++) {
        const float *row = dot->weight + r * dot->in + from;
        weight[r] = dot->in < WIDTH ? load_part(row, left) : (Vector)((VectorInt)load(row) & mask);
    }
    dot_step(sum, weight, dot->xt + from, dot->xt_row, rows);
}

INLINE void dot_tile(const Dot *dot, const int rows) {
    Vector sum[TILE_MAX][FOUR] = {{{0}}};
    size_t i = 0;
    for (; i + WIDTH <= dot->in; i += WIDTH) {
        Vector weight[TILE_MAX];
        UNROLL
        for (int r = 0; r < rows; r++) weight[r] = load(dot->weight + r * dot->in + i);
        dot_step(sum, weight, dot->xt + i, dot->xt_row, rows);
    }
    if (i < dot->in) dot_rest(dot, sum, i, rows);
    UNROLL
    for (int r = 0; r < rows; r++) {
        float sums[FOUR], bias = dot->bias ? dot->bias[r] : 0.0f;
        sum_lanes_of_four(sum[r][0], sum[r][1], sum[r][2], sum[r][3], sums);
        for (int s = 0; s < FOUR; s++) dot->y[r * dot->lanes + s] = bias + sums[s];
    }
}

#define MAKE_DOT(rows)                                                                             \
    static void dot_##rows(const Dot *dot) {                                                       \
        dot_tile(dot, rows);                                                                       \
    }
FOR_NARROW_TILES(MAKE_DOT)
#define DOT_ENTRY(rows) [rows] = dot_##rows,
static DotTile *const dot_tiles[TILE_MAX + 1] = {FOR_NARROW_TILES(DOT_ENTRY)};

void KERNEL(linear_forward_narrow)(const float *weight, const float *bias, KernelInput xt,
    size_t xt_row, KernelOutput y, int in, int lanes, int count, int row_begin, int row_end) {
    Dot dot = {.in = in, .xt_row = xt_row, .lanes = lanes};
    for (int row = row_begin, rows; row < row_end; row += rows) {
        rows = row_end - row < TILE_MAX ? row_end - row : TILE_MAX;
        dot.weight = weight + (size_t)row * in;
        dot.bias = bias ? bias + row : NULL;
        for (int m = 0; m < count; m++) {
            for (int s = 0; s < lanes; s += FOUR) {
                dot.xt = xt.data + m * xt.stride + s * xt_row;
                dot.y = y.data + m * y.stride + (size_t)row * lanes + s;
                dot_tiles[rows](&dot);
            }
        }
    }
}

/* ---- dx [i][s] = sum over o of weight [o][i] * dy [o][s] ---- */

typedef struct Back {
    const float *weight; /* at the tile's first column */
    const float *dy;     /* at its first lane */
    float *dx;
    size_t in, out, lanes;
    int columns; /* of a tile of one vector */
} Back;

typedef void BackTile(const Back *back);

/* WIDTH columns of four lanes into as many rows, of which `columns` exist. */
INLINE void store_transposed(float *dx, size_t lanes, const Vector *lane, int columns) {
    Vector low01 = FOURS(lane[0], lane[1], 0, 1, 0, 1),
           high01 = FOURS(lane[0], lane[1], 2, 3, 2, 3);
    Vector low23 = FOURS(lane[2], lane[3], 0, 1, 0, 1),
           high23 = FOURS(lane[2], lane[3], 2, 3, 2, 3);
    float row[FOUR][WIDTH]; /* row [k]: the columns k, 4 + k, 8 + k, ... */
    store(row[0], FOURS(low01, low23, 0, 2, 0, 2));
    store(row[1], FOURS(low01, low23, 1, 3, 1, 3));
    store(row[2], FOURS(high01, high23, 0, 2, 0, 2));
    store(row[3], FOURS(high01, high23, 1, 3, 1, 3));
    for (int i = 0; i < columns; i++)
        *(FourInMemory *)(dx + i * lanes) =
            *(const FourInMemory *)(row[i % FOUR] + i / FOUR * FOUR);
}

INLINE void back_tile(const Back *back, const int vectors, const int is_part) {
    Vector sum[FOUR][TILE_MAX] = {{{0}}};
    const float *weight = back->weight, *dy = back->dy;
    for (size_t o = 0; o < back->out; o++, weight += back->in, dy += back->lanes) {
        Vector term[TILE_MAX];
        UNROLL
        for (int v = 0; v < vectors; v++)
            term[v] = is_part ? load_part(weight, back->columns) : load(weight + v * WIDTH);
        UNROLL
        for (int s = 0; s < FOUR; s++) {
            Vector factor = broadcast(dy[s]);
            UNROLL
            for (int v = 0; v < vectors; v++) sum[s][v] += factor * term[v];
        }
    }
    UNROLL
    for (int v = 0; v < vectors; v++) {
        Vector lane[FOUR] = {sum[0][v], sum[1][v], sum[2][v], sum[3][v]};
        store_transposed(back->dx + (size_t)v * WIDTH * back->lanes, back->lanes, lane,
            is_part ? back->columns : WIDTH);
    }
}

#define MAKE_BACK(vectors)                                                                         \
    static void back_##vectors(const Back *back) {                                                 \
        back_tile(back, vectors, 0);                                                               \
    }
FOR_NARROW_TILES(MAKE_BACK)
static void back_part(const Back *back) {
    back_tile(back, 1, 1);
}
#define BACK_ENTRY(vectors) [vectors] = back_##vectors,
static BackTile *const back_tiles[TILE_MAX + 1] = {back_part, FOR_NARROW_TILES(BACK_ENTRY)};

/* `vectors` whole vectors from column `column`; 0: what is left of one. */
static void back_columns(const Back *all, const float *weight, KernelInput dy, KernelOutput dx,
    int count, int column, int vectors) {
    Back back = *all;
    back.weight = weight + column;
    for (int m = 0; m < count; m++) {
        for (size_t s = 0; s < back.lanes; s += FOUR) {
            back.dy = dy.data + m * dy.stride + s;
            back.dx = dx.data + m * dx.stride + column * back.lanes + s;
            back_tiles[vectors](&back);
        }
    }
}

void KERNEL(linear_input_gradient_narrow)(const float *weight, KernelInput dy, KernelOutput dx,
    int in, int out, int lanes, int count, int row_begin, int row_end) {
    int whole = (row_end - row_begin) / WIDTH, left = (row_end - row_begin) % WIDTH;
    Back back = {.in = in, .out = out, .lanes = lanes, .columns = left};
    int column = row_begin;
    for (int vectors; whole > 0; whole -= vectors, column += vectors * WIDTH) {
        vectors = whole < TILE_MAX ? whole : TILE_MAX;
        back_columns(&back, weight, dy, dx, count, column, vectors);
    }
    if (left == 0) return;
    /* The last columns once more, if there is a whole vector of them: the same sums. */
    if (row_end - row_begin >= WIDTH)
        back_columns(&back, weight, dy, dx, count, row_end - WIDTH, 1);
    else
        back_columns(&back, weight, dy, dx, count, column, 0);
}
