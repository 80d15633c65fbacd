/* test_seal.c - a file that differs from what was sealed in any bit or in its length is refused. */
#include "io/seal.h"
#include "tests/support/checkpoint_sample.h"
#include "tests/support/unit_check.h"
#include <fcntl.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEED = 5 };

static unsigned char *bytes; /* of the small sample's file, "a.h5" */
static size_t byte_count;
static Sample sample, found;

static void set_up(void) {
    scratch_set_up();
    sample_create(&sample, SAMPLE_SMALL, SEED);
    sample_create(&found, SAMPLE_SMALL, 0);
    sample_write(&sample, "a.h5");
    bytes = scratch_read("a.h5", &byte_count);
}

static void tear_down(void) {
    free(bytes);
    sample_free(&sample);
    sample_free(&found);
    ck_assert_int_eq(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
    scratch_tear_down();
}

/* Change one byte of "a.h5" in place. */
static void poke(int descriptor, size_t at, unsigned char value) {
    ck_assert_int_eq(pwrite(descriptor, &value, 1, (off_t)at), 1);
}

static int open_file(void) {
    int descriptor = open(scratch_path("a.h5"), O_RDWR);
    ck_assert_int_ge(descriptor, 0);
    return descriptor;
}

static void assert_refused(const char *name, const char *fragment) {
    int64_t step = 0;
    Checkpoint *file = NULL;
    ck_assert_int_eq(seal_check(scratch_path(name), &step), STATUS_DATA);
    ck_assert_int_eq(step, -1);
    ck_assert_int_eq(checkpoint_open(&file, scratch_path(name)), STATUS_DATA);
    ck_assert_ptr_null(file);
    ck_assert_ptr_nonnull(strstr(status_message(), name));
    ck_assert_msg(strstr(status_message(), fragment) != NULL, "%s", status_message());
}

START_TEST(the_sealed_file_is_accepted_with_its_step) {
    int64_t step = 0;
    ck_assert_uint_ge(byte_count, 6000);
    ck_assert_uint_le(byte_count, 12000);
    ck_assert_int_eq(seal_check(scratch_path("a.h5"), &step), STATUS_OK);
    ck_assert_int_eq(step, SAMPLE_STEP);
    ck_assert_int_eq(seal_read_step(scratch_path("a.h5"), &step), STATUS_OK);
    ck_assert_int_eq(step, SAMPLE_STEP);
}
END_TEST

/* Bits 0, 3 and 6 of every byte. */
START_TEST(every_flipped_bit_is_noticed) {
    int descriptor = open_file();
    int64_t step = 0;
    for (size_t at = 0; at < byte_count; at++) {
        for (int bit = 0; bit < 8; bit += 3) {
            poke(descriptor, at, bytes[at] ^ (unsigned char)(1 << bit));
            ck_assert_msg(seal_check(scratch_path("a.h5"), &step) == STATUS_DATA,
                "bit %d of byte %zu", bit, at);
        }
        poke(descriptor, at, bytes[at]);
    }
    close(descriptor);
    ck_assert_int_eq(seal_check(scratch_path("a.h5"), &step), STATUS_OK);
}
END_TEST

START_TEST(a_flipped_bit_never_reaches_the_network) {
    int descriptor = open_file();
    for (size_t i = 0; i < 500; i++) {
        size_t at = i * byte_count / 500;
        poke(descriptor, at, bytes[at] ^ (unsigned char)(1 << i % 8));
        ck_assert_int_eq(sample_read(&found, "a.h5"), STATUS_DATA);
        poke(descriptor, at, bytes[at]);
    }
    close(descriptor);
    ck_assert_int_eq(sample_read(&found, "a.h5"), STATUS_OK);
    sample_assert_equal(&sample, &found);
}
END_TEST

/* Below the seal lie HDF5's checksums and our own: whatever is changed before a file is sealed,
 * arrays are refused or are what was written. */
START_TEST(a_bit_flipped_before_sealing_is_refused_or_changes_nothing) {
    int refused = 0;
    unsigned char *changed = malloc(byte_count);
    ck_assert_ptr_nonnull(changed);
    for (size_t i = 0; i < 700; i++) {
        size_t at = SEAL_BYTES + i * (byte_count - SEAL_BYTES) / 700;
        memcpy(changed, bytes, byte_count);
        changed[at] ^= (unsigned char)(1 << i % 8);
        seal_put(changed, byte_count, SAMPLE_STEP);
        scratch_write("b.h5", changed, byte_count);
        Status status = sample_read(&found, "b.h5");
        ck_assert(status == STATUS_OK || status == STATUS_DATA);
        if (status == STATUS_OK) sample_assert_equal(&sample, &found);
        refused += status == STATUS_DATA;
    }
    ck_assert_int_ge(refused, 350);
    free(changed);
}
END_TEST

START_TEST(every_shorter_length_is_refused) {
    int64_t step = 0;
    for (size_t length = byte_count; length-- > 0;) {
        ck_assert_int_eq(truncate(scratch_path("a.h5"), (off_t)length), 0);
        ck_assert_int_eq(seal_check(scratch_path("a.h5"), &step), STATUS_DATA);
        ck_assert_int_eq(seal_read_step(scratch_path("a.h5"), &step), STATUS_DATA);
    }
    assert_refused("a.h5", "0 bytes are too few");
}
END_TEST

START_TEST(a_longer_file_is_refused) {
    static const off_t more[] = {1, 8, 512, 4096, 1 << 20, (off_t)1 << 40};
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        ck_assert_int_eq(truncate(scratch_path("a.h5"), (off_t)byte_count + more[i]), 0);
        assert_refused("a.h5", "cut off or extended");
    }
}
END_TEST

START_TEST(two_files_spliced_are_refused) {
    Sample other;
    size_t other_count = 0;
    sample_create(&other, SAMPLE_SMALL, SEED + 1);
    sample_write(&other, "b.h5");
    unsigned char *other_bytes = scratch_read("b.h5", &other_count);
    ck_assert_uint_eq(byte_count, other_count);
    memcpy(other_bytes, bytes, byte_count / 2);
    scratch_write("b.h5", other_bytes, byte_count);
    assert_refused("b.h5", "damaged");
    free(other_bytes);
    sample_free(&other);
}
END_TEST

START_TEST(zeroed_blocks_are_refused) {
    for (size_t at = 0; at < byte_count; at += 512) {
        size_t length = byte_count - at < 512 ? byte_count - at : 512;
        unsigned char *changed = malloc(byte_count);
        ck_assert_ptr_nonnull(changed);
        memcpy(changed, bytes, byte_count);
        memset(changed + at, 0, length);
        if (memcmp(changed, bytes, byte_count) != 0) {
            scratch_write("b.h5", changed, byte_count);
            assert_refused("b.h5", at == 0 ? "no seal" : "damaged");
        }
        free(changed);
    }
}
END_TEST

START_TEST(what_is_no_regular_file_is_refused_at_once) {
    int64_t step = 0;
    ck_assert_int_eq(mkdir(scratch_path("folder.h5"), 0755), 0);
    ck_assert_int_eq(mkfifo(scratch_path("fifo.h5"), 0644), 0);
    assert_refused("folder.h5", "not a regular file");
    assert_refused("fifo.h5", "not a regular file");
    ck_assert_int_eq(seal_check("/dev/zero", &step), STATUS_DATA);
    ck_assert_int_eq(seal_check(scratch_path("none.h5"), &step), STATUS_MISSING);
    ck_assert_int_eq(seal_check(scratch_path("a.h5/none.h5"), &step), STATUS_MISSING);
}
END_TEST

START_TEST(a_file_of_another_program_is_refused) {
    hid_t file = H5Fcreate(scratch_path("b.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    ck_assert_int_ge(file, 0);
    ck_assert_int_ge(H5Fclose(file), 0);
    assert_refused("b.h5", "no seal");
}
END_TEST

START_TEST(a_newer_seal_is_told_from_a_damaged_one) {
    int descriptor = open_file();
    poke(descriptor, 8, 2);
    close(descriptor);
    assert_refused("a.h5", "newer lockstep");
}
END_TEST

START_TEST(a_file_that_cannot_be_read_is_an_input_error) {
    for (long n = 1; n <= 3; n++) { /* open, the seal, the content */
        int64_t step = 0;
        status_arm_fault(n == 3 ? 4 : n, 0); /* the third is memory */
        ck_assert_int_eq(seal_check(scratch_path("a.h5"), &step), STATUS_IO);
        status_arm_fault(0, 0);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("seal");
    TCase *tests = unit_check_case(suite, "seal");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, the_sealed_file_is_accepted_with_its_step);
    tcase_add_test(tests, every_flipped_bit_is_noticed);
    tcase_add_test(tests, a_flipped_bit_never_reaches_the_network);
    tcase_add_test(tests, a_bit_flipped_before_sealing_is_refused_or_changes_nothing);
    tcase_add_test(tests, every_shorter_length_is_refused);
    tcase_add_test(tests, a_longer_file_is_refused);
    tcase_add_test(tests, two_files_spliced_are_refused);
    tcase_add_test(tests, zeroed_blocks_are_refused);
    tcase_add_test(tests, what_is_no_regular_file_is_refused_at_once);
    tcase_add_test(tests, a_file_of_another_program_is_refused);
    tcase_add_test(tests, a_newer_seal_is_told_from_a_damaged_one);
    tcase_add_test(tests, a_file_that_cannot_be_read_is_an_input_error);
    return unit_check_run(suite);
}
