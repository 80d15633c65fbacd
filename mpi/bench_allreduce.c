/* bench_exchange.c - how long ranks need to meet, to combine a record, and to sum gradients and
 * update parameters; the last beside MPI_Allreduce with the whole update on every rank.
 *
 * mpirun -n N bench_exchange: one line per figure, the median of repeated runs. */
#include "mpi/exchange.h"
#include "src/memory.h"
#include "src/network.h"
#include "tests/support/plain_kernels.h"
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPEATS = 15, RECORD_LENGTH = 1025 };

typedef struct Bench {
    Comm *comm;
    Batch batch; /* two microbatches per rank */
    double *record, *total;
    Exchange *exchange;
    size_t floats, slice_begin;
    float *momentum; /* [floats] */
    /* [floats] each, of the way by MPI_Allreduce, where every rank has its own: */
    float *gradient, *parameters;
} Bench;

static void update(
    void *context, size_t begin, size_t count, float *parameters, const float *gradient) {
    const Bench *bench = context;
    float *restrict momentum = bench->momentum + (begin - bench->slice_begin);
    for (size_t i = 0; i < count; i++) {
        momentum[i] = 0.9f * momentum[i] + gradient[i];
        parameters[i] -= 1e-3f * momentum[i];
    }
}

static void meet(Bench *bench) {
    comm_node_barrier(bench->comm);
}

static void meet_by_mpi(Bench *bench) {
    (void)bench;
    MPI_Barrier(MPI_COMM_WORLD);
}

static void combine(Bench *bench) {
    Reducer *reducer = comm_reducer(bench->comm);
    int count = (int)bench->batch.global_microbatch_count;
    reducer->combine(reducer, &bench->batch, count, RECORD_LENGTH, reducer_merge_sum, bench->record,
        NULL, bench->total);
}

static void combine_by_mpi(Bench *bench) {
    for (int i = 0; i < RECORD_LENGTH; i++) bench->record[i] += bench->record[RECORD_LENGTH + i];
    MPI_Allreduce(bench->record, bench->total, RECORD_LENGTH, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}

static void exchange(Bench *bench) {
    exchange_finish(bench->exchange, &bench->batch, 0, update, bench);
}

static void exchange_clipped(Bench *bench) {
    exchange_finish(bench->exchange, &bench->batch, 1e-3, update, bench);
}

/* Each rank updates the whole block, as without slices. */
static void exchange_by_mpi(Bench *bench) {
    MPI_Allreduce(exchange_gradients(bench->exchange)[0], bench->gradient, (int)bench->floats,
        MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    size_t begin = bench->slice_begin;
    bench->slice_begin = 0;
    update(bench, 0, bench->floats, bench->parameters, bench->gradient);
    bench->slice_begin = begin;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What backward does to the caches: gradients are new in every step, made by their own rank. */
static void write_gradients(Bench *bench) {
    float *const *blocks = exchange_gradients(bench->exchange);
    for (int n = 0; n < bench->batch.node_count; n++)
        for (size_t i = 0; i < bench->floats; i++) blocks[n][i] = 1e-3f * (float)(i % 1000);
}

typedef void Work(Bench *bench);

/* Median over REPEATS of the seconds of one of `count` calls, the slowest rank's; `prepare`, where
 * it is not NULL, comes before each call and is not counted. */
static double median_seconds(Bench *bench, Work *prepare, Work *work, int count) {
    double seconds[REPEATS];
    work(bench);
    for (int r = 0; r < REPEATS; r++) {
        double sum = 0;
        for (int done = 0; done < count;) {
            int calls = prepare != NULL ? 1 : count;
            if (prepare != NULL) prepare(bench);
            comm_barrier(bench->comm);
            double began = MPI_Wtime();
            for (int i = 0; i < calls; i++) work(bench);
            sum += MPI_Wtime() - began;
            done += calls;
        }
        seconds[r] = comm_max(bench->comm, sum / count);
    }
    qsort(seconds, REPEATS, sizeof *seconds, compare);
    return seconds[REPEATS / 2];
}

static void report(Bench *bench, const char *what, double factor, const char *unit, int count,
    Work *prepare, Work *ours, Work *by_mpi) {
    double own = median_seconds(bench, prepare, ours, count);
    double mpi = median_seconds(bench, prepare, by_mpi, count);
    if (comm_is_root(bench->comm))
        printf(
            "%-34s %9.3f %s   MPI alone %9.3f %s\n", what, own * factor, unit, mpi * factor, unit);
}

static Status bench_exchange(Bench *bench, int mebibytes) {
    size_t count;
    char what[64];
    bench->floats = (size_t)mebibytes << 18;
    Status status = exchange_create(
        &bench->exchange, bench->comm, plain_kernels(), bench->floats, &bench->batch);
    if (status == STATUS_OK) status = MEMORY_ALLOCATE(&bench->momentum, bench->floats, "momentum");
    if (status == STATUS_OK) status = MEMORY_ALLOCATE(&bench->gradient, bench->floats, "gradient");
    if (status == STATUS_OK)
        status = MEMORY_ALLOCATE(&bench->parameters, bench->floats, "parameters");
    status = comm_agree(bench->comm, status);
    if (status == STATUS_OK) {
        exchange_slice(bench->exchange, &bench->slice_begin, &count);
        int calls = mebibytes > 8 ? 2 : 20;
        snprintf(what, sizeof what, "exchange of %d MiB", mebibytes);
        report(bench, what, 1e3, "ms", calls, write_gradients, exchange, exchange_by_mpi);
        snprintf(what, sizeof what, "exchange of %d MiB, clipped", mebibytes);
        report(bench, what, 1e3, "ms", calls, write_gradients, exchange_clipped, exchange_by_mpi);
    }
    exchange_free(bench->exchange);
    memory_free(bench->momentum);
    memory_free(bench->gradient);
    memory_free(bench->parameters);
    bench->momentum = bench->gradient = bench->parameters = NULL;
    bench->exchange = NULL;
    return status;
}

static Status run(Bench *bench) {
    int size = comm_size(bench->comm);
    batch_plan(&bench->batch, 2 * size, 1, comm_position(bench->comm), size);
    TRY(MEMORY_ALLOCATE(&bench->record, (size_t)2 * RECORD_LENGTH, "records"));
    TRY(MEMORY_ALLOCATE(&bench->total, (size_t)RECORD_LENGTH, "total"));
    if (comm_is_root(bench->comm))
        printf("%s, %d ranks on %d nodes\n", comm_library_version(), size,
            comm_node_count(bench->comm));
    report(bench, "barrier", 1e6, "us", 500, NULL, meet, meet_by_mpi);
    report(bench, "combine records of 1025", 1e6, "us", 200, NULL, combine, combine_by_mpi);
    TRY(bench_exchange(bench, 2));
    return bench_exchange(bench, 32);
}

int main(int argc, char **argv) {
    Bench bench = {0};
    Status status = comm_start(&bench.comm, &argc, &argv);
    if (status == STATUS_OK) status = run(&bench);
    if (status != STATUS_OK) fprintf(stderr, "bench_exchange: %s\n", status_message());
    memory_free(bench.record);
    memory_free(bench.total);
    comm_finish(bench.comm);
    return status_exit_code(status);
}
