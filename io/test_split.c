/* test_split.c - see test_split.h. */
#include "io/test_split.h"
#include <stdio.h>
#include <string.h>

#define NAME_ENTRY(name, what) name,
const char *const test_split_names[] = {TEST_SPLITS(NAME_ENTRY)};

Status test_split_find(
    TestSplitLook look, const void *set, int *index, char note[DATASET_NOTE_BYTES]) {
    *index = -1;
    for (int i = 0; i < TEST_SPLIT_COUNT; i++) {
        size_t used = strlen(note);
        int is_there = 0;
        TRY(look(set, i, &is_there));
        if (!is_there) continue;
        if (*index >= 0)
            snprintf(note + used, DATASET_NOTE_BYTES - used, "%s%s is not used",
                used == 0 ? "" : "; ", test_split_names[i]);
        else if (i > 0)
            snprintf(note, DATASET_NOTE_BYTES,
                "the set has no test split: its %s is taken for the test", test_split_names[i]);
        if (*index < 0) *index = i;
    }
    return STATUS_OK;
}

Status test_split_choose(TestSplitLook look, const void *set, int *index) {
    char note[DATASET_NOTE_BYTES] = ""; /* told when it was asked whether there is a test split */
    TRY(test_split_find(look, set, index, note));
    if (*index < 0) *index = 0;
    return STATUS_OK;
}
