/* depthwise.h - a conv2d whose groups have one input channel and a few output channels each: its
 * passes as the kernels for such convolutions want them. */
#ifndef SRC_LAYERS_DEPTHWISE_H
#define SRC_LAYERS_DEPTHWISE_H

#include "src/layers/conv2d_plan.h"

/* Places that a pixel of x can have between the steps of the window, each with columns that vectors
 * wider than the lanes can take and others. */
enum { DEPTHWISE_PHASES_MAX = 4, DEPTHWISE_PARTS_MAX = 2 * DEPTHWISE_PHASES_MAX };

/* Convolutions that together write all of an image. */
typedef struct DepthwisePlan {
    int from_channels, to_channels; /* of what is read, and written */
    size_t from_plane, to_plane;    /* floats of a channel of one microbatch */
    size_t to_weights;              /* floats of the weights of a channel written */
    int part_count;
    struct {
        KernelDepthwise grid;
        const Kernels *kernels;
        size_t to_offset; /* floats of a channel to its first result */
    } parts[DEPTHWISE_PARTS_MAX];
} DepthwisePlan;

/* Local. Whether the sizes are such that this serves them, and better than tiles of several output
 * channels would. */
int depthwise_suits(const Conv2dSizes *sizes);

/* Local. From x to y, and for the gradient of the weights; from dy to dx. */
void depthwise_plan_forward(
    DepthwisePlan *plan, const Conv2dSizes *sizes, const Kernels *kernels, int lanes);
void depthwise_plan_input_gradient(
    DepthwisePlan *plan, const Conv2dSizes *sizes, const Kernels *kernels, int lanes);

/* Local. One microbatch: the channels [begin, end) of what is written. bias may be NULL. */
void depthwise_run(const DepthwisePlan *plan, const float *weight, const float *bias,
    const float *from, float *to, int begin, int end);

/* Local. One microbatch: dweight [end - begin][taps] of the output channels [begin, end). */
void depthwise_weight_gradient(
    const DepthwisePlan *plan, const float *dy, const float *x, float *dweight, int begin, int end);

#endif
