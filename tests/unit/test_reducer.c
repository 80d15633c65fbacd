/* test_reducer.c - the reducer of a single rank. */
#include "src/reducer.h"
#include "tests/support/unit_check.h"
#include <math.h>
#include <stdlib.h>

enum { COUNT_MAX = 20 };

/* Neither commutative nor associative. */
static void merge_skewed(double *left, const double *right, int length) {
    for (int i = 0; i < length; i++) left[i] = 1.25 * left[i] - sin(right[i]) / (2 + fabs(left[i]));
}

/* Merge the records [begin, end) from the definition: halves of the next power of two. */
static double merged(const double *records, int begin, int end) {
    if (end - begin == 1) return records[begin];
    int half = 1;
    while (2 * half < end - begin) half *= 2;
    double left = merged(records, begin, begin + half);
    double right = merged(records, begin + half, end);
    merge_skewed(&left, &right, 1);
    return left;
}

static void fill(double *records, int count) {
    for (int m = 0; m < count; m++) records[m] = 1 + m * 37 % 11;
}

START_TEST(leaves_fold_to_the_definition) {
    double records[COUNT_MAX], original[COUNT_MAX];
    for (int count = 1; count <= COUNT_MAX; count++) {
        fill(records, count);
        fill(original, count);
        reducer_fold_leaves(count, 1, merge_skewed, records);
        ck_assert(records[0] == merged(original, 0, count));
    }
}
END_TEST

START_TEST(nodes_fold_to_the_same_as_their_leaves) {
    double original[COUNT_MAX], records[COUNT_MAX];
    fill(original, COUNT_MAX);
    for (int cut = 0; cut <= COUNT_MAX; cut++) {
        TreeNode nodes[2 * TREE_NODES_MAX];
        int count = tree_cover(0, cut, COUNT_MAX, nodes);
        count += tree_cover(cut, COUNT_MAX - cut, COUNT_MAX, nodes + count);
        for (int n = 0; n < count; n++)
            records[n] =
                merged(original, (int)nodes[n].begin, (int)(nodes[n].begin + nodes[n].count));
        reducer_fold(nodes, count, 1, merge_skewed, records);
        ck_assert(records[0] == merged(original, 0, COUNT_MAX));
    }
}
END_TEST

START_TEST(groups_are_trees_of_their_own_and_merge_over_a_tree_of_groups) {
    Reducer *reducer = reducer_of_one_rank();
    for (int count = 1; count <= COUNT_MAX; count++)
        for (int group = 1; group <= COUNT_MAX + 1; group++) {
            double records[COUNT_MAX], original[COUNT_MAX], grouped[COUNT_MAX], total;
            double of_group[COUNT_MAX];
            Batch batch;
            batch_plan(&batch, count, 1, 0, 1);
            fill(records, count);
            fill(original, count);
            reducer->combine(reducer, &batch, group, 1, merge_skewed, records, grouped, &total);
            int groups = 0;
            for (int begin = 0; begin < count; begin += group, groups++) {
                int end = begin + group < count ? begin + group : count;
                of_group[groups] = merged(original, begin, end);
                for (int m = begin; m < end; m++) ck_assert(grouped[m] == of_group[groups]);
            }
            ck_assert(total == merged(of_group, 0, groups));
        }
}
END_TEST

START_TEST(groups_or_total_may_be_left_out) {
    Reducer *reducer = reducer_of_one_rank();
    double records[8], grouped[8], total;
    Batch batch;
    batch_plan(&batch, 8, 1, 0, 1);
    for (int m = 0; m < 8; m++) records[m] = m;
    reducer->combine(reducer, &batch, 2, 1, reducer_merge_sum, records, grouped, NULL);
    ck_assert(grouped[0] == 1 && grouped[7] == 13);
    for (int m = 0; m < 8; m++) records[m] = m;
    reducer->combine(reducer, &batch, 2, 1, reducer_merge_sum, records, NULL, &total);
    ck_assert(total == 28);
}
END_TEST

START_TEST(records_of_several_numbers_stay_together) {
    Reducer *reducer = reducer_of_one_rank();
    double records[5 * 3], grouped[5 * 3], total[3];
    Batch batch;
    batch_plan(&batch, 5, 1, 0, 1);
    for (int i = 0; i < 15; i++) records[i] = i % 3 + 10 * (i / 3);
    reducer->combine(reducer, &batch, 2, 3, reducer_merge_sum, records, grouped, total);
    for (int k = 0; k < 3; k++) {
        ck_assert(grouped[k] == 10 + 2 * k && grouped[3 + k] == 10 + 2 * k);
        ck_assert(grouped[4 * 3 + k] == 40 + k);
        ck_assert(total[k] == 100 + 5 * k);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("reducer");
    TCase *cases = unit_check_case(suite, "reducer");
    tcase_add_test(cases, leaves_fold_to_the_definition);
    tcase_add_test(cases, nodes_fold_to_the_same_as_their_leaves);
    tcase_add_test(cases, groups_are_trees_of_their_own_and_merge_over_a_tree_of_groups);
    tcase_add_test(cases, groups_or_total_may_be_left_out);
    tcase_add_test(cases, records_of_several_numbers_stay_together);
    return unit_check_run(suite);
}
