/* set.c - data sets in a folder, for fuzz programs: see fuzz.h. */
#include "src/status.h"
#include "tests/fuzz/fuzz.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/dev/shm/lockstep-fuzz-XXXXXX";
static const FuzzSet *present; /* NULL: not set up */

static void print_path(const FuzzSet *set, int index, char path[128]) {
    snprintf(path, 128, "%s/%s", folder, set->names[index]);
}

static void write_file(const FuzzSet *set, int index, const void *bytes, size_t size) {
    char path[128];
    print_path(set, index, path);
    FILE *file = fopen(path, "wb");
    REQUIRE(file != NULL && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

static void remove_folder(void) {
    char path[128];
    for (int i = 0; i < present->count; i++) {
        print_path(present, i, path);
        unlink(path);
    }
    rmdir(folder);
}

char *fuzz_set_folder(const FuzzSet *set) {
    if (present != NULL) return folder;
    REQUIRE(mkdtemp(folder) != NULL);
    present = set;
    for (int i = 0; i < set->count; i++) fuzz_set_restore(set, i);
    REQUIRE(atexit(remove_folder) == 0);
    return folder;
}

int fuzz_set_write(const FuzzSet *set, const uint8_t *data, size_t size) {
    int index = data[0] % set->count;
    fuzz_set_folder(set);
    write_file(set, index, data + 1, size - 1);
    return index;
}

void fuzz_set_restore(const FuzzSet *set, int index) {
    static uint8_t bytes[FUZZ_BYTES_MAX];
    write_file(set, index, bytes, set->make_good(index, bytes));
}

size_t fuzz_set_seed(const FuzzSet *set, int number, uint8_t *bytes) {
    if (number >= set->count) return 0;
    bytes[0] = (uint8_t)number;
    return 1 + set->make_good(number, bytes + 1);
}
