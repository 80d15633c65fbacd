/* array_set.h - what the formats of numeric arrays (npy, hdf5; of their labels also idx) share:
 * which dimension is what, and what may be in an array of images or of labels. */
#ifndef IO_ARRAY_SET_H
#define IO_ARRAY_SET_H

#include "io/dataset_format.h"

enum { ARRAY_DIMENSIONS_MAX = 8, ARRAY_SIDE_MAX = 4096 };

typedef struct ArrayShape {
    int dimension_count;
    int64_t size[ARRAY_DIMENSIONS_MAX]; /* outermost first, not negative */
} ArrayShape;

/* What the header of an array says. */
typedef struct ArrayForm {
    ArrayShape shape;
    int is_float, is_signed; /* is_signed: of whole numbers */
    int item_bytes;          /* 1, 2, 4 or 8 */
} ArrayForm;

enum { ARRAY_TEXT_BYTES = 192 };

/* Local. Writes "(60000, 28, 28)" into `text` and returns it. */
const char *array_shape_print(const ArrayShape *shape, char text[ARRAY_TEXT_BYTES]);

/* Local. Find sizes->element_bytes of an array of images, uint8 or floats, and take its shape
 * (N, H, W), (N, C, H, W) or (N, H, W, C) apart into count, channels, height and width, by the
 * job's data.layout: a LayoutName. `auto` takes 1, 3 or 4 channels where the other two sizes are
 * larger and refuses what fits both ways or neither. `where` begins the messages: file and array.
 * Fails with STATUS_DATA, also for sizes beyond their limits. */
MUST_CHECK Status array_describe_images(
    const ArrayForm *form, int layout, const char *where, DatasetSizes *sizes, int *is_nhwc);

/* Local. Check that images of the test are uint8 where those of the training are, and floats where
 * those are: uint8 is scaled by 1/255, floats are not. Fails with STATUS_DATA. */
MUST_CHECK Status array_check_same_type(
    const ArrayForm *test, const char *test_where, const ArrayForm *train, const char *train_where);

/* Local. Whether both have the same count, sizes and element type. */
int array_is_same_set(const DatasetSizes *a, const DatasetSizes *b);

/* Local. Check that an array of labels is (N) or (N, 1) whole numbers with N = count, or any N
 * where that is ARRAY_COUNT_ANY. Fails with STATUS_DATA. */
enum { ARRAY_COUNT_ANY = -1 };
MUST_CHECK Status array_check_labels(const ArrayForm *form, int64_t count, const char *where);

/* Local. One sample from [h][w][c] to [c][h][w]; the two do not overlap. */
void array_to_planes(const void *from, void *to, const DatasetSizes *sizes);

/* Local. Check that floats of the samples from `first` on are finite; names the sample. */
MUST_CHECK Status array_check_finite(const float *values, const DatasetSizes *sizes, int64_t first,
    int64_t count, const char *where);

typedef struct ArrayLabelRange {
    int64_t smallest, largest;
} ArrayLabelRange;

/* Local. Check labels of the samples from `first` on: 0 to limit - 1. `labels` may be NULL; the
 * range, which begins as {INT64_MAX, 0}, grows. */
MUST_CHECK Status array_take_labels(const int64_t *values, int64_t first, int64_t count,
    int64_t limit, const char *where, int32_t *labels, ArrayLabelRange *range);

/* What array_take_labels allows in training labels, and what follows from their range:
 * sizes->class_count, at least 2, and first_label. */
enum { ARRAY_CLASSES_MAX = 1 << 24 };
void array_count_classes(const ArrayLabelRange *range, DatasetSizes *sizes);

#endif
