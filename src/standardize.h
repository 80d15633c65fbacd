/* standardize.h - mean and standard deviation of each channel of a set's samples, of which each
 * rank reads its part.
 *
 * The order of the sums depends on the samples alone, so any number of ranks gets the same numbers.
 */
#ifndef SRC_STANDARDIZE_H
#define SRC_STANDARDIZE_H

#include "src/option.h"
#include "src/prefetch.h"
#include "src/reducer.h"
#include "src/shape.h"

/* Samples 0..count-1, each [c, h, w]: bytes, taken as value / 255, or (element_bytes 4) floats. */
typedef struct StandardizeInput {
    const void *samples;        /* [count][c][h][w]; NULL: */
    const SampleSource *source; /* reads them */
    int64_t count;
    Shape sample;
    size_t element_bytes;
    Reducer *reducer; /* over `size` ranks, of which this is `rank` */
    int rank, size;
} StandardizeInput;

typedef struct Standardizer {
    const StandardizeInput *input; /* borrowed */
    Batch batch;                   /* what a record is for: a block of samples, or a rank */
    void *block;                   /* samples, where they are read */
    double *records;               /* [batch.local_count][record_length] */
    int channels, record_length;
    size_t pixels, sample_bytes;
} Standardizer;

/* Local. What standardize_measure needs. The caller frees with standardize_finish, also after a
 * failure. Fails with STATUS_CONFIG (more channels than a list of options holds), STATUS_NO_MEMORY.
 */
MUST_CHECK Status standardize_prepare(Standardizer *standardizer, const StandardizeInput *input);
void standardize_finish(Standardizer *standardizer);

/* Collective: the input equal on all ranks but for `rank`; every rank has prepared. The deviation
 * is that of the samples themselves, with the count as divisor. `mean` and `std` get a number per
 * channel. Fails, not agreed, with STATUS_DATA (a channel whose values are all the same, or not
 * finite), and as the source's read. */
MUST_CHECK Status standardize_measure(
    Standardizer *standardizer, OptionFloats *mean, OptionFloats *std);

#endif
