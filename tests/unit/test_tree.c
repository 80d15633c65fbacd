/* test_tree.c - covers and folds of the fixed tree. */
#include "src/tree.h"
#include "tests/support/unit_check.h"
#include <math.h>
#include <stdlib.h>

enum { LEAVES_MAX = 40, OWNERS_MAX = 9 };

/* Neither commutative nor associative. */
static double merge(double left, double right) {
    return 1.25 * left - sin(right) / (2 + fabs(left));
}

static double leaf_value(int64_t leaf) {
    return 1 + (double)(leaf * 37 % 11);
}

/* A node's value straight from the definition: (k-1, 2i) merged with (k-1, 2i+1) if it is there. */
static double node_value(int level, int64_t index, int64_t total) {
    if (level == 0) return leaf_value(index);
    double left = node_value(level - 1, 2 * index, total);
    if ((2 * index + 1) << (level - 1) >= total) return left;
    return merge(left, node_value(level - 1, 2 * index + 1, total));
}

static double tree_value(int64_t total) {
    int level = 0;
    while (((int64_t)1 << level) < total) level++;
    return node_value(level, 0, total);
}

typedef struct Fold {
    TreeFold tree;
    double slots[TREE_LEVELS_MAX];
} Fold;

static void merge_top(Fold *fold, int slot, int merges) {
    for (; merges > 0; merges--, slot--)
        fold->slots[slot - 1] = merge(fold->slots[slot - 1], fold->slots[slot]);
}

static void push(Fold *fold, TreeNode node, double value) {
    int slot = fold->tree.depth;
    fold->slots[slot] = value;
    merge_top(fold, slot, tree_fold_push(&fold->tree, node));
}

static double finish(Fold *fold) {
    int slot = fold->tree.depth - 1;
    merge_top(fold, slot, tree_fold_finish(&fold->tree));
    return fold->slots[0];
}

START_TEST(covers_hold_every_leaf_once_in_order) {
    TreeNode nodes[TREE_NODES_MAX];
    for (int64_t total = 0; total <= LEAVES_MAX; total++)
        for (int64_t begin = 0; begin <= total; begin++)
            for (int64_t end = begin; end <= total; end++) {
                int count = tree_cover(begin, end - begin, total, nodes);
                int64_t next = begin;
                for (int i = 0; i < count; i++) {
                    ck_assert_int_eq(nodes[i].begin, next);
                    ck_assert_int_gt(nodes[i].count, 0);
                    next += nodes[i].count;
                }
                ck_assert_int_eq(next, end);
            }
}
END_TEST

START_TEST(nodes_of_a_cover_are_aligned_and_whole) {
    TreeNode nodes[TREE_NODES_MAX];
    for (int64_t total = 1; total <= LEAVES_MAX; total++)
        for (int64_t begin = 0; begin < total; begin++)
            for (int64_t end = begin + 1; end <= total; end++) {
                int count = tree_cover(begin, end - begin, total, nodes);
                for (int i = 0; i < count; i++) {
                    int64_t wide = (int64_t)1 << nodes[i].level;
                    ck_assert_int_eq(nodes[i].begin % wide, 0);
                    ck_assert(nodes[i].count == wide || nodes[i].begin + nodes[i].count == total);
                    ck_assert_int_gt(2 * nodes[i].count, wide);
                }
            }
}
END_TEST

START_TEST(nodes_of_a_cover_are_maximal) {
    TreeNode nodes[TREE_NODES_MAX];
    for (int64_t total = 1; total <= LEAVES_MAX; total++)
        for (int64_t begin = 0; begin < total; begin++)
            for (int64_t end = begin + 1; end <= total; end++) {
                int count = tree_cover(begin, end - begin, total, nodes);
                for (int i = 0; i < count; i++) {
                    /* The parent has leaves that are not in the range, or none besides these. */
                    int64_t wide = (int64_t)2 << nodes[i].level;
                    int64_t first = nodes[i].begin / wide * wide;
                    int64_t last = first + wide < total ? first + wide : total;
                    int is_inside = first >= begin && last <= end;
                    ck_assert(!is_inside || last - first == nodes[i].count);
                }
            }
}
END_TEST

START_TEST(owners_have_contiguous_ranges_that_differ_by_one_at_most) {
    for (int owners = 1; owners <= OWNERS_MAX; owners++)
        for (int64_t total = 0; total <= LEAVES_MAX; total++) {
            ck_assert_int_eq(tree_first_leaf(0, owners, total), 0);
            ck_assert_int_eq(tree_first_leaf(owners, owners, total), total);
            for (int o = 0; o < owners; o++) {
                int64_t count =
                    tree_first_leaf(o + 1, owners, total) - tree_first_leaf(o, owners, total);
                ck_assert(count == total / owners || count == total / owners + 1);
            }
        }
}
END_TEST

START_TEST(leaves_fold_to_the_definition) {
    for (int64_t total = 1; total <= 300; total++) {
        Fold fold;
        tree_fold_begin(&fold.tree);
        for (int64_t m = 0; m < total; m++)
            push(&fold, (TreeNode){.begin = m, .count = 1}, leaf_value(m));
        ck_assert(finish(&fold) == tree_value(total));
    }
}
END_TEST

/* Fold the pieces of owners whose ranges begin at first[0..owners]. */
static double fold_of_owners(const int64_t *first, int owners, int64_t total) {
    Fold fold;
    TreeNode nodes[TREE_NODES_MAX];
    tree_fold_begin(&fold.tree);
    for (int o = 0; o < owners; o++) {
        int count = tree_cover(first[o], first[o + 1] - first[o], total, nodes);
        for (int i = 0; i < count; i++) {
            Fold piece;
            tree_fold_begin(&piece.tree);
            for (int64_t m = 0; m < nodes[i].count; m++)
                push(&piece, (TreeNode){.begin = m, .count = 1}, leaf_value(nodes[i].begin + m));
            push(&fold, nodes[i], finish(&piece));
        }
    }
    return finish(&fold);
}

START_TEST(pieces_of_even_owners_fold_like_single_leaves) {
    for (int owners = 1; owners <= OWNERS_MAX; owners++)
        for (int64_t total = 1; total <= LEAVES_MAX; total++) {
            int64_t first[OWNERS_MAX + 1];
            for (int o = 0; o <= owners; o++) first[o] = tree_first_leaf(o, owners, total);
            ck_assert(fold_of_owners(first, owners, total) == tree_value(total));
        }
}
END_TEST

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

START_TEST(pieces_of_any_owners_fold_like_single_leaves) {
    unsigned state = 1;
    for (int turn = 0; turn < 20000; turn++) {
        int64_t first[OWNERS_MAX + 1];
        int owners = 1 + turn % OWNERS_MAX;
        int64_t total = 1 + turn % LEAVES_MAX;
        for (int o = 0; o <= owners; o++) {
            state = state * 1664525u + 1013904223u;
            first[o] = (int64_t)((state >> 8) % (unsigned)(total + 1));
        }
        qsort(first, (size_t)owners + 1, sizeof *first, compare);
        first[0] = 0;
        first[owners] = total;
        ck_assert(fold_of_owners(first, owners, total) == tree_value(total));
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tree");
    TCase *cases = unit_check_case(suite, "tree");
    tcase_add_test(cases, covers_hold_every_leaf_once_in_order);
    tcase_add_test(cases, nodes_of_a_cover_are_aligned_and_whole);
    tcase_add_test(cases, nodes_of_a_cover_are_maximal);
    tcase_add_test(cases, owners_have_contiguous_ranges_that_differ_by_one_at_most);
    tcase_add_test(cases, leaves_fold_to_the_definition);
    tcase_add_test(cases, pieces_of_even_owners_fold_like_single_leaves);
    tcase_add_test(cases, pieces_of_any_owners_fold_like_single_leaves);
    return unit_check_run(suite);
}
