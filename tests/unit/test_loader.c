/* test_loader.c - which samples a batch holds, and what their bytes become. */
#include "src/loader.h"
#include "src/memory.h"
#include "tests/support/unit_check.h"
#include <stdlib.h>
#include <string.h>

enum { CHANNELS = 2, SIDE = 3, FEATURES = CHANNELS * SIDE * SIDE, COUNT = 50 };

static uint8_t images[COUNT * FEATURES];
static float floats[COUNT * FEATURES];
static int32_t labels[COUNT];
static const Shape sample_shape = {3, {CHANNELS, SIDE, SIDE}};
static const OptionFloats mean = {2, {0.1307, 0.5}}, std = {2, {0.3081, 0.25}};

static void load_bytes(const uint8_t *const *samples, const float (*table)[256], int channel_pixels,
    int features, int lanes, int valid, float *x) {
    for (int f = 0; f < features; f++)
        for (int s = 0; s < lanes; s++)
            x[f * lanes + s] = s < valid ? table[f / channel_pixels][samples[s][f]] : 0;
}

static void load_floats(const float *const *samples, const float *shift, const float *divisor,
    int channel_pixels, int features, int lanes, int valid, float *x) {
    for (int f = 0; f < features; f++)
        for (int s = 0; s < lanes; s++) {
            int c = f / channel_pixels;
            x[f * lanes + s] = s < valid ? (samples[s][f] - shift[c]) / divisor[c] : 0;
        }
}

static const Kernels kernels = {
    .isa = "test", .width = 4, .load_bytes = load_bytes, .load_floats = load_floats};

static void set_up(void) {
    for (int i = 0; i < COUNT * FEATURES; i++) images[i] = (uint8_t)(i * 37 % 256);
    for (int i = 0; i < COUNT * FEATURES; i++) floats[i] = (float)(i * 37 % 256) / 16 - 7;
    for (int i = 0; i < COUNT; i++) labels[i] = i % 10 * 1000;
}

static void tear_down(void) {
    ck_assert_uint_eq(memory_in_use(), 0);
}

static LoaderSource make_source(int64_t offset, int64_t count) {
    return (LoaderSource){.images = images,
        .labels = labels,
        .element_bytes = 1,
        .sample = sample_shape,
        .offset = offset,
        .count = count};
}

static Loader *make_loader(int64_t offset, int64_t count) {
    Loader *loader = NULL;
    LoaderSource source = make_source(offset, count);
    ck_assert_msg(
        loader_create(&loader, &source, &mean, &std) == STATUS_OK, "%s", status_message());
    return loader;
}

START_TEST(a_byte_becomes_what_torchvision_makes_of_it) {
    /* ToTensor, then Normalize(0.1307, 0.3081); from PyTorch 2. */
    static const struct {
        int byte;
        float value;
    } cases[] = {{0, -0x1.b264e2p-2f}, {1, -0x1.a55c40p-2f}, {77, 0x1.1c99d2p-1f},
        {128, 0x1.347af4p+0f}, {200, 0x1.0f8b26p+1f}, {255, 0x1.69267ap+1f}};
    Loader *loader = make_loader(0, COUNT);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_float_eq(loader->table[0][cases[i].byte], cases[i].value);
    uint32_t mixed = 0;
    for (int v = 0; v < 256; v++) {
        uint32_t bits;
        memcpy(&bits, &loader->table[0][v], sizeof bits);
        mixed ^= bits;
    }
    ck_assert_uint_eq(mixed, 0x78e458d3u);
    ck_assert_float_eq(loader->table[1][255], 2);
    loader_free(loader);
}
END_TEST

START_TEST(one_number_serves_all_channels_and_other_lengths_are_refused) {
    static const OptionFloats one = {1, {0.5}}, three = {3, {1, 2, 3}};
    Loader *loader = NULL;
    LoaderSource source = make_source(0, COUNT);
    ck_assert_int_eq(loader_create(&loader, &source, &one, &one), STATUS_OK);
    for (int v = 0; v < 256; v++) ck_assert_float_eq(loader->table[0][v], loader->table[1][v]);
    loader_free(loader);
    ck_assert_int_eq(loader_create(&loader, &source, &one, &three), STATUS_CONFIG);
    ck_assert_ptr_nonnull(
        strstr(status_message(), "data.normalize.std: 3 numbers for images of 2"));
    loader_free(loader);
    ck_assert_int_eq(loader_create(&loader, &source, &three, &one), STATUS_CONFIG);
    ck_assert_ptr_nonnull(strstr(status_message(), "data.normalize.mean"));
    loader_free(loader);
}
END_TEST

START_TEST(the_split_rounds_as_int_of_len_times_share) {
    static const struct {
        int64_t count;
        double split;
        int64_t train;
    } cases[] = {{60000, 0.2, 48000}, {60000, 0, 60000}, {60000, 0.1, 54000}, {60000, 0.05, 57000},
        {60000, 0.3, 42000}, {50000, 0.1, 45000}, {10, 0.25, 7}, {10, 0.9, 1}, {100, 0.9, 10},
        {1000, 0.7, 300}, {7, 0.5, 3}, {1, 0.2, 0}, {2147483647, 0, 2147483647},
        {2000000000, 0.9, 200000000}, {0, 0.2, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_int_eq(loader_train_count(cases[i].count, cases[i].split), cases[i].train);
}
END_TEST

START_TEST(an_order_holds_each_sample_once_and_changes_with_epoch_and_seed) {
    Loader *loader = make_loader(5, 40);
    uint32_t first[40];
    for (uint32_t i = 0; i < 40; i++) ck_assert_uint_eq(loader->order[i], i);
    loader_set_order(loader, 3, 1, 1);
    memcpy(first, loader->order, sizeof first);
    int seen[40] = {0};
    for (int i = 0; i < 40; i++) seen[first[i]]++;
    for (int i = 0; i < 40; i++) ck_assert_int_eq(seen[i], 1);
    loader_set_order(loader, 4, 1, 1);
    ck_assert_mem_ne(loader->order, first, sizeof first);
    loader_set_order(loader, 3, 1, 2);
    ck_assert_mem_ne(loader->order, first, sizeof first);
    loader_set_order(loader, 3, 1, 1);
    ck_assert_mem_eq(loader->order, first, sizeof first);
    loader_set_order(loader, 3, 0, 1);
    for (uint32_t i = 0; i < 40; i++) ck_assert_uint_eq(loader->order[i], i);
    loader_free(loader);
}
END_TEST

static float expected_value(const Loader *loader, int64_t sample, int f) {
    int64_t element = sample * FEATURES + f;
    int c = f / (SIDE * SIDE);
    if (loader->source.element_bytes == 1) return loader->table[c][images[element]];
    return (floats[element] - (float)mean.values[c]) / (float)std.values[c];
}

/* What one rank of several fills, compared with the order itself. */
static void check_rank(
    Loader *loader, int64_t position, int64_t samples, int microbatch, int rank, int size) {
    Batch batch;
    batch_plan(&batch, samples, microbatch, rank, size);
    size_t stride = (size_t)FEATURES * (size_t)batch.lanes + 16;
    size_t items = (size_t)batch.local_count + 1; /* never zero bytes */
    float *data = malloc(items * stride * sizeof *data);
    int *found = malloc(items * (size_t)batch.lanes * sizeof *found);
    int64_t *index = malloc(items * (size_t)microbatch * sizeof *index);
    ck_assert(data != NULL && found != NULL && index != NULL);
    for (size_t i = 0; i < items * stride; i++) data[i] = 77;
    Tensor x = {{1, {FEATURES}}, data, stride};
    Status status = loader_fill(loader, &batch, position, &kernels, NULL, &x, found, index);
    ck_assert_msg(status == STATUS_OK, "%s", status_message());
    for (int m = 0; m < batch.local_count; m++)
        for (int s = 0; s < batch.lanes; s++) {
            int64_t place = (batch.local_begin + m) * microbatch + s;
            int is_sample = s < microbatch && place < samples;
            int64_t sample =
                is_sample ? loader->source.offset + loader->order[position + place] : -1;
            ck_assert_int_eq(found[m * batch.lanes + s], is_sample ? labels[sample] : -1);
            if (s < microbatch) ck_assert_int_eq(index[m * microbatch + s], sample);
            for (int f = 0; f < FEATURES; f++) {
                float value = data[(size_t)m * stride + (size_t)(f * batch.lanes + s)];
                ck_assert_float_eq(value, is_sample ? expected_value(loader, sample, f) : 0.0f);
            }
        }
    ck_assert_float_eq(data[(size_t)batch.local_count * stride], 77);
    free(data);
    free(found);
    free(index);
}

START_TEST(every_rank_fills_its_microbatches_of_the_order) {
    Loader *loader = make_loader(7, 43);
    loader_set_order(loader, 1, 1, 9);
    for (int size = 1; size <= 4; size++)
        for (int rank = 0; rank < size; rank++) {
            check_rank(loader, 0, 32, 4, rank, size);
            check_rank(loader, 32, 11, 4, rank, size);
            check_rank(loader, 3, 29, 5, rank, size);
            check_rank(loader, 0, 43, 16, rank, size);
            check_rank(loader, 42, 1, 8, rank, size);
        }
    loader_free(loader);
}
END_TEST

START_TEST(floats_are_normalised_without_being_scaled) {
    Loader *loader = NULL;
    LoaderSource source = make_source(7, 43);
    source.images = floats;
    source.element_bytes = 4;
    ck_assert_int_eq(loader_create(&loader, &source, &mean, &std), STATUS_OK);
    loader_set_order(loader, 1, 1, 9);
    for (int size = 1; size <= 3; size++)
        for (int rank = 0; rank < size; rank++) check_rank(loader, 3, 29, 5, rank, size);
    loader_free(loader);
}
END_TEST

static int64_t bad_sample;

static Status read_samples(void *context, const int64_t *index, int count, void *rows) {
    (void)context;
    for (int i = 0; i < count; i++) {
        if (index[i] == bad_sample) return FAIL(STATUS_IO, "a bad sample");
        memcpy((uint8_t *)rows + i * FEATURES, images + index[i] * FEATURES, FEATURES);
    }
    return STATUS_OK;
}

static const SampleSource reader = {.sample_bytes = FEATURES, .read = read_samples};

static Loader *make_reading_loader(void) {
    Loader *loader = NULL;
    LoaderSource source = make_source(7, 43);
    source.images = NULL;
    source.reader = &reader;
    bad_sample = -1;
    ck_assert_int_eq(loader_create(&loader, &source, &mean, &std), STATUS_OK);
    loader_set_order(loader, 1, 1, 9);
    return loader;
}

START_TEST(samples_that_are_not_in_memory_are_the_same) {
    Loader *loader = make_reading_loader();
    for (int size = 1; size <= 4; size++)
        for (int rank = 0; rank < size; rank++) {
            Batch hinted;
            check_rank(loader, 0, 32, 4, rank, size);
            batch_plan(&hinted, 29, 5, rank, size);
            loader_request(loader, &hinted, 3);
            check_rank(loader, 3, 29, 5, rank, size); /* as announced */
            loader_request(loader, &hinted, 3);
            check_rank(loader, 32, 11, 4, rank, size); /* another than announced */
            loader_request(loader, &hinted, 3);
            loader_set_order(loader, (uint32_t)rank, 1, 9);
            check_rank(loader, 3, 29, 5, rank, size); /* announced in another order */
        }
    loader_free(loader);
}
END_TEST

START_TEST(a_batch_that_cannot_be_read_holds_no_sample) {
    enum { S = 4, LANES = 2 * S };
    Loader *loader = make_reading_loader();
    float data[2 * FEATURES * S];
    int found[LANES];
    int64_t index[LANES];
    Batch batch;
    batch_plan(&batch, LANES, S, 0, 1);
    for (int i = 0; i < 2 * FEATURES * S; i++) data[i] = 77;
    Tensor x = {{1, {FEATURES}}, data, FEATURES * S};
    bad_sample = 7 + loader->order[5];
    Status status = loader_fill(loader, &batch, 0, &kernels, NULL, &x, found, index);
    ck_assert_int_eq(status, STATUS_IO);
    ck_assert_str_eq(status_message(), "a bad sample");
    for (int i = 0; i < 2 * FEATURES * S; i++) ck_assert_float_eq(data[i], 0);
    for (int i = 0; i < LANES; i++) ck_assert(found[i] == -1 && index[i] == -1);
    bad_sample = -1;
    check_rank(loader, 0, 32, 4, 0, 1);
    loader_free(loader);
}
END_TEST

START_TEST(an_empty_part_is_allowed) {
    Loader *loader = make_loader(COUNT, 0);
    loader_set_order(loader, 1, 1, 1);
    loader_free(loader);
}
END_TEST

START_TEST(every_allocation_may_fail) {
    LoaderSource source = make_source(0, COUNT);
    for (long n = 1;; n++) {
        Loader *loader = NULL;
        status_arm_fault(n, 0);
        Status status = loader_create(&loader, &source, &mean, &std);
        status_arm_fault(0, 0);
        loader_free(loader);
        ck_assert_uint_eq(memory_in_use(), 0);
        if (status == STATUS_OK) {
            ck_assert_int_eq(n, 7);
            break;
        }
        ck_assert_int_eq(status, STATUS_NO_MEMORY);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("loader");
    TCase *tests = unit_check_case(suite, "loader");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_byte_becomes_what_torchvision_makes_of_it);
    tcase_add_test(tests, one_number_serves_all_channels_and_other_lengths_are_refused);
    tcase_add_test(tests, the_split_rounds_as_int_of_len_times_share);
    tcase_add_test(tests, an_order_holds_each_sample_once_and_changes_with_epoch_and_seed);
    tcase_add_test(tests, every_rank_fills_its_microbatches_of_the_order);
    tcase_add_test(tests, floats_are_normalised_without_being_scaled);
    tcase_add_test(tests, samples_that_are_not_in_memory_are_the_same);
    tcase_add_test(tests, a_batch_that_cannot_be_read_holds_no_sample);
    tcase_add_test(tests, an_empty_part_is_allowed);
    tcase_add_test(tests, every_allocation_may_fail);
    return unit_check_run(suite);
}
