/* bench.c - see bench.h. */
#include "src/bench.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const double TURN_SECONDS = 1e-3;
enum { PEAK_STEPS = 4000 };

/* ---- measuring ---- */

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static double seconds_per_call(const BenchWork *work, int calls) {
    double start = now();
    for (int i = 0; i < calls; i++) work->run(work->context);
    return (now() - start) / calls;
}

/* Calls of one turn. The first call warms caches and branch predictors. */
static int calls_per_turn(const BenchWork *work) {
    work->run(work->context);
    double once = seconds_per_call(work, 1);
    return once > TURN_SECONDS ? 1 : 1 + (int)(TURN_SECONDS / (once + 1e-9));
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, int count) {
    REQUIRE(count > 0);
    qsort(values, (size_t)count, sizeof *values, compare_doubles);
    return values[count / 2];
}

void bench_measure(const BenchWork *works, int count, int repeats, double *rates) {
    double turns[BENCH_WORKS_MAX][BENCH_REPEATS_MAX];
    int calls[BENCH_WORKS_MAX];
    REQUIRE(count <= BENCH_WORKS_MAX && repeats >= 1 && repeats <= BENCH_REPEATS_MAX);
    for (int w = 0; w < count; w++) calls[w] = calls_per_turn(&works[w]);
    for (int r = 0; r < repeats; r++)
        for (int w = 0; w < count; w++)
            turns[w][r] = works[w].amount / seconds_per_call(&works[w], calls[w]);
    for (int w = 0; w < count; w++) rates[w] = bench_median(turns[w], repeats);
}

/* ---- yardsticks ---- */

static void run_peak(void *context) {
    BenchPeak *peak = context;
    peak->kernels->fma_peak(peak->x, 0.5f, 1.0f, PEAK_STEPS);
}

BenchWork bench_peak(BenchPeak *peak, const Kernels *kernels) {
    peak->kernels = kernels;
    for (int i = 0; i < KERNEL_PEAK_CHAINS; i++) peak->x[i] = (float)i;
    double multiply_adds = kernels->fma_peak(peak->x, 0.5f, 1.0f, PEAK_STEPS);
    return (BenchWork){.run = run_peak, .context = peak, .amount = 2 * multiply_adds};
}

static void run_copy(void *context) {
    BenchCopy *copy = context;
    memcpy(copy->to, copy->from, copy->bytes);
}

BenchWork bench_copy(BenchCopy *copy) {
    return (BenchWork){.run = run_copy, .context = copy, .amount = 2 * (double)copy->bytes};
}

/* ---- figures ---- */

void bench_print(const BenchFigure *figure, const BenchOptions *options) {
    if (options->as_json)
        printf("{\"name\": \"%s\", \"detail\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"",
            figure->name, figure->detail, figure->value, figure->unit);
    else
        printf("%-32s %-58s %10.2f %s", figure->name, figure->detail, figure->value, figure->unit);
    if (figure->share_of != NULL && options->as_json)
        printf(", \"share\": %.4g, \"share_of\": \"%s\"", figure->share, figure->share_of);
    if (figure->share_of != NULL && !options->as_json)
        printf(" %*s %6.1f %% of %s", 9 - (int)strlen(figure->unit), "", 100 * figure->share,
            figure->share_of);
    printf(options->as_json ? "}\n" : "\n");
}
