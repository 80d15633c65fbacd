/* main.c - a fuzz program without libFuzzer: files that are named, or `--mutations COUNT [FIRST]`:
 * good inputs changed in several places, the same ones in every run. An input that takes ten
 * seconds ends the program, and so does one that takes a gigabyte where the sanitizers allow a
 * limit. */
#include "src/rng.h"
#include "src/status.h"
#include "tests/fuzz/fuzz.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SECONDS_MAX = 10, CHANGES_MAX = 8, RUN_MAX = 64, TOLD_EVERY = 1000 };

/* Random numbers of one input. */
typedef struct Dice {
    Rng rng;
    uint32_t when, element, drawn[4];
} Dice;

/* Below `limit` >= 1. */
static size_t roll(Dice *dice, size_t limit) {
    if (dice->element % 4 == 0) rng_draw(dice->rng, dice->when, 0, dice->element / 4, dice->drawn);
    return dice->drawn[dice->element++ % 4] % limit;
}

/* A whole number at the edge of its type, of 1, 2, 4 or 8 bytes, in either order. */
static void write_extreme(Dice *dice, uint8_t *bytes, size_t size) {
    static const int64_t values[] = {0, 1, -1, INT64_MAX, INT64_MIN, 256, INT32_MAX, INT32_MIN};
    int64_t value = values[roll(dice, sizeof values / sizeof *values)];
    size_t width = (size_t)1 << roll(dice, 4), at = roll(dice, size);
    int is_big = (int)roll(dice, 2);
    for (size_t i = 0; i < width && at + i < size; i++)
        bytes[at + i] = (uint8_t)((uint64_t)value >> 8 * (is_big ? width - 1 - i : i));
}

/* Make room for `count` bytes at a random place, or take them out; returns the new size. */
static size_t insert(Dice *dice, uint8_t *bytes, size_t size, size_t count) {
    size_t at = roll(dice, size + 1);
    if (size + count > FUZZ_BYTES_MAX) return size;
    memmove(bytes + at + count, bytes + at, size - at);
    for (size_t i = 0; i < count; i++) bytes[at + i] = (uint8_t)roll(dice, 256);
    return size + count;
}

static size_t remove_run(Dice *dice, uint8_t *bytes, size_t size, size_t count) {
    size_t at = roll(dice, size);
    if (count > size - at) count = size - at;
    memmove(bytes + at, bytes + at + count, size - at - count);
    return size - count;
}

/* One change; returns the new size, at least 1. */
static size_t change(Dice *dice, uint8_t *bytes, size_t size) {
    size_t run = 1 + roll(dice, RUN_MAX), from = roll(dice, size), to = roll(dice, size);
    switch (roll(dice, 7)) {
    case 0:
        bytes[from] ^= (uint8_t)(1 << roll(dice, 8));
        break;
    case 1:
        bytes[from] = (uint8_t)roll(dice, 256);
        break;
    case 2:
        write_extreme(dice, bytes, size);
        break;
    case 3:
        size = insert(dice, bytes, size, run);
        break;
    case 4:
        size = remove_run(dice, bytes, size, run);
        break;
    case 5:
        size = 1 + roll(dice, size);
        break;
    default:
        for (size_t i = 0; i < run && from + i < size && to + i < size; i++)
            bytes[to + i] = bytes[from + i];
    }
    return size == 0 ? 1 : size;
}

static void run_mutation(uint32_t number, int seed_count) {
    static uint8_t bytes[FUZZ_BYTES_MAX];
    Dice dice = {.rng = rng_stream(1, RNG_SHUFFLE, 0), .when = number};
    size_t size = fuzz_seed((int)(number % (uint32_t)seed_count), bytes);
    for (size_t changes = roll(&dice, CHANGES_MAX + 1); changes > 0; changes--)
        size = change(&dice, bytes, size);
    uint8_t *exact = malloc(size); /* so that the sanitizer sees its end */
    REQUIRE(exact != NULL);
    memcpy(exact, bytes, size);
    alarm(SECONDS_MAX);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static int run_mutations(uint32_t count, uint32_t first) {
    static uint8_t bytes[FUZZ_BYTES_MAX];
    int seed_count = 0;
    while (fuzz_seed(seed_count, bytes) > 0) seed_count++;
    REQUIRE(seed_count > 0);
#ifndef __SANITIZE_ADDRESS__
    struct rlimit limit = {(rlim_t)1 << 30, (rlim_t)1 << 30};
    REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
#endif
    for (uint32_t number = first; number < first + count; number++) {
        if (number % TOLD_EVERY == 0) printf("from input %u on\n", number);
        fflush(stdout);
        run_mutation(number, seed_count);
    }
    printf("%u inputs, none of which did harm\n", count);
    return EXIT_SUCCESS;
}

static int run_file(const char *path) {
    static uint8_t bytes[FUZZ_BYTES_MAX];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return EXIT_FAILURE;
    }
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, size);
    printf("%s: %zu bytes: %s\n", path, size, status_message());
    return EXIT_SUCCESS;
}

int main(int count, char **words) {
    int result = EXIT_SUCCESS;
    if (count >= 3 && strcmp(words[1], "--mutations") == 0)
        return run_mutations((uint32_t)strtoul(words[2], NULL, 10),
            count > 3 ? (uint32_t)strtoul(words[3], NULL, 10) : 0);
    for (int i = 1; i < count && result == EXIT_SUCCESS; i++) result = run_file(words[i]);
    return result;
}
