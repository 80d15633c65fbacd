/* batch.h - one global batch, as one rank sees it: which microbatches are local, and their samples.
 */
#ifndef SRC_BATCH_H
#define SRC_BATCH_H

#include "src/tree.h"
#include <stddef.h>
#include <stdint.h>

/* Equal on all ranks but for the local_ fields. A microbatch of S samples is stored with `lanes`
 * lanes, S rounded up to 1, 2, 4, 8 or a multiple of 16; the lanes beyond its samples are zero in
 * the input, carry no loss and no gradient and count in no statistic. */
typedef struct Batch {
    int64_t global_sample_count; /* samples of this batch; the last one of an epoch may be short */
    int64_t global_microbatch_count; /* M = ceil(samples / S) */
    int64_t local_begin;             /* first microbatch of this rank */
    int local_count;                 /* its microbatches: 0 is possible */
    int microbatch;                  /* S */
    int lanes;
    int node_count; /* the maximal subtrees that cover the local microbatches */
    TreeNode nodes[TREE_NODES_MAX];
} Batch;

/* Local. The lanes that a microbatch of S samples is stored with. */
int batch_lanes(int microbatch);

/* Local. Describe a batch of `global_sample_count` > 0 samples for one of `size` ranks. */
void batch_plan(Batch *batch, int64_t global_sample_count, int microbatch, int rank, int size);

/* Local. Samples in local microbatch m: S, or fewer in the last of the global batch. */
int batch_valid_lanes(const Batch *batch, int m);

/* Local. Position in the global batch of the first sample of local microbatch m. */
int64_t batch_first_sample(const Batch *batch, int m);

#endif
