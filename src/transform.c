/* transform.c - see transform.h. Sizes and rounding are torchvision's Resize, Pad and CenterCrop.
 */
#include "src/transform.h"
#include "src/memory.h"
#include "src/resize.h"
#include <string.h>

struct Transform {
    Shape from, resized, to;
    int pad;
    size_t element_bytes;
    Resize *resize;
    char *sample; /* [c][h][w]: a copy, because the result may lie where the sample does */
    char *resized_plane;
};

int transform_is_asked(const TransformOptions *options) {
    return options->resize.count > 0 || options->pad > 0 || options->center_crop.count > 0;
}

static Shape with_sides(Shape sample, int64_t height, int64_t width) {
    return (Shape){3, {sample.size[0], (int)height, (int)width}};
}

static Shape resized_shape(const TransformOptions *options, Shape sample) {
    const OptionInts *resize = &options->resize;
    return resize->count == 0 ? sample : with_sides(sample, resize->values[0], resize->values[1]);
}

Status transform_shape(const TransformOptions *options, Shape sample, Shape *result) {
    REQUIRE(sample.dimension_count == 3);
    const OptionInts *crop = &options->center_crop;
    char text[SHAPE_TEXT_BYTES];
    *result = resized_shape(options, sample);
    int larger_side = result->size[1] > result->size[2] ? result->size[1] : result->size[2];
    if (options->pad > larger_side)
        return FAIL(STATUS_CONFIG, "data.pad: %lld zeros on every side of %s; at most %d",
            (long long)options->pad, shape_print(*result, text), larger_side);
    int64_t height = result->size[1] + 2 * options->pad, width = result->size[2] + 2 * options->pad;
    *result = with_sides(sample, height, width);
    if (height > TRANSFORM_SIDE_MAX || width > TRANSFORM_SIDE_MAX)
        return FAIL(STATUS_CONFIG, "data.pad: makes samples of %s; a side has at most %d pixels",
            shape_print(*result, text), TRANSFORM_SIDE_MAX);
    if (height * width > TRANSFORM_ELEMENTS_MAX / sample.size[0])
        return FAIL(STATUS_CONFIG, "data.resize: %s is more than %d numbers for a sample",
            shape_print(*result, text), TRANSFORM_ELEMENTS_MAX);
    if (crop->count == 0) return STATUS_OK;
    if (crop->values[0] > height || crop->values[1] > width)
        return FAIL(STATUS_CONFIG,
            "data.center_crop: [%lld, %lld] is larger than what there is to cut, %s",
            (long long)crop->values[0], (long long)crop->values[1], shape_print(*result, text));
    *result = with_sides(sample, crop->values[0], crop->values[1]);
    return STATUS_OK;
}

Status transform_create(
    Transform **transform, const TransformOptions *options, Shape sample, size_t element_bytes) {
    TRY(MEMORY_ALLOCATE(transform, 1, "transforms"));
    Transform *self = *transform;
    TRY(transform_shape(options, sample, &self->to));
    self->from = sample;
    self->resized = resized_shape(options, sample);
    self->pad = (int)options->pad;
    self->element_bytes = element_bytes;
    TRY(memory_allocate((void **)&self->sample, shape_element_count(sample), element_bytes,
        "a sample to be transformed"));
    if (options->resize.count == 0) return STATUS_OK;
    TRY(resize_create(&self->resize, sample.size[1], sample.size[2], self->resized.size[1],
        self->resized.size[2], element_bytes));
    return memory_allocate((void **)&self->resized_plane,
        (size_t)self->resized.size[1] * (size_t)self->resized.size[2], element_bytes,
        "a resized plane");
}

void transform_free(Transform *transform) {
    if (transform == NULL) return;
    resize_free(transform->resize);
    memory_free(transform->sample);
    memory_free(transform->resized_plane);
    memory_free(transform);
}

/* Where the result begins in the padded plane. A half is rounded to even, as Python's round does.
 */
static int crop_begin(int padded, int cropped) {
    int half = (padded - cropped) / 2, is_odd = (padded - cropped) % 2;
    return half + (is_odd && half % 2 == 1);
}

/* Pad the resized plane and cut the result out of it. */
static void place_plane(const Transform *transform, const char *plane, char *to) {
    int height = transform->resized.size[1], width = transform->resized.size[2];
    int new_height = transform->to.size[1], new_width = transform->to.size[2], pad = transform->pad;
    int top = crop_begin(height + 2 * pad, new_height) - pad;
    int left = crop_begin(width + 2 * pad, new_width) - pad;
    int begin = left < 0 ? -left : 0;
    int end = left + new_width > width ? width - left : new_width;
    size_t bytes = transform->element_bytes, row_bytes = (size_t)new_width * bytes;
    memset(to, 0, (size_t)new_height * row_bytes);
    for (int y = 0; y < new_height; y++) {
        if (top + y < 0 || top + y >= height || begin >= end) continue;
        size_t source = (size_t)(top + y) * (size_t)width + (size_t)(left + begin);
        memcpy(to + (size_t)y * row_bytes + (size_t)begin * bytes, plane + source * bytes,
            (size_t)(end - begin) * bytes);
    }
}

void transform_sample(Transform *transform, const void *from, void *to) {
    size_t bytes = transform->element_bytes;
    size_t plane = (size_t)transform->from.size[1] * (size_t)transform->from.size[2] * bytes;
    size_t new_plane = (size_t)transform->to.size[1] * (size_t)transform->to.size[2] * bytes;
    memcpy(transform->sample, from, shape_element_count(transform->from) * bytes);
    for (size_t c = 0; c < (size_t)transform->from.size[0]; c++) {
        const char *source = transform->sample + c * plane;
        if (transform->resize != NULL) {
            resize_plane(transform->resize, source, transform->resized_plane);
            source = transform->resized_plane;
        }
        place_plane(transform, source, (char *)to + c * new_plane);
    }
}
