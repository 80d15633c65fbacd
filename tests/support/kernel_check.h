/* kernel_check.h - for tests of kernels: all tables that this CPU can run, and blocks of floats
 * that tell when something is written beside them. */
#ifndef TESTS_SUPPORT_KERNEL_CHECK_H
#define TESTS_SUPPORT_KERNEL_CHECK_H

#include "src/kernels/kernels.h"

/* Local. Table number `i` of (instruction set, lanes), and its lanes; NULL where this CPU lacks it.
 * Lanes are 4, 8, 16, 32, 48 and 64. */
const Kernels *kernel_check_table(int i, int *lanes);
int kernel_check_table_count(void);

#define FOR_EACH_TABLE(kernels, lanes)                                                             \
    for (int i_ = 0, lanes; i_ < kernel_check_table_count(); i_++)                                 \
        for (const Kernels *kernels = kernel_check_table(i_, &lanes); kernels; kernels = NULL)

/* Local. Start the random numbers below over, from `seed`; one of them in [-1, 1). */
void random_start(unsigned seed);
float random_float(void);

/* Local. n floats between guards: all of a strange value, or random. block_free fails the test if a
 * guard has changed. */
float *block(size_t n);
float *random_block(size_t n);
void block_free(float *data, size_t n);

/* Local. Fail the test unless the bits are the same; unless |a - b| is within `tolerance` times
 * `size`, the sum of the terms' sizes. Check writes to a pipe for each assertion, so these assert
 * only what is wrong. */
void assert_same_bits(const float *a, const float *b, size_t n, const char *what);
void assert_close(double a, double b, double size, double tolerance, const char *what);

#endif
