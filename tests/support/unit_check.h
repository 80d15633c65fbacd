/* unit_check.h - Check for the unit tests: each test must give back all memory. */
#ifndef TESTS_SUPPORT_UNIT_CHECK_H
#define TESTS_SUPPORT_UNIT_CHECK_H

#include <check.h>

/* As ck_assert, for loops over many numbers: Check writes a message for each of its assertions,
 * and reads them all again. */
#define ASSERT_EACH(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) ck_abort_msg("%s", #condition);                                          \
    } while (0)

/* Local. A new test case of the suite, each of whose tests fails if it leaves an allocation. */
TCase *unit_check_case(Suite *suite, const char *name);

/* Local. For main: run the suite, with numbers too small for all their digits as zero, as in the
 * program, and free it; returns the exit code. */
int unit_check_run(Suite *suite);

#endif
