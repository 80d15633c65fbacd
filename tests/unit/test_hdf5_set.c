/* test_hdf5_set.c - sets in HDF5 files: types and layouts, any samples in any runs, and no handle
 * that stays open, whatever fails. */
#include "io/dataset_format.h"
#include "io/hdf5_private.h"
#include "src/memory.h"
#include "tests/support/refused_reads.h"
#include "tests/support/unit_check.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

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
    int leaves_partial;      /* the last chunk is not packed where rows are missing in it */
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
    if (form.leaves_partial)
        ck_assert_int_ge(H5Pset_chunk_opts(creation, H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS), 0);
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
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (form.leaves_partial) H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    ck_assert_int_ge(file, 0);
    write_split(file, "data", "targets", TRAIN, form);
    write_split(file, "x_test", "y_test", TEST, form);
    ck_assert_int_ge(H5Fclose(file), 0);
    H5Pclose(access);
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

/* ---- names ---- */

typedef struct NameCase {
    const char *names[6]; /* training images and labels, test images and labels, more images */
    int test_count;       /* 0: there is no test split */
    const char *problem;  /* NULL: it is read */
} NameCase;

static const NameCase name_cases[] = {
    {{"data", "targets", "test_data", "test_targets"}, TEST, NULL},
    {{"train/images", "train/labels", "val/images", "val/labels"}, TEST, NULL},
    {{"train_images", "train_labels", "test_images", "test_labels"}, TEST, NULL},
    {{"train_x", "train_y", "valid_x", "valid_y"}, TEST, NULL},
    {{"X_train", "y_train", "X_test", "y_test"}, TEST, NULL}, {{"X", "Y"}, 0, NULL},
    {{"train/image", "train/label", "test/image", "test/target"}, TEST, NULL},
    {{"Train/Images", "TRAIN_LABELS", "images_test", "labels_test"}, TEST, NULL},
    {{"image_train", "target", "Validation/x", "y_validation"}, TEST, NULL},
    {{"x", "y", "x_test", "y_test", "x_val"}, TEST, NULL},
    {{"x", "y", "x_val", "labels"}, 0,
        "has /labels and /y; keep one of them as the training labels"},
    {{"x", "y", "x_val", "test_y"}, 0,
        "has no test images; looked for /test/images, /test_images, "},
    {{"x", "y", "val/x", "val/w"}, 0, "has no validation labels; looked for /val/labels, "},
    {{"x", "y", "x_test", "y_test", "test/x"}, 0, "has /test/x and /x_test; keep one of them"},
    {{"X", "y", "x_test", "y_test", "x"}, 0,
        "has /X and /x; keep one of them as the training images"},
    {{"pictures", "y", "x_test", "y_test", "x/images"}, 0,
        "has no training images; looked for /train/images, /train_images, /images_train, /images "
        "(or image, x or data for images); the file has pictures, x/, x_test, y, y_test"},
    {{"trainx", "y", "xtest", "y_tests"}, 0, "the file has trainx, xtest, y, y_tests"}};

static void write_named(const char *const *names) {
    const Form form = {.type = H5T_STD_U8LE};
    double values[TRAIN * FEATURES] = {0};
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    for (int i = 0; i < 6 && names[i] != NULL; i++) {
        const hsize_t sizes[] = {i < 2 ? TRAIN : TEST, HEIGHT, WIDTH};
        char group[64];
        snprintf(group, sizeof group, "%s", names[i]);
        char *slash = strchr(group, '/');
        if (slash != NULL) *slash = '\0';
        if (slash != NULL && H5Lexists(file, group, H5P_DEFAULT) <= 0)
            H5Gclose(H5Gcreate2(file, group, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
        write_array(file, names[i], i % 2 == 0 ? 3 : 1, sizes, values, form);
    }
    ck_assert_int_ge(H5Fclose(file), 0);
}

static Status measure_both(int *has_test, DatasetSizes sizes[2]) {
    char note[DATASET_NOTE_BYTES] = "";
    TRY(dataset_hdf5.measure(&job, DATASET_TRAIN, &sizes[0]));
    TRY(dataset_hdf5.has_split(&job, DATASET_TEST, has_test, note));
    return *has_test ? dataset_hdf5.measure(&job, DATASET_TEST, &sizes[1]) : STATUS_OK;
}

START_TEST(one_list_of_names_holds_for_every_split) {
    const NameCase *chosen = &name_cases[_i];
    DatasetSizes sizes[2] = {{0}, {0}};
    int has_test = 0;
    write_named(chosen->names);
    Status status = measure_both(&has_test, sizes);
    if (chosen->problem != NULL) {
        ck_assert_int_ne(status, STATUS_OK);
        ck_assert_msg(strstr(status_message(), chosen->problem) != NULL, "%s", status_message());
        return;
    }
    ck_assert_msg(status == STATUS_OK, "%s", status_message());
    ck_assert_int_eq(sizes[0].count, TRAIN);
    ck_assert_int_eq(sizes[1].count, chosen->test_count);
}
END_TEST

START_TEST(no_split_is_renamed_or_passed_over_in_silence) {
    static const struct {
        const char *names[6], *note;
    } cases[] = {{{"x", "y"}, ""}, {{"x", "y", "x_test", "y_test"}, ""},
        {{"x", "y", "x_val", "y_val"}, "the set has no test split: its val is taken for the test"},
        {{"x", "y", "x_test", "y_test", "val/x", "val/y"}, "val is not used"},
        {{"x", "y", "x_valid", "y_valid", "x_validation"},
            "the set has no test split: its valid is taken for the test; validation is not used"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char note[DATASET_NOTE_BYTES] = "";
        int has = 0;
        write_named(cases[i].names);
        ck_assert_int_eq(dataset_hdf5.has_split(&job, DATASET_TEST, &has, note), STATUS_OK);
        ck_assert_int_eq(has, i > 0);
        ck_assert_str_eq(note, cases[i].note);
    }
}
END_TEST

/* Texts of `bytes` each, or of variable length. */
static void write_classes(size_t bytes, H5T_str_t filled, const void *texts, hsize_t count) {
    write_set((Form){.type = H5T_STD_U8LE});
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), type = H5Tcopy(H5T_C_S1);
    ck_assert_int_ge(H5Tset_size(type, bytes), 0);
    H5Tset_strpad(type, filled);
    hid_t space = H5Screate_simple(1, &count, NULL);
    hid_t list = H5Acreate2(file, "classes", type, space, H5P_DEFAULT, H5P_DEFAULT);
    ck_assert_int_ge(H5Awrite(list, type, texts), 0);
    H5Aclose(list);
    H5Sclose(space);
    H5Tclose(type);
    ck_assert_int_ge(H5Fclose(file), 0);
}

/* With each of its steps failing once. */
static void refuse_each_step_of_reading_classes(void) {
    NameList names = {.names = NULL};
    for (long n = 1, seen = n; seen >= n; n++) {
        status_arm_fault(n, 0);
        Status status = dataset_read_classes(&job, &names);
        seen = status_fault_points_seen();
        status_arm_fault(0, 0);
        name_list_free(&names);
        ck_assert(
            seen < n ? status == STATUS_OK : status == STATUS_IO || status == STATUS_NO_MEMORY);
        ck_assert_uint_eq(memory_in_use(), 0);
    }
}

START_TEST(names_of_the_classes_are_read_in_every_form) {
    static const struct {
        H5T_str_t filled;
        const char *texts;
    } forms[] = {{H5T_STR_NULLPAD, "cat\0deer"}, {H5T_STR_SPACEPAD, "cat deer"},
        {H5T_STR_NULLTERM, "cat\0ox\0"}};
    NameList names = {.names = NULL};
    write_set((Form){.type = H5T_STD_U8LE});
    ck_assert_int_eq(dataset_read_classes(&job, &names), STATUS_OK);
    ck_assert_uint_eq(names.count, 0);
    for (int i = 0; i < 3; i++) {
        write_classes(4, forms[i].filled, forms[i].texts, 2);
        ck_assert_int_eq(dataset_read_classes(&job, &names), STATUS_OK);
        ck_assert_uint_eq(names.count, 2);
        ck_assert_str_eq(names.names[0], "cat");
        ck_assert_str_eq(names.names[1], i < 2 ? "deer" : "ox");
        name_list_free(&names);
    }
    refuse_each_step_of_reading_classes();
    write_classes(H5T_VARIABLE, H5T_STR_NULLTERM, (const char *[]){"cat", "", "Reh im Wald "}, 3);
    ck_assert_int_eq(dataset_read_classes(&job, &names), STATUS_OK);
    ck_assert_uint_eq(names.count, 3);
    ck_assert_str_eq(names.names[0], "cat");
    ck_assert_str_eq(names.names[1], "");
    ck_assert_str_eq(names.names[2], "Reh im Wald");
    name_list_free(&names);
    refuse_each_step_of_reading_classes();
}
END_TEST

START_TEST(names_of_classes_beyond_any_measure_are_refused) {
    static char long_text[5000];
    static const char *const long_texts[] = {"cat", long_text};
    NameList names = {.names = NULL};
    memset(long_text, 'a', sizeof long_text - 1);
    write_classes(sizeof long_text, H5T_STR_NULLPAD, long_text, 1);
    ck_assert_int_eq(dataset_read_classes(&job, &names), STATUS_DATA);
    name_list_free(&names);
    write_classes(H5T_VARIABLE, H5T_STR_NULLTERM, long_texts, 2);
    ck_assert_int_eq(dataset_read_classes(&job, &names), STATUS_DATA);
    name_list_free(&names);
    ck_assert_uint_eq(memory_in_use(), 0);
}
END_TEST

typedef struct HeapCase {
    const char *reason;
    int is_in_heap; /* or in the list of places */
    size_t offset;
    const char *bytes;
    size_t count;
} HeapCase;

/* A place: length, address, index. The heap: "GCOL", version, its size; object 1, "Reh im Wald":
 * index, references, size, bytes. */
static const HeapCase heap_cases[] = {
    {"text 0 has 4294967295 bytes, at most 4096 expected", 0, 0, "\xff\xff\xff\xff", 4},
    {"lies outside the file", 0, 8, "\1", 1}, {"is not there, or shorter", 0, 0, "\x0c", 1},
    {"is not there, or shorter", 0, 12, "\7", 1}, {"is none: ", 1, 0, "M", 1},
    {"lies among 1099511631872 bytes, at most 1048576 in this file", 1, 13, "\1", 1},
    {"lies among 12 bytes", 1, 8, "\x0c\0", 2}, {"is not there, or shorter", 1, 16, "\0", 1},
    {"is not there, or shorter", 1, 24, "\xff\xff\xff\xff\xff\xff\xff\xff", 8}};

/* Where the list's first place lies in a file of `count` bytes, and the heap that it names. */
static void find_texts(const unsigned char *all, size_t count, size_t offsets[2]) {
    unsigned char place[12] = {11};
    const unsigned char *heap = memmem(all, count, "GCOL", 4);
    ck_assert_ptr_nonnull(heap);
    offsets[1] = (size_t)(heap - all);
    for (int i = 0; i < 8; i++) place[4 + i] = (unsigned char)(offsets[1] >> 8 * i);
    const unsigned char *list = memmem(all, count, place, sizeof place);
    ck_assert_ptr_nonnull(list);
    offsets[0] = (size_t)(list - all);
}

static void damage_texts(const HeapCase *chosen) {
    static unsigned char all[1 << 16];
    size_t offsets[2];
    FILE *file = fopen(path, "r+b");
    ck_assert_ptr_nonnull(file);
    find_texts(all, fread(all, 1, sizeof all, file), offsets);
    long offset = (long)(offsets[chosen->is_in_heap] + chosen->offset);
    ck_assert_int_eq(fseek(file, offset, SEEK_SET), 0);
    ck_assert_uint_eq(fwrite(chosen->bytes, 1, chosen->count, file), chosen->count);
    ck_assert_int_eq(fclose(file), 0);
}

START_TEST(texts_that_are_not_what_they_claim_are_refused) {
    const HeapCase *chosen = &heap_cases[_i];
    NameList names = {.names = NULL};
    write_classes(H5T_VARIABLE, H5T_STR_NULLTERM, (const char *[]){"Reh im Wald", "cat"}, 2);
    damage_texts(chosen);
    ck_assert_int_eq(dataset_read_classes(&job, &names), STATUS_DATA);
    ck_assert_msg(strstr(status_message(), chosen->reason) != NULL, "%s", status_message());
    ck_assert_ptr_nonnull(strstr(status_message(), ": attribute classes: "));
    name_list_free(&names);
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
        ck_assert_msg(status == STATUS_IO || status == STATUS_NO_MEMORY, "point %ld: %s", n,
            status_message());
        ck_assert_ptr_null(strstr(status_message(), "gives no reason"));
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

START_TEST(a_read_that_the_system_refuses_is_no_bad_data) {
    static const int64_t first = 0;
    DatasetSizes sizes;
    SampleSource source;
    float row[FEATURES];
    write_set((Form){.chunk_rows = _i * 2, .type = H5T_IEEE_F32LE});
    ck_assert_int_eq(dataset_hdf5.measure(&job, DATASET_TRAIN, &sizes), STATUS_OK);
    ck_assert_int_eq(dataset_hdf5.open_source(&job, DATASET_TRAIN, &sizes, &source), STATUS_OK);
    refuse_reads();
    ck_assert_int_eq(source.read(source.context, &first, 1, row), STATUS_IO);
    ck_assert_msg(strstr(status_message(), ": Input/output error") != NULL, "%s", status_message());
    source.close(source.context);
}
END_TEST

START_TEST(a_disk_error_while_the_content_is_checked_is_told) {
    static const H5Z_filter_t none[] = {H5Z_FILTER_NONE};
    write_set((Form){.type = H5T_STD_U8LE});
    hid_t access = hdf5_file_access();
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, access);
    H5Pclose(access);
    hdf5_prepare();
    refuse_reads();
    ck_assert_int_eq(hdf5_check_content(file, path, none, ""), STATUS_IO);
    ck_assert_msg(strstr(status_message(), ": Input/output error") != NULL, "%s", status_message());
    H5Fclose(file);
}
END_TEST

START_TEST(a_file_that_was_cut_says_so) {
    DatasetSizes sizes;
    write_set((Form){.type = H5T_STD_U8LE});
    ck_assert_int_eq(dataset_hdf5.measure(&job, DATASET_TRAIN, &sizes), STATUS_OK);
    ck_assert_int_eq(truncate(path, sizes.file_bytes - 50), 0);
    ck_assert_int_eq(dataset_hdf5.measure(&job, DATASET_TRAIN, &sizes), STATUS_DATA);
    ck_assert_msg(
        strstr(status_message(), ": truncated file: eof = ") != NULL, "%s", status_message());
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

/* ---- a file larger than the cache ---- */

enum { MANY = 2048, SIDE = 128, ROWS = 4, BATCH = 32, CHUNKS_APART = MANY / ROWS / BATCH };

static void write_many(void) {
    static const hsize_t sizes[] = {MANY, SIDE, SIDE}, chunk[] = {ROWS, SIDE, SIDE}, count = MANY;
    static uint8_t images[MANY][SIDE * SIDE];
    static double classes[MANY];
    for (int i = 0; i < MANY; i++) images[i][0] = (uint8_t)i;
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t space = H5Screate_simple(3, sizes, NULL), creation = H5Pcreate(H5P_DATASET_CREATE);
    ck_assert_int_ge(H5Pset_chunk(creation, 3, chunk), 0);
    hid_t array = H5Dcreate2(file, "data", H5T_STD_U8LE, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    ck_assert_int_ge(H5Dwrite(array, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, images), 0);
    H5Dclose(array);
    H5Pclose(creation);
    H5Sclose(space);
    write_array(file, "targets", 1, &count, classes, (Form){.type = H5T_STD_U8LE});
    ck_assert_int_ge(H5Fclose(file), 0);
}

static long peak_kilobytes(void) {
    struct rusage usage;
    ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

/* One sample of each chunk, then the next of each. */
static void read_many(const SampleSource *source) {
    static uint8_t rows[BATCH][SIDE * SIDE];
    int64_t index[BATCH];
    for (int batch = 0; batch < MANY / BATCH; batch++) {
        for (int i = 0; i < BATCH; i++)
            index[i] = ROWS * (i * CHUNKS_APART + batch % CHUNKS_APART) + batch / CHUNKS_APART;
        ck_assert_int_eq(source->read(source->context, index, BATCH, rows), STATUS_OK);
        for (int i = 0; i < BATCH; i++) ck_assert_int_eq(rows[i][0], (uint8_t)index[i]);
    }
}

START_TEST(scattered_samples_of_a_large_file_take_little_memory) {
    const char *sanitizers = getenv("LOCKSTEP_SANITIZE"); /* they keep what is freed */
    DatasetSizes sizes;
    SampleSource source;
    if (sanitizers != NULL && *sanitizers != '\0') return;
    pid_t writer = fork(); /* whose memory does not count */
    if (writer == 0) {
        write_many();
        _exit(0);
    }
    int state = -1;
    ck_assert_int_eq(waitpid(writer, &state, 0), writer);
    ck_assert_int_eq(state, 0);
    ck_assert_int_eq(dataset_hdf5.measure(&job, DATASET_TRAIN, &sizes), STATUS_OK);
    ck_assert_int_eq(dataset_hdf5.open_source(&job, DATASET_TRAIN, &sizes, &source), STATUS_OK);
    long before = peak_kilobytes();
    read_many(&source);
    ck_assert_int_lt(peak_kilobytes() - before, MANY * SIDE * SIDE / 1024 / 4);
    source.close(source.context);
}
END_TEST

/* ---- what is read for one sample ---- */

typedef struct ReadCase {
    hsize_t count, chunk_rows;
    int is_packed;
    int64_t read_bytes; /* for one sample of SIDE x SIDE bytes */
} ReadCase;

static const ReadCase read_cases[] = {{96, 32, 1, 0}, /* all that is unpacked is kept */
    {1 << 14, 64, 0, 0},                              /* 256 MiB at most */
    {(1 << 14) + 1, 64, 0, SIDE *SIDE * 64},          /* and no more */
    {(1 << 14) + 1, 1, 0, SIDE *SIDE}};

/* Chunks that are there without having been written, unless they are packed. */
static void write_chunks(const ReadCase *chosen) {
    static uint8_t images[96 * SIDE * SIDE];
    static double classes[(1 << 14) + 1];
    const hsize_t sizes[] = {chosen->count, SIDE, SIDE}, chunk[] = {chosen->chunk_rows, SIDE, SIDE};
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t space = H5Screate_simple(3, sizes, NULL), creation = H5Pcreate(H5P_DATASET_CREATE);
    ck_assert(H5Pset_chunk(creation, 3, chunk) >= 0 &&
              H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY) >= 0 &&
              H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER) >= 0);
    if (chosen->is_packed) ck_assert_int_ge(H5Pset_deflate(creation, 1), 0);
    hid_t array = H5Dcreate2(file, "data", H5T_STD_U8LE, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    ck_assert_int_ge(array, 0);
    if (chosen->is_packed)
        ck_assert_int_ge(
            H5Dwrite(array, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, images), 0);
    H5Dclose(array);
    H5Pclose(creation);
    H5Sclose(space);
    write_array(file, "targets", 1, &chosen->count, classes, (Form){.type = H5T_STD_U8LE});
    ck_assert_int_ge(H5Fclose(file), 0);
}

START_TEST(what_is_read_for_one_sample_is_told) {
    DatasetSizes sizes;
    write_chunks(&read_cases[_i]);
    Status status = dataset_hdf5.measure(&job, DATASET_TRAIN, &sizes);
    ck_assert_msg(status == STATUS_OK, "%s", status_message());
    ck_assert_int_eq(sizes.read_bytes, read_cases[_i].read_bytes);
}
END_TEST

/* ---- chunks that are not what they claim ---- */

enum { CHUNK_BYTES = TRAIN * FEATURES };

typedef struct ChunkCase {
    const char *reason; /* NULL: it is read */
    H5Z_filter_t filters[2];
    int unpacked_bytes, stored_bytes; /* of the stream; 0: all of it */
} ChunkCase;

static const ChunkCase chunk_cases[] = {{NULL, {H5Z_FILTER_DEFLATE}, CHUNK_BYTES, 0},
    {NULL, {H5Z_FILTER_FLETCHER32, H5Z_FILTER_DEFLATE}, CHUNK_BYTES + 4, 0},
    {"chunk at (0, 0, 0, 0): holds fewer bytes than the 660", {H5Z_FILTER_DEFLATE}, 100, 0},
    {"holds more bytes than the 660", {H5Z_FILTER_DEFLATE}, CHUNK_BYTES + 1, 0},
    {"holds more bytes than the 660", {H5Z_FILTER_SHUFFLE, H5Z_FILTER_DEFLATE}, 1 << 22, 0},
    {"its gzip data is damaged or cut off", {H5Z_FILTER_DEFLATE}, CHUNK_BYTES, 9},
    {"is shorter than its checksum", {H5Z_FILTER_DEFLATE, H5Z_FILTER_FLETCHER32}, 2, 3},
    {"holds fewer bytes than the 664", {H5Z_FILTER_FLETCHER32, H5Z_FILTER_DEFLATE}, 2, 0},
    {"is packed with gzip 2 times", {H5Z_FILTER_DEFLATE, H5Z_FILTER_DEFLATE}, CHUNK_BYTES, 0}};

static void set_filters(hid_t creation, const ChunkCase *chosen) {
    const hsize_t chunk[] = {TRAIN, CHANNELS, HEIGHT, WIDTH};
    const unsigned level = 1;
    ck_assert_int_ge(H5Pset_chunk(creation, 4, chunk), 0);
    for (int i = 0; i < 2 && chosen->filters[i] != H5Z_FILTER_NONE; i++) {
        int is_gzip = chosen->filters[i] == H5Z_FILTER_DEFLATE;
        ck_assert_int_ge(
            H5Pset_filter(creation, chosen->filters[i], 0, (size_t)is_gzip, &level), 0);
    }
}

/* One chunk with the case's bytes behind HDF5's back; a checksum that comes first is one of zeros:
 * zero. */
static void write_images_of(hid_t file, const ChunkCase *chosen) {
    static const hsize_t sizes[] = {TRAIN, CHANNELS, HEIGHT, WIDTH}, origin[4];
    static unsigned char zeros[1 << 22], packed[1 << 14];
    uLongf bytes = sizeof packed;
    hid_t space = H5Screate_simple(4, sizes, NULL), creation = H5Pcreate(H5P_DATASET_CREATE);
    set_filters(creation, chosen);
    ck_assert_int_eq(compress(packed, &bytes, zeros, (uLong)chosen->unpacked_bytes), Z_OK);
    if (chosen->stored_bytes > 0) bytes = (uLongf)chosen->stored_bytes;
    hid_t array = H5Dcreate2(file, "data", H5T_STD_U8LE, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    ck_assert_int_ge(H5Dwrite_chunk(array, H5P_DEFAULT, 0, origin, bytes, packed), 0);
    H5Dclose(array);
    H5Pclose(creation);
    H5Sclose(space);
}

static Status read_one_sample(void) {
    static const int64_t index = 4;
    uint8_t row[FEATURES];
    DatasetSizes sizes;
    SampleSource source;
    TRY(dataset_hdf5.measure(&job, DATASET_TRAIN, &sizes));
    TRY(dataset_hdf5.open_source(&job, DATASET_TRAIN, &sizes, &source));
    Status status = source.read(source.context, &index, 1, row);
    source.close(source.context);
    return status;
}

START_TEST(chunks_of_another_length_are_refused) {
    const ChunkCase *chosen = &chunk_cases[_i];
    double classes[TRAIN] = {0};
    const hsize_t count = TRAIN;
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    write_images_of(file, chosen);
    write_array(file, "targets", 1, &count, classes, (Form){.type = H5T_STD_U8LE});
    ck_assert_int_ge(H5Fclose(file), 0);
    Status status = read_one_sample();
    ck_assert_msg(
        status == (chosen->reason == NULL ? STATUS_OK : STATUS_DATA), "%s", status_message());
    if (chosen->reason != NULL)
        ck_assert_msg(strstr(status_message(), chosen->reason) != NULL, "%s", status_message());
}
END_TEST

START_TEST(a_chunk_with_missing_rows_may_be_left_unpacked) {
    DatasetSizes sizes;
    SampleSource source;
    write_set((Form){.chunk_rows = 3, .leaves_partial = 1, .type = H5T_STD_U8LE});
    ck_assert_int_eq(dataset_hdf5.measure(&job, DATASET_TRAIN, &sizes), STATUS_OK);
    ck_assert_int_eq(dataset_hdf5.open_source(&job, DATASET_TRAIN, &sizes, &source), STATUS_OK);
    assert_samples(&source, 1);
    source.close(source.context);
}
END_TEST

int main(void) {
    H5open();
    Suite *suite = suite_create("hdf5 set");
    TCase *tests = unit_check_case(suite, "hdf5");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, any_samples_are_read_in_any_type_and_layout, 0, 16);
    tcase_add_loop_test(tests, one_list_of_names_holds_for_every_split, 0,
        (int)(sizeof name_cases / sizeof *name_cases));
    tcase_add_test(tests, no_split_is_renamed_or_passed_over_in_silence);
    tcase_add_test(tests, names_of_the_classes_are_read_in_every_form);
    tcase_add_test(tests, names_of_classes_beyond_any_measure_are_refused);
    tcase_add_loop_test(tests, texts_that_are_not_what_they_claim_are_refused, 0,
        (int)(sizeof heap_cases / sizeof *heap_cases));
    tcase_add_test(tests, every_open_read_and_allocation_may_fail);
    tcase_add_test(tests, scattered_samples_of_a_large_file_take_little_memory);
    tcase_add_loop_test(tests, what_is_read_for_one_sample_is_told, 0,
        (int)(sizeof read_cases / sizeof read_cases[0]));
    tcase_add_test(tests, a_file_that_is_cut_while_it_is_open_is_noticed);
    tcase_add_loop_test(tests, chunks_of_another_length_are_refused, 0,
        (int)(sizeof chunk_cases / sizeof *chunk_cases));
    tcase_add_test(tests, a_chunk_with_missing_rows_may_be_left_unpacked);
    tcase_add_loop_test(tests, a_read_that_the_system_refuses_is_no_bad_data, 0, 2);
    tcase_add_test(tests, a_disk_error_while_the_content_is_checked_is_told);
    tcase_add_test(tests, a_file_that_was_cut_says_so);
    tcase_add_test(tests, another_file_than_rank_0_has_seen_is_refused);
    return unit_check_run(suite);
}
