/* linear_narrow.c - products with a weight matrix where a microbatch has fewer lanes than a vector:
 * the vectors run along the rows of the matrix, for up to four samples at a time, whose lanes may
 * be those of several microbatches. A sample's sums are the same whichever samples go with it. */
#include "src/kernels/linear.h"
#include "src/kernels/narrow.h"

enum { FOUR = 4 };
/* Rows of a tile of the forward pass, and vectors of one of the gradient: by four samples. */
#if defined(__AVX512VL__) || defined(__aarch64__)
enum { TILE_MAX = 6 };
#define FOR_SIZES(MAKE, samples)                                                                   \
    MAKE(samples, 1)                                                                               \
    MAKE(samples, 2) MAKE(samples, 3) MAKE(samples, 4) MAKE(samples, 5) MAKE(samples, 6)
#else
enum { TILE_MAX = 3 };
#define FOR_SIZES(MAKE, samples) MAKE(samples, 1) MAKE(samples, 2) MAKE(samples, 3)
#endif
#define FOR_NARROW_TILES(MAKE) FOR_SIZES(MAKE, 1) FOR_SIZES(MAKE, 2) FOR_SIZES(MAKE, 4)

/* Samples of the next tile. */
INLINE int next_samples(int samples_left) {
    return samples_left >= FOUR ? FOUR : samples_left >= 2 ? 2 : 1;
}

/* ---- y [o][s] = sum over i of weight [o][i] * xt [s][i] ---- */

typedef struct Dot {
    const float *weight; /* at the tile's first row */
    const float *bias;   /* NULL: 0 */
    const float *xt[FOUR];
    float *y[FOUR]; /* at the first row */
    size_t in, lanes;
} Dot;

typedef void DotTile(const Dot *dot);

INLINE void dot_step(Vector sum[TILE_MAX][FOUR], const Vector *weight, const float *const *xt,
    size_t i, const int samples, const int rows) {
    UNROLL
    for (int s = 0; s < samples; s++) {
        Vector term = load(xt[s] + i);
        UNROLL
        for (int r = 0; r < rows; r++) sum[r][s] += weight[r] * term;
    }
}

/* The columns beyond the last whole vector: the vector that ends with the row, without what was
 * there before; or what a short row has. xt is zero beyond the row. */
INLINE void dot_rest(
    const Dot *dot, Vector sum[TILE_MAX][FOUR], size_t done, const int samples, const int rows) {
    int left = (int)(dot->in - done);
    size_t from = dot->in < WIDTH ? 0 : dot->in - WIDTH;
    VectorInt mask = (VectorInt){COUNT_UP} >= (VectorInt){REPEAT(WIDTH - left)};
    Vector weight[TILE_MAX];
    UNROLL
    for (int r = 0; r < rows; r++) {
        const float *row = dot->weight + r * dot->in + from;
        weight[r] = dot->in < WIDTH ? load_part(row, left) : masked(load(row), mask);
    }
    dot_step(sum, weight, dot->xt, from, samples, rows);
}

/* Add the vectors' lanes, of four sums at a time. */
INLINE void dot_finish(
    const Dot *dot, Vector sum[TILE_MAX][FOUR], const int samples, const int rows) {
    const int count = rows * samples;
    UNROLL
    for (int i = 0; i < count; i += FOUR) {
        Vector four[FOUR];
        float sums[FOUR];
        UNROLL
        for (int k = 0; k < FOUR; k++)
            four[k] = i + k < count ? sum[(i + k) / samples][(i + k) % samples] : broadcast(0.0f);
        sum_lanes_of_four(four[0], four[1], four[2], four[3], sums);
        UNROLL
        for (int k = 0; k < FOUR; k++) {
            int r = (i + k) / samples, s = (i + k) % samples;
            if (i + k < count)
                dot->y[s][r * dot->lanes] = (dot->bias ? dot->bias[r] : 0.0f) + sums[k];
        }
    }
}

INLINE void dot_tile(const Dot *dot, const int samples, const int rows) {
    Vector sum[TILE_MAX][FOUR] = {{{0}}};
    const float *xt[FOUR];
    UNROLL
    for (int s = 0; s < samples; s++) xt[s] = dot->xt[s];
    size_t i = 0;
    for (; i + WIDTH <= dot->in; i += WIDTH) {
        Vector weight[TILE_MAX];
        UNROLL
        for (int r = 0; r < rows; r++) weight[r] = load(dot->weight + r * dot->in + i);
        dot_step(sum, weight, xt, i, samples, rows);
    }
    if (i < dot->in) dot_rest(dot, sum, i, samples, rows);
    dot_finish(dot, sum, samples, rows);
}

#define MAKE_DOT(samples, rows)                                                                    \
    static void dot_##samples##x##rows(const Dot *dot) {                                           \
        dot_tile(dot, samples, rows);                                                              \
    }
FOR_NARROW_TILES(MAKE_DOT)
#define DOT_ENTRY(samples, rows) [samples][rows] = dot_##samples##x##rows,
static DotTile *const dot_tiles[FOUR + 1][TILE_MAX + 1] = {FOR_NARROW_TILES(DOT_ENTRY)};

void KERNEL(linear_forward_narrow)(const float *weight, const float *bias, KernelInput xt,
    size_t xt_row, KernelOutput y, int in, int lanes, int count, int row_begin, int row_end) {
    Dot dot = {.in = in, .lanes = lanes};
    for (int row = row_begin, rows; row < row_end; row += rows) {
        rows = row_end - row < TILE_MAX ? row_end - row : TILE_MAX;
        dot.weight = weight + (size_t)row * in;
        dot.bias = bias ? bias + row : NULL;
        for (int sample = 0, samples; sample < count * lanes; sample += samples) {
            samples = next_samples(count * lanes - sample);
            for (int k = 0; k < samples; k++) {
                int m = (sample + k) / lanes, s = (sample + k) % lanes;
                dot.xt[k] = xt.data + m * xt.stride + s * xt_row;
                dot.y[k] = y.data + m * y.stride + (size_t)row * lanes + s;
            }
            dot_tiles[samples][rows](&dot);
        }
    }
}

/* ---- dx [i][s] = sum over o of weight [o][i] * dy [o][s] ---- */

typedef struct Back {
    const float *weight;   /* at the tile's first column */
    const float *dy[FOUR]; /* of each sample */
    float *dx[FOUR];       /* at the first column */
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

/* The columns from `column` on of all samples. */
INLINE void back_store(
    const Back *back, const Vector *sum, const int samples, size_t column, int columns) {
    size_t lanes = back->lanes, at = column * lanes, end = (column + columns) * lanes;
    if (samples == FOUR && lanes >= FOUR) {
        store_transposed(back->dx[0] + at, lanes, sum, columns);
    } else if (lanes == 1) {
        UNROLL
        for (int s = 0; s < samples; s++) store_up_to(back->dx[s], at, end, sum[s]);
    } else { /* two lanes */
        UNROLL
        for (int s = 0; s + 1 < samples; s += 2) {
            store_up_to(back->dx[s], at, end, zipped(1, sum[s], sum[s + 1], 0));
            store_up_to(back->dx[s], at + WIDTH, end, zipped(1, sum[s], sum[s + 1], 1));
        }
    }
}

INLINE void back_tile(const Back *back, const int samples, const int vectors, const int is_part) {
    Vector sum[TILE_MAX][FOUR] = {{{0}}};
    const float *weight = back->weight, *dy[FOUR];
    UNROLL
    for (int s = 0; s < samples; s++) dy[s] = back->dy[s];
    for (size_t o = 0; o < back->out; o++, weight += back->in) {
        Vector term[TILE_MAX];
        UNROLL
        for (int v = 0; v < vectors; v++)
            term[v] = is_part ? load_part(weight, back->columns) : load(weight + v * WIDTH);
        UNROLL
        for (int s = 0; s < samples; s++) {
            Vector factor = broadcast(dy[s][o * back->lanes]);
            UNROLL
            for (int v = 0; v < vectors; v++) sum[v][s] += factor * term[v];
        }
    }
    UNROLL
    for (int v = 0; v < vectors; v++)
        back_store(back, sum[v], samples, (size_t)v * WIDTH, is_part ? back->columns : WIDTH);
}

#define MAKE_BACK(samples, vectors)                                                                \
    static void back_##samples##x##vectors(const Back *back) {                                     \
        back_tile(back, samples, vectors, 0);                                                      \
    }
#define MAKE_BACK_PART(samples)                                                                    \
    static void back_part_##samples(const Back *back) {                                            \
        back_tile(back, samples, 1, 1);                                                            \
    }
FOR_NARROW_TILES(MAKE_BACK)
MAKE_BACK_PART(1)
MAKE_BACK_PART(2)
MAKE_BACK_PART(4)
#define BACK_ENTRY(samples, vectors) [samples][vectors] = back_##samples##x##vectors,
#define BACK_PART_ENTRY(samples) [samples][0] = back_part_##samples,
static BackTile *const back_tiles[FOUR + 1][TILE_MAX + 1] = {
    FOR_NARROW_TILES(BACK_ENTRY) BACK_PART_ENTRY(1) BACK_PART_ENTRY(2) BACK_PART_ENTRY(4)};

/* `vectors` whole vectors from column `column`; 0: what is left of one. */
static void back_columns(const Back *all, const float *weight, KernelInput dy, KernelOutput dx,
    int count, int column, int vectors) {
    Back back = *all;
    int lanes = (int)back.lanes;
    back.weight = weight + column;
    for (int sample = 0, samples; sample < count * lanes; sample += samples) {
        samples = next_samples(count * lanes - sample);
        for (int k = 0; k < samples; k++) {
            int m = (sample + k) / lanes, s = (sample + k) % lanes;
            back.dy[k] = dy.data + m * dy.stride + s;
            back.dx[k] = dx.data + m * dx.stride + (size_t)column * lanes + s;
        }
        back_tiles[samples][vectors](&back);
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
