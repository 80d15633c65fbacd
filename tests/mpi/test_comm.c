/* test_comm.c - who is where, agreement on errors, shared windows. */
#include "src/memory.h"
#include "tests/support/mpi_check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(positions_are_a_permutation_with_each_nodes_ranks_together) {
    const Comm *comm = mpi_check_comm();
    int size = comm_size(comm), seen = 0;
    int node_at[64] = {0}, rank_at[64] = {0};
    ASSERT_ON_ALL(size <= 64);
    for (int rank = 0; rank < size; rank++) {
        int of_rank[3] = {comm_position(comm), comm_node(comm), comm_node_rank(comm)};
        comm_broadcast(comm, of_rank, sizeof of_rank, rank);
        ASSERT_ON_ALL(of_rank[0] >= 0 && of_rank[0] < size);
        node_at[of_rank[0]] = of_rank[1];
        rank_at[of_rank[0]] = rank;
        seen += 1 << of_rank[0];
    }
    ASSERT_ON_ALL(seen == (1 << size) - 1);
    ASSERT_ON_ALL(rank_at[0] == 0 && node_at[0] == 0);
    for (int p = 1; p < size; p++) {
        int same = node_at[p] == node_at[p - 1];
        ASSERT_ON_ALL(same || node_at[p] == node_at[p - 1] + 1);
        ASSERT_ON_ALL(!same || rank_at[p] > rank_at[p - 1]);
    }
    ASSERT_ON_ALL(node_at[size - 1] == comm_node_count(comm) - 1);
    ASSERT_ON_ALL(comm_node_rank(comm) < comm_node_size(comm));
    ASSERT_ON_ALL(comm_is_root(comm) == (comm_rank(comm) == 0));
}
END_TEST

START_TEST(ranks_per_node_follow_the_environment) {
    const Comm *comm = mpi_check_comm();
    const char *text = getenv("LOCKSTEP_RANKS_PER_NODE");
    int size = comm_size(comm), wanted = text == NULL ? size : atoi(text);
    ASSERT_ON_ALL(comm_node_count(comm) == (size + wanted - 1) / wanted);
    ASSERT_ON_ALL(comm_node_size(comm) <= wanted);
    if (text != NULL && strstr(text, "cyclic") != NULL)
        ASSERT_ON_ALL(comm_node(comm) == comm_rank(comm) % comm_node_count(comm));
}
END_TEST

START_TEST(a_failure_on_any_rank_is_returned_by_all_with_its_message) {
    const Comm *comm = mpi_check_comm();
    for (int failing = 0; failing < comm_size(comm); failing++) {
        Status local = STATUS_OK;
        char expected[64];
        if (comm_rank(comm) >= failing)
            local = FAIL(comm_rank(comm) == failing ? STATUS_DATA : STATUS_IO, "file %d is bad",
                comm_rank(comm));
        Status agreed = comm_agree(comm, local);
        ASSERT_ON_ALL(agreed == STATUS_DATA);
        int length = 0;
        if (comm_size(comm) > 1) length = snprintf(expected, sizeof expected, "rank %d: ", failing);
        snprintf(expected + length, sizeof expected - (size_t)length, "file %d is bad", failing);
        ASSERT_ON_ALL(strcmp(status_message(), expected) == 0);
    }
    ASSERT_ON_ALL(comm_agree(comm, STATUS_OK) == STATUS_OK);
}
END_TEST

START_TEST(the_same_failure_on_all_ranks_names_none) {
    const Comm *comm = mpi_check_comm();
    ASSERT_ON_ALL(comm_agree(comm, FAIL(STATUS_CONFIG, "no such key")) == STATUS_CONFIG);
    ASSERT_ON_ALL(strcmp(status_message(), "no such key") == 0);
}
END_TEST

START_TEST(an_agreed_failure_is_not_prefixed_again) {
    const Comm *comm = mpi_check_comm();
    int last = comm_size(comm) - 1;
    Status local = comm_rank(comm) == last ? FAIL(STATUS_IO, "full") : STATUS_OK;
    Status inner = comm_agree(comm, local);
    char before[64];
    snprintf(before, sizeof before, "%s", status_message());
    ASSERT_ON_ALL(comm_agree(comm, inner) == STATUS_IO);
    ASSERT_ON_ALL(strcmp(status_message(), before) == 0);
    Status of_one = comm_rank(comm) == last ? inner : STATUS_OK;
    ASSERT_ON_ALL(comm_agree(comm, of_one) == STATUS_IO);
    ASSERT_ON_ALL(strcmp(status_message(), before) == 0);
}
END_TEST

START_TEST(texts_that_differ_name_the_first_rank_and_both_lines) {
    const Comm *comm = mpi_check_comm();
    ASSERT_ON_ALL(comm_require_same(comm, "job", "seed: 1\nlr: 2\n") == STATUS_OK);
    for (int odd = 1; odd < comm_size(comm); odd++) {
        int differs = comm_rank(comm) >= odd;
        Status status = comm_require_same(
            comm, "job", differs ? "seed: 1\nlr: 3\nmore" : "seed: 1\nlr: 2\nless");
        char expected[128];
        snprintf(expected, sizeof expected,
            "rank %d: job differs between ranks: line 2: \"lr: 3\" here, \"lr: 2\" on rank 0", odd);
        ASSERT_ON_ALL(status == STATUS_CONFIG);
        ASSERT_ON_ALL(strcmp(status_message(), expected) == 0);
        status = comm_require_same(comm, "isa", differs ? "avx2" : "avx2x");
        ASSERT_ON_ALL(status == STATUS_CONFIG);
        ASSERT_ON_ALL(strstr(status_message(), "\"avx2\" here, \"avx2x\" on rank 0") != NULL);
    }
}
END_TEST

START_TEST(numbers_are_reduced_over_all_ranks) {
    const Comm *comm = mpi_check_comm();
    int size = comm_size(comm);
    double value = 1 + comm_rank(comm);
    ASSERT_ON_ALL(comm_sum(comm, value) == size * (size + 1) / 2);
    ASSERT_ON_ALL(comm_max(comm, value) == size);
    ASSERT_ON_ALL(comm_min(comm, value) == 1);
}
END_TEST

START_TEST(counts_are_summed_exactly_in_arrays_of_any_length) {
    const Comm *comm = mpi_check_comm();
    size_t lengths[] = {0, 1, 21, (1 << 20) + 3};             /* the last in two pieces */
    int64_t size = comm_size(comm), large = (int64_t)1 << 60; /* no double holds large + 1 */
    int64_t brought = comm_is_root(comm) ? large : 0;
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        int64_t *counts = NULL, length = (int64_t)lengths[l];
        int wrong = 0;
        ASSERT_ON_ALL(MEMORY_ALLOCATE(&counts, lengths[l] + 1, "counts") == STATUS_OK);
        for (int64_t i = 0; i <= length; i++) counts[i] = i + brought;
        comm_sum_counts(comm, counts, lengths[l]);
        for (int64_t i = 0; i < length; i++) wrong += counts[i] != size * i + large;
        wrong += counts[length] != length + brought; /* behind the array: untouched */
        ASSERT_ON_ALL(wrong == 0);
        memory_free(counts);
    }
}
END_TEST

START_TEST(a_broadcast_reaches_all_from_any_root) {
    const Comm *comm = mpi_check_comm();
    for (int root = 0; root < comm_size(comm); root++) {
        unsigned char data[3000];
        memset(data, comm_rank(comm) == root ? 100 + root : 0, sizeof data);
        comm_broadcast(comm, data, sizeof data, root);
        int differ = 0;
        for (size_t i = 0; i < sizeof data; i++) differ += data[i] != 100 + root;
        ASSERT_ON_ALL(differ == 0);
    }
}
END_TEST

START_TEST(a_window_is_zeroed_aligned_and_seen_by_the_whole_node) {
    const Comm *comm = mpi_check_comm();
    int size = comm_node_size(comm), me = comm_node_rank(comm);
    for (size_t ints = 1; ints < 100000; ints = ints * 7 + 1) {
        CommWindow *window = NULL;
        void *data = NULL;
        size_t bytes = ints * (size_t)size * sizeof(int);
        ASSERT_ON_ALL(comm_window_create(comm, bytes, &window, &data) == STATUS_OK);
        int *values = data;
        int wrong = (uintptr_t)data % MEMORY_ALIGNMENT_BYTES != 0;
        for (size_t i = 0; i < ints * (size_t)size; i++) wrong += values[i] != 0;
        comm_node_barrier(comm);
        for (size_t i = 0; i < ints; i++)
            values[(size_t)me * ints + i] = 1000 * me + (int)(i % 999);
        comm_node_barrier(comm);
        for (int r = 0; r < size; r++)
            for (size_t i = 0; i < ints; i++)
                wrong += values[(size_t)r * ints + i] != 1000 * r + (int)(i % 999);
        ASSERT_ON_ALL(wrong == 0);
        comm_window_free(window);
    }
}
END_TEST

START_TEST(the_barrier_holds_back_every_rank_of_the_node) {
    const Comm *comm = mpi_check_comm();
    int size = comm_node_size(comm), me = comm_node_rank(comm), wrong = 0;
    CommWindow *window = NULL;
    void *data = NULL;
    ASSERT_ON_ALL(
        comm_window_create(comm, (size_t)size * 64 * sizeof(int), &window, &data) == STATUS_OK);
    int *values = data; /* each writer in a cache line of its own */
    for (int turn = 1; turn <= 2000; turn++) {
        values[me * 64] = turn;
        comm_node_barrier(comm);
        for (int r = 0; r < size; r++) wrong += values[r * 64] != turn;
        comm_node_barrier(comm);
    }
    ASSERT_ON_ALL(wrong == 0);
    comm_window_free(window);
}
END_TEST

START_TEST(an_allocation_that_fails_on_one_rank_fails_on_all) {
    const Comm *comm = mpi_check_comm();
    for (int failing = 0; failing < comm_size(comm); failing++)
        for (int n = 1; n <= 3; n++) {
            CommWindow *window = NULL;
            void *data = NULL;
            size_t before = memory_in_use();
            status_arm_fault(comm_rank(comm) == failing ? n : 0, 0);
            Status status = comm_window_create(comm, 4096, &window, &data);
            status_arm_fault(0, 0);
            ASSERT_ON_ALL(status == (n <= 2 ? STATUS_NO_MEMORY : STATUS_OK));
            ASSERT_ON_ALL((data == NULL) == (status != STATUS_OK));
            comm_window_free(window);
            ASSERT_ON_ALL(memory_in_use() == before);
        }
}
END_TEST

START_TEST(time_is_counted_while_a_rank_waits) {
    const Comm *comm = mpi_check_comm();
    double before = comm_seconds(comm);
    for (int i = 0; i < 100; i++) comm_barrier(comm);
    ASSERT_ON_ALL(comm_seconds(comm) > before);
    ASSERT_ON_ALL(strlen(comm_library_version()) > 3);
    ASSERT_ON_ALL(strpbrk(comm_library_version(), "\n\t") == NULL);
}
END_TEST

int main(int argc, char **argv) {
    Suite *suite = suite_create("comm");
    TCase *cases = tcase_create("comm");
    tcase_add_test(cases, positions_are_a_permutation_with_each_nodes_ranks_together);
    tcase_add_test(cases, ranks_per_node_follow_the_environment);
    tcase_add_test(cases, a_failure_on_any_rank_is_returned_by_all_with_its_message);
    tcase_add_test(cases, the_same_failure_on_all_ranks_names_none);
    tcase_add_test(cases, an_agreed_failure_is_not_prefixed_again);
    tcase_add_test(cases, texts_that_differ_name_the_first_rank_and_both_lines);
    tcase_add_test(cases, numbers_are_reduced_over_all_ranks);
    tcase_add_test(cases, counts_are_summed_exactly_in_arrays_of_any_length);
    tcase_add_test(cases, a_broadcast_reaches_all_from_any_root);
    tcase_add_test(cases, a_window_is_zeroed_aligned_and_seen_by_the_whole_node);
    tcase_add_test(cases, the_barrier_holds_back_every_rank_of_the_node);
    tcase_add_test(cases, an_allocation_that_fails_on_one_rank_fails_on_all);
    tcase_add_test(cases, time_is_counted_while_a_rank_waits);
    suite_add_tcase(suite, cases);
    return mpi_check_run(argc, argv, suite);
}
