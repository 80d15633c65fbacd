/* bench.h - what the benchmarks share: pieces of work timed side by side, and how figures are
 * printed. */
#ifndef SRC_BENCH_H
#define SRC_BENCH_H

#include "src/kernels/kernels.h"
#include "src/status.h"

enum { BENCH_REPEATS = 11, BENCH_REPEATS_MAX = 1000, BENCH_WORKS_MAX = 4 }; /* the first: default */

typedef struct BenchOptions {
    int repeats; /* measurements, of which the median counts: 1..BENCH_REPEATS_MAX */
    int as_json; /* a JSON object per line instead of columns */
} BenchOptions;

/* A piece of work, and how much one call does: operations, bytes, samples. */
typedef struct BenchWork {
    void (*run)(void *context);
    void *context;
    double amount;
} BenchWork;

/* Local. The median rate, amount per second, of each of `count` <= BENCH_WORKS_MAX works. They take
 * turns, a millisecond each, so that what slows down the machine hits all of them. */
void bench_measure(const BenchWork *works, int count, int repeats, double *rates);

/* Local. The median of `count` numbers, which it sorts. */
double bench_median(double *values, int count);

/* Yardsticks: multiply-adds in registers (amount: floating-point operations), and a copy of `bytes`
 * bytes (amount: those read and written). The caller owns the memory. */
typedef struct BenchPeak {
    const Kernels *kernels;
    float x[KERNEL_PEAK_CHAINS];
} BenchPeak;
typedef struct BenchCopy {
    const void *from;
    void *to;
    size_t bytes;
} BenchCopy;

/* Local. The work of a yardstick, which must outlive it. */
BenchWork bench_peak(BenchPeak *peak, const Kernels *kernels);
BenchWork bench_copy(BenchCopy *copy);

/* One figure: "linear forward", "[784] {out: 512}, 16 lanes", 202.1, "GFLOP/s", 0.86, "FMA peak".
 */
typedef struct BenchFigure {
    const char *name, *detail; /* no quotes or backslashes */
    double value;
    const char *unit;
    double share; /* of what `share_of` names; unused where that is NULL */
    const char *share_of;
} BenchFigure;

/* Local. Print it to stdout as one line. */
void bench_print(const BenchFigure *figure, const BenchOptions *options);

#endif
