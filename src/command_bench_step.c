/* command_bench_step.c - lockstep bench step: training steps of a job over random samples in
 * memory, on the ranks and threads it is started with. Loading, forward, backward, exchange and
 * update are those of training; validation, checkpoints and augmentation are left out. */
#include "io/job_file.h"
#include "src/bench.h"
#include "src/command.h"
#include "src/memory.h"
#include <stdio.h>

static const double TURN_SECONDS = 0.1; /* of steps between two measurements of the peak */
enum { CLASSES_MAX = 256, DETAIL_BYTES = 96 };

typedef struct StepBench {
    Comm *comm;
    Job job;
    char *job_text; /* the resolved job */
    Engine engine;
    Optimizer *optimizer;
    uint8_t *images; /* one batch, the same on every rank */
    int32_t *labels;
    Loader *loader;
    double *peaks; /* [threads]: operations per second */
    uint32_t step;
} StepBench;

/* ---- set-up ---- */

/* Random bytes, and labels below the number of outputs, whatever these mean. */
static void draw_samples(StepBench *bench, size_t bytes, size_t count) {
    size_t outputs = shape_element_count(bench->engine.network->output);
    size_t classes = outputs < CLASSES_MAX ? outputs : CLASSES_MAX;
    Rng rng = rng_stream((uint64_t)bench->job.seed, RNG_SYNTHETIC, 0);
    uint32_t bits[4] = {0};
    for (size_t i = 0; i < bytes; i++) {
        if (i % sizeof bits == 0) rng_draw(rng, 0, i / sizeof bits, 0, bits);
        bench->images[i] = (uint8_t)(bits[i / 4 % 4] >> 8 * (i % 4));
    }
    for (size_t s = 0; s < count; s++) bench->labels[s] = (int32_t)(s % classes);
}

static Status create_loader(StepBench *bench) {
    Shape sample = bench->engine.network->input;
    if (sample.dimension_count == 1) sample = (Shape){3, {1, 1, sample.size[0]}};
    size_t count = (size_t)bench->job.train.batch_size;
    size_t bytes = shape_element_count(sample) * count;
    TRY(MEMORY_ALLOCATE(&bench->images, bytes, "samples"));
    TRY(MEMORY_ALLOCATE(&bench->labels, count, "labels"));
    draw_samples(bench, bytes, count);
    LoaderSource source = {.images = bench->images,
        .labels = bench->labels,
        .element_bytes = 1,
        .sample = sample,
        .count = bench->job.train.batch_size};
    return loader_create(&bench->loader, &source, &bench->job.data.mean, &bench->job.data.std);
}

static Status create_local_parts(StepBench *bench) {
    Engine *engine = &bench->engine;
    size_t begin = 0, count = 0;
    if (engine->network->output.dimension_count != 1)
        return job_locate(
            &bench->job, FAIL(STATUS_CONFIG,
                             "model.layers: the last layer must give one number for each class"));
    exchange_slice(engine->exchange, &begin, &count);
    TRY(optimizer_create(&bench->optimizer, &bench->job.optimizer, engine->kernels, begin, count));
    TRY(MEMORY_ALLOCATE(&bench->peaks, (size_t)threads_count(engine->threads), "peaks"));
    return create_loader(bench);
}

static Status create(StepBench *bench, const CommandLine *line) {
    const char *path = line->argument_count > 0 ? line->arguments[0] : NULL;
    Comm *comm = bench->comm;
    TRY(comm_agree(comm, job_file_read(&bench->job, path, line->sets, line->train.set_count)));
    TRY(comm_agree(comm, job_file_print(&bench->job, 0, &bench->job_text)));
    TRY(comm_require_same(comm, "the resolved job", bench->job_text));
    EngineOptions options = line->train.engine;
    options.profiles = 1; /* costs next to nothing */
    TRY(engine_create(&bench->engine, comm, &bench->job, &options));
    return comm_agree(comm, create_local_parts(bench));
}

static void destroy(StepBench *bench) {
    optimizer_free(bench->optimizer);
    loader_free(bench->loader);
    engine_free(&bench->engine);
    memory_free(bench->images);
    memory_free(bench->labels);
    memory_free(bench->peaks);
    memory_free(bench->job_text);
    job_free(&bench->job);
}

/* ---- measuring ---- */

static void run_step(StepBench *bench) {
    Engine *engine = &bench->engine;
    EngineStep step = {.loader = bench->loader,
        .sample_count = bench->job.train.batch_size,
        .step = bench->step++,
        .trains = 1};
    Totals totals;
    profile_switch(engine->profile, PROFILE_OTHER);
    Status status = engine_run(engine, &step, &totals);
    REQUIRE(status == STATUS_OK); /* the samples are in memory */
    profile_switch(engine->profile, PROFILE_UPDATE);
    exchange_finish(engine->exchange, &engine->batch, bench->job.optimizer.clip_norm,
        optimizer_update, bench->optimizer);
    optimizer_finish_step(bench->optimizer);
    profile_switch(engine->profile, PROFILE_OUTSIDE);
    if (engine->profile != NULL) engine->profile->steps++;
}

/* Collective. Seconds of a step, the slowest rank's, over `count` steps. */
static double seconds_per_step(StepBench *bench, int count) {
    comm_barrier(bench->comm);
    double start = progress_now();
    for (int i = 0; i < count; i++) run_step(bench);
    return comm_max(bench->comm, (progress_now() - start) / count);
}

static void run_peak(void *context, int item, int thread) {
    (void)thread;
    StepBench *bench = context;
    BenchPeak peak;
    enum { WIDEST = 16 }; /* lanes that any vector divides */
    BenchWork work = bench_peak(&peak, kernels_find(bench->engine.kernels->isa, WIDEST));
    bench_measure(&work, 1, 1, &bench->peaks[item]);
}

/* Collective. Floating-point operations per second of all threads of all ranks at once. */
static double measure_peak(StepBench *bench) {
    int threads = threads_count(bench->engine.threads);
    double rate = 0;
    comm_barrier(bench->comm);
    threads_run(bench->engine.threads, threads, run_peak, bench);
    for (int t = 0; t < threads; t++) rate += bench->peaks[t];
    return comm_sum(bench->comm, rate);
}

/* Medians over the repeats; steps and peak take turns. */
typedef struct StepFigures {
    double step_seconds, communication_seconds, peak;
} StepFigures;

static void measure(StepBench *bench, int repeats, StepFigures *figures) {
    double seconds[BENCH_REPEATS_MAX], communication[BENCH_REPEATS_MAX], peak[BENCH_REPEATS_MAX];
    run_step(bench);
    double once = seconds_per_step(bench, 1);
    int count = once > TURN_SECONDS ? 1 : 1 + (int)(TURN_SECONDS / (once + 1e-9));
    if (bench->engine.profile != NULL)
        profile_reset(bench->engine.profile, bench->engine.network->layer_count);
    for (int r = 0; r < repeats; r++) {
        peak[r] = measure_peak(bench);
        double before = comm_seconds(bench->comm);
        seconds[r] = seconds_per_step(bench, count);
        communication[r] = comm_max(bench->comm, (comm_seconds(bench->comm) - before) / count);
    }
    figures->step_seconds = bench_median(seconds, repeats);
    figures->communication_seconds = bench_median(communication, repeats);
    figures->peak = bench_median(peak, repeats);
}

/* ---- figures ---- */

typedef struct StepReport {
    const StepBench *bench;
    const BenchOptions *options;
    StepFigures figures;
} StepReport;

/* A convolution that saves multiplications (Winograd) is counted as if it did not. */
static void report_step(const StepReport *report) {
    const StepBench *bench = report->bench;
    const StepFigures *figures = &report->figures;
    const JobTrain *train = &bench->job.train;
    double samples = (double)train->batch_size / figures->step_seconds;
    double rate = 2 * network_step_multiply_adds(bench->engine.network) * samples;
    char sizes[DETAIL_BYTES], processors[DETAIL_BYTES];
    snprintf(sizes, sizeof sizes, "batch %lld in microbatches of %lld",
        (long long)train->batch_size, (long long)train->microbatch);
    snprintf(processors, sizeof processors, "%d ranks, %d threads each, %s", comm_size(bench->comm),
        threads_count(bench->engine.threads), bench->engine.kernels->isa);
    BenchFigure lines[] = {{.name = "FMA peak",
                               .detail = processors,
                               .value = figures->peak * 1e-9,
                               .unit = "GFLOP/s"},
        {.name = "training", .detail = processors, .value = samples, .unit = "samples/s"},
        {.name = "step", .detail = sizes, .value = figures->step_seconds * 1e3, .unit = "ms"},
        {.name = "communication",
            .detail = "in a step, the longest of any rank, with waiting",
            .value = figures->communication_seconds * 1e3,
            .unit = "ms",
            .share = figures->communication_seconds / figures->step_seconds,
            .share_of = "step"},
        {.name = "multiply-adds",
            .detail = "of both passes, Winograd counted as direct",
            .value = rate * 1e-9,
            .unit = "GFLOP/s",
            .share = rate / figures->peak,
            .share_of = "FMA peak"}};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        bench_print(&lines[i], report->options);
}

/* One part of a step on rank 0: its share of all steps that were measured, and as much of the
 * median step, so that the parts add up to it. */
static void report_part(const StepReport *report, const char *name, const char *detail, int slot) {
    const StepBench *bench = report->bench;
    const double *seconds = bench->engine.profile->seconds;
    int end = profile_slot((uint32_t)bench->engine.network->layer_count, PROFILE_FORWARD);
    double all = 0;
    for (int i = PROFILE_OTHER; i < end; i++) all += seconds[i];
    double share = seconds[slot] / all;
    BenchFigure figure = {.name = name,
        .detail = detail,
        .value = 1e3 * share * report->figures.step_seconds,
        .unit = "ms",
        .share = share,
        .share_of = "step"};
    bench_print(&figure, report->options);
}

static void report_parts(const StepReport *report) {
    const StepBench *bench = report->bench;
    const Network *network = bench->engine.network;
    static const char *const directions[] = {"forward", "backward"};
    for (int i = 0; i < network->layer_count; i++) {
        const Layer *layer = network->layers[i];
        char name[LAYER_NAME_BYTES + sizeof "backward"];
        for (int direction = PROFILE_FORWARD; direction <= PROFILE_BACKWARD; direction++) {
            snprintf(name, sizeof name, "%s %s", layer->type->name, directions[direction]);
            report_part(report, name, layer->label, profile_slot(layer->index, direction));
        }
    }
    for (int slot = PROFILE_OTHER; slot < PROFILE_LAYERS; slot++)
        report_part(report, profile_part_names[slot], "rank 0", slot);
}

static Status run(Comm *comm, const CommandLine *line) {
    StepBench bench = {.comm = comm};
    Status status = create(&bench, line);
    if (status == STATUS_OK) {
        StepReport report = {.bench = &bench, .options = &line->bench};
        measure(&bench, line->bench.repeats, &report.figures);
        if (comm_is_root(comm)) {
            report_step(&report);
            report_parts(&report);
        }
    }
    destroy(&bench);
    return status;
}

const Command command_bench_step = {
    .name = "bench step",
    .usage = "[JOB.yaml] [--repeats N] [--json] [--threads N] [--set a.b=v]... [--isa NAME]",
    .summary = "training speed of a job over random samples in memory, on all ranks",
    .examples = "  lockstep bench step jobs/mnist-lenet-bn.yaml --threads 2\n"
                "  mpirun -n 2 lockstep bench step job.yaml --json\n",
    .options = "njtsi",
    .maximum_arguments = 1,
    .needs_ranks = 1,
    .run = run,
};
