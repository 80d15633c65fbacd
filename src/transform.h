/* transform.h - what is done once to every sample of a set when it is read: resize, then pad, then
 * cut out the centre. Training, validation and test samples alike. */
#ifndef SRC_TRANSFORM_H
#define SRC_TRANSFORM_H

#include "src/option.h"
#include "src/shape.h"

/* The longest side of an image, before and after. */
enum { TRANSFORM_SIDE_MAX = 4096 };

/* The most numbers of a sample, before it is cropped. */
enum { TRANSFORM_ELEMENTS_MAX = 1 << 28 };

typedef struct TransformOptions {
    OptionInts resize;      /* [height, width], or empty */
    int64_t pad;            /* zeros on every side */
    OptionInts center_crop; /* [height, width], or empty */
} TransformOptions;

typedef struct Transform Transform;

/* Local. Whether anything is asked for. */
int transform_is_asked(const TransformOptions *options);

/* Local. What becomes of a sample [c, h, w]. Fails with STATUS_CONFIG (a crop larger than the
 * image, a side beyond TRANSFORM_SIDE_MAX). */
MUST_CHECK Status transform_shape(const TransformOptions *options, Shape sample, Shape *result);

/* Local. Plan the way of samples [c, h, w] of elements of 1 byte (uint8_t) or 4 (float). The caller
 * frees with transform_free, also after a failure. Fails as transform_shape, with STATUS_NO_MEMORY.
 */
MUST_CHECK Status transform_create(
    Transform **transform, const TransformOptions *options, Shape sample, size_t element_bytes);
void transform_free(Transform *transform);

/* Local. One sample from [c][h][w] to its new shape; the two may overlap. Uses memory of the plan:
 * one thread at a time. */
void transform_sample(Transform *transform, const void *from, void *to);

#endif
