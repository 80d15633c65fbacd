/* fuzz_job_file.c - any bytes as a job file: a job that prints and reads back as itself, or a
 * message; no leak, no crash.
 *
 * From the top folder, for libFuzzer, after a build, for the kernels:
 *   clang -g -O1 -std=gnu11 -D_GNU_SOURCE -I. -fsanitize=fuzzer,address,undefined \
 *       tests/fuzz/fuzz_job_file.c io/job_*.c io/yaml_*.c io/utf8.c io/suggest.c io/number_text.c \
 *       io/text_builder.c src/{job,option,layer,network,plan,sequence,shape,tree,batch,rng}.c \
 *       src/{reducer,threads,profile,memory,status}.c $(ls -d src/layers/?*.c) \
 *       build/liblockstep_core.a -lyaml -lm -lpthread
 * or, to run files through it, with any compiler and -DFUZZ_MAIN instead of -fsanitize=fuzzer.
 *
 * The text goes up to the first line "--set", then each line is one. */
#include "io/job_file.h"
#include "src/memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETS_MAX = 8, TEXT_BYTES_MAX = 1024 * 1024 + 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

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

#ifdef FUZZ_MAIN
int main(int count, char **paths) {
    static uint8_t data[TEXT_BYTES_MAX];
    for (int i = 1; i < count; i++) {
        FILE *stream = fopen(paths[i], "rb");
        if (stream == NULL) {
            perror(paths[i]);
            return EXIT_FAILURE;
        }
        size_t bytes = fread(data, 1, sizeof data, stream);
        fclose(stream);
        LLVMFuzzerTestOneInput(data, bytes);
    }
    return EXIT_SUCCESS;
}
#endif
