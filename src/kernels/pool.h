/* pool.h - what the files of pooling share: tiles of 2 x 2 pixels. */
#ifndef SRC_KERNELS_POOL_H
#define SRC_KERNELS_POOL_H

#include "src/kernels/vector_math.h"

INLINE size_t input_floats(const KernelPool *pool) {
    return (size_t)pool->height * pool->width * pool->lanes;
}

INLINE size_t output_floats(const KernelPool *pool) {
    return (size_t)pool->out_height * pool->out_width * pool->lanes;
}

/* Whether v takes the place of `best`, which came before it: PyTorch's rule. */
INLINE VectorInt is_better(Vector v, Vector best) {
    return (v > best) | (v != v);
}

/* a where it is NaN, else b; in a loop as larger_of. */
INLINE Vector nan_or(Vector a, Vector b) {
    float item[WIDTH], other[WIDTH];
    store(item, a);
    store(other, b);
    NO_UNROLL
    for (int i = 0; i < WIDTH; i++) item[i] = item[i] != item[i] ? item[i] : other[i];
    return load(item);
}

/* The one that stays of the two. */
INLINE Vector better_of(Vector v, Vector best) {
    return nan_or(v, larger_of(v, best));
}

/* Pixels of tiles: upper left, upper right, lower left, lower right. */
typedef struct Tile {
    Vector v[4];
} Tile;

/* The largest pixel, or max(that, 0). */
INLINE Vector tile_best(Tile tile, int relu) {
    Vector best = tile.v[0];
    UNROLL
    for (int k = 1; k < 4; k++) best = better_of(tile.v[k], best);
    return relu ? rectified(best) : best;
}

/* The largest pixel, and where it is: at the last pixel that wins, or else the first. */
INLINE Vector tile_winner(Tile x, VectorInt wins[4]) {
    Vector best = x.v[0];
    UNROLL
    for (int k = 1; k < 4; k++) {
        wins[k] = is_better(x.v[k], best);
        best = choose(wins[k], x.v[k], best);
    }
    return best;
}

/* dy for the pixels that won, where the mask is set. */
INLINE Tile tile_gradient(const VectorInt wins[4], Vector dy, VectorInt is_open) {
    Tile dx;
    UNROLL
    for (int k = 3; k >= 1; k--) {
        dx.v[k] = masked(dy, wins[k] & is_open);
        is_open &= ~wins[k];
    }
    dx.v[0] = masked(dy, is_open);
    return dx;
}

/* As a window's: the sums of two rows. */
INLINE Vector tile_mean(Tile tile) {
    return ((tile.v[0] + tile.v[1]) + (tile.v[2] + tile.v[3])) * broadcast(0.25f);
}

/* Pooling of tiles for fewer lanes than the widest vector has floats, in the widest vectors. */
void KERNEL_OF_WIDEST(max_tiles_forward)(
    const float *x, float *y, const KernelPool *pool, int relu, int begin, int end);
void KERNEL_OF_WIDEST(max_tiles_backward)(const float *x, const float *dy, float *dx,
    const KernelPool *pool, int relu, int begin, int end);
void KERNEL_OF_WIDEST(mean_tiles_forward)(
    const float *x, float *y, const KernelPool *pool, int begin, int end);
void KERNEL_OF_WIDEST(mean_tiles_backward)(
    const float *dy, float *dx, const KernelPool *pool, int begin, int end);

/* The largest values of windows that are halved, for lanes of which four fit the widest vector. */
void KERNEL_OF_WIDEST(max_halved_forward_narrow)(
    const float *x, float *y, const KernelPool *pool, int relu, int begin, int end);
/* Their gradients where all x are finite, for the same lanes and for more. */
void KERNEL_OF_WIDEST(max_halved_backward_narrow)(const float *x, const float *dy, float *dx,
    const KernelPool *pool, int relu, int begin, int end);
void KERNEL(max_halved_backward)(const float *x, const float *dy, float *dx, const KernelPool *pool,
    int relu, int begin, int end);
#if 4 * KERNEL_WIDTH <= KERNEL_WIDEST
enum { HAS_FEW_LANES = 1 };
#define MAX_HALVED_BACKWARD KERNEL_OF_WIDEST(max_halved_backward_narrow)
#else
enum { HAS_FEW_LANES = 0 };
#define MAX_HALVED_BACKWARD KERNEL(max_halved_backward)
#endif

#endif
