/* array_set.c - see array_set.h. */
#include "io/array_set.h"
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const int64_t COUNT_MAX = 2147483647;

const char *array_shape_print(const ArrayShape *shape, char text[ARRAY_TEXT_BYTES]) {
    int n = snprintf(text, ARRAY_TEXT_BYTES, "(");
    for (int i = 0; i < shape->dimension_count; i++)
        n += snprintf(text + n, ARRAY_TEXT_BYTES - (size_t)n, "%s%lld", i == 0 ? "" : ", ",
            (long long)shape->size[i]);
    snprintf(text + n, ARRAY_TEXT_BYTES - (size_t)n, shape->dimension_count == 1 ? ",)" : ")");
    return text;
}

static int may_be_channels(int64_t size) {
    return size == 1 || size == 3 || size == 4;
}

/* Whether `channels` beside two sides looks like colours. */
static int are_channels(int64_t channels, int64_t side, int64_t other) {
    return may_be_channels(channels) && side > channels && other > channels;
}

static Status find_layout(const ArrayShape *shape, int layout, const char *where, int *is_nhwc) {
    const int64_t *size = shape->size;
    char text[ARRAY_TEXT_BYTES];
    *is_nhwc = layout == LAYOUT_NHWC;
    if (layout != LAYOUT_AUTO) return STATUS_OK;
    int first = are_channels(size[1], size[2], size[3]);
    int last = are_channels(size[3], size[1], size[2]);
    *is_nhwc = last;
    if (first != last) return STATUS_OK;
    return FAIL(STATUS_DATA,
        "%s: shape %s: %s of its dimensions 1 and 3 may be channels; say which with data.layout "
        "(convert: --layout): nchw or nhwc",
        where, array_shape_print(shape, text),
        may_be_channels(size[1]) && may_be_channels(size[3]) ? "both" : "neither");
}

static Status check_limits(const ArrayShape *shape, const DatasetSizes *sizes, const char *where) {
    const int64_t sides[] = {sizes->channels, sizes->height, sizes->width};
    char text[ARRAY_TEXT_BYTES];
    int is_good = sizes->count >= 1 && sizes->count <= COUNT_MAX;
    double elements = 1;
    for (int i = 0; i < 3; i++) {
        is_good = is_good && sides[i] >= 1 && sides[i] <= ARRAY_SIDE_MAX;
        elements *= (double)sides[i];
    }
    if (is_good && elements <= INT_MAX / 4) return STATUS_OK;
    return FAIL(STATUS_DATA,
        "%s: shape %s: 1 to %lld samples expected, sides and channels of 1 to %d, and at most %d "
        "numbers in a sample",
        where, array_shape_print(shape, text), (long long)COUNT_MAX, ARRAY_SIDE_MAX, INT_MAX / 4);
}

static Status find_sizes(
    const ArrayShape *shape, int layout, const char *where, DatasetSizes *sizes, int *is_nhwc) {
    const int64_t *size = shape->size;
    char text[ARRAY_TEXT_BYTES];
    *is_nhwc = 0;
    if (shape->dimension_count != 3 && shape->dimension_count != 4)
        return FAIL(STATUS_DATA,
            "%s: shape %s found; images are (N, H, W), (N, C, H, W) or (N, H, W, C): save "
            "a.reshape(...) to one of these",
            where, array_shape_print(shape, text));
    if (shape->dimension_count == 4) TRY(find_layout(shape, layout, where, is_nhwc));
    sizes->count = size[0];
    sizes->channels = shape->dimension_count == 3 ? 1 : *is_nhwc ? size[3] : size[1];
    sizes->height = shape->dimension_count == 3 || *is_nhwc ? size[1] : size[2];
    sizes->width = shape->dimension_count == 3 || *is_nhwc ? size[2] : size[3];
    return check_limits(shape, sizes, where);
}

static Status find_element_bytes(const ArrayForm *form, const char *where, int64_t *bytes) {
    int is_bytes = !form->is_float && !form->is_signed && form->item_bytes == 1;
    *bytes = is_bytes ? 1 : (int64_t)sizeof(float);
    if (is_bytes || form->is_float) return STATUS_OK;
    return FAIL(STATUS_DATA,
        "%s: the images are %sint%d; uint8 or floats expected: save a.astype(np.uint8) or "
        "a.astype(np.float32)",
        where, form->is_signed ? "" : "u", 8 * form->item_bytes);
}

Status array_describe_images(
    const ArrayForm *form, int layout, const char *where, DatasetSizes *sizes, int *is_nhwc) {
    TRY(find_element_bytes(form, where, &sizes->element_bytes));
    return find_sizes(&form->shape, layout, where, sizes, is_nhwc);
}

Status array_check_same_type(const ArrayForm *test, const char *test_where, const ArrayForm *train,
    const char *train_where) {
    int64_t test_bytes = 0, train_bytes = 0;
    TRY(find_element_bytes(test, test_where, &test_bytes));
    TRY(find_element_bytes(train, train_where, &train_bytes));
    if (test_bytes == train_bytes) return STATUS_OK;
    return FAIL(STATUS_DATA,
        "%s: the images are %s, but those of %s are %s; uint8 is scaled by 1/255, floats are not: "
        "save both as one type, a.astype(np.uint8) or, of uint8, (a / 255).astype(np.float32)",
        test_where, test->is_float ? "floats" : "uint8", train_where,
        train->is_float ? "floats" : "uint8");
}

int array_is_same_set(const DatasetSizes *a, const DatasetSizes *b) {
    return a->count == b->count && a->channels == b->channels && a->height == b->height &&
           a->width == b->width && a->element_bytes == b->element_bytes;
}

Status array_check_labels(const ArrayForm *form, int64_t count, const char *where) {
    const ArrayShape *shape = &form->shape;
    char text[ARRAY_TEXT_BYTES];
    int is_list =
        shape->dimension_count == 1 || (shape->dimension_count == 2 && shape->size[1] == 1);
    if (!is_list)
        return FAIL(STATUS_DATA,
            "%s: shape %s found; labels are (N,) or (N, 1) whole numbers, not one-hot rows%s",
            where, array_shape_print(shape, text),
            shape->dimension_count == 2 ? ": save a.argmax(axis=1) of these" : "");
    if (form->is_float)
        return FAIL(STATUS_DATA,
            "%s: the labels are floats; whole numbers expected: save a.astype(np.int64)", where);
    if (count == ARRAY_COUNT_ANY || shape->size[0] == count) return STATUS_OK;
    return FAIL(STATUS_DATA, "%s: %lld labels found, %lld expected, one for each image", where,
        (long long)shape->size[0], (long long)count);
}

void array_to_planes(const void *from, void *to, const DatasetSizes *sizes) {
    size_t pixels = (size_t)(sizes->height * sizes->width), channels = (size_t)sizes->channels;
    if (sizes->element_bytes == 1) {
        const uint8_t *in = from;
        uint8_t *out = to;
        for (size_t c = 0; c < channels; c++)
            for (size_t p = 0; p < pixels; p++) out[c * pixels + p] = in[p * channels + c];
    } else {
        const float *in = from;
        float *out = to;
        for (size_t c = 0; c < channels; c++)
            for (size_t p = 0; p < pixels; p++) out[c * pixels + p] = in[p * channels + c];
    }
}

Status array_check_finite(const float *values, const DatasetSizes *sizes, int64_t first,
    int64_t count, const char *where) {
    int64_t features = sizes->channels * sizes->height * sizes->width;
    for (int64_t i = 0; i < count * features; i++)
        if (!isfinite(values[i]))
            return FAIL(STATUS_DATA, "%s: sample %lld has a number that is %s, element %lld of it",
                where, (long long)(first + i / features),
                isnan(values[i]) ? "not a number (NaN)" : "infinite, or too large for float32",
                (long long)(i % features));
    return STATUS_OK;
}

Status array_take_labels(const int64_t *values, int64_t first, int64_t count, int64_t limit,
    const char *where, int32_t *labels, ArrayLabelRange *range) {
    for (int64_t i = 0; i < count; i++) {
        if (values[i] < 0)
            return FAIL(STATUS_DATA, "%s: sample %lld has label %lld; labels count from 0", where,
                (long long)(first + i), (long long)values[i]);
        if (values[i] >= limit)
            return FAIL(STATUS_DATA, "%s: sample %lld has label %lld, but %s end at %lld", where,
                (long long)(first + i), (long long)values[i],
                limit == ARRAY_CLASSES_MAX ? "the labels possible" : "the training labels",
                (long long)limit - 1);
        if (values[i] < range->smallest) range->smallest = values[i];
        if (values[i] > range->largest) range->largest = values[i];
        if (labels != NULL) labels[i] = (int32_t)values[i];
    }
    return STATUS_OK;
}

void array_count_classes(const ArrayLabelRange *range, DatasetSizes *sizes) {
    sizes->first_label = range->smallest;
    sizes->class_count = range->largest + 1 < 2 ? 2 : range->largest + 1;
}
