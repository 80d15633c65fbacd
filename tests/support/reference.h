/* reference.h - read the numbers that tests/reference/make_reference.py saved from PyTorch.
 *
 * One text file per case, tests/reference/NAME.txt. A line that starts with a letter names an array
 * and gives its shape, outermost dimension first; no sizes: a scalar. The array's numbers follow on
 * as many lines as they need, separated by blanks, last dimension fastest (PyTorch's order, the
 * batch outermost), nine significant digits each, so that each names one float. Labels and counters
 * are written as numbers as well. tests/reference/README.md lists cases and arrays. */
#ifndef TESTS_SUPPORT_REFERENCE_H
#define TESTS_SUPPORT_REFERENCE_H

#include "src/shape.h"
#include "src/status.h"
#include <stddef.h>

enum { REFERENCE_NAME_BYTES = 64 };

typedef struct ReferenceArray {
    char name[REFERENCE_NAME_BYTES]; /* "1.running_mean" */
    Shape shape;
    size_t count; /* of numbers: shape_element_count(shape) */
    float *data;  /* [shape...] */
} ReferenceArray;

typedef struct Reference {
    int array_count;
    ReferenceArray *arrays; /* in the order of the file */
    float *numbers;         /* owned: what all arrays' data point into */
} Reference;

/* Local. Read case `name` from the folder tests/reference of $LOCKSTEP_SOURCE, or of the working
 * directory. The caller frees with reference_free, also after a failure. Fails with STATUS_MISSING
 * (no such case), STATUS_DATA (naming file, line and what is wrong), STATUS_NO_MEMORY. */
MUST_CHECK Status reference_open(Reference *reference, const char *name);

/* Local. As reference_open, from any file. */
MUST_CHECK Status reference_read(Reference *reference, const char *path);
void reference_free(Reference *reference);

/* Local. The array of that name, or NULL. */
const ReferenceArray *reference_find(const Reference *reference, const char *name);

/* Local. The numbers of an array of exactly `count` numbers; NULL, after a line on stderr, when
 * there is no such array or it has another count. */
const float *reference_data(const Reference *reference, const char *name, size_t count);

#endif
