/* tree.c - see tree.h. */
#include "src/tree.h"
#include "src/status.h"

/* The highest level at which a node can begin at `begin` and not reach beyond `end`; a node may
 * reach beyond the last leaf of the whole tree when the range ends there. */
static int highest_level(int64_t begin, int64_t end, int64_t total) {
    int level = 0;
    while (level < TREE_LEVELS_MAX - 2) {
        int64_t wider = (int64_t)2 << level;
        int fits = begin % wider == 0 && (begin + wider <= end || end == total);
        int useful = begin + wider / 2 < end; /* its right half would not be empty */
        if (!fits || !useful) break;
        level++;
    }
    return level;
}

int tree_cover(int64_t begin, int64_t count, int64_t total, TreeNode nodes[TREE_NODES_MAX]) {
    int64_t end = begin + count;
    REQUIRE(begin >= 0 && count >= 0 && end <= total);
    int n = 0;
    while (begin < end) {
        int level = highest_level(begin, end, total);
        int64_t wide = (int64_t)1 << level;
        int64_t present = begin + wide <= end ? wide : end - begin;
        nodes[n++] = (TreeNode){.begin = begin, .count = present, .level = level};
        begin += present;
    }
    return n;
}

int64_t tree_first_leaf(int owner, int owner_count, int64_t total) {
    return (int64_t)((__int128)total * owner / owner_count);
}

void tree_fold_begin(TreeFold *fold) {
    fold->depth = 0;
}

int tree_fold_push(TreeFold *fold, TreeNode node) {
    REQUIRE(fold->depth < TREE_LEVELS_MAX);
    fold->stack[fold->depth++] = node;
    int merges = 0;
    while (fold->depth > 1) {
        TreeNode *left = &fold->stack[fold->depth - 2];
        const TreeNode *right = &fold->stack[fold->depth - 1];
        int siblings = left->level == right->level && (left->begin >> left->level) % 2 == 0 &&
                       right->begin == left->begin + ((int64_t)1 << left->level);
        if (!siblings) break;
        left->count += right->count;
        left->level++;
        fold->depth--;
        merges++;
    }
    return merges;
}

int tree_fold_finish(TreeFold *fold) {
    int merges = fold->depth > 0 ? fold->depth - 1 : 0;
    fold->depth = fold->depth > 0 ? 1 : 0;
    return merges;
}
