/* plan.h - where the activations of a network and their gradients lie.
 *
 * An activation lives from forward to backward, unless its layer may overwrite its input and nobody
 * else reads that. The gradients take turns in as few slots as are in use at the same time. */
#ifndef SRC_PLAN_H
#define SRC_PLAN_H

#include "src/sequence.h"

/* Local. Set the memory of all activations and gradients of `body`, also within its layers, to
 * parts of `block`, 64-byte aligned, for up to `microbatches` local microbatches of `lanes` lanes.
 * Returns how many floats that takes; with block NULL this is all it does. */
size_t plan_memory(Sequence *body, int lanes, int microbatches, float *block);

#endif
