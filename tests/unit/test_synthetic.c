/* test_synthetic.c - the drawn set: the same everywhere, whatever its size. */
#include "io/dataset_format.h"
#include "src/memory.h"
#include "tests/support/unit_check.h"
#include <stdlib.h>
#include <string.h>

enum { SIDE = 28, PIXELS = SIDE * SIDE, COUNT = 200, CLASSES = 10 };

static uint8_t images[2][COUNT * PIXELS];
static int32_t labels[2][COUNT];

static void draw(uint8_t *into, int32_t *into_labels, int64_t seed, DatasetSplit split,
    int64_t count, int64_t side, double noise) {
    Job job = {.seed = seed,
        .data = {.format = DATA_SYNTHETIC,
            .train_count = count,
            .test_count = count,
            .image_size = side,
            .noise = noise}};
    DatasetSizes sizes;
    ck_assert_int_eq(dataset_synthetic.measure(&job, split, &sizes), STATUS_OK);
    ck_assert_int_eq(sizes.count, count);
    ck_assert_int_eq(sizes.height, side);
    ck_assert_int_eq(sizes.width, side);
    ck_assert_int_eq(sizes.class_count, CLASSES);
    ck_assert_int_eq(dataset_synthetic.fill(&job, split, &sizes, into, into_labels), STATUS_OK);
}

START_TEST(a_sample_does_not_depend_on_the_count) {
    draw(images[0], labels[0], 1, DATASET_TRAIN, COUNT, SIDE, .15);
    draw(images[1], labels[1], 1, DATASET_TRAIN, 37, SIDE, .15);
    ck_assert_mem_eq(images[0], images[1], 37 * PIXELS);
    ck_assert_mem_eq(labels[0], labels[1], 37 * sizeof *labels[0]);
}
END_TEST

START_TEST(seed_and_split_change_every_image) {
    draw(images[0], labels[0], 1, DATASET_TRAIN, COUNT, SIDE, 0);
    for (int other = 0; other < 2; other++) {
        draw(images[1], labels[1], 1 + other, other == 0 ? DATASET_TEST : DATASET_TRAIN, COUNT,
            SIDE, 0);
        for (int i = 0; i < COUNT; i++)
            ck_assert_mem_ne(images[0] + i * PIXELS, images[1] + i * PIXELS, PIXELS);
        ck_assert_mem_ne(labels[0], labels[1], sizeof labels[0]);
    }
}
END_TEST

START_TEST(ten_consecutive_samples_are_the_ten_digits) {
    draw(images[0], labels[0], 3, DATASET_TEST, COUNT, SIDE, 0);
    int orders_differ = 0;
    for (int block = 0; block < COUNT; block += CLASSES) {
        int seen = 0;
        for (int i = 0; i < CLASSES; i++) seen |= 1 << labels[0][block + i];
        ck_assert_int_eq(seen, (1 << CLASSES) - 1);
        orders_differ += memcmp(labels[0], labels[0] + block, CLASSES * sizeof *labels[0]) != 0;
    }
    ck_assert_int_gt(orders_differ, COUNT / CLASSES / 2);
}
END_TEST

/* FNV-1a. */
static uint64_t hash(const uint8_t *bytes, size_t count) {
    uint64_t value = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++) value = (value ^ bytes[i]) * 0x100000001b3u;
    return value;
}

START_TEST(the_bytes_are_the_same_on_every_machine) {
    draw(images[0], labels[0], 1, DATASET_TRAIN, COUNT, SIDE, .15);
    ck_assert_uint_eq(hash(images[0], COUNT * PIXELS), 0xb92283a20d37cd1eu);
    uint8_t label_bytes[COUNT];
    for (int i = 0; i < COUNT; i++) label_bytes[i] = (uint8_t)labels[0][i];
    ck_assert_uint_eq(hash(label_bytes, COUNT), 0x41205e5f73bf60d9u);
}
END_TEST

START_TEST(without_noise_paper_is_black_and_ink_is_bright) {
    draw(images[0], labels[0], 5, DATASET_TRAIN, COUNT, SIDE, 0);
    for (int i = 0; i < COUNT; i++) {
        const uint8_t *image = images[0] + i * PIXELS;
        int inked = 0, brightest = 0;
        for (int p = 0; p < PIXELS; p++) {
            inked += image[p] > 0;
            if (image[p] > brightest) brightest = image[p];
        }
        ck_assert_int_gt(inked, PIXELS / 50);
        ck_assert_int_lt(inked, PIXELS / 2);
        ck_assert_int_gt(brightest, 100);
    }
}
END_TEST

START_TEST(noise_has_the_deviation_asked_for) {
    draw(images[0], labels[0], 5, DATASET_TRAIN, COUNT, SIDE, 0);
    draw(images[1], labels[1], 5, DATASET_TRAIN, COUNT, SIDE, .05);
    /* Paper is at 0, where half of the noise is cut off: look at bright ink alone. */
    double squares = 0;
    int n = 0;
    for (int i = 0; i < COUNT * PIXELS; i++)
        if (images[0][i] > 110 && images[0][i] < 145) {
            double difference = (images[1][i] - images[0][i]) / 255.;
            squares += difference * difference;
            n++;
        }
    ck_assert_int_gt(n, 500);
    ck_assert_double_gt(squares / n, .045 * .045);
    ck_assert_double_lt(squares / n, .055 * .055);
}
END_TEST

START_TEST(the_extreme_sizes_are_drawn) {
    static uint8_t large[CLASSES * 256 * 256];
    static int32_t large_labels[CLASSES];
    static const int64_t sides[] = {12, 256};
    for (int i = 0; i < 2; i++) {
        draw(large, large_labels, 1, DATASET_TRAIN, CLASSES, sides[i], 0);
        int64_t inked = 0;
        for (int64_t p = 0; p < CLASSES * sides[i] * sides[i]; p++) inked += large[p] > 0;
        ck_assert_int_gt(inked, CLASSES * sides[i] * sides[i] / 50);
    }
}
END_TEST

START_TEST(the_one_allocation_may_fail) {
    Job job = {.data = {.train_count = 1, .image_size = 12}};
    DatasetSizes sizes;
    ck_assert_int_eq(dataset_synthetic.measure(&job, DATASET_TRAIN, &sizes), STATUS_OK);
    status_arm_fault(1, 0);
    ck_assert_int_eq(dataset_synthetic.fill(&job, DATASET_TRAIN, &sizes, images[0], labels[0]),
        STATUS_NO_MEMORY);
    status_arm_fault(0, 0);
}
END_TEST

static void tear_down(void) {
    ck_assert_uint_eq(memory_in_use(), 0);
}

int main(void) {
    Suite *suite = suite_create("synthetic");
    TCase *tests = unit_check_case(suite, "synthetic");
    tcase_add_checked_fixture(tests, NULL, tear_down);
    tcase_add_test(tests, a_sample_does_not_depend_on_the_count);
    tcase_add_test(tests, seed_and_split_change_every_image);
    tcase_add_test(tests, ten_consecutive_samples_are_the_ten_digits);
    tcase_add_test(tests, the_bytes_are_the_same_on_every_machine);
    tcase_add_test(tests, without_noise_paper_is_black_and_ink_is_bright);
    tcase_add_test(tests, noise_has_the_deviation_asked_for);
    tcase_add_test(tests, the_extreme_sizes_are_drawn);
    tcase_add_test(tests, the_one_allocation_may_fail);
    return unit_check_run(suite);
}
