/* fuzz_npy.c - any bytes as one array of a set: read or refused, never a crash, never more memory
 * than the file's length justifies. */
#include "io/dataset_format.h"
#include "src/memory.h"
#include "tests/fuzz/fuzz.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 4, SIDE = 3, PIXELS = COUNT * SIDE * SIDE, FACTOR_MAX = 1100 };

static const char *const names[] = {
    "train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy"};

static size_t make_good(int index, uint8_t *bytes) {
    const char *shape = index % 2 == 0 ? "(4, 3, 3)" : "(4,)";
    int text = snprintf(
        (char *)bytes + 10, 256, "{'descr': '|u1', 'fortran_order': False, 'shape': %s}\n", shape);
    memcpy(bytes, "\x93NUMPY\1\0", 8);
    bytes[8] = (uint8_t)text;
    bytes[9] = 0;
    size_t elements = index % 2 == 0 ? PIXELS : COUNT;
    memset(bytes + 10 + text, 1, elements);
    return 10 + (size_t)text + elements;
}

static const FuzzSet set = {names, 4, make_good};

static void check_content(const DatasetSizes *sizes, const void *images, const int32_t *labels) {
    int64_t elements = sizes->count * sizes->channels * sizes->height * sizes->width;
    for (int64_t i = 0; i < sizes->count; i++)
        REQUIRE(labels[i] >= 0 && labels[i] < sizes->class_count);
    for (int64_t i = 0; sizes->element_bytes == 4 && i < elements; i++)
        REQUIRE(isfinite(((const float *)images)[i]));
}

static void read_split(DatasetSplit split, int layout, size_t size) {
    Job job = {.data = {.format = DATA_NPY, .path = fuzz_set_folder(&set), .layout = layout}};
    DatasetSizes sizes;
    if (dataset_npy.measure(&job, split, &sizes) == STATUS_OK) {
        size_t elements = (size_t)(sizes.count * sizes.channels * sizes.height * sizes.width);
        REQUIRE(sizes.element_bytes == 1 || sizes.element_bytes == 4);
        REQUIRE(elements <= (size + 256) * FACTOR_MAX && sizes.class_count >= 2);
        void *images = malloc(elements * (size_t)sizes.element_bytes);
        int32_t *labels = malloc((size_t)sizes.count * sizeof *labels);
        REQUIRE(images != NULL && labels != NULL);
        if (dataset_npy.fill(&job, split, &sizes, images, labels) == STATUS_OK)
            check_content(&sizes, images, labels);
        free(images);
        free(labels);
    }
    REQUIRE(memory_in_use() == 0);
}

/* The first byte chooses the layout too. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    int index = fuzz_set_write(&set, data, size), layout = data[0] / 4 % 3;
    if (index < 2) read_split(DATASET_TRAIN, layout, size);
    if (index > 0) read_split(DATASET_TEST, layout, size);
    fuzz_set_restore(&set, index);
    return 0;
}

size_t fuzz_seed(int number, uint8_t *bytes) {
    return fuzz_set_seed(&set, number, bytes);
}
