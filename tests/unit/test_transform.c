/* test_transform.c - resize as Pillow does, padding, cutting out the centre, mean and deviation. */
#include "src/memory.h"
#include "src/resize.h"
#include "src/standardize.h"
#include "src/transform.h"
#include "tests/support/unit_check.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 6, ELEMENTS_MAX = 65536 };

static void tear_down(void) {
    ck_assert_uint_eq(memory_in_use(), 0);
}

/* ---- resize ---- */

/* The planes of tests/reference/make_resize.py. */
static void draw_plane(int is_float, int count, uint8_t *bytes, float *floats) {
    uint32_t state = 1;
    for (int i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(state >> 24);
        if (is_float) floats[i] = (float)bytes[i] / 256 - 0.25f;
    }
}

static uint64_t hash_bytes(const void *data, size_t count) {
    uint64_t value = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++)
        value = (value ^ ((const uint8_t *)data)[i]) * 0x100000001b3u;
    return value;
}

START_TEST(resized_planes_are_those_of_pillow) {
    static uint8_t bytes[ELEMENTS_MAX], new_bytes[ELEMENTS_MAX];
    static float floats[ELEMENTS_MAX], new_floats[ELEMENTS_MAX];
    char path[512], kind[16];
    int from[2], to[2], cases = 0;
    unsigned long long hash = 0;
    const char *folder = getenv("LOCKSTEP_SOURCE");
    snprintf(path, sizeof path, "%s/tests/reference/resize.csv", folder == NULL ? "." : folder);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    while (fscanf(file, "%15[a-z],%d,%d,%d,%d,%llx\n", kind, &from[0], &from[1], &to[0], &to[1],
               &hash) == 6) {
        int is_float = strcmp(kind, "float") == 0;
        size_t element_bytes = is_float ? sizeof(float) : 1;
        const void *before = is_float ? (const void *)floats : bytes;
        void *after = is_float ? (void *)new_floats : new_bytes;
        Resize *resize = NULL;
        ck_assert(from[0] * from[1] <= ELEMENTS_MAX && to[0] * to[1] <= ELEMENTS_MAX);
        draw_plane(is_float, from[0] * from[1], bytes, floats);
        ck_assert_int_eq(
            resize_create(&resize, from[0], from[1], to[0], to[1], element_bytes), STATUS_OK);
        resize_plane(resize, before, after);
        resize_free(resize);
        uint64_t found = hash_bytes(after, (size_t)to[0] * (size_t)to[1] * element_bytes);
        ck_assert_msg(found == hash, "%s %dx%d to %dx%d", kind, from[0], from[1], to[0], to[1]);
        cases++;
    }
    fclose(file);
    ck_assert_int_eq(cases, 26);
}
END_TEST

START_TEST(resizing_to_the_same_size_changes_nothing) {
    uint8_t bytes[SIDE * SIDE], same[SIDE * SIDE];
    Resize *resize = NULL;
    draw_plane(0, SIDE * SIDE, bytes, NULL);
    ck_assert_int_eq(resize_create(&resize, SIDE, SIDE, SIDE, SIDE, 1), STATUS_OK);
    resize_plane(resize, bytes, same);
    ck_assert_mem_eq(bytes, same, sizeof bytes);
    resize_free(resize);
}
END_TEST

/* ---- pad and crop ---- */

static int value_at(int c, int y, int x) {
    return 1 + c * 100 + y * SIDE + x;
}

/* Pixel (y, x) of what is padded by `pad` and cut to [height, width] comes from this row, column.
 */
static const struct {
    int pad, crop[2], top, left; /* top, left: of the result, in the sample */
} placings[] = {{2, {0, 0}, -2, -2}, {0, {4, 2}, 1, 2}, {0, {5, 3}, 0, 2}, {0, {1, 6}, 2, 0},
    {3, {6, 6}, 0, 0}, {3, {8, 4}, -1, 1}, {1, {7, 8}, -1, -1}, {0, {6, 6}, 0, 0}};

static void check_placing(int i, int is_float) {
    static uint8_t bytes[2 * 20 * 20];
    static float floats[2 * 20 * 20];
    Shape sample = {3, {2, SIDE, SIDE}}, shape;
    TransformOptions options = {.pad = placings[i].pad};
    options.center_crop.count = placings[i].crop[0] > 0 ? 2 : 0;
    for (int k = 0; k < 2; k++) options.center_crop.values[k] = placings[i].crop[k];
    for (int p = 0; p < 2 * SIDE * SIDE; p++)
        bytes[p] = (uint8_t)value_at(p / SIDE / SIDE, p / SIDE % SIDE, p % SIDE),
        floats[p] = bytes[p];
    Transform *transform = NULL;
    void *data = is_float ? (void *)floats : bytes;
    ck_assert_int_eq(transform_create(&transform, &options, sample, is_float ? 4 : 1), STATUS_OK);
    ck_assert_int_eq(transform_shape(&options, sample, &shape), STATUS_OK);
    transform_sample(transform, data, data); /* in place */
    transform_free(transform);
    for (int p = 0; p < (int)shape_element_count(shape); p++) {
        int y = p / shape.size[2] % shape.size[1] + placings[i].top;
        int x = p % shape.size[2] + placings[i].left, c = p / shape.size[2] / shape.size[1];
        int is_inside = y >= 0 && y < SIDE && x >= 0 && x < SIDE;
        float found = is_float ? floats[p] : bytes[p];
        ck_assert_msg(
            found == (float)(is_inside ? value_at(c, y, x) : 0), "case %d pixel %d", i, p);
    }
}

START_TEST(padded_and_cropped_pixels_come_from_where_torchvision_takes_them) {
    check_placing(_i, 0);
    check_placing(_i, 1);
}
END_TEST

START_TEST(the_order_is_resize_pad_crop) {
    Shape shape;
    TransformOptions options = {.resize = {2, {10, 12}}, .pad = 3, .center_crop = {2, {14, 18}}};
    ck_assert_int_eq(transform_shape(&options, (Shape){3, {3, 40, 50}}, &shape), STATUS_OK);
    ck_assert(shape_is_equal(shape, (Shape){3, {3, 14, 18}}));
    options.center_crop.values[0] = 17;
    ck_assert_int_eq(transform_shape(&options, (Shape){3, {3, 40, 50}}, &shape), STATUS_CONFIG);
    ck_assert_ptr_nonnull(strstr(status_message(), "[17, 18] is larger than"));
    options.pad = 4090;
    ck_assert_int_eq(transform_shape(&options, (Shape){3, {3, 40, 50}}, &shape), STATUS_CONFIG);
    ck_assert_ptr_nonnull(strstr(status_message(), "data.pad"));
}
END_TEST

START_TEST(every_allocation_may_fail) {
    TransformOptions options = {.resize = {2, {9, 4}}, .pad = 1};
    for (long n = 1;; n++) {
        Transform *transform = NULL;
        status_arm_fault(n, 0);
        Status status = transform_create(&transform, &options, (Shape){3, {1, 5, 5}}, 1);
        status_arm_fault(0, 0);
        transform_free(transform);
        ck_assert_uint_eq(memory_in_use(), 0);
        if (status == STATUS_OK) {
            ck_assert_int_gt(n, 8);
            break;
        }
        ck_assert_int_eq(status, STATUS_NO_MEMORY);
    }
}
END_TEST

/* ---- standardize ---- */

static Status measure_input(const StandardizeInput *input, OptionFloats *mean, OptionFloats *std) {
    Standardizer standardizer;
    Status status = standardize_prepare(&standardizer, input);
    if (status == STATUS_OK) status = standardize_measure(&standardizer, mean, std);
    standardize_finish(&standardizer);
    return status;
}

static Status measure(const void *samples, int64_t count, Shape sample, size_t element_bytes,
    OptionFloats *mean, OptionFloats *std) {
    StandardizeInput input = {.samples = samples,
        .count = count,
        .sample = sample,
        .element_bytes = element_bytes,
        .reducer = reducer_of_one_rank(),
        .size = 1};
    return measure_input(&input, mean, std);
}

enum { READ_SAMPLE_FLOATS = 6 };

static Status read_from_memory(void *context, const int64_t *index, int count, void *rows) {
    for (int i = 0; i < count; i++)
        memcpy((float *)rows + i * READ_SAMPLE_FLOATS,
            (const float *)context + index[i] * READ_SAMPLE_FLOATS,
            READ_SAMPLE_FLOATS * sizeof(float));
    return STATUS_OK;
}

START_TEST(samples_that_are_read_measure_the_same_as_in_memory) {
    enum { COUNT = 201 };
    static float floats[COUNT * READ_SAMPLE_FLOATS];
    static uint8_t unused[COUNT * READ_SAMPLE_FLOATS];
    Shape sample = {3, {2, 1, 3}};
    SampleSource source = {.sample_bytes = READ_SAMPLE_FLOATS * sizeof(float),
        .context = floats,
        .read = read_from_memory};
    StandardizeInput input = {.source = &source,
        .count = COUNT,
        .sample = sample,
        .element_bytes = sizeof(float),
        .reducer = reducer_of_one_rank(),
        .size = 1};
    OptionFloats mean, std, mean_read, std_read;
    draw_plane(1, COUNT * READ_SAMPLE_FLOATS, unused, floats);
    ck_assert_int_eq(measure(floats, COUNT, sample, sizeof(float), &mean, &std), STATUS_OK);
    ck_assert_int_eq(measure_input(&input, &mean_read, &std_read), STATUS_OK);
    ck_assert_mem_eq(mean.values, mean_read.values, 2 * sizeof *mean.values);
    ck_assert_mem_eq(std.values, std_read.values, 2 * sizeof *std.values);
}
END_TEST

START_TEST(mean_and_deviation_are_those_of_a_plain_loop) {
    enum { COUNT = 150, CHANNELS = 3, PIXELS = 10 };
    static uint8_t bytes[COUNT * CHANNELS * PIXELS];
    static float floats[COUNT * CHANNELS * PIXELS];
    Shape sample = {3, {CHANNELS, 2, 5}};
    OptionFloats mean, std, mean_of_floats, std_of_floats;
    draw_plane(0, COUNT * CHANNELS * PIXELS, bytes, NULL);
    for (int i = 0; i < COUNT * CHANNELS * PIXELS; i++) {
        if (i / PIXELS % CHANNELS == 1) bytes[i] /= 4;
        floats[i] = (float)bytes[i] / 255;
    }
    ck_assert_int_eq(measure(bytes, COUNT, sample, 1, &mean, &std), STATUS_OK);
    ck_assert_int_eq(measure(floats, COUNT, sample, 4, &mean_of_floats, &std_of_floats), STATUS_OK);
    ck_assert_int_eq(mean.count, CHANNELS);
    ck_assert_int_eq(std.count, CHANNELS);
    for (int c = 0; c < CHANNELS; c++) {
        double sum = 0, squares = 0, n = COUNT * PIXELS;
        for (int i = 0; i < COUNT * PIXELS; i++)
            sum += bytes[(i / PIXELS * CHANNELS + c) * PIXELS + i % PIXELS] / 255.0;
        for (int i = 0; i < COUNT * PIXELS; i++)
            squares +=
                pow(bytes[(i / PIXELS * CHANNELS + c) * PIXELS + i % PIXELS] / 255.0 - sum / n, 2);
        ck_assert_double_eq_tol(mean.values[c], sum / n, 1e-14);
        ck_assert_double_eq_tol(std.values[c], sqrt(squares / n), 1e-14);
        ck_assert_double_eq_tol(mean_of_floats.values[c], sum / n, 1e-7);
        ck_assert_double_eq_tol(std_of_floats.values[c], sqrt(squares / n), 1e-7);
    }
}
END_TEST

START_TEST(a_channel_without_deviation_is_refused) {
    static uint8_t bytes[4 * 2 * 3];
    OptionFloats mean, std;
    for (int i = 0; i < 24; i++) bytes[i] = (uint8_t)(i / 3 % 2 == 0 ? i : 7);
    Status status = measure(bytes, 4, (Shape){3, {2, 1, 3}}, 1, &mean, &std);
    ck_assert_int_eq(status, STATUS_DATA);
    ck_assert_ptr_nonnull(strstr(status_message(), "channel 1"));
    ck_assert_int_eq(measure(bytes, 1, (Shape){3, {17, 1, 1}}, 1, &mean, &std), STATUS_CONFIG);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("transform");
    TCase *tests = unit_check_case(suite, "transform");
    tcase_add_checked_fixture(tests, NULL, tear_down);
    tcase_add_test(tests, resized_planes_are_those_of_pillow);
    tcase_add_test(tests, resizing_to_the_same_size_changes_nothing);
    tcase_add_loop_test(tests, padded_and_cropped_pixels_come_from_where_torchvision_takes_them, 0,
        sizeof placings / sizeof placings[0]);
    tcase_add_test(tests, the_order_is_resize_pad_crop);
    tcase_add_test(tests, every_allocation_may_fail);
    tcase_add_test(tests, mean_and_deviation_are_those_of_a_plain_loop);
    tcase_add_test(tests, samples_that_are_read_measure_the_same_as_in_memory);
    tcase_add_test(tests, a_channel_without_deviation_is_refused);
    return unit_check_run(suite);
}
