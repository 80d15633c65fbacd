/* pool_halved.c - largest values of windows of 3 x 3 pixels two apart, and their gradients.
 *
 * A vector holds one pixel of as many windows side by side as fit. Each row of a window has its
 * largest first, then the rows have theirs: the same as in scan order. A row that an edge cuts off
 * is read as the middle one, which changes no value and never wins; a pixel, as minus infinity, or
 * NaN where x is finite. A row's vectors are gone through from the right, so that a pixel gets what
 * its left window gives before what its right one does; nothing is written twice but the row two
 * windows share. */
#include "src/kernels/narrow.h"
#include "src/kernels/pool.h"
#include <math.h>
#include <string.h>

/* What the rows of one call have in common. */
typedef struct Rows {
    int lanes;       /* of each window in a vector, a constant: WIDTH where pixels have more */
    size_t pixel;    /* floats of a pixel */
    size_t x_floats; /* of a row of x */
    size_t y_floats; /* of a row of results */
    size_t middle;   /* where the middle pixel of the first window is: 0, or 1 pixel */
} Rows;

INLINE Rows rows_of(const int lanes, const KernelPool *pool) {
    size_t pixel = (size_t)pool->lanes;
    return (Rows){.lanes = lanes,
        .pixel = pixel,
        .x_floats = pool->width * pixel,
        .y_floats = pool->out_width * pixel,
        .middle = (pool->columns[0].end - 2) * pixel};
}

/* From the windows at y [at] to those of the next vector. */
INLINE size_t step_of(const Rows *rows) {
    return rows->lanes < WIDTH ? WIDTH : rows->pixel;
}

/* What is at x [at], as far as it is in the row, then minus infinity. */
INLINE Vector load_in_row(const Rows *rows, const int is_part, const float *x, size_t at) {
    if (!is_part || at + WIDTH <= rows->x_floats) return load(x + at);
    int count = (int)rows->x_floats - (int)at;
    float part[WIDTH];
    x += at;
    NO_UNROLL
    for (int i = 0; i < WIDTH; i++) part[i] = i < count ? x[i] : -INFINITY;
    return load(part);
}

/* Pixels number 0, 2, ... and 1, 3, ... of some side by side: the middle and right ones of
 * windows. */
typedef struct Pixels {
    Vector middle, right;
} Pixels;

INLINE Pixels load_pair(const Rows *rows, const int is_part, const float *x, size_t at) {
    size_t next = at + step_of(rows);
    if (rows->lanes == WIDTH) {
        int has_right = !is_part || next < rows->x_floats;
        return (Pixels){load(x + at), has_right ? load(x + next) : broadcast(-INFINITY)};
    }
    Vector a = load_in_row(rows, is_part, x, at), b = load_in_row(rows, is_part, x, next);
    return (Pixels){unzipped(rows->lanes, a, b, 0), unzipped(rows->lanes, a, b, 1)};
}

INLINE void store_in_row(
    const Rows *rows, const int is_part, float *x, size_t at, size_t floats, Vector v) {
    if (!is_part || (rows->lanes == WIDTH && at < floats))
        store(x + at, v);
    else if (rows->lanes < WIDTH)
        store_up_to(x, at, floats, v);
}

INLINE void store_pair(const Rows *rows, const int is_part, float *x, size_t at, Pixels pair) {
    Vector a = pair.middle, b = pair.right;
    if (rows->lanes < WIDTH) {
        a = zipped(rows->lanes, pair.middle, pair.right, 0);
        b = zipped(rows->lanes, pair.middle, pair.right, 1);
    }
    store_in_row(rows, is_part, x, at, rows->x_floats, a);
    store_in_row(rows, is_part, x, at + step_of(rows), rows->x_floats, b);
}

/* The left pixels of the windows whose middle ones are at x [at]; `outside` is that of no pixel. */
INLINE Vector load_left(
    const Rows *rows, const int is_part, const float *x, size_t at, Vector right, float outside) {
    if (at < rows->pixel) return moved_up(rows->lanes, broadcast(outside), right);
    return load_pair(rows, is_part, x, at - rows->pixel).middle;
}

/* ---- largest value ---- */

enum { BLOCK_VECTORS = 8 }; /* of a row at once */

INLINE Vector row_best(const Rows *rows, const int is_part, const float *x, size_t at) {
    Pixels pair = load_pair(rows, is_part, x, at);
    Vector left = load_left(rows, is_part, x, at, pair.right, -INFINITY);
    return better_of(pair.right, better_of(pair.middle, left));
}

/* Row `h` of x, or the one before where it is cut off. */
INLINE const float *row_at(const Rows *rows, const KernelPool *pool, const float *x, int h) {
    return x + (h < 0 ? 0 : h < pool->height ? h : pool->height - 1) * rows->x_floats;
}

/* The results at y [at], from those of the row above; the lower one's take their place. */
INLINE void forward_vector(const Rows *rows, const int is_part, const float *middle,
    const float *below, float *y, size_t at, Vector floor, Vector *above) {
    size_t from = 2 * at + rows->middle;
    Vector best = better_of(row_best(rows, is_part, middle, from), *above);
    *above = row_best(rows, is_part, below, from);
    best = better_of(*above, best);
    store_in_row(rows, is_part, y, at, rows->y_floats, masked(best, ~(best < floor)));
}

/* Whether no pixel of the windows at y [at] is beyond the row's end. */
INLINE int is_inside(const Rows *rows, size_t at) {
    size_t step = step_of(rows);
    return 2 * (at + step) + rows->middle <= rows->x_floats && at + WIDTH <= rows->y_floats;
}

/* `count` vectors of each row of y, from `at`; a row's largest serve the windows above and below
 * it.
 */
INLINE void block_forward(const Rows *rows, const float *x, float *y, const KernelPool *pool,
    int relu, size_t at, int count) {
    Vector above[BLOCK_VECTORS], floor = broadcast(relu ? 0.0f : -INFINITY);
    int h = pool->rows[0].end - 3;
    size_t step = step_of(rows);
    const float *row = row_at(rows, pool, x, h);
    int whole = is_inside(rows, at + (count - 1) * step) ? count : count - 1;
    for (int i = 0; i < count; i++)
        above[i] = row_best(rows, 1, row, 2 * (at + i * step) + rows->middle);
    for (int oh = 0; oh < pool->out_height; oh++, h += 2, y += rows->y_floats) {
        const float *middle = row_at(rows, pool, x, h + 1), *below = row_at(rows, pool, x, h + 2);
        for (int i = 0; i < whole; i++)
            forward_vector(rows, 0, middle, below, y, at + i * step, floor, &above[i]);
        if (whole < count)
            forward_vector(rows, 1, middle, below, y, at + whole * step, floor, &above[whole]);
    }
}

INLINE void forward_all(const int lanes, const float *x, float *y, const KernelPool *pool, int relu,
    int begin, int end) {
    Rows rows = rows_of(lanes, pool);
    size_t step = step_of(&rows), block = BLOCK_VECTORS * step;
    for (int c = begin; c < end; c++) {
        const float *from = x + c * input_floats(pool);
        float *to = y + c * output_floats(pool);
        for (size_t at = 0; at < rows.y_floats; at += block) {
            size_t left = (rows.y_floats - at + step - 1) / step;
            int count = left < BLOCK_VECTORS ? (int)left : BLOCK_VECTORS;
            block_forward(&rows, from, to, pool, relu, at, count);
        }
    }
}

/* ---- its gradient ---- */

/* The largest pixels of one row of some windows: the right ones, or else the left or the middle. */
typedef struct Winner {
    Vector best;
    VectorInt is_left, is_right;
} Winner;

/* What is outside is NaN: not at least anything. */
INLINE Winner row_winner(const Rows *rows, const int is_part, const float *x, size_t at) {
    Pixels pair = load_pair(rows, is_part, x, at);
    Vector left = load_left(rows, is_part, x, at, pair.right, NAN);
    Vector best = larger_of(left, pair.middle);
    return (Winner){larger_of(pair.right, best), left >= pair.middle, pair.right > best};
}

/* The rows of x and dx that a row of windows sees, the upper one first. */
typedef struct Three {
    const float *x[3];
    float *dx[3];
    int has_upper, has_lower; /* not cut off */
    int is_shared;            /* the upper one has gradients of the windows above */
} Three;

/* Add to the pixels of row k what its windows give, those from dx [at] on and the left ones to the
 * right of them, whose gradients `next` keeps from one vector to that on its left. */
INLINE void add_row(const Rows *rows, const int is_part, const Three *three, const int k, size_t at,
    const Winner *winner, Vector dy, Vector *next) {
    Vector zero = broadcast(0.0f);
    Pixels sum = {zero, zero};
    if (k == 0 && three->is_shared) sum = load_pair(rows, is_part, three->dx[0], at);
    Vector rest = masked(dy, ~winner->is_right), left = masked(rest, winner->is_left);
    sum.middle += masked(rest, ~winner->is_left);
    sum.right += masked(dy, winner->is_right);
    sum.right += moved_down(rows->lanes, left, *next);
    store_pair(rows, is_part, three->dx[k], at, sum);
    *next = left;
}

/* The gradient of the first pixel of row k where no window has it in the middle. */
INLINE void add_first(const Rows *rows, const Three *three, const int k, Vector next) {
    int is_added = k == 0 && three->is_shared;
    Vector sum = is_added ? load_up_to(three->dx[k], 0, rows->lanes) : broadcast(0.0f);
    store_up_to(three->dx[k], 0, rows->lanes, sum + next);
}

/* What the windows at dy [at] give. */
INLINE void vector_backward(const Rows *rows, const int is_part, const Three *three,
    const float *dy, int relu, size_t at, Vector next[3]) {
    VectorInt no_upper = (VectorInt){REPEAT(three->has_upper ? 0 : -1)};
    Vector floor = broadcast(relu ? 0.0f : -INFINITY);
    size_t from = 2 * at + rows->middle;
    Winner winners[3];
    UNROLL
    for (int k = 0; k < 3; k++) winners[k] = row_winner(rows, is_part, three->x[k], from);
    winners[0].best = (Vector)((VectorInt)winners[0].best | no_upper); /* NaN */
    VectorInt is_upper = winners[0].best >= winners[1].best;
    Vector best = larger_of(winners[0].best, winners[1].best);
    VectorInt is_lowest = winners[2].best > best; /* never if it is cut off */
    best = larger_of(winners[2].best, best);
    int is_cut = is_part && rows->lanes < WIDTH;
    Vector gradient = is_cut ? load_up_to(dy, at, rows->y_floats) : load(dy + at);
    gradient = masked(gradient, best > floor);
    Vector higher = masked(gradient, ~is_lowest);
    if (three->has_upper)
        add_row(rows, is_part, three, 0, from, &winners[0], masked(higher, is_upper), &next[0]);
    add_row(rows, is_part, three, 1, from, &winners[1], masked(higher, ~is_upper), &next[1]);
    if (three->has_lower)
        add_row(rows, is_part, three, 2, from, &winners[2], masked(gradient, is_lowest), &next[2]);
}

INLINE void windows_backward(const Rows *rows, const Three *three, const float *dy, int relu) {
    size_t step = step_of(rows), at = (rows->y_floats + step - 1) / step * step;
    Vector next[3] = {{0}, {0}, {0}};
    if (!is_inside(rows, at - step)) vector_backward(rows, 1, three, dy, relu, at -= step, next);
    while (at > 0) vector_backward(rows, 0, three, dy, relu, at -= step, next);
    if (rows->middle == 0) return;
    if (three->has_upper) add_first(rows, three, 0, next[0]);
    add_first(rows, three, 1, next[1]);
    if (three->has_lower) add_first(rows, three, 2, next[2]);
}

/* One channel, or WIDTH of its lanes; x and dx are at the first of them. */
INLINE void lanes_backward(const Rows *rows, const float *x, const float *dy, float *dx,
    const KernelPool *pool, int relu) {
    int h = pool->rows[0].end - 3;
    for (int oh = 0; oh < pool->out_height; oh++, h += 2, dy += rows->y_floats) {
        Three three = {.has_upper = h >= 0, .has_lower = h + 2 < pool->height, .is_shared = oh > 0};
        for (int k = 0; k < 3; k++) {
            three.x[k] = row_at(rows, pool, x, h + k);
            three.dx[k] = dx + (three.x[k] - x);
        }
        windows_backward(rows, &three, dy, relu);
    }
}

/* Zeros where no vector of windows reaches: at the ends of rows, and below the last window. */
INLINE void zero_rest(const Rows *rows, float *dx, const KernelPool *pool) {
    size_t step = step_of(rows), vectors = (rows->y_floats + step - 1) / step;
    size_t reached = 2 * vectors * step + rows->middle, row = rows->x_floats;
    int h = pool->rows[pool->out_height - 1].end;
    if (reached < row)
        for (int i = 0; i < h; i++) memset(dx + i * row + reached, 0, (row - reached) * sizeof *dx);
    if (h < pool->height) memset(dx + h * row, 0, (pool->height - h) * row * sizeof *dx);
}

INLINE void backward_all(const int lanes, const float *x, const float *dy, float *dx,
    const KernelPool *pool, int relu, int begin, int end) {
    Rows rows = rows_of(lanes, pool);
    size_t in = input_floats(pool), out = output_floats(pool);
    for (int c = begin; c < end; c++) {
        zero_rest(&rows, dx + c * in, pool);
        for (int lane = 0; lane < pool->lanes; lane += lanes == WIDTH ? WIDTH : pool->lanes)
            lanes_backward(
                &rows, x + c * in + lane, dy + c * out + lane, dx + c * in + lane, pool, relu);
    }
}

#if 4 * KERNEL_WIDTH > KERNEL_WIDEST
void KERNEL(max_halved_backward)(const float *x, const float *dy, float *dx, const KernelPool *pool,
    int relu, int begin, int end) {
    backward_all(WIDTH, x, dy, dx, pool, relu, begin, end);
}
#endif

#if KERNEL_WIDTH == KERNEL_WIDEST
/* Call function(lanes, ...) with the number of lanes a constant. */
#if KERNEL_WIDTH == 16
#define WITH_FEW_LANES(lanes, function, ...)                                                       \
    ((lanes) == 1      ? function(1, __VA_ARGS__)                                                  \
        : (lanes) == 2 ? function(2, __VA_ARGS__)                                                  \
                       : function(4, __VA_ARGS__))
#elif KERNEL_WIDTH == 8
#define WITH_FEW_LANES(lanes, function, ...)                                                       \
    ((lanes) == 1 ? function(1, __VA_ARGS__) : function(2, __VA_ARGS__))
#else
#define WITH_FEW_LANES(lanes, function, ...) function(1, __VA_ARGS__)
#endif

void KERNEL(max_halved_forward_narrow)(
    const float *x, float *y, const KernelPool *pool, int relu, int begin, int end) {
    WITH_FEW_LANES(pool->lanes, forward_all, x, y, pool, relu, begin, end);
}

void KERNEL(max_halved_backward_narrow)(const float *x, const float *dy, float *dx,
    const KernelPool *pool, int relu, int begin, int end) {
    WITH_FEW_LANES(pool->lanes, backward_all, x, dy, dx, pool, relu, begin, end);
}
#endif
