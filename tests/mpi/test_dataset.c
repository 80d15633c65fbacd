/* test_dataset.c - one data set over the ranks: same content, and failures that all ranks share. */
#include "io/dataset.h"
#include "src/memory.h"
#include "tests/support/mpi_check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COUNT = 6, SIDE = 12, BYTES = COUNT * SIDE * SIDE };

static size_t in_use_before;

static void set_up(void) {
    in_use_before = memory_in_use();
}

static void tear_down(void) {
    ASSERT_ON_ALL(memory_in_use() == in_use_before);
}

static Job synthetic_job(int side) {
    return (Job){.seed = 1,
        .data = {.format = DATA_SYNTHETIC,
            .train_count = COUNT,
            .test_count = COUNT,
            .image_size = SIDE},
        .network = {.input = {3, {1, side, side}}},
        .output = {1, {10}}};
}

/* Status, and the text that goes with it, are rank 0's on every rank. */
static int same_everywhere(Status status) {
    char message[STATUS_MESSAGE_BYTES] = "";
    int root_status = (int)status;
    snprintf(message, sizeof message, "%s", status_message());
    comm_broadcast(mpi_check_comm(), message, sizeof message, 0);
    comm_broadcast(mpi_check_comm(), &root_status, sizeof root_status, 0);
    return comm_min(mpi_check_comm(),
               root_status == (int)status &&
                   (status == STATUS_OK || strcmp(message, status_message()) == 0)) > 0;
}

START_TEST(all_ranks_see_the_same_set) {
    Job job = synthetic_job(SIDE);
    Dataset dataset;
    uint8_t root[BYTES + 4 * COUNT + 16] = {0}, own[BYTES + 4 * COUNT + 16];
    Status status = dataset_open(&dataset, mpi_check_comm(), &job, DATASET_TRAIN);
    ASSERT_ON_ALL(status == STATUS_OK);
    int fits = dataset.count == COUNT && dataset.class_count == 10 &&
               shape_is_equal(dataset.shape, job.network.input);
    ASSERT_ON_ALL(fits);
    memcpy(own, dataset.images, BYTES);
    memcpy(own + BYTES, dataset.labels, COUNT * sizeof *dataset.labels);
    memcpy(own + BYTES + 4 * COUNT, dataset.digest, 16);
    memcpy(root, own, sizeof root);
    comm_broadcast(mpi_check_comm(), root, sizeof root, 0);
    ASSERT_ON_ALL(memcmp(root, own, sizeof own) == 0);
    int ink = 0;
    for (int i = 0; i < BYTES; i++) ink |= own[i];
    ASSERT_ON_ALL(ink != 0);
    dataset_free(&dataset);
}
END_TEST

START_TEST(the_digest_tells_sets_apart) {
    Job job = synthetic_job(SIDE);
    Dataset train, test;
    ASSERT_ON_ALL(dataset_open(&train, mpi_check_comm(), &job, DATASET_TRAIN) == STATUS_OK);
    ASSERT_ON_ALL(dataset_open(&test, mpi_check_comm(), &job, DATASET_TEST) == STATUS_OK);
    ASSERT_ON_ALL(memcmp(train.digest, test.digest, sizeof train.digest) != 0);
    dataset_free(&train);
    ASSERT_ON_ALL(dataset_open(&train, mpi_check_comm(), &job, DATASET_TEST) == STATUS_OK);
    ASSERT_ON_ALL(memcmp(train.digest, test.digest, sizeof train.digest) == 0);
    dataset_free(&train);
    dataset_free(&test);
}
END_TEST

START_TEST(an_input_of_another_shape_is_refused_by_all) {
    Dataset dataset;
    Job job = synthetic_job(SIDE + 1);
    Status status = dataset_open(&dataset, mpi_check_comm(), &job, DATASET_TRAIN);
    dataset_free(&dataset);
    ASSERT_ON_ALL(status == STATUS_CONFIG);
    ck_assert(same_everywhere(status));
    ASSERT_ON_ALL(strstr(status_message(), "[1, 13, 13]") != NULL);
    ASSERT_ON_ALL(strstr(status_message(), "[1, 12, 12] (or, flat, [144])") != NULL);
    job.network.input = (Shape){1, {SIDE * SIDE}};
    status = dataset_open(&dataset, mpi_check_comm(), &job, DATASET_TRAIN);
    dataset_free(&dataset);
    ASSERT_ON_ALL(status == STATUS_OK);
}
END_TEST

START_TEST(a_missing_set_is_missing_for_all) {
    Dataset dataset;
    Job job = synthetic_job(SIDE);
    job.data.format = DATA_IDX;
    job.data.path = "/nonexistent/mnist";
    Status status = dataset_open(&dataset, mpi_check_comm(), &job, DATASET_TRAIN);
    dataset_free(&dataset);
    ASSERT_ON_ALL(status == STATUS_MISSING);
    ck_assert(same_everywhere(status));
    ASSERT_ON_ALL(strstr(status_message(), "/nonexistent/mnist") != NULL);
}
END_TEST

static void write_file(const char *folder, const char *name, const char *header, int header_bytes,
    int count, int value) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL) return;
    fwrite(header, 1, (size_t)header_bytes, file);
    for (int i = 0; i < count; i++) fputc(i < count - 1 ? i % 3 : value, file);
    fclose(file);
}

START_TEST(a_bad_label_is_told_to_all) {
    static const char *const names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
    char folder[] = "/tmp/lockstep-test-XXXXXX", path[256];
    int is_root = comm_is_root(mpi_check_comm());
    int is_ready = !is_root || mkdtemp(folder) != NULL;
    comm_broadcast(mpi_check_comm(), folder, sizeof folder, 0);
    for (int i = 0; i < 4 && is_root && is_ready; i++) {
        int is_image = i % 2 == 0;
        write_file(folder, names[i],
            is_image ? "\0\0\x08\x03\0\0\0\x06\0\0\0\x0c\0\0\0\x0c" : "\0\0\x08\x01\0\0\0\x06",
            is_image ? 16 : 8, is_image ? BYTES : COUNT, i == 3 ? 9 : 2);
    }
    Job job = synthetic_job(SIDE);
    job.data.format = DATA_IDX;
    job.data.path = folder;
    Dataset dataset;
    comm_barrier(mpi_check_comm());
    Status train = dataset_open(&dataset, mpi_check_comm(), &job, DATASET_TRAIN);
    int classes = dataset.class_count;
    dataset_free(&dataset);
    Status test = dataset_open(&dataset, mpi_check_comm(), &job, DATASET_TEST);
    dataset_free(&dataset);
    for (int i = 0; i < 4 && is_root; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    if (is_root) rmdir(folder);
    ASSERT_ON_ALL(is_ready && train == STATUS_OK && classes == 3);
    ASSERT_ON_ALL(test == STATUS_DATA);
    ck_assert(same_everywhere(test));
    ASSERT_ON_ALL(strstr(status_message(), "sample 5 has label 9") != NULL);
}
END_TEST

/* The n-th fault point of one rank fails; all ranks must come out with the same status. */
static int fails_on_all(const Job *job, int rank, long n) {
    Dataset dataset;
    status_arm_fault(comm_rank(mpi_check_comm()) == rank ? n : 0, 0);
    Status status = dataset_open(&dataset, mpi_check_comm(), job, DATASET_TRAIN);
    int is_over = comm_rank(mpi_check_comm()) != rank || status_fault_points_seen() < n;
    status_arm_fault(0, 0);
    dataset_free(&dataset);
    is_over = comm_min(mpi_check_comm(), is_over) > 0;
    ck_assert(same_everywhere(status));
    ASSERT_ON_ALL((status == STATUS_OK) == is_over);
    ASSERT_ON_ALL(memory_in_use() == in_use_before);
    return !is_over;
}

START_TEST(a_failure_on_one_rank_is_one_of_all) {
    Job job = synthetic_job(SIDE);
    for (int rank = 0; rank < comm_size(mpi_check_comm()); rank++) {
        long n = 1;
        while (fails_on_all(&job, rank, n)) n++;
        ASSERT_ON_ALL(n > 1);
    }
}
END_TEST

static Suite *make_suite(void) {
    Suite *suite = suite_create("dataset over ranks");
    TCase *tests = tcase_create("dataset");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, all_ranks_see_the_same_set);
    tcase_add_test(tests, the_digest_tells_sets_apart);
    tcase_add_test(tests, an_input_of_another_shape_is_refused_by_all);
    tcase_add_test(tests, a_missing_set_is_missing_for_all);
    tcase_add_test(tests, a_bad_label_is_told_to_all);
    tcase_add_test(tests, a_failure_on_one_rank_is_one_of_all);
    suite_add_tcase(suite, tests);
    return suite;
}

int main(int argc, char **argv) {
    return mpi_check_run(argc, argv, make_suite());
}
