/* own_norm.h - what group_norm and layer_norm share: y = (x - mean) / sqrt(var + eps) * weight +
 * bias, mean and biased variance over groups of rows of each sample by itself. */
#ifndef SRC_LAYERS_OWN_NORM_H
#define SRC_LAYERS_OWN_NORM_H

#include "src/layers/microbatch.h"

typedef struct OwnNormState {
    int groups, rows;    /* x [groups][rows][lanes] */
    int rows_per_weight; /* pixels of a channel, or 1 */
    double eps;
    int weight, bias;   /* parameters; -1 without affine */
    int statistics;     /* scratch per microbatch: see KernelGroupNorm */
    int dweight, dbias; /* scratch per microbatch: what it adds to the gradients */
} OwnNormState;

/* Local; for configure, with groups, rows, rows_per_weight and eps set: add weight and bias of the
 * given shape where is_affine, and scratch memory. */
void own_norm_configure(Layer *self, Shape weights, int is_affine);
void own_norm_forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y);
void own_norm_backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx);

#endif
