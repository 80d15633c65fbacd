/* report.c - see report.h. */
#include "src/report.h"
#include "build_id.h"
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

Status report_header(Trainer *trainer, int is_resumed) {
    Metrics *metrics = trainer->metrics;
    char started[32], digest[DATASET_DIGEST_TEXT_BYTES];
    time_t now = time(NULL);
    struct tm parts;
    gmtime_r(&now, &parts);
    strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", &parts);
    dataset_print_digest(&trainer->train_set, digest);
    metrics_begin(metrics, is_resumed ? "resume" : "header");
    metrics_text(metrics, "format", "lockstep-metrics");
    metrics_number(metrics, "version", 1);
    metrics_text(metrics, "program", "lockstep " BUILD_VERSION " " BUILD_GIT_ID);
    metrics_text(metrics, "started", started);
    metrics_number(metrics, "ranks", comm_size(trainer->comm));
    metrics_number(metrics, "threads", threads_count(trainer->engine.threads));
    metrics_text(metrics, "isa", trainer->engine.kernels->isa);
    metrics_text(metrics, "data_digest", digest);
    metrics_number(metrics, "train_samples", (double)trainer->train->source.count);
    return metrics_end(metrics);
}

static void describe_run(const Trainer *trainer) {
    const Job *job = &trainer->job;
    const Network *network = trainer->engine.network;
    progress_print(trainer->display,
        "%zu parameters, %lld training samples, %lld validation, %lld test; batch %lld in "
        "microbatches of %lld",
        network->parameter_count, (long long)trainer->train->source.count,
        trainer->valid == NULL ? 0LL : (long long)trainer->valid->source.count,
        (long long)trainer->test_set.count, (long long)job->train.batch_size,
        (long long)job->train.microbatch);
    progress_print(trainer->display, "%d rank%s on %d node%s, %d thread%s each, %s; writing to %s",
        comm_size(trainer->comm), comm_size(trainer->comm) == 1 ? "" : "s",
        comm_node_count(trainer->comm), comm_node_count(trainer->comm) == 1 ? "" : "s",
        threads_count(trainer->engine.threads),
        threads_count(trainer->engine.threads) == 1 ? "" : "s", trainer->engine.kernels->isa,
        trainer->options->folder);
}

/* What makes ranks and threads wait for each other instead of working; seen from rank 0's node. */
static void warn_of_few_processors(const Trainer *trainer) {
    int ranks = comm_node_size(trainer->comm), threads = threads_count(trainer->engine.threads);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) < threads &&
        CPU_COUNT(&allowed) < processors)
        progress_print(trainer->display,
            "warning: %d threads are bound to %d processor%s: start mpirun with --bind-to none, or "
            "srun with --cpus-per-task=%d",
            threads, CPU_COUNT(&allowed), CPU_COUNT(&allowed) == 1 ? "" : "s", threads);
    else if (processors > 0 && (long)ranks * threads > processors)
        progress_print(trainer->display,
            "warning: %d ranks x %d threads share the %ld processors of a node: fewer are faster",
            ranks, threads, processors);
}

void report_standardization(const Trainer *trainer, int64_t sample_count) {
    const JobData *data = &trainer->job.data;
    for (int c = 0; c < data->mean.count; c++)
        progress_print(trainer->display,
            "standardize: channel %d has mean %.6f and std %.6f over %lld training samples", c,
            data->mean.values[c], data->std.values[c], (long long)sample_count);
}

void report_start(const Trainer *trainer) {
    describe_run(trainer);
    warn_of_few_processors(trainer);
}

/* A failure that does not end training: say it once more than silence. */
void report_warning(const Trainer *trainer, Status status) {
    if (status != STATUS_OK) progress_print(trainer->display, "warning: %s", status_message());
}

ReportStopwatch report_stopwatch_start(const Trainer *trainer) {
    return (ReportStopwatch){
        .start = progress_now(), .communication_at_start = comm_seconds(trainer->comm)};
}

ProgressPoint report_point(const Trainer *trainer, const ReportStopwatch *watch, double lr) {
    const TrainerProgress *progress = &trainer->progress;
    double seconds = progress_now() - watch->start;
    double rate = seconds > 0 ? (double)watch->samples / seconds : 0;
    int64_t steps = trainer->steps_per_epoch * trainer->job.train.epochs;
    int64_t samples_left = (steps - progress->step) * trainer->job.train.batch_size;
    return (ProgressPoint){.epoch = progress->epoch + 1,
        .epochs = trainer->job.train.epochs,
        .position = progress->position,
        .steps_per_epoch = trainer->steps_per_epoch,
        .step = progress->step,
        .steps = steps,
        .loss = totals_loss(&progress->epoch_totals),
        .accuracy = totals_accuracy(&progress->epoch_totals),
        .lr = lr,
        .samples_per_second = rate,
        .communication_share =
            seconds > 0 ? (comm_seconds(trainer->comm) - watch->communication_at_start) / seconds
                        : 0,
        .seconds_left = rate > 0 ? (double)samples_left / rate : 0};
}

void report_step(const Trainer *trainer, const Totals *batch, double lr) {
    int64_t every = trainer->job.log.every_steps;
    if (trainer->metrics == NULL || every == 0 || trainer->progress.step % every != 0) return;
    metrics_begin(trainer->metrics, "step");
    metrics_number(trainer->metrics, "step", (double)trainer->progress.step);
    metrics_number(trainer->metrics, "loss", totals_loss(batch));
    metrics_number(trainer->metrics, "accuracy", totals_accuracy(batch));
    metrics_number(trainer->metrics, "lr", lr);
    report_warning(trainer, metrics_end(trainer->metrics));
}

static void record_epoch(const Trainer *trainer, const ProgressPoint *point, double seconds) {
    const double *row = trainer->history + (trainer->progress.history_rows - 1) * HISTORY_COLUMNS;
    if (trainer->metrics == NULL) return;
    metrics_begin(trainer->metrics, "epoch");
    metrics_number(trainer->metrics, "epoch", row[HISTORY_EPOCH]);
    metrics_number(trainer->metrics, "step", (double)trainer->progress.step);
    metrics_number(trainer->metrics, "train_loss", row[HISTORY_TRAIN_LOSS]);
    metrics_number(trainer->metrics, "train_accuracy", row[HISTORY_TRAIN_ACCURACY]);
    metrics_number(trainer->metrics, "valid_loss", row[HISTORY_VALID_LOSS]);
    metrics_number(trainer->metrics, "valid_accuracy", row[HISTORY_VALID_ACCURACY]);
    metrics_number(trainer->metrics, "lr", row[HISTORY_LR]);
    if (point != NULL) {
        metrics_number(trainer->metrics, "seconds", seconds);
        metrics_number(trainer->metrics, "samples_per_second", point->samples_per_second);
        metrics_number(trainer->metrics, "communication_share", point->communication_share);
    }
    report_warning(trainer, metrics_end(trainer->metrics));
}

static void print_epoch(const Trainer *trainer, const ProgressPoint *point, double seconds) {
    const double *row = trainer->history + (trainer->progress.history_rows - 1) * HISTORY_COLUMNS;
    char train[96] = "", valid[96] = "", speed[96] = "";
    if (isfinite(row[HISTORY_TRAIN_LOSS]))
        snprintf(train, sizeof train, "  train loss %.4f accuracy %.4f", row[HISTORY_TRAIN_LOSS],
            row[HISTORY_TRAIN_ACCURACY]);
    if (isfinite(row[HISTORY_VALID_LOSS]))
        snprintf(valid, sizeof valid, "  valid loss %.4f accuracy %.4f", row[HISTORY_VALID_LOSS],
            row[HISTORY_VALID_ACCURACY]);
    if (point != NULL)
        snprintf(speed, sizeof speed, "  %.1f s, %.0f samples/s, communication %.0f%%", seconds,
            point->samples_per_second, 100 * point->communication_share);
    progress_print(trainer->display, "epoch %.0f/%lld%s%s%s", row[HISTORY_EPOCH],
        (long long)trainer->job.train.epochs, train, valid, speed);
}

void report_epoch(const Trainer *trainer, const ProgressPoint *point, double seconds) {
    if (point != NULL || trainer->valid != NULL) print_epoch(trainer, point, seconds);
    record_epoch(trainer, point, seconds);
}

Status report_test(Trainer *trainer) {
    Totals test;
    if (trainer->test == NULL) {
        progress_print(trainer->display, "no test: the set has no test samples");
        return STATUS_OK;
    }
    TRY(engine_evaluate(&trainer->engine, trainer->test, 0, &test, NULL));
    progress_print(trainer->display, "test loss %.4f accuracy %.4f (%lld samples)",
        totals_loss(&test), totals_accuracy(&test), (long long)test.samples);
    if (trainer->metrics == NULL) return STATUS_OK;
    metrics_begin(trainer->metrics, "test");
    metrics_number(trainer->metrics, "step", (double)trainer->progress.step);
    metrics_number(trainer->metrics, "test_loss", totals_loss(&test));
    metrics_number(trainer->metrics, "test_accuracy", totals_accuracy(&test));
    report_warning(trainer, metrics_end(trainer->metrics));
    return STATUS_OK;
}
