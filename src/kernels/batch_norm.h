/* batch_norm.h - what the files of batch norm share: a channel's numbers in vectors, and what they
 * make of x. Compiled the same everywhere: z has the same bits in both passes.
 *
 * A channel is a row of pixels * lanes floats, of which number i is in lane i % lanes. Rows shorter
 * than a vector that divide it lie side by side in `floats` vectors, WIDTH of them: pieces. */
#ifndef SRC_KERNELS_BATCH_NORM_H
#define SRC_KERNELS_BATCH_NORM_H

#include "src/kernels/narrow.h"

/* A channel's numbers, or in each item those of the channel it belongs to. */
typedef struct Channel {
    Vector mean, scale, shift;
} Channel;

INLINE Vector normalized(Vector x, Channel channel) {
    return (x - channel.mean) * channel.scale + channel.shift;
}

/* dy where the relu behind passed x: the very z of the forward pass is positive. */
INLINE Vector passed(Vector dy, Vector x, Channel channel) {
    return masked(dy, normalized(x, channel) > broadcast(0.0f));
}

/* Which items hold samples, in the vector that begins with float i of a row. */
INLINE VectorInt valid_items(size_t i, int lanes, int valid) {
    VectorInt lane = (VectorInt){COUNT_UP};
    if (lanes < WIDTH)
        lane &= (VectorInt){REPEAT(lanes - 1)};
    else
        valid -= (int)(i % (size_t)lanes);
    return lane < (VectorInt){REPEAT(valid)};
}

#endif
