/* batch.c - see batch.h. */
#include "src/batch.h"
#include "src/status.h"

int batch_lanes(int microbatch) {
    for (int lanes = 1; lanes <= 8; lanes *= 2)
        if (microbatch <= lanes) return lanes;
    return (microbatch + 15) / 16 * 16;
}

void batch_plan(Batch *batch, int64_t global_sample_count, int microbatch, int rank, int size) {
    REQUIRE(global_sample_count > 0 && microbatch > 0 && rank >= 0 && rank < size);
    int64_t total = (global_sample_count + microbatch - 1) / microbatch;
    int64_t begin = tree_first_leaf(rank, size, total);
    int64_t end = tree_first_leaf(rank + 1, size, total);
    *batch = (Batch){.global_sample_count = global_sample_count,
        .global_microbatch_count = total,
        .local_begin = begin,
        .local_count = (int)(end - begin),
        .microbatch = microbatch,
        .lanes = batch_lanes(microbatch)};
    batch->node_count = tree_cover(begin, end - begin, total, batch->nodes);
}

int batch_valid_lanes(const Batch *batch, int m) {
    int64_t left = batch->global_sample_count - batch_first_sample(batch, m);
    return left < batch->microbatch ? (int)left : batch->microbatch;
}

int64_t batch_first_sample(const Batch *batch, int m) {
    return (batch->local_begin + m) * batch->microbatch;
}
