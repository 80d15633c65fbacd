/* pool.h - what the pooling layers share: options of one number or [h, w], windows, both passes. */
#ifndef SRC_LAYERS_POOL_H
#define SRC_LAYERS_POOL_H

#include "src/layers/microbatch.h"

enum { POOL_SIZE_MAX = 1 << 15 };

/* One direction of a pooling layer; `in` is that of its input. */
typedef struct PoolAxis {
    int in, out;
    int kernel, stride, padding, dilation; /* of sliding windows; kernel 0: adaptive regions */
    int counts_padding;                    /* means: pixels of the padding count */
} PoolAxis;

typedef struct PoolState {
    int channels;
    PoolAxis axis[2]; /* of height, of width */
    int windows;      /* scratch: KernelWindow [out_height + out_width] */
} PoolState;

/* Local; for configure. Check the input's shape and start the state from it. */
MUST_CHECK Status pool_begin(Layer *self, Shape in);

/* Options of sliding windows; none of an option that a layer's table does not have. */
typedef struct PoolWindows {
    OptionInts kernel, stride, padding, dilation;
    int ceil_mode;
} PoolWindows;

/* Local; for configure, the whole of it: windows that slide over the input, PyTorch's output size.
 * With ceil_mode a last window, be it the only one, may hang over the end by less than a stride, if
 * it starts within the input or the padding before it. Fails with STATUS_CONFIG where a window
 * would see no pixel. */
MUST_CHECK Status pool_slide(Layer *self, const PoolWindows *chosen, Shape in, Shape *out);

/* Local; for configure. The output's shape and the scratch memory. */
void pool_finish(Layer *self, Shape *out);

/* Local. Fill the windows' tables; before the first use in a pass, by one thread. */
void pool_set_windows(Layer *self);

/* Local. What the kernels want. */
KernelPool pool_kernel(const Layer *self, int lanes);

/* Local. Both passes of a layer of means, its type's forward and backward. */
void pool_mean_forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y);
void pool_mean_backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx);

#endif
