/* test_batch.c - a global batch over ranks. */
#include "src/batch.h"
#include "tests/support/unit_check.h"
#include <stdlib.h>

START_TEST(every_sample_is_in_one_lane_of_one_rank) {
    for (int size = 1; size <= 5; size++)
        for (int microbatch = 1; microbatch <= 9; microbatch += 2)
            for (int64_t samples = 1; samples <= 60; samples++) {
                int64_t next = 0;
                for (int rank = 0; rank < size; rank++) {
                    Batch batch;
                    batch_plan(&batch, samples, microbatch, rank, size);
                    for (int m = 0; m < batch.local_count; m++) {
                        ck_assert_int_eq(batch_first_sample(&batch, m), next);
                        ck_assert_int_gt(batch_valid_lanes(&batch, m), 0);
                        ck_assert_int_le(batch_valid_lanes(&batch, m), microbatch);
                        next += batch_valid_lanes(&batch, m);
                    }
                }
                ck_assert_int_eq(next, samples);
            }
}
END_TEST

START_TEST(only_the_last_microbatch_is_short) {
    Batch batch;
    batch_plan(&batch, 37, 8, 0, 1);
    ck_assert_int_eq(batch.global_microbatch_count, 5);
    for (int m = 0; m < 4; m++) ck_assert_int_eq(batch_valid_lanes(&batch, m), 8);
    ck_assert_int_eq(batch_valid_lanes(&batch, 4), 5);
}
END_TEST

START_TEST(ranks_agree_on_all_but_local_fields) {
    for (int rank = 0; rank < 4; rank++) {
        Batch first, batch;
        batch_plan(&first, 29, 4, 0, 4);
        batch_plan(&batch, 29, 4, rank, 4);
        ck_assert_int_eq(batch.global_sample_count, first.global_sample_count);
        ck_assert_int_eq(batch.global_microbatch_count, first.global_microbatch_count);
        ck_assert_int_eq(batch.microbatch, first.microbatch);
        ck_assert_int_eq(batch.lanes, first.lanes);
    }
}
END_TEST

START_TEST(nodes_cover_the_local_microbatches) {
    for (int64_t samples = 1; samples <= 40; samples++)
        for (int rank = 0; rank < 3; rank++) {
            Batch batch;
            batch_plan(&batch, samples, 2, rank, 3);
            int64_t next = batch.local_begin;
            for (int n = 0; n < batch.node_count; n++) {
                ck_assert_int_eq(batch.nodes[n].begin, next);
                next += batch.nodes[n].count;
            }
            ck_assert_int_eq(next, batch.local_begin + batch.local_count);
        }
}
END_TEST

START_TEST(more_ranks_than_microbatches_leave_some_without) {
    int with = 0;
    for (int rank = 0; rank < 5; rank++) {
        Batch batch;
        batch_plan(&batch, 6, 3, rank, 5);
        with += batch.local_count > 0;
        ck_assert_int_eq(batch.node_count, batch.local_count > 0);
    }
    ck_assert_int_eq(with, 2);
}
END_TEST

START_TEST(lanes_are_1_2_4_8_or_a_multiple_of_16) {
    static const int cases[][2] = {{1, 1}, {2, 2}, {3, 4}, {4, 4}, {5, 8}, {8, 8}, {9, 16},
        {16, 16}, {17, 32}, {64, 64}, {65, 80}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_int_eq(batch_lanes(cases[i][0]), cases[i][1]);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("batch");
    TCase *cases = unit_check_case(suite, "batch");
    tcase_add_test(cases, every_sample_is_in_one_lane_of_one_rank);
    tcase_add_test(cases, only_the_last_microbatch_is_short);
    tcase_add_test(cases, ranks_agree_on_all_but_local_fields);
    tcase_add_test(cases, nodes_cover_the_local_microbatches);
    tcase_add_test(cases, more_ranks_than_microbatches_leave_some_without);
    tcase_add_test(cases, lanes_are_1_2_4_8_or_a_multiple_of_16);
    return unit_check_run(suite);
}
