/* bench_allreduce.c - see bench_allreduce.h. */
#include "mpi/bench_allreduce.h"
#include "mpi/exchange.h"
#include "src/memory.h"
#include <mpi.h>
#include <stdio.h>

enum { RECORD_LENGTH = 1025, RECORD_BYTES = RECORD_LENGTH * sizeof(double), DETAIL_BYTES = 64 };

typedef struct Bench {
    Comm *comm;
    const Kernels *kernels;
    const BenchOptions *options;
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

/* What backward does to the caches: gradients are new in every step, made by their own rank. */
static void write_gradients(Bench *bench) {
    float *const *blocks = exchange_gradients(bench->exchange);
    for (int n = 0; n < bench->batch.node_count; n++)
        for (size_t i = 0; i < bench->floats; i++) blocks[n][i] = 1e-3f * (float)(i % 1000);
}

typedef void Work(Bench *bench);

/* The median of the seconds of one of `count` calls, the slowest rank's; `prepare`, where it is not
 * NULL, comes before each call and is not counted. */
static double measure(Bench *bench, Work *prepare, Work *work, int count) {
    int batch = prepare != NULL ? 1 : count; /* calls between two looks at the clock */
    double sum = 0;
    for (int done = 0; done < count; done += batch) {
        if (prepare != NULL) prepare(bench);
        comm_barrier(bench->comm);
        double began = MPI_Wtime();
        for (int i = 0; i < batch; i++) work(bench);
        sum += MPI_Wtime() - began;
    }
    return comm_max(bench->comm, sum / count);
}

/* One comparison: this program's way and MPI's for the same task. */
typedef struct Comparison {
    const char *name, *detail;
    const char *name_of_mpi;
    int count; /* calls of one measurement */
    Work *prepare, *work, *work_by_mpi;
} Comparison;

/* Both ways take turns. */
static void compare(Bench *bench, const Comparison *comparison) {
    double ours[BENCH_REPEATS_MAX], by_mpi[BENCH_REPEATS_MAX];
    int repeats = bench->options->repeats, count = comparison->count;
    measure(bench, comparison->prepare, comparison->work, 1);
    measure(bench, comparison->prepare, comparison->work_by_mpi, 1);
    for (int r = 0; r < repeats; r++) {
        ours[r] = measure(bench, comparison->prepare, comparison->work, count);
        by_mpi[r] = measure(bench, comparison->prepare, comparison->work_by_mpi, count);
    }
    double seconds = bench_median(ours, repeats), mpi_seconds = bench_median(by_mpi, repeats);
    BenchFigure figures[2] = {{.name = comparison->name,
                                  .detail = comparison->detail,
                                  .value = seconds * 1e6,
                                  .unit = "us",
                                  .share = seconds / mpi_seconds,
                                  .share_of = comparison->name_of_mpi},
        {.name = comparison->name_of_mpi,
            .detail = comparison->detail,
            .value = mpi_seconds * 1e6,
            .unit = "us"}};
    if (!comm_is_root(bench->comm)) return;
    bench_print(&figures[0], bench->options);
    bench_print(&figures[1], bench->options);
}

/* ---- what is compared ---- */

static void compare_small(Bench *bench) {
    char detail[DETAIL_BYTES], length[DETAIL_BYTES];
    snprintf(detail, sizeof detail, "%d ranks on %d nodes", comm_size(bench->comm),
        comm_node_count(bench->comm));
    snprintf(length, sizeof length, "%d bytes, two records of a rank", (int)RECORD_BYTES);
    compare(bench, &(Comparison){.name = "node barrier",
                       .detail = detail,
                       .name_of_mpi = "MPI_Barrier",
                       .count = 500,
                       .work = meet,
                       .work_by_mpi = meet_by_mpi});
    compare(bench, &(Comparison){.name = "records",
                       .detail = length,
                       .name_of_mpi = "MPI_Allreduce",
                       .count = 200,
                       .work = combine,
                       .work_by_mpi = combine_by_mpi});
}

static void compare_exchanges(Bench *bench, int mebibytes) {
    char detail[DETAIL_BYTES];
    snprintf(detail, sizeof detail, "%d MiB of gradients, SGD with momentum", mebibytes);
    Comparison comparison = {.name = "exchange and update",
        .detail = detail,
        .name_of_mpi = "MPI_Allreduce and update",
        .count = mebibytes > 8 ? 2 : 20,
        .prepare = write_gradients,
        .work = exchange,
        .work_by_mpi = exchange_by_mpi};
    compare(bench, &comparison);
    comparison.name = "the same, clipped";
    comparison.work = exchange_clipped;
    compare(bench, &comparison);
}

static Status compare_gradients(Bench *bench, int mebibytes) {
    size_t count;
    bench->floats = (size_t)mebibytes << 18;
    Status status = exchange_create(
        &bench->exchange, bench->comm, bench->kernels, bench->floats, &bench->batch);
    if (status == STATUS_OK) status = MEMORY_ALLOCATE(&bench->momentum, bench->floats, "momentum");
    if (status == STATUS_OK) status = MEMORY_ALLOCATE(&bench->gradient, bench->floats, "gradient");
    if (status == STATUS_OK)
        status = MEMORY_ALLOCATE(&bench->parameters, bench->floats, "parameters");
    status = comm_agree(bench->comm, status);
    if (status == STATUS_OK) {
        exchange_slice(bench->exchange, &bench->slice_begin, &count);
        compare_exchanges(bench, mebibytes);
    }
    exchange_free(bench->exchange);
    memory_free(bench->momentum);
    memory_free(bench->gradient);
    memory_free(bench->parameters);
    bench->momentum = bench->gradient = bench->parameters = NULL;
    bench->exchange = NULL;
    return status;
}

static Status allocate_records(Bench *bench) {
    TRY(MEMORY_ALLOCATE(&bench->record, (size_t)2 * RECORD_LENGTH, "records"));
    return MEMORY_ALLOCATE(&bench->total, (size_t)RECORD_LENGTH, "total");
}

Status bench_allreduce(Comm *comm, const Kernels *kernels, const BenchOptions *options) {
    Bench bench = {.comm = comm, .kernels = kernels, .options = options};
    int size = comm_size(comm);
    batch_plan(&bench.batch, 2 * size, 1, comm_position(comm), size);
    Status status = comm_agree(comm, allocate_records(&bench));
    if (status == STATUS_OK) {
        compare_small(&bench);
        status = compare_gradients(&bench, 2);
    }
    if (status == STATUS_OK) status = compare_gradients(&bench, 32);
    memory_free(bench.record);
    memory_free(bench.total);
    return status;
}
