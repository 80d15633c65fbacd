/* test_reducer.c - records combined over ranks have the bits of one rank that holds all. */
#include "src/memory.h"
#include "tests/support/mpi_check.h"
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MICROBATCHES_MAX = 20, LENGTH_MAX = 4099 };

/* Neither commutative nor associative: any other order or shape of the tree shows. */
static void merge_skewed(double *left, const double *right, int length) {
    for (int i = 0; i < length; i++) left[i] = 1.25 * left[i] - sin(right[i]) / (2 + left[i]);
}

/* [count, mean, m2] of any number of channels: Chan, Golub, LeVeque (1979). */
static void merge_moments(double *left, const double *right, int length) {
    for (int i = 0; i + 2 < length; i += 3) {
        double count = left[i] + right[i], delta = right[i + 1] - left[i + 1];
        if (count == 0) continue;
        left[i + 1] += delta * right[i] / count;
        left[i + 2] += right[i + 2] + delta * delta * left[i] * right[i] / count;
        left[i] = count;
    }
}

static double *new_records(int64_t count, int length) {
    double *records = NULL;
    if (memory_allocate((void **)&records, (size_t)count * length, sizeof *records, "records") !=
        STATUS_OK)
        abort();
    return records;
}

static void fill(double *records, int64_t first, int64_t count, int length) {
    for (int64_t m = 0; m < count; m++)
        for (int i = 0; i < length; i++) {
            uint64_t mixed = ((uint64_t)(first + m) * 1000003u + (uint64_t)i) * 0x9E3779B97F4A7C15u;
            records[m * length + i] = (double)(mixed >> 40) / 0x1p20 - (i % 3 == 0 ? 0 : 8);
        }
}

/* Whether the ranks' result for one batch is that of one rank. */
static int equals_one_rank(int64_t samples, int microbatch, int group, int length,
    ReducerMerge merge, int wants_groups, int wants_total) {
    Comm *comm = mpi_check_comm();
    Batch whole, local;
    batch_plan(&whole, samples, microbatch, 0, 1);
    batch_plan(&local, samples, microbatch, comm_position(comm), comm_size(comm));
    int64_t count = whole.global_microbatch_count;
    double *all = new_records(count, length), *all_grouped = new_records(count, length);
    double *records = new_records(local.local_count, length);
    double *grouped = new_records(local.local_count, length);
    double *total = new_records(2, length);
    fill(all, 0, count, length);
    fill(records, local.local_begin, local.local_count, length);
    Reducer *alone = reducer_of_one_rank(), *reducer = comm_reducer(comm);
    alone->combine(alone, &whole, group, length, merge, all, all_grouped, total);
    reducer->combine(reducer, &local, group, length, merge, records, wants_groups ? grouped : NULL,
        wants_total ? total + length : NULL);
    size_t bytes = (size_t)length * sizeof(double);
    int same = !wants_total || memcmp(total, total + length, bytes) == 0;
    if (wants_groups)
        same = same && memcmp(grouped, all_grouped + local.local_begin * length,
                           bytes * (size_t)local.local_count) == 0;
    memory_free(all);
    memory_free(all_grouped);
    memory_free(records);
    memory_free(grouped);
    memory_free(total);
    return same;
}

START_TEST(any_merge_over_any_groups_has_the_bits_of_one_rank) {
    static const ReducerMerge merges[] = {merge_skewed, merge_moments, reducer_merge_sum};
    int wrong = 0;
    for (int count = 1; count <= MICROBATCHES_MAX; count++) {
        int groups[] = {1, 2, 3, 5, count, count + 7};
        for (int g = 0; g < 6; g++)
            for (int k = 0; k < 3; k++)
                wrong += !equals_one_rank(count, 1, groups[g], 6, merges[k], 1, 1);
    }
    ASSERT_ON_ALL(wrong == 0);
}
END_TEST

START_TEST(large_batches_in_any_groups_have_the_bits_of_one_rank) {
    int wrong = 0;
    for (int count = 21; count <= 130; count += 7)
        for (int group = 1; group <= count; group += 1 + group / 2)
            wrong += !equals_one_rank(count, 1, group, 3, merge_skewed, 1, 1);
    ASSERT_ON_ALL(wrong == 0);
}
END_TEST

START_TEST(a_short_last_microbatch_is_a_leaf_like_any_other) {
    int wrong = 0;
    for (int samples = 1; samples <= 65; samples += 4)
        wrong += !equals_one_rank(samples, 8, 2, 3, merge_moments, 1, 1);
    ASSERT_ON_ALL(wrong == 0);
}
END_TEST

START_TEST(records_of_changing_lengths_do_not_disturb_each_other) {
    static const int lengths[] = {1, LENGTH_MAX, 3, 1025, 2, 2049, 9};
    int wrong = 0;
    for (int turn = 0; turn < 210; turn++) /* odd number of lengths: both turns see each */
        wrong += !equals_one_rank(
            1 + turn % MICROBATCHES_MAX, 1, 1 + turn % 6, lengths[turn % 7], merge_skewed, 1, 1);
    ASSERT_ON_ALL(wrong == 0);
}
END_TEST

START_TEST(a_rank_need_not_want_groups_or_total) {
    int wrong = 0, rank = comm_rank(mpi_check_comm());
    for (int count = 1; count <= MICROBATCHES_MAX; count++)
        for (int wants = 0; wants < 4; wants++) {
            int mine = (wants + rank) % 4;
            wrong += !equals_one_rank(count, 1, 3, 5, merge_skewed, mine & 1, mine >> 1);
        }
    ASSERT_ON_ALL(wrong == 0);
}
END_TEST

int main(int argc, char **argv) {
    Suite *suite = suite_create("reducer");
    TCase *cases = tcase_create("reducer");
    tcase_add_test(cases, any_merge_over_any_groups_has_the_bits_of_one_rank);
    tcase_add_test(cases, large_batches_in_any_groups_have_the_bits_of_one_rank);
    tcase_add_test(cases, a_short_last_microbatch_is_a_leaf_like_any_other);
    tcase_add_test(cases, records_of_changing_lengths_do_not_disturb_each_other);
    tcase_add_test(cases, a_rank_need_not_want_groups_or_total);
    suite_add_tcase(suite, cases);
    return mpi_check_run(argc, argv, suite);
}
