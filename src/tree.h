/* tree.h - the fixed binary tree over the microbatches of a global batch, and who owns its leaves.
 *
 * Whatever is combined over microbatches is combined over this tree: node (k, i) is node (k-1, 2i)
 * merged with node (k-1, 2i+1); an absent leaf is skipped. The tree depends on the number of
 * microbatches alone, so any number of ranks and threads gives the same bits. */
#ifndef SRC_TREE_H
#define SRC_TREE_H

#include <stdint.h>

enum { TREE_LEVELS_MAX = 40 }; /* a range of leaves has at most two nodes per level */
enum { TREE_NODES_MAX = 2 * TREE_LEVELS_MAX };

/* A subtree whose leaves all belong to one owner. */
typedef struct TreeNode {
    int64_t begin; /* its first leaf; a multiple of 2^level */
    int64_t count; /* leaves present: 2^level, or fewer where the tree's last leaves are absent */
    int level;
} TreeNode;

/* Local. Write the maximal subtrees that cover the leaves [begin, begin + count) of a tree of
 * `total` leaves, in leaf order; returns how many (0 for no leaves, at most TREE_NODES_MAX). */
int tree_cover(int64_t begin, int64_t count, int64_t total, TreeNode nodes[TREE_NODES_MAX]);

/* Local. First leaf of owner `owner` of `owner_count`, who own contiguous ranges whose lengths
 * differ by at most one; owner = owner_count gives `total`. */
int64_t tree_first_leaf(int owner, int owner_count, int64_t total);

/* A merge of values along the tree. Values arrive in leaf order; `tree_fold_push` says which are to
 * be merged: merge the value in slot s+1 into the one in slot s for s = from-1 down to its result.
 */
typedef struct TreeFold {
    TreeNode stack[TREE_LEVELS_MAX];
    int depth; /* slots in use */
} TreeFold;

/* Local. Start over with no value. */
void tree_fold_begin(TreeFold *fold);

/* Local. A value for `node` has been put into slot fold->depth. Returns how many merges are due
 * now: each merges the topmost slot into the one below (left ⊕ right -> left). */
int tree_fold_push(TreeFold *fold, TreeNode node);

/* Local. No more values: how many merges (topmost into the one below) remain until slot 0 holds
 * all. */
int tree_fold_finish(TreeFold *fold);

#endif
