/* unit_check.c - see unit_check.h. */
#include "tests/support/unit_check.h"
#include "src/memory.h"
#include "src/subnormals.h"
#include <stdlib.h>

/* Runs after each test in the test's own process. */
static void all_memory_is_given_back(void) {
    ck_assert_msg(memory_in_use() == 0, "%zu allocations are left", memory_in_use());
}

TCase *unit_check_case(Suite *suite, const char *name) {
    TCase *cases = tcase_create(name);
    tcase_add_checked_fixture(cases, NULL, all_memory_is_given_back);
    suite_add_tcase(suite, cases);
    return cases;
}

int unit_check_run(Suite *suite) {
    subnormals_flush();
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
