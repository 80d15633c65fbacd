/* fuzz_job_file.c - any bytes as a job file: a job that prints and reads back as itself, or a
 * message; no leak, no crash.
 *
 * The text goes up to the first line "--set", then each line is one. */
#include "io/job_file.h"
#include "src/memory.h"
#include "tests/fuzz/fuzz.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETS_MAX = 8 };

static void must_be_ok(Status status) {
    if (status == STATUS_OK) return;
    fprintf(stderr, "%s\n", status_message());
    abort();
}

static char *print(const Job *job, int with_docs) {
    char *text = NULL;
    must_be_ok(job_file_print(job, with_docs, &text));
    return text;
}

/* A good job is the same after it was printed, with and without documentation. */
static void check_round_trip(const Job *job) {
    char *once = print(job, 0), *differences = NULL;
    for (int with_docs = 0; with_docs < 2; with_docs++) {
        Job again;
        int is_same_run = 0;
        char *printed = print(job, with_docs);
        must_be_ok(job_file_parse(&again, "printed", printed, NULL, 0));
        char *twice = print(&again, 0);
        REQUIRE(strcmp(once, twice) == 0);
        must_be_ok(job_file_compare(job, &again, &differences, &is_same_run));
        REQUIRE(is_same_run && differences[0] == '\0');
        memory_free(differences);
        memory_free(twice);
        memory_free(printed);
        job_free(&again);
    }
    memory_free(once);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    char *sets[SETS_MAX], *text = calloc(1, bytes + 1);
    int set_count = 0;
    if (text == NULL) return 0;
    memcpy(text, data, bytes);
    char *end = strstr(text, "\n--set\n");
    if (end != NULL) {
        char *state = NULL;
        *end = '\0';
        for (char *line = strtok_r(end + 7, "\n", &state); line != NULL && set_count < SETS_MAX;
             line = strtok_r(NULL, "\n", &state))
            sets[set_count++] = line;
    }
    Job job;
    Status status = job_file_parse(&job, "fuzz", text, sets, set_count);
    REQUIRE(status == STATUS_OK || status == STATUS_CONFIG);
    if (status == STATUS_OK) check_round_trip(&job);
    job_free(&job);
    free(text);
    REQUIRE(memory_in_use() == 0);
    return 0;
}

static const char *const texts[] = {
    "seed: 7\n"
    "data: {format: idx, path: a, valid_split: 0.2, normalize: {mean: [0.1], std: [0.3]}}\n"
    "model:\n  input: [1, 9, 9]\n  layers:\n    - conv2d: {out: 2, kernel: 3, name: first}\n"
    "    - batch_norm: {sync: {group: 2}}\n    - relu\n    - max_pool2d: {kernel: 2}\n"
    "    - flatten\n    - linear: {out: 10}\nloss: cross_entropy\n"
    "optimizer: {name: adam, lr: 1.0e-3, weight_decay: 1.0e-4}\n"
    "schedule: {name: cosine, warmup_epochs: 2}\n"
    "train: {epochs: 3, batch_size: 8, microbatch: 4}\n"
    "checkpoint: {every_epochs: 1, keep_best: valid_accuracy}\n",
    "model:\n  input: [3, 8, 8]\n  layers:\n    - residual:\n"
    "        layers: [conv2d: {out: 4, kernel: 3, padding: 1}, batch_norm]\n"
    "        projection: [conv2d: {out: 4, kernel: 1}]\n"
    "    - sequential: {layers: [relu, adaptive_avg_pool2d: {out: 1}]}\n"
    "    - flatten\n    - linear: {out: 10}\n"
    "data: {augment: {random_crop: 2, flip: true, cutout: 3}, standardize: train}\n"
    "--set\ntrain.epochs=2\noptimizer.lr=0.5\n",
    "seed: 1 # a comment\nmodel: {input: [4], layers: [linear: {out: 2}]}\n"};

size_t fuzz_seed(int number, uint8_t *bytes) {
    if (number >= (int)(sizeof texts / sizeof *texts)) return 0;
    memcpy(bytes, texts[number], strlen(texts[number]));
    return strlen(texts[number]);
}
