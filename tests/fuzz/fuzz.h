/* fuzz.h - what the fuzz programs share. Each fuzz_NAME.c defines LLVMFuzzerTestOneInput and
 * fuzz_seed; with main.c (and set.c) it is a program of its own, which CTest runs, and without
 * main.c a target for libFuzzer, from the top folder:
 *   clang -g -O1 -std=gnu11 -D_GNU_SOURCE -I. -fsanitize=fuzzer,address,undefined \
 *       tests/fuzz/fuzz_NAME.c tests/fuzz/set.c and the sources that it tests, and libraries */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

enum { FUZZ_BYTES_MAX = 1 << 20 };

/* Local. Take any bytes; aborts where they do what they must not. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Local. Good input number `number`, into bytes [FUZZ_BYTES_MAX]; returns its size, 0 where there
 * is no such number. */
size_t fuzz_seed(int number, uint8_t *bytes);

/* A data set of several files, one of which is the input: its first byte, modulo `count`, is which
 * one, and the rest its content. */
typedef struct FuzzSet {
    const char *const *names; /* [count] */
    int count;
    size_t (*make_good)(int index, uint8_t *bytes); /* returns the size */
} FuzzSet;

/* Local. The folder, in memory, which holds good files after the first call; removed at the end. */
char *fuzz_set_folder(const FuzzSet *set);

/* Local. Replace one file by the input's; returns its index. Bring back the good one. */
int fuzz_set_write(const FuzzSet *set, const uint8_t *data, size_t size);
void fuzz_set_restore(const FuzzSet *set, int index);

/* Local. As fuzz_seed: each file in turn. */
size_t fuzz_set_seed(const FuzzSet *set, int number, uint8_t *bytes);

#endif
