/* reducer.c - see reducer.h. */
#include "src/reducer.h"
#include "src/status.h"
#include <string.h>

void reducer_merge_sum(double *left, const double *right, int length) {
    for (int i = 0; i < length; i++) left[i] += right[i];
}

/* Fold `count` records, those of `nodes`, or of single leaves 0, 1, ... where `nodes` is NULL. Slot
 * s of the fold is record s: a slot never lies beyond the record that is put into it. */
static void fold_records(
    const TreeNode *nodes, int64_t count, int length, ReducerMerge merge, double *records) {
    TreeFold fold;
    tree_fold_begin(&fold);
    for (int64_t n = 0; n < count; n++) {
        int slot = fold.depth;
        TreeNode node = nodes != NULL ? nodes[n] : (TreeNode){.begin = n, .count = 1};
        if (slot != n)
            memcpy(records + (size_t)slot * length, records + (size_t)n * length,
                (size_t)length * sizeof *records);
        for (int merges = tree_fold_push(&fold, node); merges > 0; merges--, slot--)
            merge(records + (size_t)(slot - 1) * length, records + (size_t)slot * length, length);
    }
    int slot = fold.depth - 1;
    for (int merges = tree_fold_finish(&fold); merges > 0; merges--, slot--)
        merge(records + (size_t)(slot - 1) * length, records + (size_t)slot * length, length);
}

void reducer_fold(
    const TreeNode *nodes, int count, int length, ReducerMerge merge, double *records) {
    fold_records(nodes, count, length, merge, records);
}

void reducer_fold_leaves(int64_t count, int length, ReducerMerge merge, double *records) {
    fold_records(NULL, count, length, merge, records);
}

static void combine_alone(Reducer *self, const Batch *batch, int group, int length,
    ReducerMerge merge, double *records, double *grouped, double *total) {
    (void)self;
    int64_t leaves = batch->global_microbatch_count;
    REQUIRE(batch->local_count == leaves && group > 0 && length > 0);
    size_t bytes = (size_t)length * sizeof *records;
    int64_t groups = 0;
    for (int64_t begin = 0; begin < leaves; begin += group, groups++) {
        int64_t count = begin + group < leaves ? group : leaves - begin;
        double *of_group = records + (size_t)begin * length;
        reducer_fold_leaves(count, length, merge, of_group);
        for (int64_t m = begin; grouped != NULL && m < begin + count; m++)
            memcpy(grouped + (size_t)m * length, of_group, bytes);
        memmove(records + (size_t)groups * length, of_group, bytes);
    }
    if (total == NULL) return;
    reducer_fold_leaves(groups, length, merge, records);
    memcpy(total, records, bytes);
}

Reducer *reducer_of_one_rank(void) {
    static Reducer alone = {.combine = combine_alone};
    return &alone;
}
