/* transform_source.h - a set that stays in its file, with its samples transformed as they are read.
 */
#ifndef SRC_TRANSFORM_SOURCE_H
#define SRC_TRANSFORM_SOURCE_H

#include "src/prefetch.h"
#include "src/transform.h"

/* Local. Put a source of transformed samples in the place of `source`, which gives samples [c, h,
 * w] of elements of 1 or 4 bytes. The new one owns the old one; a failure leaves *source as it
 * was. Fails as transform_shape, with STATUS_NO_MEMORY. */
MUST_CHECK Status transform_source_wrap(
    SampleSource *source, const TransformOptions *options, Shape sample, size_t element_bytes);

#endif
