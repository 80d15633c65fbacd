/* fuzz_cifar.c - any bytes as one file of a CIFAR-10 set: read or refused, never a crash,
 * never more memory than the file's length justifies. */
#include "io/dataset_format.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>
#include <string.h>

enum { COUNT = 2, PIXELS = 3072, FACTOR_MAX = 1100 };

static const char *const names[] = {"data_batch_1.bin", "test_batch.bin"};

static size_t make_good(int index, uint8_t *bytes) {
    size_t size = COUNT * (1 + PIXELS);
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(i * 7);
    for (int i = 0; i < COUNT; i++) bytes[i * (1 + PIXELS)] = (uint8_t)(i + index);
    return size;
}

static const FuzzSet set = {names, 2, make_good};

static void read_split(DatasetSplit split, size_t size) {
    Job job = {.data = {.format = DATA_CIFAR, .path = fuzz_set_folder(&set)}};
    DatasetSizes sizes;
    if (dataset_cifar.measure(&job, split, &sizes) != STATUS_OK) return;
    REQUIRE(sizes.channels == 3 && sizes.height == 32 && sizes.width == 32);
    REQUIRE(sizes.class_count == 10 && sizes.element_bytes == 1);
    size_t bytes = (size_t)sizes.count * PIXELS;
    REQUIRE(bytes <= (size + COUNT * (1 + PIXELS)) * FACTOR_MAX);
    uint8_t *images = malloc(bytes);
    int32_t *labels = malloc((size_t)sizes.count * sizeof *labels);
    REQUIRE(images != NULL && labels != NULL);
    if (dataset_cifar.fill(&job, split, &sizes, images, labels) == STATUS_OK)
        for (int64_t i = 0; i < sizes.count; i++) REQUIRE(labels[i] >= 0 && labels[i] < 10);
    free(images);
    free(labels);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    int index = fuzz_set_write(&set, data, size);
    read_split(index == 0 ? DATASET_TRAIN : DATASET_TEST, size);
    fuzz_set_restore(&set, index);
    return 0;
}

size_t fuzz_seed(int number, uint8_t *bytes) {
    return fuzz_set_seed(&set, number, bytes);
}
