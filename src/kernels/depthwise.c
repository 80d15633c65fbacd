/* depthwise.c - convolution from one channel, or a few, to one; and the gradient of its weights.
 *
 * With so few products for each number read there is no time for more than a loop along a line of
 * results. Results that meet x with the same taps, a span of rows by a span of columns, make a
 * region; taps that meet the zeros around x are left out. Lines run along the longer side of the
 * region. Windows of few taps keep all their weights, or the weights' sums, in registers, and two
 * rows of results share the x that both meet. Every result adds the same terms in the same order
 * whatever it is taken together with. */
#include "src/kernels/kernel.h"

/* Vectors of results or lines of them, at equal distances, and floats that are left after them. */
typedef struct Run {
    int count, rest;
    ptrdiff_t x_step, y_step;
} Run;

typedef struct Region {
    const KernelDepthwise *grid;
    Run along, across;
    int lines_overlap;      /* the next line meets this one's x one row of taps before */
    int rows, columns;      /* taps */
    ptrdiff_t x, y, weight; /* of the first result, and of its first tap */
} Region;

/* Lanes from `lane` on: a vector of each column's; all of them where columns lie side by side. */
static Region region_of(
    const KernelDepthwise *grid, const KernelSpan *rows, const KernelSpan *columns, int lane) {
    const KernelAxis *down = &grid->rows, *right = &grid->columns;
    Run run_down = {rows->end - rows->begin, 0, down->x_step, down->y_step};
    Run run_right = {columns->end - columns->begin, 0, right->x_step, right->y_step};
    if (grid->is_dense) {
        int floats = run_right.count * grid->lanes;
        run_right = (Run){floats / WIDTH, floats % WIDTH, WIDTH, WIDTH};
    }
    int is_wide = run_right.count >= run_down.count || run_right.rest > 0;
    return (Region){.grid = grid,
        .along = is_wide ? run_right : run_down,
        .across = is_wide ? run_down : run_right,
        .lines_overlap = is_wide && down->x_step == down->tap_step,
        .rows = rows->tap_end - rows->tap_begin,
        .columns = columns->tap_end - columns->tap_begin,
        .x = grid->x_first + rows->begin * down->x_step + columns->begin * right->x_step +
             rows->tap_begin * down->tap_step + columns->tap_begin * right->tap_step + lane,
        .y = rows->begin * down->y_step + columns->begin * right->y_step + lane,
        .weight = grid->weight_first + rows->tap_begin * down->weight_step +
                  columns->tap_begin * right->weight_step};
}

#define FOR_EACH_REGION(region, grid)                                                              \
    for (int r_ = 0; r_ < (grid)->rows.span_count; r_++)                                           \
        for (int c_ = 0; c_ < (grid)->columns.span_count; c_++)                                    \
            for (int lane_ = 0; lane_ < ((grid)->is_dense ? WIDTH : (grid)->lanes);                \
                 lane_ += WIDTH)                                                                   \
                for (Region region = region_of(                                                    \
                         (grid), &(grid)->rows.spans[r_], &(grid)->columns.spans[c_], lane_);      \
                     region.grid; region.grid = NULL)

/* ---- results of few taps ---- */

enum { FEW = 3, LINES_MAX = 2 };

/* What the rows of taps of a line meet, `step` floats apart from x on; and going on along it. */
INLINE void begin_rows(const float **from, const float *x, ptrdiff_t step, const int rows) {
    UNROLL
    for (int r = 0; r < rows; r++) from[r] = x + r * step;
}

INLINE void advance_rows(const float **from, ptrdiff_t floats, const int rows) {
    UNROLL
    for (int r = 0; r < rows; r++) from[r] += floats;
}

/* A vector of one line, or of each of two; from [r]: what the first column of row r meets. */
INLINE void few_products(Vector factor[FEW][FEW], Vector start, const float *const *from,
    ptrdiff_t column_step, float *to, ptrdiff_t to_step, const int lines, const int rows,
    const int columns) {
    Vector sum[LINES_MAX] = {start, start};
    UNROLL
    for (int r = 0; r < rows + lines - 1; r++) {
        UNROLL
        for (int c = 0; c < columns; c++) {
            Vector term = load(from[r] + c * column_step);
            if (lines == 2) term = rounded(term); /* or it would be loaded for each product */
            if (r < rows) sum[0] += factor[r][c] * term;
            if (lines == 2 && r > 0) sum[1] += factor[r - 1][c] * term;
        }
    }
    UNROLL
    for (int l = 0; l < lines; l++) store(to + l * to_step, sum[l]);
}

INLINE void few_lines(const Region *region, Vector factor[FEW][FEW], Vector start, const float *x,
    float *y, const int lines, const int rows, const int columns) {
    const Run along = region->along;
    const ptrdiff_t row_step = region->grid->rows.tap_step, to_step = region->across.y_step;
    const ptrdiff_t column_step = region->grid->columns.tap_step;
    const int x_rows = rows + lines - 1;
    const float *from[FEW + LINES_MAX - 1];
    begin_rows(from, x, row_step, x_rows);
    for (int i = 0; i < along.count; i++, y += along.y_step) {
        few_products(factor, start, from, column_step, y, to_step, lines, rows, columns);
        advance_rows(from, along.x_step, x_rows);
    }
    if (along.rest == 0) return;
    advance_rows(from, along.rest - WIDTH, x_rows);
    y += along.rest - WIDTH;
    few_products(factor, start, from, column_step, y, to_step, lines, rows, columns);
}

INLINE void few_taps(const Region *region, const float *weight, float start, const float *x,
    float *y, const int rows, const int columns) {
    const KernelAxis *down = &region->grid->rows, *right = &region->grid->columns;
    const Run across = region->across;
    Vector factor[FEW][FEW];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < columns; c++)
            factor[r][c] = broadcast(weight[r * down->weight_step + c * right->weight_step]);
    }
    int line = 0;
    if (rows > 1 && region->lines_overlap)
        for (; line + 1 < across.count; line += 2)
            few_lines(region, factor, broadcast(start), x + line * across.x_step,
                y + line * across.y_step, 2, rows, columns);
    for (; line < across.count; line++)
        few_lines(region, factor, broadcast(start), x + line * across.x_step,
            y + line * across.y_step, 1, rows, columns);
}

typedef void FewTaps(
    const Region *region, const float *weight, float start, const float *x, float *y);
#define MAKE_FEW(rows, columns)                                                                    \
    static void few_##rows##x##columns(                                                            \
        const Region *region, const float *weight, float start, const float *x, float *y) {        \
        few_taps(region, weight, start, x, y, rows, columns);                                      \
    }
#define FOR_3_COLUMNS(MAKE, rows) MAKE(rows, 1) MAKE(rows, 2) MAKE(rows, 3)
#define FOR_FEW(MAKE) FOR_3_COLUMNS(MAKE, 1) FOR_3_COLUMNS(MAKE, 2) FOR_3_COLUMNS(MAKE, 3)
FOR_FEW(MAKE_FEW)
#define FEW_ENTRY(rows, columns) [rows][columns] = few_##rows##x##columns,
static FewTaps *const few[FEW + 1][FEW + 1] = {FOR_FEW(FEW_ENTRY)};

/* ---- results of any taps, from any channels: in tiles of a line ---- */

enum { TILE_MAX = 8 };

INLINE void tile_of_line(const Region *region, const float *weight_first, float start,
    const float *x_first, float *y, const int vectors) {
    const KernelDepthwise *grid = region->grid;
    const ptrdiff_t x_step = region->along.x_step, y_step = region->along.y_step;
    const ptrdiff_t tap_step = grid->columns.tap_step, weight_step = grid->columns.weight_step;
    Vector sum[TILE_MAX];
    UNROLL
    for (int v = 0; v < vectors; v++) sum[v] = broadcast(start);
    for (int i = 0; i < grid->in; i++) {
        const float *x_row = x_first + i * grid->x_channel;
        const float *weight_row = weight_first + i * grid->weight_channel;
        for (int r = 0; r < region->rows; r++) {
            const float *x = x_row, *weight = weight_row;
            for (int c = 0; c < region->columns; c++, x += tap_step, weight += weight_step) {
                Vector factor = broadcast(*weight);
                UNROLL
                for (int v = 0; v < vectors; v++) sum[v] += factor * load(x + v * x_step);
            }
            x_row += grid->rows.tap_step;
            weight_row += grid->rows.weight_step;
        }
    }
    UNROLL
    for (int v = 0; v < vectors; v++) store(y + v * y_step, sum[v]);
}

typedef void LineTile(
    const Region *region, const float *weight, float start, const float *x, float *y);
#define MAKE_TILE(vectors)                                                                         \
    static void tile_##vectors(                                                                    \
        const Region *region, const float *weight, float start, const float *x, float *y) {        \
        tile_of_line(region, weight, start, x, y, vectors);                                        \
    }
#define FOR_TILES(MAKE) MAKE(1) MAKE(2) MAKE(3) MAKE(4) MAKE(5) MAKE(6) MAKE(7) MAKE(8)
FOR_TILES(MAKE_TILE)
#define TILE_ENTRY(vectors) [vectors] = tile_##vectors,
static LineTile *const tiles[TILE_MAX + 1] = {FOR_TILES(TILE_ENTRY)};

/* Tiles of nearly the same size. */
static void any_taps(
    const Region *region, const float *weight, float start, const float *x, float *y) {
    const Run along = region->along, across = region->across;
    int tile_count = (along.count + TILE_MAX - 1) / TILE_MAX;
    for (int line = 0; line < across.count; line++, x += across.x_step, y += across.y_step) {
        for (int t = 0, at = 0, end; t < tile_count; t++, at = end) {
            end = along.count * (t + 1) / tile_count;
            tiles[end - at](region, weight, start, x + at * along.x_step, y + at * along.y_step);
        }
        if (along.rest == 0) continue;
        ptrdiff_t last = (ptrdiff_t)along.count * WIDTH + along.rest - WIDTH;
        tiles[1](region, weight, start, x + last, y + last);
    }
}

void KERNEL(depthwise)(
    const KernelDepthwise *grid, const float *weight, const float *bias, const float *x, float *y) {
    float start = bias ? *bias : 0.0f;
    FOR_EACH_REGION(region, grid) {
        int rows = region.rows, columns = region.columns;
        int is_few = grid->in == 1 && rows * columns > 0 && rows <= FEW && columns <= FEW;
        (is_few ? few[rows][columns] : any_taps)(
            &region, weight + region.weight, start, x + region.x, y + region.y);
    }
}

/* ---- the gradient of the weights ---- */

enum { ROWS_MAX = 3, COLUMNS_MAX = REGISTERS == 32 ? 7 : 4 };

/* The products of a vector of one line of dy, or of each of two, masked, with what each tap meets.
 */
INLINE void gradient_products(Vector sum[ROWS_MAX][COLUMNS_MAX], const float *dy, ptrdiff_t dy_step,
    const float *const *from, ptrdiff_t column_step, const VectorInt *mask, const int lines,
    const int rows, const int columns) {
    Vector factor[LINES_MAX];
    UNROLL
    for (int l = 0; l < lines; l++) {
        factor[l] = load(dy + l * dy_step);
        if (mask) factor[l] = masked(factor[l], *mask);
    }
    UNROLL
    for (int r = 0; r < rows + lines - 1; r++) {
        UNROLL
        for (int c = 0; c < columns; c++) {
            Vector term = load(from[r] + c * column_step);
            if (lines == 2) term = rounded(term);
            if (r < rows) sum[r][c] += factor[0] * term;
            if (lines == 2 && r > 0) sum[r - 1][c] += factor[1] * term;
        }
    }
}

INLINE void gradient_lines(const Region *region, Vector sum[ROWS_MAX][COLUMNS_MAX], const float *dy,
    const float *x, const int lines, const int rows, const int columns) {
    const Run along = region->along;
    const ptrdiff_t row_step = region->grid->rows.tap_step, dy_step = region->across.y_step;
    const ptrdiff_t column_step = region->grid->columns.tap_step;
    const int x_rows = rows + lines - 1;
    const float *from[ROWS_MAX + LINES_MAX - 1];
    begin_rows(from, x, row_step, x_rows);
    for (int i = 0; i < along.count; i++, dy += along.y_step) {
        gradient_products(sum, dy, dy_step, from, column_step, NULL, lines, rows, columns);
        advance_rows(from, along.x_step, x_rows);
    }
    if (along.rest == 0) return;
    VectorInt mask = (VectorInt){COUNT_UP} >= (VectorInt){REPEAT(WIDTH - along.rest)};
    advance_rows(from, along.rest - WIDTH, x_rows);
    dy += along.rest - WIDTH;
    gradient_products(sum, dy, dy_step, from, column_step, &mask, lines, rows, columns);
}

/* Some of the region's taps go on with their sums, a vector each. */
INLINE void gradient_taps(const Region *region, const float *dy, const float *x, float *sums,
    const int rows, const int columns) {
    const Run across = region->across;
    const ptrdiff_t sums_row = region->grid->rows.weight_step * WIDTH;
    Vector sum[ROWS_MAX][COLUMNS_MAX];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < columns; c++) sum[r][c] = load(sums + r * sums_row + c * WIDTH);
    }
    int line = 0;
    if (rows > 1 && region->lines_overlap)
        for (; line + 1 < across.count; line += 2)
            gradient_lines(
                region, sum, dy + line * across.y_step, x + line * across.x_step, 2, rows, columns);
    for (; line < across.count; line++)
        gradient_lines(
            region, sum, dy + line * across.y_step, x + line * across.x_step, 1, rows, columns);
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < columns; c++) store(sums + r * sums_row + c * WIDTH, sum[r][c]);
    }
}

typedef void GradientTaps(const Region *region, const float *dy, const float *x, float *sums);
#define MAKE_GRADIENT(rows, columns)                                                               \
    static void gradient_##rows##x##columns(                                                       \
        const Region *region, const float *dy, const float *x, float *sums) {                      \
        gradient_taps(region, dy, x, sums, rows, columns);                                         \
    }
#define FOR_4_COLUMNS(MAKE, rows) FOR_3_COLUMNS(MAKE, rows) MAKE(rows, 4)
#if defined(__AVX512VL__) || defined(__aarch64__)
#define FOR_COLUMNS(MAKE, rows) FOR_4_COLUMNS(MAKE, rows) MAKE(rows, 5) MAKE(rows, 6) MAKE(rows, 7)
#else
#define FOR_COLUMNS(MAKE, rows) FOR_4_COLUMNS(MAKE, rows)
#endif
#define FOR_TAPS(MAKE) FOR_COLUMNS(MAKE, 1) FOR_COLUMNS(MAKE, 2) FOR_COLUMNS(MAKE, 3)
FOR_TAPS(MAKE_GRADIENT)
#define GRADIENT_ENTRY(rows, columns) [rows][columns] = gradient_##rows##x##columns,
static GradientTaps *const gradients[ROWS_MAX + 1][COLUMNS_MAX + 1] = {FOR_TAPS(GRADIENT_ENTRY)};

/* All taps of a region: sums [taps of the window][WIDTH]. */
static void gradient_region(const Region *region, const float *dy, const float *x, float *sums) {
    const KernelAxis *down = &region->grid->rows, *right = &region->grid->columns;
    for (int r = 0, rows; r < region->rows; r += rows) {
        rows = region->rows - r < ROWS_MAX ? region->rows - r : ROWS_MAX;
        for (int c = 0, columns; c < region->columns; c += columns) {
            columns = region->columns - c < COLUMNS_MAX ? region->columns - c : COLUMNS_MAX;
            gradients[rows][columns](region, dy + region->y,
                x + region->x + r * down->tap_step + c * right->tap_step,
                sums + (region->weight + r * down->weight_step + c) * WIDTH);
        }
    }
}

void KERNEL(depthwise_weight_gradient)(
    const KernelDepthwise *grid, const float *dy, const float *x, float *dweight) {
    float sums[KERNEL_DEPTHWISE_SIDE * KERNEL_DEPTHWISE_SIDE * WIDTH];
    int count = grid->rows.tap_count * grid->columns.tap_count;
    for (int i = 0; i < count; i++) store(sums + i * WIDTH, broadcast(0.0f));
    FOR_EACH_REGION(region, grid) gradient_region(&region, dy, x, sums);
    for (int i = 0; i < count; i++) dweight[i] += sum_lanes(load(sums + i * WIDTH));
}
