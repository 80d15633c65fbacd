/* network.h - the layers of a job, and one block each for parameters, gradients and activations. */
#ifndef SRC_NETWORK_H
#define SRC_NETWORK_H

#include "src/sequence.h"

typedef struct NetworkSpec {
    Shape input; /* of one sample: [features] or [c, h, w] */
    LayerList list;
} NetworkSpec;

/* A tensor of the network under its full name. */
typedef struct NamedTensor {
    char name[LAYER_PATH_BYTES + LAYER_NAME_BYTES]; /* "0.weight" */
    LayerTensor *tensor;
} NamedTensor;

typedef struct Network {
    Shape input, output;
    Sequence *body;
    int layer_count;
    Layer **layers; /* all, also those within others, in order of Layer.index */
    int tensor_count;
    NamedTensor *tensors; /* of all layers, in order */
    size_t
        parameter_block_floats; /* with the gaps between parameters; a multiple of the block size */
    size_t parameter_count;     /* numbers that are trained */
    float *parameters;          /* borrowed: see network_attach */
    float *buffers;             /* owned */
    float *activation_block;    /* owned: activations and their gradients */
    float *scratch_block;       /* owned */
    size_t buffer_floats, activation_bytes, scratch_bytes;
    int microbatches_max; /* local microbatches there is memory for */
    int lanes;
} Network;

enum { NETWORK_BLOCK_FLOATS = 1024 }; /* parameter blocks are cut at multiples of this */

/* Local. Configure the layers for up to `microbatches_max` local microbatches of `lanes` lanes and
 * allocate all but the parameters. The spec must outlive the network. The caller frees with
 * network_free, also after a failure. Fails with STATUS_CONFIG (shapes, names), STATUS_NO_MEMORY.
 */
MUST_CHECK Status network_create(
    Network **network, const NetworkSpec *spec, int lanes, int microbatches_max, int thread_count);
void network_free(Network *network);

/* Local. The same without the memory: a network to ask for shapes and sizes, that cannot run. */
MUST_CHECK Status network_plan(
    Network **network, const NetworkSpec *spec, int lanes, int microbatches_max, int thread_count);

/* Local. Whether network_create would accept the spec: configure its layers, allocate none of their
 * memory, and free them again; `*output` is the shape of what it gives for a sample. Fails as
 * network_create; *refused is then the layer that cannot be set up, NULL if it is no single one. */
MUST_CHECK Status network_check(const NetworkSpec *spec, Shape *output, const LayerSpec **refused);

/* Local. Use `parameters` [parameter_block_floats], 64-byte aligned, owned by the caller. */
void network_attach(Network *network, float *parameters);

/* Local. Set buffers and counters to their start values and, if writes_parameters, the parameters;
 * the same on every rank: where ranks share the parameters one of them writes. */
void network_initialize(Network *network, uint64_t seed, int writes_parameters);

/* Collective through pass->reducer: all ranks run the same layers in the same order.
 * Forward: from network_input, which the caller has filled, to network_output.
 * Backward: from the gradient of the last activation, which the caller has put into
 * network_output_gradient, to the gradients of all parameters, one block per node of the batch. */
void network_forward(Network *network, const Pass *pass);
void network_backward(Network *network, const Pass *pass);

/* Local. Multiply-adds of a sample in a training step, as sequence_multiply_adds. */
double network_step_multiply_adds(const Network *network);

/* Local. Where the samples go, the network's output, and where the loss puts its gradient. */
Tensor *network_input(Network *network);
const Tensor *network_output(const Network *network);
Tensor network_output_gradient(Network *network);

#endif
