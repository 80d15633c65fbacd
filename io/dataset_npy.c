/* dataset_npy.c - four NumPy arrays in a folder, plain or .gz: train_images.npy (or x_train.npy),
 * train_labels.npy (y_train.npy), test_images.npy (x_test.npy), test_labels.npy (y_test.npy); val
 * and its like (test_split.h) where there is no test.
 *
 * Images: uint8, float32, or float16 and float64, which become float32. Labels: whole numbers of
 * any type; the classes are 0 to the largest training label, for both splits. */
#include "io/file.h"
#include "io/npy_file.h"
#include "io/test_split.h"
#include "src/memory.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LABEL_CHUNK = 1024, NAME_BYTES = 32 };

typedef enum Part { IMAGES, LABELS } Part;

/* What an array may be called. */
typedef struct Names {
    char text[2][NAME_BYTES];
} Names;

static Names names_of(const char *split, Part part) {
    Names names;
    snprintf(names.text[0], NAME_BYTES, "%s_%s.npy", split, part == IMAGES ? "images" : "labels");
    snprintf(names.text[1], NAME_BYTES, "%c_%s.npy", part == IMAGES ? 'x' : 'y', split);
    return names;
}

/* Under which of its names the array is there. */
static Status find_array(const char *folder, const Names *names, int is_there[2]) {
    for (int i = 0; i < 2; i++) {
        ByteFile file;
        TRY(byte_file_open_packed(&file, folder, names->text[i]));
        is_there[i] = file.stream != NULL;
        byte_file_close(&file);
    }
    return STATUS_OK;
}

static Status is_split_there(const void *set, int index, int *is_there) {
    *is_there = 0;
    for (Part part = IMAGES; part <= LABELS; part++) {
        Names names = names_of(test_split_names[index], part);
        int is[2];
        TRY(find_array(set, &names, is));
        *is_there |= is[0] || is[1];
    }
    return STATUS_OK;
}

static Status has_split(
    const Job *job, DatasetSplit split, int *has, char note[DATASET_NOTE_BYTES]) {
    int index = 0;
    *has = 1;
    TRY(byte_file_check_folder(job->data.path));
    if (split == DATASET_TRAIN) return STATUS_OK;
    TRY(test_split_find(is_split_there, job->data.path, &index, note));
    *has = index >= 0;
    return STATUS_OK;
}

static Status find_split(const char *folder, DatasetSplit split, const char **name) {
    int index = 0;
    *name = "train";
    if (split == DATASET_TRAIN) return STATUS_OK;
    TRY(test_split_choose(is_split_there, folder, &index));
    *name = test_split_names[index];
    return STATUS_OK;
}

static Status open_array(NpyFile *file, const char *folder, DatasetSplit split, Part part) {
    const char *split_name = NULL;
    char content[FILE_CONTENT_BYTES];
    int is_there[2];
    TRY(find_split(folder, split, &split_name));
    Names names = names_of(split_name, part);
    TRY(find_array(folder, &names, is_there));
    if (is_there[0] && is_there[1])
        return FAIL(STATUS_DATA, "%s: has %s and %s; keep one of them", folder, names.text[0],
            names.text[1]);
    TRY(npy_open(file, folder, names.text[is_there[1]]));
    if (file->bytes.stream != NULL) return STATUS_OK;
    return FAIL(STATUS_MISSING, "%s: found neither %s nor %s, plain or with .gz%s", folder,
        names.text[0], names.text[1], file_print_content(folder, content));
}

/* ---- images ---- */

/* IEEE 754's binary16: sign, 5 bits of exponent, 10 of fraction. */
static float float_of_half(const char *item) {
    uint16_t bits;
    memcpy(&bits, item, sizeof bits);
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float size = exponent == 0    ? ldexpf((float)fraction, -24)
                 : exponent == 31 ? (fraction == 0 ? INFINITY : NAN)
                                  : ldexpf((float)(1024 + fraction), exponent - 25);
    return bits >> 15 ? -size : size;
}

static float float_of_double(const char *item) {
    double wide;
    memcpy(&wide, item, sizeof wide);
    return (float)wide;
}

/* The raw numbers of a sample, in place, to the element type of the set: from the end on where they
 * grow. */
static void convert_sample(const NpyFile *file, char *raw, int64_t features) {
    int bytes = file->form.item_bytes;
    if (!file->form.is_float || bytes == sizeof(float)) return;
    for (int64_t i = 0; i < features; i++) {
        int64_t at = bytes < (int)sizeof(float) ? features - 1 - i : i;
        const char *item = raw + at * bytes;
        float value = bytes == 2 ? float_of_half(item) : float_of_double(item);
        memcpy(raw + at * (int64_t)sizeof value, &value, sizeof value);
    }
}

static Status read_samples(
    NpyFile *file, const DatasetSizes *sizes, int is_nhwc, void *raw, char *images) {
    int64_t features = sizes->channels * sizes->height * sizes->width;
    size_t sample_bytes = (size_t)(features * sizes->element_bytes);
    for (int64_t i = 0; i < sizes->count; i++, images += sample_bytes) {
        TRY(npy_read(file, raw, features));
        convert_sample(file, raw, features);
        if (sizes->element_bytes > 1) TRY(array_check_finite(raw, sizes, i, 1, file->bytes.path));
        if (is_nhwc)
            array_to_planes(raw, images, sizes);
        else
            memcpy(images, raw, sample_bytes);
    }
    return npy_finish(file);
}

static Status fill_images(NpyFile *file, const Job *job, const DatasetSizes *sizes, void *images) {
    DatasetSizes now = {.count = 0};
    int is_nhwc = 0;
    void *raw = NULL;
    TRY(array_describe_images(&file->form, job->data.layout, file->bytes.path, &now, &is_nhwc));
    if (!array_is_same_set(&now, sizes))
        return FAIL(STATUS_DATA,
            "%s: another shape or type than before: the file changed while it "
            "was read",
            file->bytes.path);
    size_t features = (size_t)(sizes->channels * sizes->height * sizes->width);
    size_t read_bytes = (size_t)file->form.item_bytes, bytes = (size_t)sizes->element_bytes;
    TRY(memory_allocate(
        &raw, features, read_bytes > bytes ? read_bytes : bytes, "a sample of the data set"));
    Status status = read_samples(file, sizes, is_nhwc, raw, images);
    memory_free(raw);
    return status;
}

/* ---- labels ---- */

/* One whole number of the file's type. */
static int64_t label_of(const NpyFile *file, const unsigned char *item) {
    int is_signed = file->form.is_signed;
    union {
        uint16_t u2;
        uint32_t u4;
        uint64_t u8;
    } value = {.u8 = 0};
    memcpy(&value, item, (size_t)file->form.item_bytes);
    if (file->form.item_bytes == 1) return is_signed ? (int8_t)*item : *item;
    if (file->form.item_bytes == 2) return is_signed ? (int16_t)value.u2 : value.u2;
    if (file->form.item_bytes == 4) return is_signed ? (int32_t)value.u4 : (int64_t)value.u4;
    return !is_signed && value.u8 > INT64_MAX ? INT64_MAX : (int64_t)value.u8;
}

/* Read all labels of an open file; `labels` may be NULL. */
static Status read_labels(
    NpyFile *file, int64_t count, int64_t limit, int32_t *labels, ArrayLabelRange *range) {
    unsigned char items[LABEL_CHUNK * 8];
    int64_t values[LABEL_CHUNK];
    for (int64_t first = 0; first < count; first += LABEL_CHUNK) {
        int64_t n = count - first < LABEL_CHUNK ? count - first : LABEL_CHUNK;
        TRY(npy_read(file, items, n));
        for (int64_t i = 0; i < n; i++)
            values[i] = label_of(file, items + i * file->form.item_bytes);
        TRY(array_take_labels(values, first, n, limit, file->bytes.path,
            labels == NULL ? NULL : labels + first, range));
    }
    return npy_finish(file);
}

static Status count_classes(const char *folder, DatasetSizes *sizes) {
    NpyFile file;
    ArrayLabelRange range = {.smallest = INT64_MAX};
    TRY(open_array(&file, folder, DATASET_TRAIN, LABELS));
    Status status = array_check_labels(&file.form, ARRAY_COUNT_ANY, file.bytes.path);
    if (status == STATUS_OK)
        status = read_labels(&file, file.form.shape.size[0], ARRAY_CLASSES_MAX, NULL, &range);
    npy_close(&file);
    if (status == STATUS_OK) array_count_classes(&range, sizes);
    return status;
}

/* ---- the set ---- */

static Status check_train_type(const char *folder, const NpyFile *test) {
    NpyFile train;
    TRY(open_array(&train, folder, DATASET_TRAIN, IMAGES));
    Status status =
        array_check_same_type(&test->form, test->bytes.path, &train.form, train.bytes.path);
    npy_close(&train);
    return status;
}

static Status measure(const Job *job, DatasetSplit split, DatasetSizes *sizes) {
    const char *folder = job->data.path;
    NpyFile file;
    int is_nhwc = 0;
    *sizes = (DatasetSizes){.count = 0};
    TRY(byte_file_check_folder(folder));
    TRY(open_array(&file, folder, split, IMAGES));
    Status status =
        array_describe_images(&file.form, job->data.layout, file.bytes.path, sizes, &is_nhwc);
    if (status == STATUS_OK && split == DATASET_TEST) status = check_train_type(folder, &file);
    npy_close(&file);
    if (status != STATUS_OK) return status;
    TRY(open_array(&file, folder, split, LABELS));
    status = array_check_labels(&file.form, sizes->count, file.bytes.path);
    npy_close(&file);
    if (status != STATUS_OK) return status;
    return count_classes(folder, sizes);
}

static Status fill(
    const Job *job, DatasetSplit split, const DatasetSizes *sizes, void *images, int32_t *labels) {
    NpyFile file;
    ArrayLabelRange range = {.smallest = INT64_MAX};
    TRY(open_array(&file, job->data.path, split, IMAGES));
    Status status = fill_images(&file, job, sizes, images);
    npy_close(&file);
    if (status != STATUS_OK) return status;
    TRY(open_array(&file, job->data.path, split, LABELS));
    status = array_check_labels(&file.form, sizes->count, file.bytes.path);
    if (status == STATUS_OK)
        status = read_labels(&file, sizes->count, sizes->class_count, labels, &range);
    npy_close(&file);
    return status;
}

const DatasetFormat dataset_npy = {.has_split = has_split, .measure = measure, .fill = fill};
