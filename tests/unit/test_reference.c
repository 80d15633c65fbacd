/* test_reference.c - the reference numbers can be read, and the reader refuses damaged files. */
#include "src/memory.h"
#include "tests/support/reference.h"
#include "tests/support/unit_check.h"
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CASE_COUNT = 50 };

static const struct Expected {
    const char *file, *array;
    Shape shape;
} expected[] = {
    {"linear", "weight", {2, {5, 7}}},
    {"linear", "dbias", {1, {5}}},
    {"batch_norm_4", "x", {2, {4, 6}}},
    {"batch_norm_70", "dx", {2, {70, 6}}},
    {"batch_norm_2d", "y", {4, {10, 3, 4, 5}}},
    {"batch_norm_2d", "running_var", {1, {3}}},
    {"batch_norm_cumulative", "y2", {2, {9, 6}}},
    {"batch_norm_cumulative", "num_batches_tracked2", {0, {0}}},
    {"cross_entropy", "labels", {1, {13}}},
    {"mlp", "x", {2, {53, 12}}},
    {"mlp", "full.d.4.weight", {2, {4, 7}}},
    {"mlp", "short.logits", {2, {13, 4}}},
    {"mlp_bn", "short.1.running_mean", {1, {9}}},
    {"mlp_bn_adam", "exp_avg_sq.6.bias", {1, {4}}},
    {"mlp_sgd_nesterov", "momentum_buffer.0.weight", {2, {9, 12}}},
    {"mlp_clip", "norms", {1, {20}}},
    {"schedule_cosine_warmup", "lr", {1, {40}}},
    {"sync_batch_norm_52", "dx", {2, {52, 5}}},
};

/* Names of all cases, sorted by nothing. Returns how many. */
static int list_cases(char names[][REFERENCE_NAME_BYTES], int capacity) {
    const char *source = getenv("LOCKSTEP_SOURCE");
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/tests/reference", source != NULL ? source : ".");
    DIR *directory = opendir(folder);
    ck_assert_msg(directory != NULL, "cannot list %s", folder);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        size_t length = strlen(entry->d_name);
        if (length < 5 || strcmp(entry->d_name + length - 4, ".txt") != 0) continue;
        ck_assert_msg(count < capacity, "more than %d cases", capacity);
        snprintf(names[count++], REFERENCE_NAME_BYTES, "%.*s", (int)length - 4, entry->d_name);
    }
    closedir(directory);
    return count;
}

START_TEST(every_case_can_be_read_and_every_number_is_finite) {
    char names[CASE_COUNT][REFERENCE_NAME_BYTES];
    int count = list_cases(names, CASE_COUNT);
    ck_assert_int_eq(count, CASE_COUNT);
    for (int i = 0; i < count; i++) {
        Reference reference;
        Status status = reference_open(&reference, names[i]);
        ck_assert_msg(status == STATUS_OK, "%s", status_message());
        for (int a = 0; a < reference.array_count; a++) {
            const ReferenceArray *array = &reference.arrays[a];
            ck_assert_uint_eq(array->count, shape_element_count(array->shape));
            ck_assert_ptr_eq(reference_find(&reference, array->name), array);
            for (size_t n = 0; n < array->count; n++)
                ck_assert_msg(isfinite(array->data[n]), "%s: %s", names[i], array->name);
        }
        reference_free(&reference);
    }
}
END_TEST

START_TEST(arrays_have_the_shapes_that_the_readme_gives) {
    const struct Expected *want = &expected[_i];
    Reference reference;
    ck_assert_int_eq(reference_open(&reference, want->file), STATUS_OK);
    const ReferenceArray *array = reference_find(&reference, want->array);
    ck_assert_msg(array != NULL, "%s has no array %s", want->file, want->array);
    char found[SHAPE_TEXT_BYTES];
    ck_assert_msg(shape_is_equal(array->shape, want->shape), "%s: %s has shape %s", want->file,
        want->array, shape_print(array->shape, found));
    reference_free(&reference);
}
END_TEST

START_TEST(a_linear_case_satisfies_its_own_formula) {
    Reference reference;
    ck_assert_int_eq(reference_open(&reference, "linear"), STATUS_OK);
    const float *x = reference_data(&reference, "x", 13 * 7);
    const float *weight = reference_data(&reference, "weight", 5 * 7);
    const float *bias = reference_data(&reference, "bias", 5);
    const float *y = reference_data(&reference, "y", 13 * 5);
    ck_assert(x != NULL && weight != NULL && bias != NULL && y != NULL);
    for (int n = 0; n < 13; n++)
        for (int o = 0; o < 5; o++) {
            double sum = bias[o];
            for (int i = 0; i < 7; i++) sum += (double)weight[o * 7 + i] * x[n * 7 + i];
            ck_assert_double_eq_tol(sum, y[n * 5 + o], 1e-6);
        }
    reference_free(&reference);
}
END_TEST

START_TEST(an_absent_array_and_a_wrong_count_give_null) {
    Reference reference;
    ck_assert_int_eq(reference_open(&reference, "linear"), STATUS_OK);
    ck_assert_ptr_null(reference_find(&reference, "weigh"));
    ck_assert_ptr_null(reference_data(&reference, "gamma", 5));
    ck_assert_ptr_null(reference_data(&reference, "bias", 6));
    reference_free(&reference);
}
END_TEST

START_TEST(an_absent_case_is_reported_as_missing) {
    Reference reference;
    ck_assert_int_eq(reference_open(&reference, "no_such_case"), STATUS_MISSING);
    ck_assert_ptr_nonnull(strstr(status_message(), "no_such_case.txt"));
    reference_free(&reference);
}
END_TEST

static const struct Damaged {
    const char *text, *message;
} damaged[] = {
    {"", "ends too early"},
    {"x 3\n1 2\n", "ends too early"},
    {"x 3\n1 2\ny 1\n1\n", ":3: the array before lacks 1 numbers"},
    {"x 2\n1 2 3\n", ":2: more numbers"},
    {"1 2\nx 2\n", ":1: more numbers"},
    {"x 2\n1 two\n", ":2: not a number: 'two'"},
    {"x 2\n1 2z\n", ":2: not a number"},
    {"x 2 b\n1 2\n", ":1: bad shape"},
    {"x 0\n", ":1: bad shape"},
    {"x -2\n1 2\n", ":1: bad shape"},
    {"x 1 1 1 1 1 1\n1\n", ":1: bad shape"},
};

START_TEST(a_damaged_file_is_refused_with_its_line) {
    char path[] = "/tmp/reference-XXXXXX";
    int descriptor = mkstemp(path);
    ck_assert_int_ge(descriptor, 0);
    const char *text = damaged[_i].text;
    ck_assert_int_eq(write(descriptor, text, strlen(text)), (ssize_t)strlen(text));
    close(descriptor);
    Reference reference;
    Status status = reference_read(&reference, path);
    unlink(path);
    ck_assert_int_eq(status, STATUS_DATA);
    ck_assert_msg(
        strstr(status_message(), damaged[_i].message) != NULL, "message: %s", status_message());
    reference_free(&reference);
}
END_TEST

START_TEST(no_memory_is_left_when_an_allocation_fails) {
    Reference reference;
    Status status = STATUS_NO_MEMORY;
    int failures = 0;
    for (long n = 1; status != STATUS_OK; n++, failures++) {
        status_arm_fault(n, 0);
        status = reference_open(&reference, "linear");
        reference_free(&reference);
        ck_assert_uint_eq(memory_in_use(), 0);
    }
    status_arm_fault(0, 0);
    ck_assert_int_eq(failures - 1, 3);
}
END_TEST

static void check_memory(void) {
    ck_assert_uint_eq(memory_in_use(), 0);
}

int main(void) {
    Suite *suite = suite_create("reference");
    TCase *cases = unit_check_case(suite, "reference");
    tcase_add_checked_fixture(cases, NULL, check_memory);
    tcase_add_test(cases, every_case_can_be_read_and_every_number_is_finite);
    tcase_add_loop_test(cases, arrays_have_the_shapes_that_the_readme_gives, 0,
        sizeof expected / sizeof expected[0]);
    tcase_add_test(cases, a_linear_case_satisfies_its_own_formula);
    tcase_add_test(cases, an_absent_array_and_a_wrong_count_give_null);
    tcase_add_test(cases, an_absent_case_is_reported_as_missing);
    tcase_add_loop_test(
        cases, a_damaged_file_is_refused_with_its_line, 0, sizeof damaged / sizeof damaged[0]);
    tcase_add_test(cases, no_memory_is_left_when_an_allocation_fails);
    return unit_check_run(suite);
}
