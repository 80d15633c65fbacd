/* checkpoint_sample.c - see checkpoint_sample.h. */
#include "tests/support/checkpoint_sample.h"
#include <check.h>
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/lockstep-test-XXXXXX";

/* ---- the folder ---- */

static int remove_entry(const char *path, const struct stat *info, int flag, struct FTW *ftw) {
    (void)info;
    (void)flag;
    (void)ftw;
    return remove(path);
}

void scratch_set_up(void) {
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chmod(folder, 0755), 0);
}

void scratch_tear_down(void) {
    nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

const char *scratch_folder(void) {
    return folder;
}

const char *scratch_path(const char *name) {
    static char paths[4][512];
    static int next;
    next = (next + 1) % 4;
    snprintf(paths[next], sizeof paths[next], "%s/%s", folder, name);
    return paths[next];
}

int scratch_count(void) {
    DIR *opened = opendir(folder);
    int count = -2;
    ck_assert_ptr_nonnull(opened);
    while (readdir(opened) != NULL) count++;
    closedir(opened);
    return count;
}

unsigned char *scratch_read(const char *name, size_t *bytes) {
    struct stat found;
    FILE *file = fopen(scratch_path(name), "rb");
    ck_assert_msg(file != NULL, "%s cannot be opened", name);
    ck_assert_int_eq(fstat(fileno(file), &found), 0);
    *bytes = (size_t)found.st_size;
    unsigned char *data = malloc(*bytes + 1);
    ck_assert_ptr_nonnull(data);
    ck_assert_uint_eq(fread(data, 1, *bytes, file), *bytes);
    fclose(file);
    return data;
}

void scratch_write(const char *name, const void *data, size_t bytes) {
    FILE *file = fopen(scratch_path(name), "wb");
    ck_assert_msg(file != NULL, "%s cannot be made", name);
    ck_assert_uint_eq(fwrite(data, 1, bytes, file), bytes);
    ck_assert_int_eq(fclose(file), 0);
}

/* ---- the sample ---- */

static const char config[] = "seed: 1\ntrain:\n  epochs: 2 # \xc3\xa9poques\n";
static const CheckpointAttribute attributes[] = {{"optimizer", "name", 0, "sgd"},
    {"optimizer", "lr", 0.1, NULL}, {"", "producer", 0, "lockstep"}, {"", "empty", 0, ""}};

static void fill(float *data, int count, int seed) {
    for (int i = 0; i < count; i++) data[i] = seed == 0 ? 0 : (float)(seed + i % 1009) / 7.0f;
}

static void describe(Sample *sample, int rows, int columns) {
    const CheckpointArray arrays[SAMPLE_ARRAYS] = {
        {"model", "0.weight", CHECKPOINT_FLOAT32, {2, {rows, columns}}, sample->weight},
        {"model", "0.bias", CHECKPOINT_FLOAT32, {1, {40}}, sample->bias},
        {"model", "1.num_batches_tracked", CHECKPOINT_INT64, {0, {0}}, &sample->batches},
        {"model", "1.scale", CHECKPOINT_FLOAT32, {0, {0}}, &sample->scale},
        {"optimizer", "step", CHECKPOINT_INT64, {0, {0}}, &sample->step},
        {"optimizer/momentum_buffer", "0.bias", CHECKPOINT_FLOAT32, {3, {5, 4, 2}},
            sample->momentum},
        {"progress", "best_metric", CHECKPOINT_FLOAT64, {0, {0}}, &sample->best},
        {"history", "epoch", CHECKPOINT_INT64, {1, {6}}, sample->epochs},
        {"history", "train_loss", CHECKPOINT_FLOAT64, {1, {6}}, sample->losses}};
    memcpy(sample->arrays, arrays, sizeof arrays);
    sample->content = (CheckpointContent){.step = SAMPLE_STEP,
        .config = config,
        .attribute_count = sizeof attributes / sizeof attributes[0],
        .attributes = attributes,
        .array_count = SAMPLE_ARRAYS,
        .arrays = sample->arrays};
}

void sample_create(Sample *sample, SampleSize size, int seed) {
    int rows = size == SAMPLE_SMALL ? 15 : 613, columns = size == SAMPLE_SMALL ? 20 : 500;
    memset(sample, 0, sizeof *sample);
    sample->weight = malloc(sizeof(float) * (size_t)rows * (size_t)columns);
    ck_assert_ptr_nonnull(sample->weight);
    fill(sample->weight, rows * columns, seed);
    fill(sample->bias, 40, 2 * seed);
    fill(sample->momentum, 40, -seed);
    for (int i = 0; i < 6 && seed != 0; i++) {
        sample->losses[i] = seed / (1.0 + i);
        sample->epochs[i] = INT64_MIN + seed * i;
    }
    if (seed != 0) {
        sample->scale = -0.0f;
        sample->best = 0.1 * seed;
        sample->batches = INT64_MAX - seed;
        sample->step = seed;
    }
    describe(sample, rows, columns);
}

void sample_free(Sample *sample) {
    free(sample->weight);
    sample->weight = NULL;
}

void sample_assert_equal(const Sample *a, const Sample *b) {
    for (int i = 0; i < SAMPLE_ARRAYS; i++) {
        const CheckpointArray *left = &a->arrays[i], *right = &b->arrays[i];
        size_t item = left->type == CHECKPOINT_FLOAT32 ? 4 : 8;
        ck_assert(shape_is_equal(left->shape, right->shape));
        ck_assert_msg(memcmp(left->data, right->data, item * shape_element_count(left->shape)) == 0,
            "%s/%s differs", left->group, left->name);
    }
}

void sample_write(const Sample *sample, const char *name) {
    Status status = checkpoint_write(folder, name, &sample->content);
    ck_assert_msg(status == STATUS_OK, "%s", status_message());
}

Status sample_read(Sample *sample, const char *name) {
    Checkpoint *file = NULL;
    Status status = checkpoint_open(&file, scratch_path(name));
    if (status == STATUS_OK) status = checkpoint_read(file, sample->arrays, SAMPLE_ARRAYS);
    checkpoint_close(file);
    return status;
}
