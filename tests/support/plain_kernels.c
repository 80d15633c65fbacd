/* plain_kernels.c - see plain_kernels.h. */
#include "tests/support/plain_kernels.h"

static void add(float *sum, const float *term, size_t n) {
    for (size_t i = 0; i < n; i++) sum[i] += term[i];
}

static void scale(float *x, float factor, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] *= factor;
}

static double sum_of_squares(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return sum;
}

const Kernels *plain_kernels(void) {
    static const Kernels kernels = {
        .isa = "plain", .width = 4, .add = add, .scale = scale, .sum_of_squares = sum_of_squares};
    return &kernels;
}
