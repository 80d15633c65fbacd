/* test_prefetch.c - samples read ahead: the right ones, in the order asked for, and failures. */
#include "src/memory.h"
#include "src/prefetch.h"
#include "tests/support/unit_check.h"
#include <string.h>

enum { SAMPLES = 100, SAMPLE_BYTES = 3, COUNT_MAX = 40 };

/* Reads bytes that tell the sample; fails at one of them. */
typedef struct Origin {
    int64_t bad_sample; /* -1: none */
    int calls;
} Origin;

static Status read_samples(void *context, const int64_t *index, int count, void *rows) {
    Origin *origin = context;
    uint8_t *row = rows;
    origin->calls++;
    for (int i = 0; i < count; i++, row += SAMPLE_BYTES) {
        REQUIRE(i == 0 || index[i] > index[i - 1]);
        REQUIRE(index[i] >= 0 && index[i] < SAMPLES);
        if (index[i] == origin->bad_sample)
            return FAIL(STATUS_IO, "sample %lld is bad", (long long)index[i]);
        for (int b = 0; b < SAMPLE_BYTES; b++) row[b] = (uint8_t)(index[i] + b);
    }
    return STATUS_OK;
}

static Origin origin;
static SampleSource source;
static Prefetch *prefetch;

static void set_up(void) {
    origin = (Origin){.bad_sample = -1};
    source = (SampleSource){.sample_bytes = SAMPLE_BYTES, .context = &origin, .read = read_samples};
    ck_assert_int_eq(prefetch_create(&prefetch, &source), STATUS_OK);
}

static void tear_down(void) {
    prefetch_free(prefetch);
    ck_assert_uint_eq(memory_in_use(), 0);
}

/* The i-th of an order that jumps about. */
static uint32_t order_of(int i) {
    return (uint32_t)(i * 37 % 90);
}

static void begin(int first, int count) {
    uint32_t order[COUNT_MAX];
    for (int i = 0; i < count; i++) order[i] = order_of(first + i);
    prefetch_begin(prefetch, order, 10, count);
}

static void assert_read(int first, int count) {
    const void *samples[COUNT_MAX];
    ck_assert_msg(prefetch_wait(prefetch, samples) == STATUS_OK, "%s", status_message());
    for (int i = 0; i < count; i++)
        for (int b = 0; b < SAMPLE_BYTES; b++)
            ck_assert_int_eq(((const uint8_t *)samples[i])[b], 10 + (int)order_of(first + i) + b);
}

START_TEST(samples_come_in_the_order_they_were_asked_for) {
    static const int counts[] = {1, 7, 40, 3, 40};
    for (int i = 0; i < 5; i++) {
        begin(i * 11, counts[i]);
        assert_read(i * 11, counts[i]);
    }
    ck_assert_int_eq(origin.calls, 5);
}
END_TEST

START_TEST(what_is_not_waited_for_is_dropped) {
    for (int i = 0; i < 50; i++) begin(i, 1 + i % COUNT_MAX);
    begin(5, 9);
    assert_read(5, 9);
}
END_TEST

START_TEST(a_failure_is_told_by_wait_and_is_over_then) {
    const void *samples[COUNT_MAX];
    origin.bad_sample = 10 + order_of(4);
    begin(0, 8);
    ck_assert_int_eq(prefetch_wait(prefetch, samples), STATUS_IO);
    ck_assert_ptr_nonnull(strstr(status_message(), "is bad"));
    begin(5, 8);
    assert_read(5, 8);
}
END_TEST

START_TEST(every_allocation_may_fail) {
    const void *samples[COUNT_MAX];
    for (long n = 1; n <= 3; n++) {
        status_arm_fault(n, 0);
        begin(0, 8);
        status_arm_fault(0, 0);
        ck_assert_int_eq(prefetch_wait(prefetch, samples), STATUS_NO_MEMORY);
    }
    begin(0, 8);
    assert_read(0, 8);
    for (long n = 1; n <= 2; n++) {
        Prefetch *other = NULL;
        status_arm_fault(n, 0);
        ck_assert_int_eq(prefetch_create(&other, &source), STATUS_NO_MEMORY);
        status_arm_fault(0, 0);
        prefetch_free(other);
    }
}
END_TEST

START_TEST(it_may_end_while_it_reads) {
    begin(0, COUNT_MAX);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("prefetch");
    TCase *tests = tcase_create("prefetch"); /* tear_down looks at the memory */
    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, samples_come_in_the_order_they_were_asked_for);
    tcase_add_test(tests, what_is_not_waited_for_is_dropped);
    tcase_add_test(tests, a_failure_is_told_by_wait_and_is_over_then);
    tcase_add_test(tests, every_allocation_may_fail);
    tcase_add_test(tests, it_may_end_while_it_reads);
    return unit_check_run(suite);
}
