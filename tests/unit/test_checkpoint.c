/* test_checkpoint.c - what is written is read back; equal contents give equal files; a write that
 * fails anywhere leaves nothing behind and the old file whole. */
#include "src/memory.h"
#include "tests/support/checkpoint_sample.h"
#include "tests/support/refused_reads.h"
#include "tests/support/unit_check.h"
#include <dirent.h>
#include <hdf5.h>
#include <malloc.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int count_descriptors(void) {
    DIR *opened = opendir("/proc/self/fd");
    int count = 0;
    ck_assert_ptr_nonnull(opened);
    while (readdir(opened) != NULL) count++;
    closedir(opened);
    return count;
}

static void tear_down(void) {
    ck_assert_int_eq(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
    scratch_tear_down();
}

/* Run in a child of its own; the test fails if the child's checks do. */
static void run_in_child(void (*run)(const Sample *sample), const Sample *sample) {
    int state = 0;
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        run(sample);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &state, 0), child);
    ck_assert_msg(WIFEXITED(state) && WEXITSTATUS(state) == 0, "the child ended with %d", state);
}

/* ---- there and back ---- */

START_TEST(what_is_written_is_read_back_bit_for_bit) {
    Sample sample, found;
    sample_create(&sample, _i == 0 ? SAMPLE_SMALL : SAMPLE_LARGE, 3);
    sample_create(&found, _i == 0 ? SAMPLE_SMALL : SAMPLE_LARGE, 0);
    sample_write(&sample, "a.h5");
    ck_assert_int_eq(scratch_count(), 1);
    Status status = sample_read(&found, "a.h5");
    ck_assert_msg(status == STATUS_OK, "%s", status_message());
    sample_assert_equal(&sample, &found);
    sample_free(&sample);
    sample_free(&found);
}
END_TEST

START_TEST(attributes_lengths_config_and_step_are_read_back) {
    Sample sample;
    Checkpoint *file = NULL;
    char *name = NULL, *empty = NULL, *job = NULL;
    double lr = 0, complete = 0, version = 0;
    int64_t rows = 0, scalar = -1, step = 0;
    sample_create(&sample, SAMPLE_SMALL, 3);
    sample_write(&sample, "a.h5");
    ck_assert_int_eq(checkpoint_open(&file, scratch_path("a.h5")), STATUS_OK);
    ck_assert_int_eq(checkpoint_read_text(file, "optimizer", "name", &name), STATUS_OK);
    ck_assert_str_eq(name, "sgd");
    ck_assert_int_eq(checkpoint_read_text(file, "", "empty", &empty), STATUS_OK);
    ck_assert_str_eq(empty, "");
    ck_assert_int_eq(checkpoint_read_number(file, "optimizer", "lr", &lr), STATUS_OK);
    ck_assert_double_eq(lr, 0.1);
    ck_assert_int_eq(checkpoint_read_number(file, "", "complete", &complete), STATUS_OK);
    ck_assert_double_eq(complete, 1);
    ck_assert_int_eq(checkpoint_read_number(file, "", "format_version", &version), STATUS_OK);
    ck_assert_double_eq(version, CHECKPOINT_FORMAT_VERSION);
    ck_assert_int_eq(checkpoint_length(file, "history", "epoch", &rows), STATUS_OK);
    ck_assert_int_eq(rows, 6);
    ck_assert_int_eq(checkpoint_length(file, "optimizer", "step", &scalar), STATUS_OK);
    ck_assert_int_eq(scalar, 0);
    ck_assert_int_eq(checkpoint_read_config(file, &job), STATUS_OK);
    ck_assert_str_eq(job, sample.content.config);
    ck_assert_int_eq(checkpoint_peek_step(scratch_path("a.h5"), &step), STATUS_OK);
    ck_assert_int_eq(step, SAMPLE_STEP);
    memory_free(name);
    memory_free(empty);
    memory_free(job);
    checkpoint_close(file);
    sample_free(&sample);
}
END_TEST

START_TEST(a_history_without_rows_and_an_empty_config_are_read_back) {
    Checkpoint *file = NULL;
    char *job = NULL;
    int64_t rows = -1;
    double nothing = 0;
    CheckpointArray column = {"history", "epoch", CHECKPOINT_FLOAT64, {1, {0}}, &nothing};
    CheckpointContent content = {.config = "", .array_count = 1, .arrays = &column};
    ck_assert_int_eq(checkpoint_write(scratch_folder(), "a.h5", &content), STATUS_OK);
    ck_assert_int_eq(checkpoint_open(&file, scratch_path("a.h5")), STATUS_OK);
    ck_assert_int_eq(checkpoint_length(file, "history", "epoch", &rows), STATUS_OK);
    ck_assert_int_eq(rows, 0);
    ck_assert_int_eq(checkpoint_read(file, &column, 1), STATUS_OK);
    ck_assert_int_eq(checkpoint_read_config(file, &job), STATUS_OK);
    ck_assert_str_eq(job, "");
    memory_free(job);
    checkpoint_close(file);
}
END_TEST

/* ---- equal contents, equal files ---- */

static void write_first(const Sample *sample) {
    mallopt(M_PERTURB, 0x5a);
    sample_write(sample, "first.h5");
}

/* Another second of the clock, another history of the heap and of HDF5's own lists. */
static void write_second(const Sample *sample) {
    Sample other;
    struct stat first;
    ck_assert_int_eq(stat(scratch_path("first.h5"), &first), 0);
    while (time(NULL) <= first.st_mtime + 1) usleep(10000);
    mallopt(M_PERTURB, 0xa5);
    sample_create(&other, SAMPLE_LARGE, 9);
    sample_write(&other, "second.h5");
    sample_write(sample, "second.h5");
    sample_free(&other);
}

START_TEST(equal_contents_give_equal_files_in_any_process) {
    Sample sample;
    size_t first_bytes = 0, second_bytes = 0;
    sample_create(&sample, _i == 0 ? SAMPLE_SMALL : SAMPLE_LARGE, 3);
    run_in_child(write_first, &sample);
    run_in_child(write_second, &sample);
    unsigned char *first = scratch_read("first.h5", &first_bytes);
    unsigned char *second = scratch_read("second.h5", &second_bytes);
    ck_assert_uint_eq(first_bytes, second_bytes);
    size_t same = 0;
    while (same < first_bytes && first[same] == second[same]) same++;
    ck_assert_msg(same == first_bytes, "byte %zu differs", same);
    free(first);
    free(second);
    sample_free(&sample);
}
END_TEST

/* ---- failures ---- */

/* The file of that name is what it was, nothing else lies there, and nothing is kept open. */
static void assert_untouched(const unsigned char *before, size_t bytes, int descriptors) {
    size_t found_bytes = 0;
    unsigned char *found = scratch_read("a.h5", &found_bytes);
    ck_assert_uint_eq(found_bytes, bytes);
    ck_assert_int_eq(memcmp(found, before, bytes), 0);
    free(found);
    ck_assert_int_eq(scratch_count(), 1);
    ck_assert_int_eq(count_descriptors(), descriptors);
    ck_assert_int_eq(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
    ck_assert_uint_eq(memory_in_use(), 0);
}

static void limit_file_size(rlim_t bytes) {
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

START_TEST(a_disk_that_fills_up_at_any_byte_leaves_the_old_file) {
    Sample sample, newer;
    size_t bytes = 0;
    SampleSize size = _i == 0 ? SAMPLE_SMALL : SAMPLE_LARGE;
    sample_create(&sample, size, 3);
    sample_create(&newer, size, 4);
    sample_write(&sample, "a.h5");
    unsigned char *before = scratch_read("a.h5", &bytes);
    int descriptors = count_descriptors();
    signal(SIGXFSZ, SIG_IGN);
    for (size_t limit = 0; limit < bytes; limit += bytes / 61) {
        limit_file_size(limit);
        Status status = checkpoint_write(scratch_folder(), "a.h5", &newer.content);
        limit_file_size(RLIM_INFINITY);
        ck_assert_msg(status == STATUS_IO, "limit %zu: %d %s", limit, status, status_message());
        ck_assert_ptr_nonnull(strstr(status_message(), "File too large"));
        ck_assert_ptr_nonnull(strstr(status_message(), "a.h5"));
        assert_untouched(before, bytes, descriptors);
    }
    sample_write(&newer, "a.h5");
    ck_assert_int_eq(sample_read(&sample, "a.h5"), STATUS_OK);
    sample_assert_equal(&sample, &newer);
    free(before);
    sample_free(&sample);
    sample_free(&newer);
}
END_TEST

/* Only when the rename has happened and the folder cannot be brought to the disk is the new file
 * there after a failure: whole. */
static void assert_old_or_new(const unsigned char *before, size_t bytes, int descriptors) {
    int64_t step = 0;
    ck_assert_int_eq(checkpoint_peek_step(scratch_path("a.h5"), &step), STATUS_OK);
    if (step == SAMPLE_STEP)
        assert_untouched(before, bytes, descriptors);
    else
        ck_assert_ptr_nonnull(strstr(status_message(), "cannot bring it to the disk"));
    ck_assert_int_eq(scratch_count(), 1);
}

START_TEST(every_step_of_writing_may_fail_and_says_so) {
    Sample sample, newer;
    size_t bytes = 0;
    long failed = 0;
    sample_create(&sample, SAMPLE_SMALL, 3);
    sample_create(&newer, SAMPLE_SMALL, 4);
    newer.content.step = SAMPLE_STEP + 1;
    sample_write(&sample, "a.h5");
    unsigned char *before = scratch_read("a.h5", &bytes);
    int descriptors = count_descriptors();
    for (;; failed++) {
        char message[STATUS_MESSAGE_BYTES];
        sample_write(&sample, "a.h5");
        status_set_message("");
        status_arm_fault(failed + 1, 0);
        Status status = checkpoint_write(scratch_folder(), "a.h5", &newer.content);
        status_arm_fault(0, 0);
        if (status == STATUS_OK) break;
        snprintf(message, sizeof message, "%s", status_message());
        ck_assert_msg(status == STATUS_IO || status == STATUS_NO_MEMORY, "point %ld: %d %s",
            failed + 1, status, message);
        ck_assert_str_ne(message, "");
        assert_old_or_new(before, bytes, descriptors);
    }
    ck_assert_int_ge(failed, 2 * SAMPLE_ARRAYS);
    ck_assert_int_eq(sample_read(&sample, "a.h5"), STATUS_OK);
    sample_assert_equal(&sample, &newer);
    free(before);
    sample_free(&sample);
    sample_free(&newer);
}
END_TEST

START_TEST(every_step_of_reading_may_fail_and_says_so) {
    Sample sample;
    long failed = 0;
    sample_create(&sample, SAMPLE_SMALL, 3);
    sample_write(&sample, "a.h5");
    int descriptors = count_descriptors();
    for (;; failed++) {
        status_set_message("");
        status_arm_fault(failed + 1, 0);
        Status status = sample_read(&sample, "a.h5");
        status_arm_fault(0, 0);
        ck_assert_uint_eq(memory_in_use(), 0);
        ck_assert_int_eq(count_descriptors(), descriptors);
        if (status == STATUS_OK) break;
        ck_assert_msg(status == STATUS_IO || status == STATUS_NO_MEMORY, "point %ld: %s",
            failed + 1, status_message());
        ck_assert_str_ne(status_message(), "");
    }
    ck_assert_int_ge(failed, SAMPLE_ARRAYS);
    sample_free(&sample);
}
END_TEST

START_TEST(a_disk_error_is_no_bad_data) {
    Sample sample;
    Checkpoint *file = NULL;
    char *config = NULL;
    sample_create(&sample, SAMPLE_LARGE, 3);
    sample_write(&sample, "a.h5");
    ck_assert_int_eq(checkpoint_open(&file, scratch_path("a.h5")), STATUS_OK);
    refuse_reads();
    ck_assert_int_eq(checkpoint_read(file, sample.arrays, SAMPLE_ARRAYS), STATUS_IO);
    ck_assert_msg(strstr(status_message(), ": Input/output error") != NULL, "%s", status_message());
    ck_assert_int_eq(checkpoint_read_config(file, &config), STATUS_IO);
    checkpoint_close(file);
    sample_free(&sample);
}
END_TEST

static void write_as_nobody(const Sample *sample) {
    const struct passwd *nobody = getpwnam("nobody");
    ck_assert_ptr_nonnull(nobody);
    ck_assert_int_eq(setgid(nobody->pw_gid), 0);
    ck_assert_int_eq(setuid(nobody->pw_uid), 0);
    ck_assert_int_eq(checkpoint_write(scratch_folder(), "a.h5", &sample->content), STATUS_CREATE);
    ck_assert_ptr_nonnull(strstr(status_message(), "Permission denied"));
}

START_TEST(a_folder_without_permission_cannot_be_written) {
    Sample sample;
    sample_create(&sample, SAMPLE_SMALL, 3);
    if (getuid() == 0) {
        run_in_child(write_as_nobody, &sample);
    } else {
        ck_assert_int_eq(chmod(scratch_folder(), 0555), 0);
        Status status = checkpoint_write(scratch_folder(), "a.h5", &sample.content);
        ck_assert_int_eq(chmod(scratch_folder(), 0755), 0);
        ck_assert_int_eq(status, STATUS_CREATE);
    }
    ck_assert_int_eq(scratch_count(), 0);
    sample_free(&sample);
}
END_TEST

START_TEST(a_folder_that_is_none_cannot_be_written) {
    Sample sample;
    char far[CHECKPOINT_PATH_BYTES + 10];
    memset(far, 'x', sizeof far - 1);
    far[sizeof far - 1] = '\0';
    far[0] = '/';
    sample_create(&sample, SAMPLE_SMALL, 3);
    scratch_write("file", "x", 1);
    ck_assert_int_eq(checkpoint_write(scratch_path("no"), "a.h5", &sample.content), STATUS_CREATE);
    ck_assert_int_eq(
        checkpoint_write(scratch_path("file"), "a.h5", &sample.content), STATUS_CREATE);
    ck_assert_int_eq(checkpoint_write(far, "a.h5", &sample.content), STATUS_CREATE);
    far[1000] = '\0'; /* short enough for a path, too long for a name */
    ck_assert_int_eq(checkpoint_write(far, "a.h5", &sample.content), STATUS_CREATE);
    ck_assert_int_eq(scratch_count(), 1);
    sample_free(&sample);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("checkpoint");
    TCase *tests = unit_check_case(suite, "write and read");
    tcase_add_checked_fixture(tests, scratch_set_up, tear_down);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, what_is_written_is_read_back_bit_for_bit, 0, 2);
    tcase_add_test(tests, attributes_lengths_config_and_step_are_read_back);
    tcase_add_test(tests, a_history_without_rows_and_an_empty_config_are_read_back);
    tcase_add_loop_test(tests, equal_contents_give_equal_files_in_any_process, 0, 2);
    tcase_add_loop_test(tests, a_disk_that_fills_up_at_any_byte_leaves_the_old_file, 0, 2);
    tcase_add_test(tests, every_step_of_writing_may_fail_and_says_so);
    tcase_add_test(tests, every_step_of_reading_may_fail_and_says_so);
    tcase_add_test(tests, a_disk_error_is_no_bad_data);
    tcase_add_test(tests, a_folder_without_permission_cannot_be_written);
    tcase_add_test(tests, a_folder_that_is_none_cannot_be_written);
    return unit_check_run(suite);
}
