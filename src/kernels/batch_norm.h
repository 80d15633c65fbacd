/* batch_norm.h - what the files of batch norm share: a channel's numbers in vectors, and what they
 * make of x and dy. Compiled the same everywhere: z has the same bits in both passes. */
#ifndef SRC_KERNELS_BATCH_NORM_H
#define SRC_KERNELS_BATCH_NORM_H

#include "src/kernels/sums.h"

/* One channel's row of a KernelNorm. */
typedef struct Channel {
    Vector high, low, scale, shift;
} Channel;

INLINE Channel channel_of(KernelNorm norm, int c) {
    return (Channel){.high = broadcast(norm.mean_high[c]),
        .low = broadcast(norm.mean_low[c]),
        .scale = broadcast(norm.scale[c]),
        .shift = broadcast(norm.shift[c])};
}

INLINE Vector centered(Vector x, Channel channel) {
    return x - channel.high - channel.low;
}

/* Half vectors of a channel's row: what decides whether a relu passes dy. */
typedef struct HalfChannel {
    HalfVector high, low, scale, shift;
    DoubleVector mean;
} HalfChannel;

INLINE HalfVector broadcast_half(float value) {
    return (HalfVector){REPEAT_HALF(value)};
}

INLINE HalfChannel half_channel_of(KernelNorm norm, int c) {
    return (HalfChannel){.high = broadcast_half(norm.mean_high[c]),
        .low = broadcast_half(norm.mean_low[c]),
        .scale = broadcast_half(norm.scale[c]),
        .shift = broadcast_half(norm.shift[c]),
        .mean = broadcast_double((double)norm.mean_high[c] + (double)norm.mean_low[c])};
}

/* dy, or 0 where the relu behind did not pass x: the very z of the forward pass is not positive. */
INLINE DoubleVector passed(
    const float *dy, const float *x, const HalfChannel *channel, int rectifies) {
    HalfVector gradient = load_half(dy);
    if (rectifies) {
        HalfVector z = (load_half(x) - channel->high - channel->low) * channel->scale;
        z += channel->shift;
        gradient = (HalfVector)((HalfVectorInt)gradient & (z > broadcast_half(0.0f)));
    }
    return __builtin_convertvector(gradient, DoubleVector);
}

#endif
