/* test_hdf5_set.c - sets in HDF5 files: types and layouts, any samples in any runs, and no handle
 * that stays open, whatever fails. */
#include "io/dataset_format.h"
#include "src/memory.h"
#include "tests/support/unit_check.h"
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TRAIN = 11, TEST = 5, CHANNELS = 3, HEIGHT = 4, WIDTH = 5 };
enum { FEATURES = CHANNELS * HEIGHT * WIDTH };

static char path[] = "/tmp/lockstep-test-XXXXXX";
static Job job;

static void set_up(void) {
    strcpy(path + sizeof path - 7, "XXXXXX");
    int descriptor = mkstemp(path);
    ck_assert_int_ge(descriptor, 0);
    close(descriptor);
    job = (Job){.data = {.format = DATA_HDF5, .path = path}};
}

static void tear_down(void) {
    unlink(path);
    ck_assert_uint_eq(memory_in_use(), 0);
    ck_assert_int_eq(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
}

static int value_of(int64_t sample, int feature) {
    return (int)(sample * 20 + feature) % 256;
}

typedef struct Form {
    int is_nhwc, chunk_rows; /* 0: contiguous */
    hid_t type;              /* in the file */
} Form;

/* Write values as native numbers; HDF5 converts them. */
static void write_array(hid_t file, const char *name, int dimensions, const hsize_t *sizes,
    const double *values, Form form) {
    hid_t space = H5Screate_simple(dimensions, sizes, NULL),
          creation = H5Pcreate(H5P_DATASET_CREATE);
    hsize_t chunk[4];
    memcpy(chunk, sizes, (size_t)dimensions * sizeof *sizes);
    chunk[0] = (hsize_t)form.chunk_rows;
    if (form.chunk_rows > 0)
        ck_assert(H5Pset_chunk(creation, dimensions, chunk) >= 0 && H5Pset_shuffle(creation) >= 0 &&
                  H5Pset_deflate(creation, 4) >= 0);
    hid_t array = H5Dcreate2(file, name, form.type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    ck_assert_int_ge(H5Dwrite(array, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
    H5Dclose(array);
    H5Pclose(creation);
    H5Sclose(space);
}

static void write_split(hid_t file, const char *images, const char *labels, int count, Form form) {
    double values[TRAIN * FEATURES], classes[TRAIN];
    hsize_t nchw[] = {(hsize_t)count, CHANNELS, HEIGHT, WIDTH};
    hsize_t nhwc[] = {(hsize_t)count, HEIGHT, WIDTH, CHANNELS};
    for (int i = 0; i < count * FEATURES; i++) {
        int sample = i / FEATURES, f = i % FEATURES;
        int pixel = f % (HEIGHT * WIDTH), channel = f / (HEIGHT * WIDTH);
        int place = form.is_nhwc ? pixel * CHANNELS + channel : f;
        values[sample * FEATURES + place] = value_of(sample, f);
    }
    for (int i = 0; i < count; i++) classes[i] = i % 4;
    write_array(file, images, 4, form.is_nhwc ? nhwc : nchw, values, form);
    Form plain = {.type = H5T_STD_I32BE};
    write_array(file, labels, 1, nchw, classes, plain);
}

static void write_set(Form form) {
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    ck_assert_int_ge(file, 0);
    write_split(file, "data", "targets", TRAIN, form);
    write_split(file, "x_test", "y_test", TEST, form);
    ck_assert_int_ge(H5Fclose(file), 0);
}

static void assert_row(const void *row, int64_t sample, int element_bytes) {
    for (int f = 0; f < FEATURES; f++)
        ck_assert_int_eq(
            element_bytes == 1 ? ((const uint8_t *)row)[f] : (int)((const float *)row)[f],
            value_of(sample, f));
}

static void assert_samples(const SampleSource *source, int element_bytes) {
    static const int64_t index[] = {0, 2, 3, 4, 7, 9, 10};
    enum { COUNT = sizeof index / sizeof index[0] };
    static float rows[COUNT * FEATURES];
    ck_assert_msg(
        source->read(source->context, index, COUNT, rows) == STATUS_OK, "%s", status_message());
    for (int i = 0; i < COUNT; i++)
        assert_row((const char *)rows + (size_t)i * source->sample_bytes, index[i], element_bytes);
}

START_TEST(any_samples_are_read_in_any_type_and_layout) {
    const hid_t types[] = {H5T_STD_U8LE, H5T_IEEE_F32LE, H5T_IEEE_F32BE, H5T_IEEE_F64LE};
    hid_t type = types[_i / 4];
    int element_bytes = _i / 4 == 0 ? 1 : 4;
    DatasetSizes sizes;
    SampleSource source;
    int32_t labels[TRAIN];
    H5open();
    write_set((Form){.is_nhwc = _i % 2, .chunk_rows = _i % 4 / 2 * 3, .type = type});
    Status status = dataset_hdf5.measure(&job, DATASET_TRAIN, &sizes);
    ck_assert_msg(status == STATUS_OK, "%s", status_message());
    ck_assert(sizes.count == TRAIN && sizes.channels == CHANNELS && sizes.height == HEIGHT);
    ck_assert(sizes.width == WIDTH && sizes.class_count == 4 && sizes.file_bytes > 0);
    ck_assert_int_eq(sizes.element_bytes, element_bytes);
    ck_assert_int_eq(dataset_hdf5.fill(&job, DATASET_TRAIN, &sizes, NULL, labels), STATUS_OK);
    for (int i = 0; i < TRAIN; i++) ck_assert_int_eq(labels[i], i % 4);
    ck_assert_int_eq(dataset_hdf5.open_source(&job, DATASET_TRAIN, &sizes, &source), STATUS_OK);
    ck_assert_uint_eq(source.sample_bytes, FEATURES * (size_t)element_bytes);
    assert_samples(&source, element_bytes);
    source.close(source.context);
}
END_TEST

static Status use_set(void) {
    static const int64_t index[] = {1, 2, 4};
    DatasetSizes sizes;
    SampleSource source;
    int32_t labels[TEST];
    float rows[3 * FEATURES];
    TRY(dataset_hdf5.measure(&job, DATASET_TEST, &sizes));
    TRY(dataset_hdf5.fill(&job, DATASET_TEST, &sizes, NULL, labels));
    TRY(dataset_hdf5.open_source(&job, DATASET_TEST, &sizes, &source));
    Status status = source.read(source.context, index, 3, rows);
    source.close(source.context);
    return status;
}

START_TEST(every_open_read_and_allocation_may_fail) {
    write_set((Form){.is_nhwc = 1, .chunk_rows = 2, .type = H5T_STD_U8LE});
    for (long n = 1;; n++) {
        status_arm_fault(n, 0);
        Status status = use_set();
        long seen = status_fault_points_seen();
        status_arm_fault(0, 0);
        ck_assert_uint_eq(memory_in_use(), 0);
        ck_assert_int_eq(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
        if (seen < n) {
            ck_assert_int_eq(status, STATUS_OK);
            ck_assert_int_gt(n, 12);
            break;
        }
        ck_assert_msg(status != STATUS_OK, "point %ld", n);
    }
}
END_TEST

START_TEST(a_file_that_is_cut_while_it_is_open_is_noticed) {
    static const int64_t first = 0;
    DatasetSizes sizes;
    SampleSource source;
    float row[FEATURES];
    H5open();
    write_set((Form){.type = H5T_IEEE_F32LE});
    ck_assert_int_eq(dataset_hdf5.measure(&job, DATASET_TRAIN, &sizes), STATUS_OK);
    ck_assert_int_eq(dataset_hdf5.open_source(&job, DATASET_TRAIN, &sizes, &source), STATUS_OK);
    ck_assert_int_eq(truncate(path, sizes.file_bytes / 2), 0);
    ck_assert_int_eq(source.read(source.context, &first, 1, row), STATUS_DATA);
    ck_assert_ptr_nonnull(strstr(status_message(), "was changed while it was read"));
    source.close(source.context);
    ck_assert_int_eq(dataset_hdf5.measure(&job, DATASET_TRAIN, &sizes), STATUS_DATA);
}
END_TEST

START_TEST(another_file_than_rank_0_has_seen_is_refused) {
    DatasetSizes sizes;
    SampleSource source;
    write_set((Form){.type = H5T_STD_U8LE});
    ck_assert_int_eq(dataset_hdf5.measure(&job, DATASET_TRAIN, &sizes), STATUS_OK);
    sizes.file_bytes++;
    ck_assert_int_eq(dataset_hdf5.open_source(&job, DATASET_TRAIN, &sizes, &source), STATUS_DATA);
    ck_assert_ptr_nonnull(strstr(status_message(), "than rank 0 has seen"));
}
END_TEST

int main(void) {
    H5open();
    Suite *suite = suite_create("hdf5 set");
    TCase *tests = unit_check_case(suite, "hdf5");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, any_samples_are_read_in_any_type_and_layout, 0, 16);
    tcase_add_test(tests, every_open_read_and_allocation_may_fail);
    tcase_add_test(tests, a_file_that_is_cut_while_it_is_open_is_noticed);
    tcase_add_test(tests, another_file_than_rank_0_has_seen_is_refused);
    return unit_check_run(suite);
}
