/* harness.h - one network and one batch in a test: sample-major arrays in and out, as PyTorch has
 * them. */
#ifndef TESTS_SUPPORT_HARNESS_H
#define TESTS_SUPPORT_HARNESS_H

#include "src/job.h"
#include "src/network.h"

typedef struct Harness {
    Job job;
    int rank, size;
    const Kernels *kernels;
    Threads *threads;
    Network *network;
    float *parameters;
    Batch batch;
    float *gradients[TREE_NODES_MAX];
    int64_t *sample_index;
    Pass pass;
    Tensor input_gradient; /* after harness_backward */
} Harness;

typedef struct HarnessOptions {
    const char *input;  /* "[1, 2, 3]" */
    const char *layers; /* YAML flow: "[relu, {linear: {out: 3}}]" */
    int samples;        /* of the global batch */
    int microbatch;
    int threads;      /* 0: one */
    const char *isa;  /* NULL: the best */
    int rank, size;   /* size 0: one rank */
    Reducer *reducer; /* NULL: one rank's */
} HarnessOptions;

/* Local. Whether the network can be built; status_message says why not. */
int harness_accepts(const HarnessOptions *options);

/* Local. Set up a network with its start values for seed 1. Ends the test program on failure. The
 * caller frees with harness_free. */
void harness_create(Harness *harness, const HarnessOptions *options);
void harness_free(Harness *harness);

/* Local. Another batch of `samples` samples, at most as many as at first. */
void harness_use_batch(Harness *harness, int samples);

/* Local. Run forward on x [samples][features] of the whole global batch (this rank takes its part).
 */
void harness_forward(Harness *harness, const float *x, int is_training);

/* Local. Run backward from dy [samples][outputs] of the whole global batch. */
void harness_backward(Harness *harness, const float *dy);

/* Local. Put the network's output [samples][outputs] of this rank's samples in place; the rest of
 * `y` is not touched. */
void harness_output(const Harness *harness, float *y);

/* Local. A tensor by its full name ("0.weight"); ends the test program when there is none. */
LayerTensor *harness_tensor(const Harness *harness, const char *name);

/* Local. The gradient of a parameter where the batch is one node (one rank). */
const float *harness_gradient(const Harness *harness, const char *name);

/* Local. This rank's samples: [*begin, *end) of the global batch. */
void harness_samples(const Harness *harness, int *begin, int *end);

/* Local. Largest |a - b| / (1 + |b|) over n numbers; infinity where one is NaN and the other not.
 */
double harness_distance(const float *a, const float *b, size_t n);

/* Local. The gradient of the input, of this rank's samples, put in place in dx [samples][features].
 */
void harness_input_gradient(const Harness *harness, float *dx);

#endif
