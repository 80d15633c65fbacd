/* dataset_idx.c - the four IDX files of MNIST and its kin: train-images, train-labels, t10k-images,
 * t10k-labels. One channel; the classes are 0 to the largest training label, for both splits. */
#include "io/array_set.h"
#include "io/idx_file.h"

enum { LABEL_CHUNK_BYTES = 4096 };

static const char *const image_stems[] = {
    [DATASET_TRAIN] = "train-images", [DATASET_TEST] = "t10k-images"};
static const char *const label_stems[] = {
    [DATASET_TRAIN] = "train-labels", [DATASET_TEST] = "t10k-labels"};

static Status find_range(IdxFile *file, ArrayLabelRange *range) {
    uint8_t labels[LABEL_CHUNK_BYTES];
    for (int64_t left = file->size[0]; left > 0;) {
        int64_t n = left < LABEL_CHUNK_BYTES ? left : LABEL_CHUNK_BYTES;
        TRY(idx_read(file, labels, n));
        for (int64_t i = 0; i < n; i++) {
            if (labels[i] < range->smallest) range->smallest = labels[i];
            if (labels[i] > range->largest) range->largest = labels[i];
        }
        left -= n;
    }
    return idx_finish(file);
}

static Status count_classes(const char *folder, DatasetSizes *sizes) {
    IdxFile file;
    ArrayLabelRange range = {.smallest = INT64_MAX};
    TRY(idx_open(&file, folder, label_stems[DATASET_TRAIN], 1));
    Status status = find_range(&file, &range);
    idx_close(&file);
    if (status == STATUS_OK) array_count_classes(&range, sizes);
    return status;
}

static Status check_label_count(const char *folder, DatasetSplit split, const IdxFile *images) {
    IdxFile labels;
    TRY(idx_open(&labels, folder, label_stems[split], 1));
    Status status = STATUS_OK;
    if (labels.size[0] != images->size[0])
        status = FAIL(STATUS_DATA,
            "%s: byte 4: %lld labels found, %lld expected, one for each image in %s",
            labels.bytes.path, (long long)labels.size[0], (long long)images->size[0],
            images->bytes.path);
    idx_close(&labels);
    return status;
}

static Status measure(const Job *job, DatasetSplit split, DatasetSizes *sizes) {
    const char *folder = job->data.path;
    if (folder == NULL || folder[0] == '\0')
        return FAIL(STATUS_CONFIG, "data.path: not given; format idx needs the set's folder");
    IdxFile images;
    TRY(idx_open(&images, folder, image_stems[split], 3));
    idx_close(&images); /* its sizes and path stay */
    TRY(check_label_count(folder, split, &images));
    *sizes = (DatasetSizes){.count = images.size[0],
        .channels = 1,
        .height = images.size[1],
        .width = images.size[2],
        .element_bytes = 1};
    return count_classes(folder, sizes);
}

/* Open a file of which measure has seen these sizes. */
static Status open_again(IdxFile *file, const char *folder, const char *stem,
    const int64_t *expected, int dimension_count) {
    TRY(idx_open(file, folder, stem, dimension_count));
    for (int i = 0; i < dimension_count; i++) {
        if (file->size[i] == expected[i]) continue;
        idx_close(file);
        return FAIL(STATUS_DATA,
            "%s: byte %d: the size was %lld and is %lld now: the file changed while it was read",
            file->bytes.path, 4 * (1 + i), (long long)expected[i], (long long)file->size[i]);
    }
    return STATUS_OK;
}

static Status read_images(IdxFile *file, const DatasetSizes *sizes, uint8_t *images) {
    TRY(idx_read(file, images, sizes->count * sizes->height * sizes->width));
    return idx_finish(file);
}

static Status read_labels(IdxFile *file, const DatasetSizes *sizes, int32_t *labels) {
    uint8_t bytes[LABEL_CHUNK_BYTES];
    for (int64_t i = 0; i < sizes->count; i++) {
        int64_t at = i % LABEL_CHUNK_BYTES, left = sizes->count - i;
        if (at == 0)
            TRY(idx_read(file, bytes, left < LABEL_CHUNK_BYTES ? left : LABEL_CHUNK_BYTES));
        if (bytes[at] >= sizes->class_count)
            return FAIL(STATUS_DATA,
                "%s: byte %lld: sample %lld has label %d, but the training labels end at %lld",
                file->bytes.path, (long long)i + 8, (long long)i, bytes[at],
                (long long)sizes->class_count - 1);
        labels[i] = bytes[at];
    }
    return idx_finish(file);
}

static Status fill(
    const Job *job, DatasetSplit split, const DatasetSizes *sizes, void *images, int32_t *labels) {
    const int64_t expected[] = {sizes->count, sizes->height, sizes->width};
    IdxFile file;
    TRY(open_again(&file, job->data.path, image_stems[split], expected, 3));
    Status status = read_images(&file, sizes, images);
    idx_close(&file);
    if (status != STATUS_OK) return status;
    TRY(open_again(&file, job->data.path, label_stems[split], expected, 1));
    status = read_labels(&file, sizes, labels);
    idx_close(&file);
    return status;
}

const DatasetFormat dataset_idx = {.measure = measure, .fill = fill};
