/* test_subnormals.c - numbers too small for all their digits are zero, on every thread and with
 * every instruction set. */
#include "src/kernels/kernels.h"
#include "src/subnormals.h"
#include "src/threads.h"
#include "tests/support/unit_check.h"
#include <fenv.h>
#include <pthread.h>
#include <string.h>

enum { THREADS = 4, FLOATS = 64 };
static const float TINY = 1e-30f;

/* Computed when the test runs, not by the compiler. */
static float product(float a, float b) {
    volatile float x = a, y = b;
    return x * y;
}

static float difference(float a, float b) {
    volatile float x = a, y = b;
    return x - y;
}

/* A product for each thread: none goes on before all have theirs. */
typedef struct Products {
    pthread_barrier_t all;
    float value[THREADS];
} Products;

static void take_product(void *context, int item, int thread) {
    Products *products = context;
    (void)item;
    products->value[thread] = product(TINY, 1e-10f);
    pthread_barrier_wait(&products->all);
}

/* The environment that a program starts with, not that of the other unit tests. */
static void set_up(void) {
    fesetenv(FE_DFL_ENV);
}

START_TEST(they_are_kept_unless_told_otherwise) {
    ck_assert(product(TINY, 1e-10f) > 0);
}
END_TEST

START_TEST(results_and_operands_become_zero) {
    float subnormal = 0;
    const uint32_t bits = 1000;
    memcpy(&subnormal, &bits, sizeof subnormal);
    ck_assert(product(subnormal, 1e30f) > 0);
    subnormals_flush();
    ck_assert(product(subnormal, 1e30f) == 0);
    ck_assert(product(TINY, 1e-10f) == 0);
    ck_assert(difference(1.5e-38f, 1.25e-38f) == 0);
    ck_assert(product(TINY, 1e-6f) > 0);
}
END_TEST

START_TEST(threads_started_later_do_as_the_one_that_starts_them) {
    Threads *threads = NULL;
    Products products = {.value = {1, 1, 1, 1}};
    subnormals_flush();
    ck_assert_int_eq(threads_create(&threads, THREADS), STATUS_OK);
    pthread_barrier_init(&products.all, NULL, THREADS);
    threads_run(threads, THREADS, take_product, &products);
    for (int i = 0; i < THREADS; i++) ck_assert(products.value[i] == 0);
    pthread_barrier_destroy(&products.all);
    threads_free(threads);
}
END_TEST

/* A momentum that nothing adds to any more: ends, where it would stay at the smallest numbers. */
START_TEST(a_momentum_that_fades_ends) {
    enum { STEPS = 1500 };
    subnormals_flush();
    for (const char *const *isa = kernels_isa_names(); *isa != NULL; isa++) {
        const Kernels *kernels = kernels_find(*isa, KERNEL_WIDTH_MAX);
        float parameter[FLOATS] = {0}, gradient[FLOATS] = {0}, momentum[FLOATS];
        if (kernels == NULL) continue;
        for (int i = 0; i < FLOATS; i++) momentum[i] = 1.0f + (float)i;
        for (int step = 0; step < STEPS; step++)
            kernels->sgd(parameter, gradient, momentum, FLOATS, 0.1f, 0.9f, 0, 0, 0, 0);
        for (int i = 0; i < FLOATS; i++) ck_assert(momentum[i] == 0);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("subnormals");
    TCase *cases = unit_check_case(suite, "subnormals");
    tcase_add_checked_fixture(cases, set_up, NULL);
    tcase_add_test(cases, they_are_kept_unless_told_otherwise);
    tcase_add_test(cases, results_and_operands_become_zero);
    tcase_add_test(cases, threads_started_later_do_as_the_one_that_starts_them);
    tcase_add_test(cases, a_momentum_that_fades_ends);
    return unit_check_run(suite);
}
