/* plain_kernels.h - the kernels that combine gradients, as plain loops: for tests of what uses
 * them. Only add, scale and sum_of_squares are there. */
#ifndef TESTS_SUPPORT_PLAIN_KERNELS_H
#define TESTS_SUPPORT_PLAIN_KERNELS_H

#include "src/kernels/kernels.h"

/* Local. Static memory. */
const Kernels *plain_kernels(void);

#endif
