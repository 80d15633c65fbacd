/* test_split.h - what the test split of a set may be called. The first that is there is it; no
 * other is taken for it, or passed over, in silence. */
#ifndef IO_TEST_SPLIT_H
#define IO_TEST_SPLIT_H

#include "io/dataset.h"

/* ENTRY(name, what it is). */
#define TEST_SPLITS(ENTRY)                                                                         \
    ENTRY("test", "test")                                                                          \
    ENTRY("val", "validation")                                                                     \
    ENTRY("valid", "validation")                                                                   \
    ENTRY("validation", "validation")
#define TEST_SPLIT_COUNT_ONE(name, what) +1
enum { TEST_SPLIT_COUNT = 0 TEST_SPLITS(TEST_SPLIT_COUNT_ONE) };

extern const char *const test_split_names[TEST_SPLIT_COUNT];

/* Whether anything of the split of this index is in the set. */
typedef Status (*TestSplitLook)(const void *set, int index, int *is_there);

/* Local. The index of the set's test split, -1 where there is none; `note`, "" as it comes, becomes
 * a line for the user where it is not "test", or where others are not used. Fails as `look`. */
MUST_CHECK Status test_split_find(
    TestSplitLook look, const void *set, int *index, char note[DATASET_NOTE_BYTES]);

/* Local. The index of the set's test split; that of "test" where there is none, for messages that
 * tell what is missing. Fails as `look`. */
MUST_CHECK Status test_split_choose(TestSplitLook look, const void *set, int *index);

#endif
