/* fuzz_idx.c - any bytes as one file of an IDX set: read or refused, never a crash, never more
 * memory than the file's length justifies.
 *
 * From the top folder, for libFuzzer:
 *   clang -g -O1 -std=gnu11 -D_GNU_SOURCE -I. -fsanitize=fuzzer,address,undefined \
 *       tests/fuzz/fuzz_idx.c io/dataset_idx.c io/idx_file.c io/byte_file.c src/status.c
 * src/memory.c -lz or, to run files through it, with any compiler and -DFUZZ_MAIN instead of
 * -fsanitize=fuzzer. */
#include "io/dataset_format.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COUNT = 4, SIDE = 3, PIXELS = COUNT * SIDE * SIDE, FACTOR_MAX = 1100 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[] = "/dev/shm/lockstep-fuzz-XXXXXX"; /* in memory: files are written and read */
static const char *const names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
static int file_count; /* names in use; 0: not set up */

static void write_file(int index, const void *bytes, size_t size) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, names[index]);
    FILE *file = fopen(path, "wb");
    REQUIRE(file != NULL && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

static void write_good(int index) {
    static const uint8_t images[16 + PIXELS] = {
        0, 0, 8, 3, 0, 0, 0, COUNT, 0, 0, 0, SIDE, 0, 0, 0, SIDE};
    static const uint8_t labels[8 + COUNT] = {0, 0, 8, 1, 0, 0, 0, COUNT, 0, 1, 2, 1};
    if (index % 2 == 0)
        write_file(index, images, sizeof images);
    else
        write_file(index, labels, sizeof labels);
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

static void read_split(DatasetSplit split, size_t size) {
    Job job = {.data = {.format = DATA_IDX, .path = folder}};
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

/* The first byte chooses the file; the rest is its content. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    if (file_count == 0) set_up();
    int index = data[0] % 4;
    write_file(index, data + 1, size - 1);
    if (index < 2) read_split(DATASET_TRAIN, size);
    if (index > 0) read_split(DATASET_TEST, size);
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
