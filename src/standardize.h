/* standardize.h - mean and standard deviation of each channel of a set's samples.
 *
 * The order of the sums depends on the samples alone, so all ranks and runs get the same numbers.
 */
#ifndef SRC_STANDARDIZE_H
#define SRC_STANDARDIZE_H

#include "src/option.h"
#include "src/prefetch.h"
#include "src/shape.h"

/* Samples 0..count-1, each [c, h, w]: bytes, taken as value / 255, or (element_bytes 4) floats. */
typedef struct StandardizeInput {
    const void *samples;        /* [count][c][h][w]; NULL: */
    const SampleSource *source; /* reads them */
    int64_t count;
    Shape sample;
    size_t element_bytes;
} StandardizeInput;

/* Local. The deviation is that of the samples themselves, with the count as divisor. `mean` and
 * `std` get a number per channel. Fails with STATUS_CONFIG (more channels than a list of options
 * holds), STATUS_DATA (a channel whose values are all the same, or not finite), and as the source's
 * read. */
MUST_CHECK Status standardize_measure(
    const StandardizeInput *input, OptionFloats *mean, OptionFloats *std);

#endif
