/* test_augment.c - random crop, flip and cutout: where pixels come from, and how often. */
#include "src/augment.h"
#include "src/kernels/kernels.h"
#include "src/loader.h"
#include "src/memory.h"
#include "tests/support/unit_check.h"
#include <stdlib.h>
#include <string.h>

enum { CHANNELS = 2, HEIGHT = 5, WIDTH = 7, ELEMENTS = CHANNELS * HEIGHT * WIDTH, LANES = 4 };
enum { DRAWS = 20000 };

static const Shape sample = {3, {CHANNELS, HEIGHT, WIDTH}};

static void tear_down(void) {
    ck_assert_uint_eq(memory_in_use(), 0);
}

/* The count of something that happens once in `cases` draws, five standard deviations wide. */
static void check_frequency(int count, double cases) {
    double expected = DRAWS / cases;
    ck_assert_double_lt((count - expected) * (count - expected), 25 * expected);
}

START_TEST(every_offset_and_both_flips_occur_equally_often) {
    AugmentOptions options = {.random_crop = 2, .flip = 1};
    int seen[5][5][2] = {{{0}}};
    for (int i = 0; i < DRAWS; i++) {
        Augmentation drawn = augment_draw(&options, sample, 1, (uint32_t)i % 10, i / 10);
        ck_assert(abs(drawn.shift_down) <= 2 && abs(drawn.shift_right) <= 2);
        ck_assert_int_eq(drawn.cut_bottom, drawn.cut_top);
        seen[drawn.shift_down + 2][drawn.shift_right + 2][drawn.is_flipped]++;
    }
    for (int i = 0; i < 50; i++) check_frequency(seen[i / 10][i / 2 % 5][i % 2], 50);
}
END_TEST

START_TEST(nothing_asked_for_is_nothing_done) {
    AugmentOptions options = {.random_crop = 0};
    Augmentation none = {.is_flipped = 0};
    ck_assert(!augment_is_asked(&options));
    for (int i = 0; i < 100; i++) {
        Augmentation drawn = augment_draw(&options, sample, 1, 3, i);
        ck_assert_mem_eq(&drawn, &none, sizeof none);
    }
}
END_TEST

START_TEST(what_can_leave_nothing_of_a_sample_is_refused) {
    static const Shape wide = {3, {3, 5, 8}};
    static const struct {
        AugmentOptions options;
        const char *problem; /* NULL: none */
    } cases[] = {{{0, 1, 0}, NULL}, {{4, 1, 7}, NULL},
        {{5, 0, 0}, "data.augment.random_crop: 5 zeros around samples of [3, 5, 8]"},
        {{4000, 0, 0}, "can leave nothing of them; at most 4"},
        {{0, 0, 8},
            "data.augment.cutout: a square of 8 x 8 can hide all of samples of [3, 5, 8]; at "
            "most 7"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Status status = augment_check(&cases[i].options, wide);
        ck_assert_int_eq(status, cases[i].problem == NULL ? STATUS_OK : STATUS_CONFIG);
        if (status != STATUS_OK) ck_assert_ptr_nonnull(strstr(status_message(), cases[i].problem));
    }
}
END_TEST

START_TEST(a_draw_depends_on_seed_epoch_and_sample) {
    AugmentOptions options = {.random_crop = 1000, .flip = 1, .cutout = 2};
    Augmentation first = augment_draw(&options, sample, 1, 2, 3);
    Augmentation others[] = {augment_draw(&options, sample, 2, 2, 3),
        augment_draw(&options, sample, 1, 3, 3), augment_draw(&options, sample, 1, 2, 4)};
    Augmentation again = augment_draw(&options, sample, 1, 2, 3);
    ck_assert_mem_eq(&first, &again, sizeof first);
    for (int i = 0; i < 3; i++) ck_assert_mem_ne(&first, &others[i], sizeof first);
}
END_TEST

/* Shifts beyond the image's sides leave nothing of it. */
static void check_move(int down, int right, int is_flipped, size_t element_bytes) {
    uint8_t bytes[ELEMENTS], moved_bytes[ELEMENTS];
    float floats[ELEMENTS], moved_floats[ELEMENTS];
    for (int i = 0; i < ELEMENTS; i++) bytes[i] = (uint8_t)(i + 1), floats[i] = (float)(i + 1);
    Augmentation how = {.shift_down = down, .shift_right = right, .is_flipped = is_flipped};
    if (element_bytes == 1)
        augment_move(&how, sample, 1, bytes, moved_bytes);
    else
        augment_move(&how, sample, 4, floats, moved_floats);
    for (int i = 0; i < ELEMENTS; i++) {
        int x = i % WIDTH, y = i / WIDTH % HEIGHT + down, c = i / WIDTH / HEIGHT;
        x = (is_flipped ? WIDTH - 1 - x : x) + right;
        int is_inside = x >= 0 && x < WIDTH && y >= 0 && y < HEIGHT;
        float expected = is_inside ? (float)((c * HEIGHT + y) * WIDTH + x + 1) : 0.0f;
        ck_assert_float_eq(element_bytes == 1 ? (float)moved_bytes[i] : moved_floats[i], expected);
    }
}

START_TEST(pixels_come_from_the_shifted_window_and_are_then_flipped) {
    for (int down = -HEIGHT - 1; down <= HEIGHT + 1; down++)
        for (int right = -WIDTH - 1; right <= WIDTH + 1; right++)
            for (int i = 0; i < 4; i++) check_move(down, right, i / 2, i % 2 == 0 ? 1 : 4);
}
END_TEST

/* Side and its square's part inside an image of 5 x 7, summed over all 35 centres. */
static const struct {
    int side, area;
} squares[] = {{1, 35}, {2, 9 * 13}, {3, 13 * 19}, {4, 16 * 24}, {20, 35 * 35}};

START_TEST(a_cutout_has_its_centre_anywhere_and_is_clipped_at_the_borders) {
    AugmentOptions options = {.cutout = squares[_i].side};
    int seen[HEIGHT + 1][WIDTH + 1][HEIGHT + 1][WIDTH + 1] = {{{{0}}}}, kinds = 0, area = 0;
    for (int i = 0; i < DRAWS; i++) {
        Augmentation drawn = augment_draw(&options, sample, 1, 1, i);
        ck_assert(drawn.cut_top >= 0 && drawn.cut_left >= 0);
        ck_assert(drawn.cut_bottom <= HEIGHT && drawn.cut_right <= WIDTH);
        seen[drawn.cut_top][drawn.cut_left][drawn.cut_bottom][drawn.cut_right]++;
    }
    int *cells = &seen[0][0][0][0];
    for (int i = 0; i < (int)(sizeof seen / sizeof(int)); i++) {
        if (cells[i] == 0) continue;
        int left = i / (HEIGHT + 1) / (WIDTH + 1) % (WIDTH + 1), right = i % (WIDTH + 1);
        int top = i / (HEIGHT + 1) / (WIDTH + 1) / (WIDTH + 1);
        int bottom = i / (WIDTH + 1) % (HEIGHT + 1);
        double centres = cells[i] * 35.0 / DRAWS;
        area += (int)(centres + 0.5) * (bottom - top) * (right - left);
        kinds++;
        if (squares[_i].side < 3) check_frequency(cells[i], 35);
    }
    ck_assert_int_eq(area, squares[_i].area);
    if (squares[_i].side < 3) ck_assert_int_eq(kinds, 35);
}
END_TEST

START_TEST(a_cutout_is_zero_in_one_lane_and_in_all_channels) {
    float x[ELEMENTS * LANES];
    Augmentation how = {.cut_top = 1, .cut_left = 4, .cut_bottom = 3, .cut_right = 7};
    for (int i = 0; i < ELEMENTS * LANES; i++) x[i] = 5;
    augment_cut(&how, sample, LANES, 2, x);
    for (int i = 0; i < ELEMENTS * LANES; i++) {
        int row = i / LANES / WIDTH % HEIGHT, column = i / LANES % WIDTH;
        int is_cut = i % LANES == 2 && row >= 1 && row < 3 && column >= 4 && column < 7;
        ck_assert_float_eq(x[i], is_cut ? 0.0f : 5.0f);
    }
}
END_TEST

/* ---- in the loader ---- */

enum { COUNT = 21, OFFSET = 4, MICROBATCH = 3 };

static uint8_t images[(OFFSET + COUNT) * ELEMENTS];
static int32_t labels[OFFSET + COUNT];

static Loader *make_loader(const AugmentOptions *options, int threads) {
    static const OptionFloats mean = {1, {0.5}}, std = {1, {0.25}};
    LoaderSource source = {.images = images,
        .labels = labels,
        .element_bytes = 1,
        .sample = sample,
        .offset = OFFSET,
        .count = COUNT};
    Loader *loader = NULL;
    for (size_t i = 0; i < sizeof images; i++) images[i] = (uint8_t)(i * 37 + i / 256);
    ck_assert_int_eq(loader_create(&loader, &source, &mean, &std), STATUS_OK);
    ck_assert_int_eq(
        loader_augment(loader, options, 9, batch_lanes(MICROBATCH), threads), STATUS_OK);
    return loader;
}

/* One sample of an epoch, made from its parts, in the lane where the loader puts it. */
static void check_sample(
    const Loader *loader, const AugmentOptions *options, int64_t index, const float *x, int lane) {
    uint8_t moved[ELEMENTS];
    Augmentation drawn = augment_draw(options, sample, 9, 2, index);
    augment_move(&drawn, sample, 1, images + index * ELEMENTS, moved);
    for (int i = 0; i < ELEMENTS; i++) {
        int row = i / WIDTH % HEIGHT, column = i % WIDTH;
        int is_cut = row >= drawn.cut_top && row < drawn.cut_bottom && column >= drawn.cut_left &&
                     column < drawn.cut_right;
        ck_assert_float_eq(x[i * LANES + lane], is_cut ? 0.0f : loader->table[0][moved[i]]);
    }
}

START_TEST(the_loader_serves_what_the_index_of_each_sample_draws) {
    AugmentOptions options = {.random_crop = 2, .flip = 1, .cutout = 3};
    int thread_count = _i + 1;
    Loader *loader = make_loader(&options, thread_count);
    Threads *threads = NULL;
    Batch batch;
    static float x[COUNT * ELEMENTS * LANES];
    int found[COUNT * LANES];
    int64_t index[COUNT * LANES];
    ck_assert_int_eq(threads_create(&threads, thread_count), STATUS_OK);
    loader_set_order(loader, 2, 1, 9);
    batch_plan(&batch, COUNT, MICROBATCH, 0, 1);
    ck_assert_int_eq(batch.lanes, LANES);
    Tensor tensor = {{1, {ELEMENTS}}, x, ELEMENTS * LANES};
    ck_assert_int_eq(
        loader_fill(loader, &batch, 0, kernels_find(NULL, LANES), threads, &tensor, found, index),
        STATUS_OK);
    for (int i = 0; i < COUNT; i++)
        check_sample(
            loader, &options, index[i], x + i / MICROBATCH * ELEMENTS * LANES, i % MICROBATCH);
    threads_free(threads);
    loader_free(loader);
}
END_TEST

START_TEST(a_loader_that_is_asked_for_nothing_takes_no_memory) {
    AugmentOptions options = {.random_crop = 0};
    Loader *loader = make_loader(&options, 2);
    ck_assert_ptr_null(loader->augmentation);
    loader_free(loader);
}
END_TEST

START_TEST(every_allocation_may_fail) {
    AugmentOptions none = {.random_crop = 0}, options = {.flip = 1};
    for (long n = 1; n <= 5; n++) {
        Loader *loader = make_loader(&none, 1);
        status_arm_fault(n, 0);
        Status status = loader_augment(loader, &options, 1, LANES, 1);
        status_arm_fault(0, 0);
        loader_free(loader);
        ck_assert_int_eq(status, n < 5 ? STATUS_NO_MEMORY : STATUS_OK);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("augment");
    TCase *tests = unit_check_case(suite, "augment");
    tcase_add_checked_fixture(tests, NULL, tear_down);
    tcase_add_test(tests, every_offset_and_both_flips_occur_equally_often);
    tcase_add_test(tests, nothing_asked_for_is_nothing_done);
    tcase_add_test(tests, what_can_leave_nothing_of_a_sample_is_refused);
    tcase_add_test(tests, a_draw_depends_on_seed_epoch_and_sample);
    tcase_add_test(tests, pixels_come_from_the_shifted_window_and_are_then_flipped);
    tcase_add_loop_test(tests, a_cutout_has_its_centre_anywhere_and_is_clipped_at_the_borders, 0,
        sizeof squares / sizeof squares[0]);
    tcase_add_test(tests, a_cutout_is_zero_in_one_lane_and_in_all_channels);
    tcase_add_loop_test(tests, the_loader_serves_what_the_index_of_each_sample_draws, 0, 3);
    tcase_add_test(tests, a_loader_that_is_asked_for_nothing_takes_no_memory);
    tcase_add_test(tests, every_allocation_may_fail);
    return unit_check_run(suite);
}
