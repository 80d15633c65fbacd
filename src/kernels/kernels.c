/* kernels.c - which kernels this CPU can run; compiled for any CPU. */
#include "src/kernels/kernels.h"
#include <string.h>

#if defined(__x86_64__)
extern const Kernels kernel_table_avx512_16, kernel_table_avx512_8, kernel_table_avx512_4,
    kernel_table_avx512_2, kernel_table_avx512_1;
extern const Kernels kernel_table_avx2_8, kernel_table_avx2_4, kernel_table_avx2_2,
    kernel_table_avx2_1;
extern const Kernels kernel_table_sse_4, kernel_table_sse_2, kernel_table_sse_1;

/* Best instruction set first, and widest vectors first. */
static const Kernels *const tables[] = {&kernel_table_avx512_16, &kernel_table_avx512_8,
    &kernel_table_avx512_4, &kernel_table_avx512_2, &kernel_table_avx512_1, &kernel_table_avx2_8,
    &kernel_table_avx2_4, &kernel_table_avx2_2, &kernel_table_avx2_1, &kernel_table_sse_4,
    &kernel_table_sse_2, &kernel_table_sse_1};
static const char *const names[] = {"avx512", "avx2", "sse", NULL};

static int cpu_runs(const char *isa) {
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
    if (strcmp(isa, "avx512") == 0) return avx512;
    if (strcmp(isa, "avx2") == 0) return avx2;
    return strcmp(isa, "sse") == 0;
}
#else
extern const Kernels kernel_table_neon_4, kernel_table_neon_2, kernel_table_neon_1;

static const Kernels *const tables[] = {
    &kernel_table_neon_4, &kernel_table_neon_2, &kernel_table_neon_1};
static const char *const names[] = {"neon", NULL};

static int cpu_runs(const char *isa) {
    return strcmp(isa, "neon") == 0;
}
#endif

const Kernels *kernels_find(const char *isa, int lanes) {
    if (!isa || strcmp(isa, "auto") == 0) isa = kernels_best_isa();
    if (lanes < 1 || (lanes > 2 && lanes % 4 != 0) || !cpu_runs(isa)) return NULL;
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        if (strcmp(tables[i]->isa, isa) == 0 && lanes % tables[i]->width == 0) return tables[i];
    }
    return NULL;
}

const Kernels *kernels_for_rows(const Kernels *kernels, size_t floats) {
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        if (strcmp(tables[i]->isa, kernels->isa) == 0 && (size_t)tables[i]->width <= floats)
            return tables[i];
    }
    return kernels;
}

/* Intel's do it by themselves: with results fetched, forward of 3 to 16 channels, 32 x 32 pixels,
 * was 2 to 5 % faster on Zen 4 and 7 % slower on Emerald Rapids. */
int kernels_fetches(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    return !__builtin_cpu_is("intel");
#else
    return 1;
#endif
}

size_t kernels_conv_scratch(const KernelConv *conv) {
    return (size_t)conv->in * (size_t)conv->tap_count * KERNEL_GRADIENT_ROWS * KERNEL_WIDTH_MAX;
}

size_t kernels_winograd_scratch(const KernelConv *conv, int lanes) {
    size_t row = (size_t)(lanes < KERNEL_WINOGRAD_LANES ? KERNEL_WINOGRAD_LANES : lanes);
    return KERNEL_WINOGRAD_PLACES * (size_t)(conv->in + conv->out) * row;
}

const char *const *kernels_isa_names(void) {
    return names;
}

const char *kernels_best_isa(void) {
    int i = 0;
    while (!cpu_runs(names[i])) i++; /* the last one runs everywhere */
    return names[i];
}
