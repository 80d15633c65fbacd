/* kernel_check.c - see kernel_check.h. */
#include "tests/support/kernel_check.h"
#include "src/memory.h"
#include <check.h>
#include <math.h>
#include <string.h>

enum { GUARD = 16 };
static const float guard_value = -12345.0f;

static const int all_lanes[] = {1, 2, 4, 8, 16, 32, 48, 64};
enum { LANE_CHOICES = sizeof(all_lanes) / sizeof(all_lanes[0]) };

const Kernels *kernel_check_table(int i, int *lanes) {
    *lanes = all_lanes[i % LANE_CHOICES];
    return kernels_find(kernels_isa_names()[i / LANE_CHOICES], *lanes);
}

int kernel_check_table_count(void) {
    int names = 0;
    while (kernels_isa_names()[names]) names++;
    return names * LANE_CHOICES;
}

static unsigned random_state;

void random_start(unsigned seed) {
    random_state = seed;
}

float random_float(void) {
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(random_state >> 8) / (1 << 23) - 1.0f;
}

float *block(size_t n) {
    float *data;
    ck_assert(MEMORY_ALLOCATE(&data, n + 2 * GUARD, "test") == STATUS_OK);
    for (size_t i = 0; i < n + 2 * GUARD; i++) data[i] = guard_value;
    return data + GUARD;
}

float *random_block(size_t n) {
    float *data = block(n);
    for (size_t i = 0; i < n; i++) data[i] = random_float();
    return data;
}

void block_free(float *data, size_t n) {
    for (int i = 1; i <= GUARD; i++) {
        if (data[-i] != guard_value) ck_abort_msg("written %d floats before the block", i);
        if (data[n + i - 1] != guard_value)
            ck_abort_msg("written %d floats after the block", i - 1);
    }
    memory_free(data - GUARD);
}

void assert_same_bits(const float *a, const float *b, size_t n, const char *what) {
    if (memcmp(a, b, n * sizeof(float)) == 0) return;
    size_t i = 0;
    while (memcmp(a + i, b + i, sizeof(float)) == 0) i++;
    ck_abort_msg("%s: item %zu of %zu: %a and %a", what, i, n, a[i], b[i]);
}

void assert_close(double a, double b, double size, double tolerance, const char *what) {
    if (fabs(a - b) <= tolerance * size + 1e-30) return;
    ck_abort_msg("%s: got %.9g, want %.9g", what, a, b);
}
