/* microbatch.h - for layers that treat every microbatch by itself: the loop over the local ones,
 * and over ranges of their rows, on all threads. */
#ifndef SRC_LAYERS_MICROBATCH_H
#define SRC_LAYERS_MICROBATCH_H

#include "src/layer.h"

/* One range of one microbatch: forward from x to out (y), or backward from x, y and dy to out (dx).
 * Pointers are to the start of the microbatch. */
typedef struct Microbatch {
    const Layer *self;
    const Kernels *kernels;
    int m;          /* which one of the local ones */
    int lanes;      /* of which `valid` hold samples */
    int valid;      /* at least one */
    int begin, end; /* the range of rows */
    Shape shape;    /* of x */
    const float *x, *y, *dy;
    float *out; /* in backward NULL where nobody wants it */
} Microbatch;

typedef void (*MicrobatchWork)(const Microbatch *microbatch);

/* Local. Do `work` for all `rows` rows of every local microbatch: in one range, or in several where
 * there are more threads than microbatches. The work's bits must not depend on the cuts. */
void microbatch_forward(
    Layer *self, const Pass *pass, const Tensor *x, Tensor *y, int rows, MicrobatchWork work);
void microbatch_backward(Layer *self, const Pass *pass, const Tensor *x, const Tensor *y,
    const Tensor *dy, Tensor *dx, int rows, MicrobatchWork work);

/* The state of a layer whose output has its input's shape, without parameters: what it does to the
 * rows of a microbatch, and how many rows that has. */
typedef struct MicrobatchState {
    int rows;
    MicrobatchWork forward, backward;
} MicrobatchState;

/* Local. The configure of such a layer, for work that sees single numbers, or the whole microbatch;
 * and both passes. */
MUST_CHECK Status microbatch_configure_elements(
    Layer *self, Shape in, Shape *out, MicrobatchWork forward, MicrobatchWork backward);
MUST_CHECK Status microbatch_configure_whole(
    Layer *self, Shape in, Shape *out, MicrobatchWork forward, MicrobatchWork backward);
void microbatch_state_forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y);
void microbatch_state_backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx);

/* Local. Floats in rows [begin, end) of x [rows][lanes], and where they begin: for kernels that see
 * single numbers. */
size_t microbatch_floats(const Microbatch *microbatch);
size_t microbatch_offset(const Microbatch *microbatch);

/* Local. Floats of one channel of x, all its pixels: for kernels that see whole channels. */
size_t microbatch_channel_floats(const Microbatch *microbatch);

#endif
