/* fuzz_idx.c - any bytes as one file of an IDX set: read or refused, never a crash, never more
 * memory than the file's length justifies. */
#include "io/dataset_format.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>
#include <string.h>

enum { COUNT = 4, SIDE = 3, PIXELS = COUNT * SIDE * SIDE, FACTOR_MAX = 1100 };

static const char *const names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};

static size_t make_good(int index, uint8_t *bytes) {
    static const uint8_t images[16 + PIXELS] = {
        0, 0, 8, 3, 0, 0, 0, COUNT, 0, 0, 0, SIDE, 0, 0, 0, SIDE};
    static const uint8_t labels[8 + COUNT] = {0, 0, 8, 1, 0, 0, 0, COUNT, 0, 1, 2, 1};
    size_t size = index % 2 == 0 ? sizeof images : sizeof labels;
    memcpy(bytes, index % 2 == 0 ? images : labels, size);
    return size;
}

static const FuzzSet set = {names, 4, make_good};

static void read_split(DatasetSplit split, size_t size) {
    Job job = {.data = {.format = DATA_IDX, .path = fuzz_set_folder(&set)}};
    DatasetSizes sizes;
    if (dataset_idx.measure(&job, split, &sizes) != STATUS_OK) return;
    size_t bytes = (size_t)(sizes.count * sizes.height * sizes.width);
    REQUIRE(sizes.channels == 1 && sizes.class_count >= 2 && sizes.class_count <= 256);
    REQUIRE(bytes <= (size + 16 + PIXELS) * FACTOR_MAX);
    uint8_t *images = malloc(bytes);
    int32_t *labels = malloc((size_t)sizes.count * sizeof *labels);
    REQUIRE(images != NULL && labels != NULL);
    if (dataset_idx.fill(&job, split, &sizes, images, labels) == STATUS_OK)
        for (int64_t i = 0; i < sizes.count; i++) REQUIRE(labels[i] < sizes.class_count);
    free(images);
    free(labels);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    int index = fuzz_set_write(&set, data, size);
    if (index < 2) read_split(DATASET_TRAIN, size);
    if (index > 0) read_split(DATASET_TEST, size);
    fuzz_set_restore(&set, index);
    return 0;
}

size_t fuzz_seed(int number, uint8_t *bytes) {
    return fuzz_set_seed(&set, number, bytes);
}
