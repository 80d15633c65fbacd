/* dataset_hdf5.c - one HDF5 file with images and labels, of which each rank reads what its batches
 * want. Names: see below; in the groups /train and /test, or beside each other. The training set's
 * may lack the split.
 *
 * Images: uint8, or floats of 2, 4 or 8 bytes, which become float32. Labels: whole numbers of any
 * type, all held in memory; the classes are 0 to the largest training label, for both splits. */
#include "io/hdf5_classes.h"
#include "io/test_split.h"
#include "src/memory.h"
#include <stdio.h>
#include <string.h>

enum { LABEL_CHUNK = 1024 };

static const char *const image_words[] = {"images", "image", "x", "data", NULL};
static const char *const label_words[] = {"labels", "label", "y", "targets", "target", NULL};

typedef struct SplitNames {
    Hdf5Names images, labels;
} SplitNames;

#define SPLIT(split, what, may_be_bare)                                                            \
    {                                                                                              \
        {what " images", split, image_words, may_be_bare}, {                                       \
            what " labels", split, label_words, may_be_bare                                        \
        }                                                                                          \
    }
static const SplitNames train_names = SPLIT("train", "training", 1);

#define TEST_ENTRY(name, what) SPLIT(name, what, 0),
static const SplitNames test_names[] = {TEST_SPLITS(TEST_ENTRY)};

static Status is_there(const void *set, int index, int *is) {
    const Hdf5File *file = set;
    Hdf5Found images, labels;
    TRY(hdf5_names_search(file->id, file->path, &test_names[index].images, &images));
    TRY(hdf5_names_search(file->id, file->path, &test_names[index].labels, &labels));
    *is = images.has_group || images.array_count + labels.array_count > 0;
    return STATUS_OK;
}

static Status find_split(const Hdf5File *file, DatasetSplit split, const SplitNames **names) {
    int index = 0;
    *names = &train_names;
    if (split == DATASET_TRAIN) return STATUS_OK;
    TRY(test_split_choose(is_there, file, &index));
    *names = &test_names[index];
    return STATUS_OK;
}

static Status has_split(
    const Job *job, DatasetSplit split, int *has, char note[DATASET_NOTE_BYTES]) {
    HDF5_SECTION;
    Hdf5File file;
    int index = 0;
    Status status = hdf5_file_open(&file, job->data.path);
    if (status == STATUS_OK && split == DATASET_TEST)
        status = test_split_find(is_there, &file, &index, note);
    *has = index >= 0;
    hdf5_file_close(&file);
    return status;
}

static Status read_classes(const Job *job, NameList *names) {
    HDF5_SECTION;
    Hdf5File file;
    Status status = hdf5_file_open(&file, job->data.path);
    if (status == STATUS_OK) status = hdf5_classes_read(&file, names);
    hdf5_file_close(&file);
    return status;
}

typedef enum Part { IMAGES, LABELS } Part;

static Status open_part(Hdf5Array *array, const Hdf5File *file, DatasetSplit split, Part part) {
    const SplitNames *names = NULL;
    *array = (Hdf5Array){.id = -1};
    TRY(find_split(file, split, &names));
    return hdf5_array_open(array, file, part == IMAGES ? &names->images : &names->labels);
}

/* ---- measuring ---- */

static Status describe_images(
    const Hdf5Array *array, int layout, DatasetSizes *sizes, int *is_nhwc) {
    return array_describe_images(&array->form, layout, array->where, sizes, is_nhwc);
}

static Status check_labels(const Hdf5Array *array, int64_t count) {
    return array_check_labels(&array->form, count, array->where);
}

/* `labels` may be NULL. */
static Status read_labels(
    const Hdf5Array *array, int64_t limit, int32_t *labels, ArrayLabelRange *range) {
    int64_t values[LABEL_CHUNK], count = array->form.shape.size[0];
    for (int64_t first = 0; first < count; first += LABEL_CHUNK) {
        int64_t n = count - first < LABEL_CHUNK ? count - first : LABEL_CHUNK;
        TRY(hdf5_array_read(array, first, n, H5T_NATIVE_INT64, values));
        TRY(array_take_labels(
            values, first, n, limit, array->where, labels == NULL ? NULL : labels + first, range));
    }
    return STATUS_OK;
}

static Status check_train_type(const Hdf5File *file, const Hdf5Array *test) {
    Hdf5Array train;
    Status status = open_part(&train, file, DATASET_TRAIN, IMAGES);
    if (status == STATUS_OK)
        status = array_check_same_type(&test->form, test->where, &train.form, train.where);
    hdf5_array_close(&train);
    return status;
}

static Status measure_images(
    const Hdf5File *file, const Job *job, DatasetSplit split, DatasetSizes *sizes) {
    Hdf5Array array;
    int is_nhwc = 0;
    Status status = open_part(&array, file, split, IMAGES);
    if (status == STATUS_OK) status = describe_images(&array, job->data.layout, sizes, &is_nhwc);
    if (status == STATUS_OK && split == DATASET_TEST) status = check_train_type(file, &array);
    sizes->read_bytes = (int64_t)array.row_bytes;
    hdf5_array_close(&array);
    return status;
}

static Status measure_labels(const Hdf5File *file, DatasetSplit split, const DatasetSizes *sizes) {
    Hdf5Array array;
    Status status = open_part(&array, file, split, LABELS);
    if (status == STATUS_OK) status = check_labels(&array, sizes->count);
    hdf5_array_close(&array);
    return status;
}

static Status count_classes(const Hdf5File *file, DatasetSizes *sizes) {
    Hdf5Array array;
    ArrayLabelRange range = {.smallest = INT64_MAX};
    Status status = open_part(&array, file, DATASET_TRAIN, LABELS);
    if (status == STATUS_OK) status = check_labels(&array, ARRAY_COUNT_ANY);
    if (status == STATUS_OK) status = read_labels(&array, ARRAY_CLASSES_MAX, NULL, &range);
    hdf5_array_close(&array);
    if (status == STATUS_OK) array_count_classes(&range, sizes);
    return status;
}

static Status measure_file(
    const Hdf5File *file, const Job *job, DatasetSplit split, DatasetSizes *sizes) {
    sizes->file_bytes = file->bytes;
    TRY(measure_images(file, job, split, sizes));
    TRY(measure_labels(file, split, sizes));
    return count_classes(file, sizes);
}

static Status measure(const Job *job, DatasetSplit split, DatasetSizes *sizes) {
    HDF5_SECTION;
    Hdf5File file;
    *sizes = (DatasetSizes){.count = 0};
    Status status = hdf5_file_open(&file, job->data.path);
    if (status == STATUS_OK) status = measure_file(&file, job, split, sizes);
    hdf5_file_close(&file);
    return status;
}

/* ---- labels ---- */

static Status fill_labels(
    const Hdf5File *file, DatasetSplit split, const DatasetSizes *sizes, int32_t *labels) {
    Hdf5Array array;
    ArrayLabelRange range = {.smallest = INT64_MAX};
    Status status = open_part(&array, file, split, LABELS);
    if (status == STATUS_OK) status = check_labels(&array, sizes->count);
    if (status == STATUS_OK) status = read_labels(&array, sizes->class_count, labels, &range);
    hdf5_array_close(&array);
    return status;
}

/* The images stay where they are. */
static Status fill(
    const Job *job, DatasetSplit split, const DatasetSizes *sizes, void *images, int32_t *labels) {
    HDF5_SECTION;
    Hdf5File file;
    (void)images;
    Status status = hdf5_file_open(&file, job->data.path);
    if (status == STATUS_OK) status = fill_labels(&file, split, sizes, labels);
    hdf5_file_close(&file);
    return status;
}

/* ---- samples ---- */

typedef struct Reader {
    Hdf5File file;
    Hdf5Array images;
    DatasetSizes sizes;
    int is_nhwc;
    size_t sample_bytes;
    char *sample; /* [sample_bytes]: one sample while its dimensions are turned */
} Reader;

/* Samples [first, first + count) to rows. */
static Status read_run(Reader *reader, int64_t first, int count, char *rows) {
    hid_t type = reader->sizes.element_bytes == 1 ? H5T_NATIVE_UINT8 : H5T_NATIVE_FLOAT;
    TRY(hdf5_array_read(&reader->images, first, count, type, rows));
    for (int i = 0; reader->is_nhwc && i < count; i++) {
        char *row = rows + (size_t)i * reader->sample_bytes;
        memcpy(reader->sample, row, reader->sample_bytes);
        array_to_planes(reader->sample, row, &reader->sizes);
    }
    if (reader->sizes.element_bytes == 1) return STATUS_OK;
    return array_check_finite(
        (const float *)(const void *)rows, &reader->sizes, first, count, reader->images.where);
}

static Status read_samples(void *context, const int64_t *index, int count, void *rows) {
    HDF5_SECTION;
    Reader *reader = context;
    hdf5_prepare();
    for (int begin = 0, end = 0; begin < count; begin = end) {
        for (end = begin + 1; end < count && index[end] == index[end - 1] + 1;) end++;
        TRY(read_run(reader, index[begin], end - begin,
            (char *)rows + (size_t)begin * reader->sample_bytes));
    }
    return hdf5_file_check_unchanged(&reader->file);
}

static void close_reader(void *context) {
    HDF5_SECTION;
    Reader *reader = context;
    hdf5_array_close(&reader->images);
    hdf5_file_close(&reader->file);
    memory_free(reader->sample);
    memory_free(reader);
}

static Status open_reader(
    Reader *reader, const Job *job, DatasetSplit split, const DatasetSizes *sizes) {
    TRY(hdf5_file_open(&reader->file, job->data.path));
    TRY(open_part(&reader->images, &reader->file, split, IMAGES));
    TRY(describe_images(&reader->images, job->data.layout, &reader->sizes, &reader->is_nhwc));
    if (!array_is_same_set(&reader->sizes, sizes) || reader->file.bytes != sizes->file_bytes)
        return FAIL(STATUS_DATA, "%s: another file, shape or type than rank 0 has seen",
            reader->images.where);
    reader->sample_bytes = dataset_sample_bytes(sizes);
    return memory_allocate((void **)&reader->sample, reader->sample_bytes, 1, "a sample");
}

static Status open_source(
    const Job *job, DatasetSplit split, const DatasetSizes *sizes, SampleSource *source) {
    HDF5_SECTION;
    Reader *reader = NULL;
    TRY(MEMORY_ALLOCATE(&reader, 1, "reader of an HDF5 file"));
    reader->file.id = reader->images.id = -1;
    Status status = open_reader(reader, job, split, sizes);
    if (status != STATUS_OK) {
        close_reader(reader);
        return status;
    }
    *source = (SampleSource){.sample_bytes = reader->sample_bytes,
        .context = reader,
        .read = read_samples,
        .close = close_reader};
    return STATUS_OK;
}

const DatasetFormat dataset_hdf5 = {.has_split = has_split,
    .measure = measure,
    .fill = fill,
    .read_classes = read_classes,
    .open_source = open_source};
