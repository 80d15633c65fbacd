/* sequence.h - layers that run one after the other: the body of a network, or a list that a layer
 * holds. For network.c and for layers that hold others. */
#ifndef SRC_SEQUENCE_H
#define SRC_SEQUENCE_H

#include "src/layer.h"

struct Sequence {
    int layer_count;
    Layer *layers;
    Tensor *activations; /* [layer_count + 1]: [0] is the input; memory: see plan.h */
    Tensor *gradients;   /* [layer_count + 1]: of the activations */
};

/* What the sequences of one network share while it is set up. */
struct SequenceSetup {
    int lanes, thread_count, microbatches_max;
    int layer_count;          /* configured so far, also within others */
    const LayerSpec *refused; /* after a failure: the layer, the innermost, that was not set up */
};

/* Local. Configure the layers of `list`, which must outlive the sequence, for input `in`; *out is
 * the output's shape. `parent` is the layer that holds them, NULL for a network, and `prefix` what
 * stands between its label and theirs. The caller frees with sequence_free, also after a failure.
 * Fails with STATUS_CONFIG, STATUS_NO_MEMORY. */
MUST_CHECK Status sequence_create(Sequence **sequence, SequenceSetup *setup, const LayerList *list,
    const Layer *parent, const char *prefix, Shape in, Shape *out);
void sequence_free(Sequence *sequence);

/* Local. Put all its layers, and those within them, into `layers` at their Layer.index. */
void sequence_collect(const Sequence *sequence, Layer **layers);

/* Collective through pass->reducer: all ranks run the same layers in the same order.
 * Forward: from the first activation to the last. Backward: from the gradient of the last
 * activation, which it may overwrite, to the parameters' gradients and, if wants_input, that of
 * the first activation. */
void sequence_forward(Sequence *sequence, const Pass *pass);
void sequence_backward(Sequence *sequence, const Pass *pass, int wants_input);

/* Local. Multiply-adds of a sample in both passes: a layer's own, as many again for the gradient of
 * its weights, and for that of its input where sequence_backward wants it. */
double sequence_multiply_adds(const Sequence *sequence, int wants_input);

/* Local. The last activation, and its gradient. */
Tensor *sequence_output(const Sequence *sequence);
Tensor *sequence_output_gradient(const Sequence *sequence);

#endif
