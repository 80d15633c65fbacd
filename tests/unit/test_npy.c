/* test_npy.c - NumPy arrays: types, byte orders, versions and layouts; a header is its three keys.
 */
#include "io/npy_file.h"
#include "src/memory.h"
#include "tests/support/unit_check.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char folder[] = "/tmp/lockstep-test-XXXXXX";
static Job job;

static int remove_entry(const char *path, const struct stat *info, int flag, struct FTW *ftw) {
    (void)info;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void set_up(void) {
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    job = (Job){.data = {.format = DATA_NPY, .path = folder}};
}

static void tear_down(void) {
    nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    ck_assert_uint_eq(memory_in_use(), 0);
}

/* An array: version, the header's text (a newline is added) and its elements. */
static void write_array(
    const char *name, int version, const char *header, const void *elements, size_t bytes) {
    char path[256];
    size_t length = strlen(header) + 1;
    const unsigned char start[12] = {0x93, 'N', 'U', 'M', 'P', 'Y', (unsigned char)version, 0,
        (unsigned char)length, (unsigned char)(length >> 8)};
    size_t start_bytes = version == 1 ? 10 : 12;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(start, 1, start_bytes, file), start_bytes);
    fprintf(file, "%s\n", header);
    ck_assert_uint_eq(fwrite(elements, 1, bytes, file), bytes);
    ck_assert_int_eq(fclose(file), 0);
}

#define HEADER(type, shape)                                                                        \
    "{'descr': '" type "', 'fortran_order': False, 'shape': " shape ", }          "

static void write_labels(void) {
    static const unsigned char labels[] = {0, 2, 0, 1}; /* 2, 1 as '>u2': 2, 1 */
    write_array("train_labels.npy", 1, HEADER(">u2", "(2,)"), labels, 4);
}

static void assert_images(const char *header, int version, const void *elements, size_t bytes,
    const DatasetSizes *wanted, const void *images) {
    DatasetSizes sizes;
    unsigned char found[256];
    int32_t labels[2];
    write_array("train_images.npy", version, header, elements, bytes);
    write_labels();
    ck_assert_msg(dataset_npy.measure(&job, DATASET_TRAIN, &sizes) == STATUS_OK, "%s: %s", header,
        status_message());
    ck_assert_mem_eq(&sizes, wanted, sizeof sizes);
    ck_assert_int_eq(dataset_npy.fill(&job, DATASET_TRAIN, &sizes, found, labels), STATUS_OK);
    ck_assert_mem_eq(found, images,
        (size_t)(sizes.count * sizes.channels * sizes.height * sizes.width * sizes.element_bytes));
    ck_assert_int_eq(labels[0], 2);
    ck_assert_int_eq(labels[1], 1);
}

START_TEST(bytes_are_read_in_any_version_and_layout) {
    static const unsigned char pixels[24] = {
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24};
    static const unsigned char turned[24] = {
        1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12, 13, 16, 19, 22, 14, 17, 20, 23, 15, 18, 21, 24};
    DatasetSizes grey = {.count = 2,
        .channels = 1,
        .height = 3,
        .width = 4,
        .class_count = 3,
        .first_label = 1,
        .element_bytes = 1};
    DatasetSizes coloured = grey;
    coloured.channels = 3;
    coloured.height = coloured.width = 2;
    for (int version = 1; version <= 3; version++)
        assert_images(HEADER("|u1", "(2, 3, 4)"), version, pixels, 24, &grey, pixels);
    assert_images("{\"shape\":(2,1,3,4),\"fortran_order\":False,\"descr\":\"|u1\"}", 1, pixels, 24,
        &grey, pixels);
    assert_images(HEADER("|u1", "(2, 3, 4, 1)"), 1, pixels, 24, &grey, pixels);
    job.data.layout = LAYOUT_NHWC;
    assert_images(HEADER("|u1", "(2, 2, 2, 3)"), 1, pixels, 24, &coloured, turned);
    job.data.layout = LAYOUT_NCHW;
    assert_images(HEADER("|u1", "(2, 3, 2, 2)"), 1, pixels, 24, &coloured, pixels);
}
END_TEST

START_TEST(floats_are_read_in_any_byte_order_and_width) {
    static const float values[12] = {0, 1, -2, 3.5f, 4, 5, 6, 7, 8, 2e-38f, 0.1f, 11};
    DatasetSizes sizes = {.count = 2,
        .channels = 1,
        .height = 2,
        .width = 3,
        .class_count = 3,
        .first_label = 1,
        .element_bytes = 4};
    unsigned char big[48], wide_big[96];
    double wide[12];
    for (int i = 0; i < 12; i++) {
        wide[i] = values[i];
        for (int b = 0; b < 4; b++) big[4 * i + b] = ((const unsigned char *)&values[i])[3 - b];
        for (int b = 0; b < 8; b++) wide_big[8 * i + b] = ((const unsigned char *)&wide[i])[7 - b];
    }
    assert_images(HEADER("<f4", "(2, 2, 3)"), 1, values, 48, &sizes, values);
    assert_images(HEADER(">f4", "(2, 2, 3)"), 1, big, 48, &sizes, values);
    assert_images(HEADER("<f8", "(2, 2, 3)"), 1, wide, 96, &sizes, values);
    assert_images(HEADER(">f8", "(2, 2, 3)"), 1, wide_big, 96, &sizes, values);
}
END_TEST

/* As numpy.float16 has them: the smallest, the largest that is subnormal, the smallest that is not,
 * the largest of all. */
START_TEST(halves_are_read_in_any_byte_order) {
    static const unsigned char halves[24] = {0x00, 0x00, 0x00, 0x80, 0x01, 0x00, 0xff, 0x03, 0x00,
        0x04, 0xff, 0x7b, 0xff, 0xfb, 0x00, 0x3c, 0x01, 0x3c, 0x00, 0xc0, 0x55, 0x35, 0x66, 0x2e};
    static const float values[12] = {0, -0.0f, 0x1p-24f, 0x1.ff8p-15f, 0x1p-14f, 65504, -65504, 1,
        0x1.004p0f, -2, 0x1.554p-2f, 0x1.998p-4f};
    DatasetSizes sizes = {.count = 2,
        .channels = 1,
        .height = 2,
        .width = 3,
        .class_count = 3,
        .first_label = 1,
        .element_bytes = 4};
    unsigned char big[24];
    for (int i = 0; i < 24; i++) big[i] = halves[i ^ 1];
    assert_images(HEADER("<f2", "(2, 2, 3)"), 1, halves, 24, &sizes, values);
    assert_images(HEADER(">f2", "(2, 2, 3)"), 1, big, 24, &sizes, values);
}
END_TEST

/* Empty files with these names. */
static void assert_note(const char *const *names, int has_test, const char *wanted) {
    char note[DATASET_NOTE_BYTES] = "";
    int has = -1;
    for (int i = 0; names[i] != NULL; i++) write_array(names[i], 1, "", "", 0);
    ck_assert_int_eq(dataset_npy.has_split(&job, DATASET_TEST, &has, note), STATUS_OK);
    ck_assert_int_eq(has, has_test);
    ck_assert_str_eq(note, wanted);
}

START_TEST(no_split_is_renamed_or_passed_over_in_silence) {
    assert_note((const char *[]){"x_train.npy", "y_train.npy", NULL}, 0, "");
    assert_note((const char *[]){"x_valid.npy", NULL}, 1,
        "the set has no test split: its valid is taken for the test");
    assert_note((const char *[]){"val_labels.npy", NULL}, 1,
        "the set has no test split: its val is taken for the test; valid is not used");
    assert_note((const char *[]){"test_images.npy", NULL}, 1, "val is not used; valid is not used");
}
END_TEST

START_TEST(a_validation_split_stands_for_a_missing_test) {
    static const unsigned char pixels[12] = {1, 2, 3}, labels[2] = {1, 0};
    DatasetSizes sizes;
    unsigned char found[12];
    int32_t found_labels[2];
    write_labels();
    write_array("x_train.npy", 1, HEADER("|u1", "(2, 2, 3)"), pixels, 12);
    write_array("x_val.npy", 1, HEADER("|u1", "(2, 2, 3)"), pixels, 12);
    write_array("y_val.npy", 1, HEADER("|u1", "(2,)"), labels, 2);
    ck_assert_int_eq(dataset_npy.measure(&job, DATASET_TEST, &sizes), STATUS_OK);
    ck_assert_int_eq(dataset_npy.fill(&job, DATASET_TEST, &sizes, found, found_labels), STATUS_OK);
    ck_assert_mem_eq(found, pixels, 12);
    ck_assert_int_eq(found_labels[0], 1);
    write_array("val_images.npy", 1, HEADER("|u1", "(2, 2, 3)"), pixels, 12);
    ck_assert_int_eq(dataset_npy.measure(&job, DATASET_TEST, &sizes), STATUS_DATA);
    ck_assert_ptr_nonnull(strstr(status_message(), "has val_images.npy and x_val.npy; keep one"));
}
END_TEST

/* Labels 1 and 3 in each type; then -1, which the signed ones can hold. */
START_TEST(labels_are_read_in_any_integer_type) {
    static const char types[][4] = {"|u1", "|i1", "<u2", "<i2", ">u2", ">i2", "<u4", "<i4", ">u4",
        ">i4", "<u8", "<i8", ">u8", ">i8"};
    const char *type = types[_i];
    int bytes = type[2] - '0', low = type[0] == '>' ? bytes - 1 : 0;
    unsigned char items[16] = {0}, pixels[24] = {0};
    char header[128];
    DatasetSizes sizes;
    int32_t labels[2];
    items[low] = 1;
    items[bytes + low] = 3;
    snprintf(
        header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (2, 1)}", type);
    write_array("x_train.npy", 1, HEADER("|u1", "(2, 3, 4)"), pixels, 24);
    write_array("y_train.npy", 1, header, items, 2 * (size_t)bytes);
    ck_assert_int_eq(dataset_npy.measure(&job, DATASET_TRAIN, &sizes), STATUS_OK);
    ck_assert_int_eq(sizes.class_count, 4);
    ck_assert_int_eq(dataset_npy.fill(&job, DATASET_TRAIN, &sizes, pixels, labels), STATUS_OK);
    ck_assert_int_eq(labels[0], 1);
    ck_assert_int_eq(labels[1], 3);
    memset(items, 0xff, sizeof items);
    write_array("y_train.npy", 1, header, items, 2 * (size_t)bytes);
    Status status = dataset_npy.measure(&job, DATASET_TRAIN, &sizes);
    if (type[1] == 'i') ck_assert_ptr_nonnull(strstr(status_message(), "sample 0 has label -1"));
    ck_assert_int_eq(status, type[1] == 'i' || bytes > 2 ? STATUS_DATA : STATUS_OK);
}
END_TEST

START_TEST(a_header_is_its_three_keys_and_nothing_else) {
    static const char *const headers[] = {"", "{}", "{'descr': '|u1'}", "{'descr': '|u1',,}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 1)",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1 1, 1)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,, 1)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': [1, 1, 1]}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1L, 1L, 1L)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (+1, 1, 1)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (0x1, 1, 1)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1)}",
        "{'descr': '|u1', 'fortran_order': 0, 'shape': (1, 1, 1)}",
        "{'descr': '|u1', 'fortran_order': false, 'shape': (1, 1, 1)}",
        "{'descr': '\\x7cu1', 'fortran_order': False, 'shape': (1, 1, 1)}",
        "{'descr': '|u1\", 'fortran_order': False, 'shape': (1, 1, 1)}",
        "{'descr': '<u1', 'fortran_order': False, 'shape': (1, 1, 1)}",
        "{'descr': '|u2', 'fortran_order': False, 'shape': (1, 1, 1)}",
        "{'descr': '=u2', 'fortran_order': False, 'shape': (1, 1, 1)}",
        "{'descr': '', 'fortran_order': False, 'shape': (1, 1, 1)}",
        "{'descr': None, 'fortran_order': False, 'shape': (1, 1, 1)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 1)};",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 1)}\n",
        "\t{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 1)}",
        "dict(descr='|u1', fortran_order=False, shape=(1, 1, 1))"};
    static const unsigned char pixel[16];
    NpyFile file;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        write_array("a.npy", 1, headers[i], pixel, 1);
        ck_assert_msg(npy_open(&file, folder, "a.npy") == STATUS_DATA, "%s", headers[i]);
        ck_assert_ptr_nonnull(strstr(status_message(), "/a.npy: byte "));
    }
    write_array("a.npy", 1, HEADER("|u1", "(1, 1, 1)"), pixel, 1);
    ck_assert_int_eq(npy_open(&file, folder, "a.npy"), STATUS_OK);
    npy_close(&file);
}
END_TEST

START_TEST(every_open_and_read_may_fail) {
    unsigned char pixels[24] = {0};
    write_array("train_images.npy", 1, HEADER("|u1", "(2, 3, 4)"), pixels, 24);
    write_labels();
    for (long n = 1;; n++) {
        DatasetSizes sizes;
        int32_t labels[2];
        status_arm_fault(n, 0);
        Status status = dataset_npy.measure(&job, DATASET_TRAIN, &sizes);
        if (status == STATUS_OK)
            status = dataset_npy.fill(&job, DATASET_TRAIN, &sizes, pixels, labels);
        long seen = status_fault_points_seen();
        status_arm_fault(0, 0);
        ck_assert_uint_eq(memory_in_use(), 0);
        if (seen < n) {
            ck_assert_int_eq(status, STATUS_OK);
            ck_assert_int_gt(n, 20);
            break;
        }
        ck_assert(status == STATUS_IO || status == STATUS_NO_MEMORY);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("npy");
    TCase *tests = unit_check_case(suite, "npy");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, bytes_are_read_in_any_version_and_layout);
    tcase_add_test(tests, floats_are_read_in_any_byte_order_and_width);
    tcase_add_test(tests, halves_are_read_in_any_byte_order);
    tcase_add_test(tests, no_split_is_renamed_or_passed_over_in_silence);
    tcase_add_test(tests, a_validation_split_stands_for_a_missing_test);
    tcase_add_loop_test(tests, labels_are_read_in_any_integer_type, 0, 14);
    tcase_add_test(tests, a_header_is_its_three_keys_and_nothing_else);
    tcase_add_test(tests, every_open_and_read_may_fail);
    return unit_check_run(suite);
}
