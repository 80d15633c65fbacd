/* reducer.h - the one thing the network asks of other ranks: combine small records over
 * microbatches.
 *
 * src/ defines it, mpi/ implements it; reducer_of_one_rank is the implementation without MPI. */
#ifndef SRC_REDUCER_H
#define SRC_REDUCER_H

#include "src/batch.h"

/* Merge record `right` into `left`, both double [length]; `left` holds the lower microbatches. */
typedef void (*ReducerMerge)(double *left, const double *right, int length);

typedef struct Reducer Reducer;
struct Reducer {
    /* Collective: length, merge, group and batch (but for its local_ fields) equal on all ranks.
     * Combines one record per microbatch, `records` [local_count][length], destroyed.
     * The microbatches form groups of `group` consecutive ones (the last may be shorter); within
     * each group the records are merged over the group's own tree, then the groups over a tree of
     * groups. group >= global_microbatch_count means one group.
     * grouped [local_count][length]: the record of the group that each local microbatch is in; may
     * be NULL.  total [length]: all of them; filled on every rank, also on one without
     * microbatches; may be NULL when only groups are wanted. */
    void (*combine)(Reducer *self, const Batch *batch, int group, int length, ReducerMerge merge,
        double *records, double *grouped, double *total);
};

enum { REDUCER_LENGTH_MAX = 1 << 20 }; /* doubles in a record; larger ones do not belong here */

/* Local. Add record to record. */
void reducer_merge_sum(double *left, const double *right, int length);

/* Local. Merge `records` [count][length], in place, along the tree; the result is records[0]. The
 * first takes the records of `nodes`, in leaf order, which together cover a tree; the second those
 * of the leaves 0..count-1. For implementations of Reducer. */
void reducer_fold(
    const TreeNode *nodes, int count, int length, ReducerMerge merge, double *records);
void reducer_fold_leaves(int64_t count, int length, ReducerMerge merge, double *records);

/* Local. The reducer of a single rank; for programs and tests without MPI. */
Reducer *reducer_of_one_rank(void);

#endif
