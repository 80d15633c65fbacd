/* fuzz_npy.c - any bytes as one array of a set: read or refused, never a crash, never more memory
 * than the file's length justifies.
 *
 * From the top folder, for libFuzzer:
 *   clang -g -O1 -std=gnu11 -D_GNU_SOURCE -I. -fsanitize=fuzzer,address,undefined \
 *       tests/fuzz/fuzz_npy.c io/dataset_npy.c io/npy_file.c io/array_set.c io/byte_file.c \
 *       src/status.c src/memory.c -lz -lm
 * or, to run files through it, with any compiler and -DFUZZ_MAIN instead of -fsanitize=fuzzer. */
#include "io/dataset_format.h"
#include "src/memory.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COUNT = 4, SIDE = 3, PIXELS = COUNT * SIDE * SIDE, FACTOR_MAX = 1100 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[] = "/dev/shm/lockstep-fuzz-XXXXXX"; /* in memory: files are written and read */
static const char *const names[] = {
    "train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy"};
static int file_count; /* names in use; 0: not set up */

static void write_file(int index, const void *bytes, size_t size) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, names[index]);
    FILE *file = fopen(path, "wb");
    REQUIRE(file != NULL && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

static void write_good(int index) {
    char bytes[256];
    const char *shape = index % 2 == 0 ? "(4, 3, 3)" : "(4,)";
    int text = snprintf(bytes + 10, sizeof bytes - 10,
        "{'descr': '|u1', 'fortran_order': False, 'shape': %s}\n", shape);
    memcpy(bytes, "\x93NUMPY\1\0", 8);
    bytes[8] = (char)text;
    bytes[9] = 0;
    size_t elements = index % 2 == 0 ? PIXELS : COUNT;
    memset(bytes + 10 + text, 1, elements);
    write_file(index, bytes, 10 + (size_t)text + elements);
}

static void remove_folder(void) {
    char path[128];
    for (int i = 0; i < file_count; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

static void set_up(void) {
    REQUIRE(mkdtemp(folder) != NULL);
    for (file_count = 0; file_count < 4; file_count++) write_good(file_count);
    REQUIRE(atexit(remove_folder) == 0);
}

static void check_content(const DatasetSizes *sizes, const void *images, const int32_t *labels) {
    int64_t elements = sizes->count * sizes->channels * sizes->height * sizes->width;
    for (int64_t i = 0; i < sizes->count; i++)
        REQUIRE(labels[i] >= 0 && labels[i] < sizes->class_count);
    for (int64_t i = 0; sizes->element_bytes == 4 && i < elements; i++)
        REQUIRE(isfinite(((const float *)images)[i]));
}

static void read_split(DatasetSplit split, int layout, size_t size) {
    Job job = {.data = {.format = DATA_NPY, .path = folder, .layout = layout}};
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

/* The first byte chooses the file and the layout; the rest is its content. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    if (file_count == 0) set_up();
    int index = data[0] % 4, layout = data[0] / 4 % 3;
    write_file(index, data + 1, size - 1);
    if (index < 2) read_split(DATASET_TRAIN, layout, size);
    if (index > 0) read_split(DATASET_TEST, layout, size);
    write_good(index);
    return 0;
}

#ifdef FUZZ_MAIN
int main(int argc, char **argv) {
    static uint8_t bytes[1 << 20];
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (file == NULL) {
            fprintf(stderr, "%s: cannot open\n", argv[i]);
            return EXIT_FAILURE;
        }
        size_t size = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        LLVMFuzzerTestOneInput(bytes, size);
        printf("%s: %zu bytes: %s\n", argv[i], size, status_message());
    }
    return EXIT_SUCCESS;
}
#endif
