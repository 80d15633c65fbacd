/* checkpoint_sample.h - for the checkpoint tests: a folder of its own for each test, whole files in
 * it, and a checkpoint's content with every type and kind of storage. */
#ifndef TESTS_SUPPORT_CHECKPOINT_SAMPLE_H
#define TESTS_SUPPORT_CHECKPOINT_SAMPLE_H

#include "io/checkpoint.h"

enum { SAMPLE_ARRAYS = 9, SAMPLE_STEP = 77 };

typedef enum SampleSize {
    SAMPLE_SMALL, /* a file of some 9 KB, all compact */
    SAMPLE_LARGE  /* one array of 1.2 MB, in chunks */
} SampleSize;

/* Content and the memory behind it. */
typedef struct Sample {
    CheckpointArray arrays[SAMPLE_ARRAYS];
    CheckpointContent content;
    float *weight; /* the only array that is allocated */
    float bias[40], momentum[40], scale;
    double losses[6], best;
    int64_t batches, step, epochs[6];
} Sample;

/* Local. Set up and tear down for Check: make the scratch folder, and remove it. */
void scratch_set_up(void);
void scratch_tear_down(void);

/* Local. The folder, and the path of a name in it (static memory, overwritten four calls later). */
const char *scratch_folder(void);
const char *scratch_path(const char *name);

/* Local. Names in the folder, all of them but "." and "..". */
int scratch_count(void);

/* Local. A whole file. The caller frees with free(). The test fails if it cannot be read. */
unsigned char *scratch_read(const char *name, size_t *bytes);
void scratch_write(const char *name, const void *data, size_t bytes);

/* Local. Fill with numbers that follow from `seed`; seed 0 gives zeros, to be read into. The caller
 * frees with sample_free. */
void sample_create(Sample *sample, SampleSize size, int seed);
void sample_free(Sample *sample);

/* Local. Fails the test unless all arrays hold the same bits. */
void sample_assert_equal(const Sample *a, const Sample *b);

/* Local. Write it; the test fails if that fails. */
void sample_write(const Sample *sample, const char *name);

/* Local. Open the file, read the arrays into `sample`, close. */
MUST_CHECK Status sample_read(Sample *sample, const char *name);

#endif
