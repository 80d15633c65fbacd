/* test_cifar.c - both versions of CIFAR, plain and gzip, byte for byte. */
#include "io/dataset_format.h"
#include "src/memory.h"
#include "tests/support/unit_check.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { PIXELS = 3072, COUNT_MAX = 8 };

static char folder[] = "/tmp/lockstep-test-XXXXXX";
static Job job;
static uint8_t images[COUNT_MAX * PIXELS];
static int32_t labels[COUNT_MAX];

static int remove_entry(const char *path, const struct stat *info, int flag, struct FTW *ftw) {
    (void)info;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void set_up(void) {
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    job = (Job){.data = {.format = DATA_CIFAR, .path = folder}};
}

static void tear_down(void) {
    nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    ck_assert_uint_eq(memory_in_use(), 0);
}

static int pixel_of(int sample, int i) {
    return (sample * 31 + i * 7 + i / 1024) % 256;
}

/* Samples [first, first + count); `coarse` < 0: none. Gzip by the name. */
static void write_records(const char *name, int first, int count, int coarse) {
    char path[256];
    size_t length = strlen(name);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    gzFile file = gzopen(path, strcmp(name + length - 3, ".gz") == 0 ? "wb" : "wbT");
    ck_assert_ptr_nonnull(file);
    for (int sample = first; sample < first + count; sample++) {
        if (coarse >= 0) gzputc(file, coarse);
        gzputc(file, sample % 10);
        for (int i = 0; i < PIXELS; i++) gzputc(file, pixel_of(sample, i));
    }
    ck_assert_int_eq(gzclose(file), Z_OK);
}

static Status read_set(DatasetSplit split, DatasetSizes *sizes) {
    TRY(dataset_cifar.measure(&job, split, sizes));
    ck_assert_int_le(sizes->count, COUNT_MAX);
    return dataset_cifar.fill(&job, split, sizes, images, labels);
}

static void assert_read(DatasetSplit split, int first, int count, int classes) {
    DatasetSizes sizes,
        wanted = {.count = count, .channels = 3, .height = 32, .width = 32, .class_count = classes};
    wanted.element_bytes = 1;
    ck_assert_msg(read_set(split, &sizes) == STATUS_OK, "%s", status_message());
    ck_assert_mem_eq(&sizes, &wanted, sizeof sizes);
    for (int s = 0; s < count; s++) {
        ck_assert_int_eq(labels[s], (first + s) % 10);
        for (int i = 0; i < PIXELS; i++)
            ck_assert_int_eq(images[s * PIXELS + i], pixel_of(first + s, i));
    }
}

START_TEST(batches_are_taken_in_order_and_none_is_left_out) {
    DatasetSizes sizes;
    write_records("data_batch_1.bin", 0, 3, -1);
    write_records("test_batch.bin", 20, 2, -1);
    assert_read(DATASET_TRAIN, 0, 3, 10);
    write_records("data_batch_2.bin.gz", 3, 4, -1);
    write_records("data_batch_3.bin", 7, 1, -1);
    assert_read(DATASET_TRAIN, 0, 8, 10);
    assert_read(DATASET_TEST, 20, 2, 10);
    write_records("data_batch_5.bin", 40, 3, -1);
    ck_assert_int_eq(dataset_cifar.measure(&job, DATASET_TRAIN, &sizes), STATUS_DATA);
    ck_assert_ptr_nonnull(strstr(status_message(), "part 4 of the training set is missing"));
}
END_TEST

START_TEST(the_fine_label_of_the_other_version_is_taken) {
    write_records("train.bin", 4, 5, 19);
    write_records("test.bin.gz", 50, 1, 0);
    assert_read(DATASET_TRAIN, 4, 5, 100);
    assert_read(DATASET_TEST, 50, 1, 100);
}
END_TEST

START_TEST(a_set_that_changes_between_two_looks_is_noticed) {
    DatasetSizes sizes;
    write_records("data_batch_1.bin", 0, 3, -1);
    ck_assert_int_eq(dataset_cifar.measure(&job, DATASET_TRAIN, &sizes), STATUS_OK);
    for (int count = 2; count <= 4; count += 2) {
        write_records("data_batch_1.bin", 0, count, -1);
        ck_assert_int_eq(
            dataset_cifar.fill(&job, DATASET_TRAIN, &sizes, images, labels), STATUS_DATA);
        ck_assert_ptr_nonnull(strstr(status_message(), "changed while it was read"));
    }
}
END_TEST

START_TEST(every_open_and_read_may_fail) {
    write_records("data_batch_1.bin", 0, 2, -1);
    write_records("data_batch_2.bin.gz", 2, 2, -1);
    for (long n = 1;; n++) {
        DatasetSizes sizes;
        status_arm_fault(n, 0);
        Status status = read_set(DATASET_TRAIN, &sizes);
        long seen = status_fault_points_seen();
        status_arm_fault(0, 0);
        if (seen < n) {
            ck_assert_int_eq(status, STATUS_OK);
            ck_assert_int_gt(n, 20);
            break;
        }
        ck_assert_int_eq(status, STATUS_IO);
    }
}
END_TEST

static void write_text(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    ck_assert_int_eq(fclose(file), 0);
}

START_TEST(names_of_the_classes_are_those_of_their_file_if_there_is_one) {
    NameList names = {.names = NULL};
    write_records("test_batch.bin", 0, 1, -1);
    ck_assert_int_eq(dataset_read_classes(&job, &names), STATUS_OK);
    ck_assert_uint_eq(names.count, 0);
    write_text("batches.meta.txt", "a\nb b\r\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
    ck_assert_int_eq(dataset_read_classes(&job, &names), STATUS_OK);
    ck_assert_uint_eq(names.count, 10);
    ck_assert_str_eq(names.names[1], "b b");
    ck_assert_str_eq(names.names[9], "j");
    name_list_free(&names);
    write_text("batches.meta.txt", "a\nb\n");
    ck_assert_int_eq(dataset_read_classes(&job, &names), STATUS_DATA);
    ck_assert_ptr_nonnull(strstr(status_message(), "2 lines found, 10 expected"));
    name_list_free(&names);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cifar");
    TCase *tests = unit_check_case(suite, "cifar");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, batches_are_taken_in_order_and_none_is_left_out);
    tcase_add_test(tests, the_fine_label_of_the_other_version_is_taken);
    tcase_add_test(tests, names_of_the_classes_are_those_of_their_file_if_there_is_one);
    tcase_add_test(tests, a_set_that_changes_between_two_looks_is_noticed);
    tcase_add_test(tests, every_open_and_read_may_fail);
    return unit_check_run(suite);
}
