/* test_dataset.c - IDX sets: what is read, and what is said of files that are not what they claim.
 */
#include "io/dataset_format.h"
#include "src/memory.h"
#include "tests/support/unit_check.h"
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { TRAIN_COUNT = 12, TEST_COUNT = 7, ROWS = 5, COLUMNS = 4, CLASSES = 3, FILE_MAX = 4096 };

#define TRAIN_IMAGES "train-images-idx3-ubyte"
#define TRAIN_LABELS "train-labels-idx1-ubyte"
#define TEST_IMAGES "t10k-images-idx3-ubyte"
#define TEST_LABELS "t10k-labels-idx1-ubyte"

static char folder[] = "/tmp/lockstep-test-XXXXXX";
static Job job;

/* A file's content while it is being made. */
typedef struct Content {
    unsigned char bytes[FILE_MAX];
    size_t length;
} Content;

static void append_number(Content *content, uint32_t number) {
    for (int shift = 24; shift >= 0; shift -= 8)
        content->bytes[content->length++] = (unsigned char)(number >> shift);
}

static int pixel_of(int split, int i) {
    return (i * 7 + split * 100 + 3) % 256;
}

static Content make_images(int split) {
    Content content = {.length = 0};
    int count = split == DATASET_TRAIN ? TRAIN_COUNT : TEST_COUNT;
    append_number(&content, 0x803);
    append_number(&content, (uint32_t)count);
    append_number(&content, ROWS);
    append_number(&content, COLUMNS);
    for (int i = 0; i < count * ROWS * COLUMNS; i++)
        content.bytes[content.length++] = (unsigned char)pixel_of(split, i);
    return content;
}

static Content make_labels(int split) {
    Content content = {.length = 0};
    int count = split == DATASET_TRAIN ? TRAIN_COUNT : TEST_COUNT;
    append_number(&content, 0x801);
    append_number(&content, (uint32_t)count);
    for (int i = 0; i < count; i++) content.bytes[content.length++] = (unsigned char)(i % CLASSES);
    return content;
}

static Content make_file(const char *name) {
    int split = strncmp(name, "t10k", 4) == 0 ? DATASET_TEST : DATASET_TRAIN;
    return strstr(name, "images") != NULL ? make_images(split) : make_labels(split);
}

static const char *path_of(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_plain(const char *name, const void *bytes, size_t length) {
    FILE *file = fopen(path_of(name), "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, length, file), length);
    ck_assert_int_eq(fclose(file), 0);
}

/* Level 0 keeps the bytes as they are, so that a test knows what it damages. */
static void write_gzip(const char *name, const Content *content, const char *mode) {
    gzFile file = gzopen(path_of(name), mode);
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(
        gzwrite(file, content->bytes, (unsigned)content->length), (int)content->length);
    ck_assert_int_eq(gzclose(file), Z_OK);
}

static Content read_back(const char *name) {
    Content content;
    FILE *file = fopen(path_of(name), "rb");
    ck_assert_ptr_nonnull(file);
    content.length = fread(content.bytes, 1, sizeof content.bytes, file);
    fclose(file);
    return content;
}

static void write_good_set(void) {
    static const char *const names[] = {TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS};
    for (int i = 0; i < 4; i++) {
        Content content = make_file(names[i]);
        write_plain(names[i], content.bytes, content.length);
    }
}

static void gzip_file(const char *name, const char *mode) {
    Content content = make_file(name);
    char gzip_name[64];
    snprintf(gzip_name, sizeof gzip_name, "%s.gz", name);
    unlink(path_of(name));
    write_gzip(gzip_name, &content, mode);
}

static int remove_entry(const char *path, const struct stat *info, int flag, struct FTW *ftw) {
    (void)info;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void set_up(void) {
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chmod(folder, 0755), 0);
    job = (Job){.data = {.format = DATA_IDX, .path = folder}};
    write_good_set();
}

static void tear_down(void) {
    nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    ck_assert_uint_eq(memory_in_use(), 0);
}

/* Measure and fill; `*images` and `*labels` are NULL after a failure. */
static Status read_set(
    DatasetSplit split, DatasetSizes *sizes, uint8_t **images, int32_t **labels) {
    *images = NULL;
    *labels = NULL;
    TRY(dataset_idx.measure(&job, split, sizes));
    size_t count = (size_t)sizes->count;
    *images = malloc(count * (size_t)sizes->height * (size_t)sizes->width);
    *labels = malloc(count * sizeof **labels);
    ck_assert(*images != NULL && *labels != NULL);
    Status status = dataset_idx.fill(&job, split, sizes, *images, *labels);
    if (status == STATUS_OK) return STATUS_OK;
    free(*images);
    free(*labels);
    *images = NULL;
    *labels = NULL;
    return status;
}

static void assert_good(DatasetSplit split) {
    DatasetSizes sizes;
    uint8_t *images;
    int32_t *labels;
    ck_assert_msg(read_set(split, &sizes, &images, &labels) == STATUS_OK, "%s", status_message());
    ck_assert_int_eq(sizes.count, split == DATASET_TRAIN ? TRAIN_COUNT : TEST_COUNT);
    ck_assert_int_eq(sizes.channels, 1);
    ck_assert_int_eq(sizes.height, ROWS);
    ck_assert_int_eq(sizes.width, COLUMNS);
    ck_assert_int_eq(sizes.class_count, CLASSES);
    for (int i = 0; i < sizes.count * ROWS * COLUMNS; i++)
        ck_assert_int_eq(images[i], pixel_of(split, i));
    for (int i = 0; i < sizes.count; i++) ck_assert_int_eq(labels[i], i % CLASSES);
    free(images);
    free(labels);
}

static void assert_fails(DatasetSplit split, Status expected, const char *fragment) {
    DatasetSizes sizes;
    uint8_t *images;
    int32_t *labels;
    Status status = read_set(split, &sizes, &images, &labels);
    ck_assert_msg(status == expected, "got %s: %s", status_sentence(status), status_message());
    ck_assert_msg(strstr(status_message(), fragment) != NULL, "'%s' is not in '%s'", fragment,
        status_message());
}

START_TEST(both_splits_are_read_byte_for_byte) {
    assert_good(DATASET_TRAIN);
    assert_good(DATASET_TEST);
}
END_TEST

START_TEST(gzip_files_give_the_same_bytes) {
    static const char *const names[] = {TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS};
    for (int i = 0; i < 4; i++) gzip_file(names[i], i % 2 == 0 ? "wb9" : "wb0");
    assert_good(DATASET_TRAIN);
    assert_good(DATASET_TEST);
}
END_TEST

START_TEST(the_other_spelling_is_found) {
    Content content = make_file(TRAIN_IMAGES);
    unlink(path_of(TRAIN_IMAGES));
    write_plain("train-images.idx3-ubyte", content.bytes, content.length);
    content = make_file(TRAIN_LABELS);
    unlink(path_of(TRAIN_LABELS));
    write_gzip("train-labels.idx1-ubyte.gz", &content, "wb");
    assert_good(DATASET_TRAIN);
}
END_TEST

START_TEST(the_plain_file_wins_over_the_gzip_one) {
    write_plain(TRAIN_IMAGES ".gz", "nonsense", 8);
    assert_good(DATASET_TRAIN);
}
END_TEST

START_TEST(the_content_decides_whether_a_file_is_gzip) {
    Content content = make_file(TRAIN_IMAGES);
    write_gzip(TRAIN_IMAGES, &content, "wb");
    content = make_file(TRAIN_LABELS);
    unlink(path_of(TRAIN_LABELS));
    write_plain(TRAIN_LABELS ".gz", content.bytes, content.length);
    assert_good(DATASET_TRAIN);
}
END_TEST

/* One way to break one file of a good set. */
typedef enum Damage {
    SET_BYTE,   /* byte `at` becomes `value` */
    SET_NUMBER, /* the 32-bit number at `at` becomes `value` */
    CUT,        /* to `at` bytes */
    APPEND,     /* `at` zero bytes */
    REPLACE,    /* by `text` and zeros, `at` bytes in all */
    REMOVE,
    TO_DIRECTORY,
    TO_PIPE,
    GZIP_SET_BYTE, /* of the gzip file (level 0); `at` < 0 counts from its end */
    GZIP_CUT,      /* the gzip file to `at` bytes, or by -`at` */
    GZIP_NUMBER,   /* SET_NUMBER before compressing */
    GZIP_SHORT,    /* CUT before compressing */
    GZIP_APPEND,   /* APPEND before compressing */
    GZIP_TWICE
} Damage;

typedef struct Case {
    DatasetSplit split;
    const char *file;
    Damage damage;
    long at;
    uint32_t value;
    const char *text;
    Status status;
    const char *fragment;
} Case;

#define TRAIN DATASET_TRAIN
#define TEST DATASET_TEST
#define BAD STATUS_DATA

static const Case cases[] = {
    {TRAIN, TRAIN_IMAGES, SET_BYTE, 0, 7, "", BAD, "byte 0: magic 0x07000803 found, 0x00000803"},
    {TRAIN, TRAIN_IMAGES, SET_BYTE, 2, 13, "", BAD, "byte 2: element type 0x0d found, 0x08"},
    {TRAIN, TRAIN_IMAGES, SET_BYTE, 3, 1, "", BAD,
        "byte 3: 1 dimension found (labels), 3 (images) expected"},
    {TRAIN, TRAIN_LABELS, SET_BYTE, 3, 3, "", BAD,
        "byte 3: 3 dimensions found (images), 1 (labels) expected"},
    {TRAIN, TRAIN_IMAGES, SET_BYTE, 3, 4, "", BAD, "byte 3: 4 dimensions found, 3 (images)"},
    {TRAIN, TRAIN_IMAGES, SET_NUMBER, 0, 0x03080000, "", BAD, "wrong byte order"},
    {TRAIN, TRAIN_IMAGES, SET_NUMBER, 4, 0, "", BAD, "byte 4: count 0 found"},
    {TRAIN, TRAIN_IMAGES, SET_NUMBER, 8, 0, "", BAD, "byte 8: rows 0 found"},
    {TRAIN, TRAIN_IMAGES, SET_NUMBER, 12, 0, "", BAD, "byte 12: columns 0 found"},
    {TRAIN, TRAIN_IMAGES, SET_NUMBER, 8, 4097, "", BAD, "rows 4097 found, 1 to 4096 expected"},
    {TRAIN, TRAIN_IMAGES, SET_NUMBER, 12, 0xffffffff, "", BAD, "columns 4294967295 found"},
    {TRAIN, TRAIN_IMAGES, SET_NUMBER, 4, 0x80000000, "", BAD,
        "count 2147483648 found, 1 to 2147483647 expected"},
    {TRAIN, TRAIN_IMAGES, SET_NUMBER, 4, 0x7fffffff, "", BAD,
        "promises 42949672956 bytes (16 + 2147483647 x 5 x 4)"},
    {TRAIN, TRAIN_IMAGES, SET_NUMBER, 4, 13, "", BAD,
        "byte 256: the file ends here, but its header promises 276 bytes (16 + 13 x 5 x 4)"},
    {TRAIN, TRAIN_IMAGES, SET_NUMBER, 4, 11, "", BAD,
        "byte 236: the file goes on, to 256 bytes, after those (16 + 11 x 5 x 4)"},
    {TRAIN, TRAIN_IMAGES, CUT, 255, 0, "", BAD, "byte 255: the file ends here"},
    {TRAIN, TRAIN_IMAGES, CUT, 15, 0, "", BAD,
        "byte 15: the file ends inside its header, which "
        "has 16 bytes"},
    {TRAIN, TRAIN_IMAGES, CUT, 3, 0, "", BAD, "byte 3: the file ends inside its header"},
    {TRAIN, TRAIN_IMAGES, CUT, 0, 0, "", BAD, "the file is empty"},
    {TRAIN, TRAIN_IMAGES, APPEND, 3, 0, "", BAD, "byte 256: the file goes on, to 259 bytes"},
    {TRAIN, TRAIN_LABELS, CUT, 19, 0, "", BAD, "byte 19: the file ends here"},
    {TRAIN, TRAIN_LABELS, APPEND, 1, 0, "", BAD, "byte 20: the file goes on"},
    {TRAIN, TRAIN_LABELS, REPLACE, 18, 0, "\0\0\x08\x01\0\0\0\x0a", BAD,
        "byte 4: 10 labels found, 12 expected, one for each image"},
    {TRAIN, TRAIN_IMAGES, REPLACE, 3073 * 4, 0, "\x06", BAD, "CIFAR-10 binary format"},
    {TRAIN, TRAIN_IMAGES, REPLACE, 200, 0, "<!DOCTYPE html>", BAD, "found a web page"},
    {TRAIN, TRAIN_IMAGES, REPLACE, 200, 0, "<html>", BAD, "found a web page"},
    {TRAIN, TRAIN_IMAGES, REPLACE, 200, 0, "\x89HDF\r\n", BAD, "found an HDF5 file"},
    {TRAIN, TRAIN_IMAGES, REPLACE, 200, 0, "PK\x03\x04", BAD, "found a zip archive"},
    {TRAIN, TRAIN_IMAGES, REPLACE, 130, 0, "version https://git-lfs", BAD, "Git LFS pointer"},
    {TRAIN, TRAIN_IMAGES, REPLACE, 200, 0, "\x93NUMPY", BAD, "NumPy array"},
    {TRAIN, TRAIN_IMAGES, REMOVE, 0, 0, "", STATUS_MISSING,
        "neither train-images-idx3-ubyte nor train-images.idx3-ubyte, plain or with .gz"},
    {TRAIN, TRAIN_LABELS, REMOVE, 0, 0, "", STATUS_MISSING, "train-labels.idx1-ubyte"},
    {TRAIN, TRAIN_IMAGES, TO_DIRECTORY, 0, 0, "", BAD, "not a regular file but a directory"},
    {TRAIN, TRAIN_LABELS, TO_PIPE, 0, 0, "", BAD, "not a regular file but a device, pipe"},
    {TRAIN, TRAIN_IMAGES, GZIP_CUT, 100, 0, "", BAD, "the gzip stream is cut off"},
    {TRAIN, TRAIN_IMAGES, GZIP_CUT, -1, 0, "", BAD, "the gzip stream is cut off"},
    {TRAIN, TRAIN_IMAGES, GZIP_CUT, 12, 0, "", BAD, "the gzip stream is cut off"},
    {TRAIN, TRAIN_IMAGES, GZIP_SET_BYTE, 10, 7, "", BAD,
        "the gzip stream is damaged: invalid block type"},
    {TRAIN, TRAIN_IMAGES, GZIP_SET_BYTE, 40, 1, "", BAD,
        "the gzip stream is damaged: incorrect data check"},
    {TRAIN, TRAIN_IMAGES, GZIP_SET_BYTE, -5, 0xaa, "", BAD, "the gzip stream is damaged"},
    {TRAIN, TRAIN_LABELS, GZIP_SET_BYTE, 30, 2, "", BAD, "incorrect data check"},
    {TRAIN, TRAIN_IMAGES, GZIP_NUMBER, 4, 0x7fffffff, "", BAD, "bytes of gzip can hold"},
    {TRAIN, TRAIN_IMAGES, GZIP_SHORT, 255, 0, "", BAD, "byte 255: the file ends here"},
    {TRAIN, TRAIN_IMAGES, GZIP_APPEND, 1, 0, "", BAD, "byte 256: the file goes on after the 256"},
    {TRAIN, TRAIN_IMAGES, GZIP_TWICE, 0, 0, "", BAD, "found a gzip file"},
    {TEST, TEST_LABELS, SET_BYTE, 8 + 5, 3, "", BAD,
        "byte 13: sample 5 has label 3, but the training labels end at 2"},
    {TEST, TEST_IMAGES, CUT, 100, 0, "", BAD, "t10k-images-idx3-ubyte: byte 100: the file ends"},
    {TEST, TRAIN_LABELS, CUT, 10, 0, "", BAD, "train-labels-idx1-ubyte: byte 10"},
    {TEST, TEST_IMAGES, REMOVE, 0, 0, "", STATUS_MISSING, "t10k-images-idx3-ubyte"},
};

static void damage_content(Content *content, Damage damage, const Case *c) {
    if (damage == SET_BYTE) content->bytes[c->at] = (unsigned char)c->value;
    if (damage == CUT) content->length = (size_t)c->at;
    if (damage == SET_NUMBER) {
        size_t length = content->length;
        content->length = (size_t)c->at;
        append_number(content, c->value);
        content->length = length;
    }
    if (damage == APPEND) {
        memset(content->bytes + content->length, 0, (size_t)c->at);
        content->length += (size_t)c->at;
    }
}

static void damage_gzip(const Case *c, const char *name) {
    Content content = make_file(c->file);
    if (c->damage == GZIP_NUMBER) damage_content(&content, SET_NUMBER, c);
    if (c->damage == GZIP_SHORT) damage_content(&content, CUT, c);
    if (c->damage == GZIP_APPEND) damage_content(&content, APPEND, c);
    write_gzip(name, &content, "wb0");
    content = read_back(name);
    size_t at = c->at < 0 ? content.length - (size_t)-c->at : (size_t)c->at;
    if (c->damage == GZIP_SET_BYTE) content.bytes[at] = (unsigned char)c->value;
    if (c->damage == GZIP_CUT) content.length = at;
    if (c->damage == GZIP_TWICE) {
        write_gzip(name, &content, "wb");
        return;
    }
    write_plain(name, content.bytes, content.length);
}

static void damage_file(const Case *c) {
    Content content = make_file(c->file);
    char gzip_name[64];
    snprintf(gzip_name, sizeof gzip_name, "%s.gz", c->file);
    unlink(path_of(c->file));
    if (c->damage >= GZIP_SET_BYTE) {
        damage_gzip(c, gzip_name);
    } else if (c->damage == TO_DIRECTORY) {
        ck_assert_int_eq(mkdir(path_of(c->file), 0755), 0);
    } else if (c->damage == TO_PIPE) {
        ck_assert_int_eq(mkfifo(path_of(c->file), 0644), 0);
    } else if (c->damage == REPLACE) {
        unsigned char *bytes = calloc(1, (size_t)c->at);
        ck_assert_ptr_nonnull(bytes);
        memcpy(bytes, c->text, c->text[0] != '\0' ? strlen(c->text) : 8);
        write_plain(c->file, bytes, (size_t)c->at);
        free(bytes);
    } else if (c->damage != REMOVE) {
        damage_content(&content, c->damage, c);
        write_plain(c->file, content.bytes, content.length);
    }
}

START_TEST(a_broken_file_is_refused_and_told_apart) {
    const Case *c = &cases[_i];
    damage_file(c);
    assert_fails(c->split, c->status, c->fragment);
    if (c->status == BAD) {
        ck_assert_ptr_nonnull(strstr(status_message(), folder));
        ck_assert_ptr_nonnull(strstr(status_message(), c->file));
    }
}
END_TEST

START_TEST(a_test_label_may_be_any_training_class) {
    Content content = make_file(TRAIN_LABELS);
    content.bytes[8 + 2] = 255;
    write_plain(TRAIN_LABELS, content.bytes, content.length);
    DatasetSizes sizes;
    ck_assert_int_eq(dataset_idx.measure(&job, DATASET_TEST, &sizes), STATUS_OK);
    ck_assert_int_eq(sizes.class_count, 256);
}
END_TEST

START_TEST(there_are_at_least_two_classes) {
    Content content = make_file(TRAIN_LABELS);
    memset(content.bytes + 8, 0, TRAIN_COUNT);
    write_plain(TRAIN_LABELS, content.bytes, content.length);
    DatasetSizes sizes;
    ck_assert_int_eq(dataset_idx.measure(&job, DATASET_TRAIN, &sizes), STATUS_OK);
    ck_assert_int_eq(sizes.class_count, 2);
    ck_assert_int_eq(sizes.first_label, 0);
    memset(content.bytes + 8, 1, TRAIN_COUNT);
    write_plain(TRAIN_LABELS, content.bytes, content.length);
    ck_assert_int_eq(dataset_idx.measure(&job, DATASET_TRAIN, &sizes), STATUS_OK);
    ck_assert_int_eq(sizes.first_label, 1);
}
END_TEST

START_TEST(a_file_that_changes_between_two_looks_is_noticed) {
    DatasetSizes sizes;
    uint8_t images[TRAIN_COUNT * ROWS * COLUMNS];
    int32_t labels[TRAIN_COUNT];
    ck_assert_int_eq(dataset_idx.measure(&job, DATASET_TRAIN, &sizes), STATUS_OK);
    Content content = make_file(TRAIN_IMAGES);
    content.bytes[7] = TRAIN_COUNT + 1;
    content.length += ROWS * COLUMNS;
    write_plain(TRAIN_IMAGES, content.bytes, content.length);
    ck_assert_int_eq(dataset_idx.fill(&job, DATASET_TRAIN, &sizes, images, labels), STATUS_DATA);
    ck_assert_ptr_nonnull(strstr(status_message(), "was 12 and is 13 now"));
}
END_TEST

START_TEST(a_missing_folder_is_named_with_the_way_to_get_it) {
    job.data.path = "/nonexistent/mnist";
    assert_fails(DATASET_TRAIN, STATUS_MISSING, "no folder '/nonexistent/mnist'");
    ck_assert_ptr_nonnull(strstr(status_message(), "jobs/get-data.sh"));
    job.data.path = "";
    assert_fails(DATASET_TRAIN, STATUS_CONFIG, "data.path: not given");
}
END_TEST

START_TEST(a_file_in_place_of_the_folder_is_refused) {
    char path[256];
    snprintf(path, sizeof path, "%s", path_of(TRAIN_IMAGES));
    job.data.path = path;
    assert_fails(DATASET_TRAIN, STATUS_DATA, "is a file; the folder");
}
END_TEST

START_TEST(a_path_that_is_too_long_is_refused) {
    char path[4090] = "";
    snprintf(path, sizeof path, "%s", folder);
    for (size_t n = strlen(path); n + 2 < sizeof path - 10; n += 2) memcpy(path + n, "/.", 3);
    job.data.path = path;
    assert_fails(DATASET_TRAIN, STATUS_CONFIG, "longer than 4095 bytes");
}
END_TEST

START_TEST(a_file_without_permission_is_an_input_error) {
    ck_assert_int_eq(chmod(path_of(TRAIN_IMAGES), 0), 0);
    int is_root = geteuid() == 0;
    if (is_root) ck_assert_int_eq(seteuid(65534), 0);
    assert_fails(DATASET_TRAIN, STATUS_IO, "cannot open: Permission denied");
    if (is_root) ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

START_TEST(every_open_and_read_may_fail) {
    gzip_file(TEST_LABELS, "wb");
    for (long n = 1;; n++) {
        DatasetSizes sizes;
        uint8_t *images;
        int32_t *labels;
        status_arm_fault(n, 0);
        Status status = read_set(DATASET_TEST, &sizes, &images, &labels);
        long seen = status_fault_points_seen();
        status_arm_fault(0, 0);
        free(images);
        free(labels);
        if (seen < n) {
            ck_assert_int_eq(status, STATUS_OK);
            ck_assert_int_gt(n, 10);
            break;
        }
        ck_assert_int_eq(status, STATUS_IO);
        ck_assert_ptr_nonnull(strstr(status_message(), "Input/output error"));
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("dataset");
    TCase *tests = unit_check_case(suite, "idx");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, both_splits_are_read_byte_for_byte);
    tcase_add_test(tests, gzip_files_give_the_same_bytes);
    tcase_add_test(tests, the_other_spelling_is_found);
    tcase_add_test(tests, the_plain_file_wins_over_the_gzip_one);
    tcase_add_test(tests, the_content_decides_whether_a_file_is_gzip);
    tcase_add_loop_test(
        tests, a_broken_file_is_refused_and_told_apart, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(tests, a_test_label_may_be_any_training_class);
    tcase_add_test(tests, there_are_at_least_two_classes);
    tcase_add_test(tests, a_file_that_changes_between_two_looks_is_noticed);
    tcase_add_test(tests, a_missing_folder_is_named_with_the_way_to_get_it);
    tcase_add_test(tests, a_file_in_place_of_the_folder_is_refused);
    tcase_add_test(tests, a_path_that_is_too_long_is_refused);
    tcase_add_test(tests, a_file_without_permission_is_an_input_error);
    tcase_add_test(tests, every_open_and_read_may_fail);
    return unit_check_run(suite);
}
