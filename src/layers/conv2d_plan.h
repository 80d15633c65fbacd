/* conv2d_plan.h - the geometry of conv2d: its passes as the convolutions that the kernels compute.
 */
#ifndef SRC_LAYERS_CONV2D_PLAN_H
#define SRC_LAYERS_CONV2D_PLAN_H

#include "src/kernels/kernels.h"

enum { HEIGHT, WIDTH, SIDES };
enum { CONV2D_TAPS_MAX = KERNEL_TAPS_MAX };

/* Sizes of a layer: channels of all groups, pixels [height, width]. */
typedef struct Conv2dSizes {
    int in, out, groups;
    int x_size[SIDES], y_size[SIDES];
    int kernel[SIDES], stride[SIDES], padding[SIDES], dilation[SIDES];
    int uses_winograd; /* for results and the input's gradient */
} Conv2dSizes;

/* A copy of an image with zeros around it, for kernels that must not leave it. */
typedef struct Conv2dHalo {
    int top, left, height, width; /* height and width of the copy; height 0: none is needed */
    int tail;                     /* columns of zeros after the last row */
    int phases; /* columns 0, phases, 2 phases, ... lie side by side, then 1, phases + 1, ... */
} Conv2dHalo;

/* From one result to the next in the image written: floats, and pixels in a row. */
typedef struct Conv2dSteps {
    size_t channel, row, column;
} Conv2dSteps;

/* A convolution of one group of one microbatch, from one image of activations to another. `conv`
 * points into the plan. */
typedef struct Conv2dPlan {
    KernelConv conv;
    KernelTap taps[CONV2D_TAPS_MAX];
    const Kernels *kernels;
    int uses_winograd;
    int lanes;
    int image_height, image_width; /* of what is read, without the halo */
    Conv2dHalo halo;
    Conv2dSteps steps;
    int spreads;       /* results lie side by side first: conv2d_spread */
    size_t out_offset; /* floats of the image written to its first result */
} Conv2dPlan;

/* Local. Taps of the window; weights of one output channel. */
int conv2d_taps(const Conv2dSizes *sizes);
size_t conv2d_weights_of_output(const Conv2dSizes *sizes);

/* Local. From x to y; and the same for the gradient of the weights, whose kernel needs a halo
 * wherever there is padding. */
void conv2d_plan_forward(
    Conv2dPlan *plan, const Conv2dSizes *sizes, const Kernels *kernels, int lanes);
void conv2d_plan_weight_gradient(
    Conv2dPlan *plan, const Conv2dSizes *sizes, const Kernels *kernels, int lanes);

/* Local. From dy to the pixels of dx at rows phase_row, phase_row + stride, ..., columns alike. */
void conv2d_plan_input_gradient(Conv2dPlan *plan, const Conv2dSizes *sizes, const Kernels *kernels,
    int lanes, int phase_row, int phase_column);

/* Local. Floats of `channels` channels with their halo, 0 without one; an upper bound for one group
 * in all the plans of a layer. */
size_t conv2d_halo_floats(const Conv2dPlan *plan, int channels);
size_t conv2d_halo_floats_max(const Conv2dSizes *sizes, int lanes);

/* Local. `image`, or where the plan needs a halo, its copy in `copy` [conv2d_halo_floats]. */
const float *conv2d_surround(const Conv2dPlan *plan, const float *image, int channels, float *copy);

/* Local. Take rows [row_begin, row_end) of the results of a plan that spreads them to their places;
 * an upper bound of the floats of all results, for one group. */
void conv2d_spread(
    const Conv2dPlan *plan, const float *results, float *image, int row_begin, int row_end);
size_t conv2d_spread_floats_max(const Conv2dSizes *sizes, int lanes);

#endif
