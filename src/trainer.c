/* trainer.c - see trainer.h. Everything here is done by all ranks in step; rank 0 also tells. */
#include "src/trainer.h"
#include "io/job_file.h"
#include "io/run_folder.h"
#include "src/memory.h"
#include "src/report.h"
#include "src/schedule.h"
#include "src/snapshot.h"
#include "src/standardize.h"
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const double LOCK_WAIT_SECONDS =
    10; /* a killed predecessor's ranks live on for about three */

/* ---- signals ---- */

static volatile sig_atomic_t stop_signal; /* the number of the signal that asked, or 0 */

static void ask_to_stop(int number) {
    stop_signal = number;
}

static void listen_to_signals(void) {
    static const int numbers[] = {SIGUSR1, SIGTERM, SIGINT};
    struct sigaction action = {.sa_handler = ask_to_stop, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error of the write, not the end */
}

/* ---- set-up ---- */

static Status read_job(Trainer *trainer) {
    const TrainerOptions *options = trainer->options;
    TRY(job_file_read(&trainer->job, options->job_path, options->sets, options->set_count));
    return job_file_print(&trainer->job, 0, &trainer->job_text);
}

/* Rank 0. */
static Status open_folder(Trainer *trainer) {
    const TrainerOptions *options = trainer->options;
    char path[RUN_FOLDER_PATH_BYTES + 16];
    char **names = NULL;
    int count = 0, is_new = 0;
    TRY(run_folder_create(options->folder, &is_new));
    TRY(checkpoint_lock(&trainer->lock, options->folder, LOCK_WAIT_SECONDS));
    trainer->folder_is_new = is_new; /* without the lock it is another job's */
    snprintf(path, sizeof path, "%s/checkpoints", options->folder);
    TRY(checkpoint_list(path, &names, &count));
    memory_free(names);
    if (count > 0 && !options->resumes)
        return FAIL(STATUS_CREATE,
            "%s: holds the checkpoints of an earlier run: continue it with --resume, or choose "
            "another --out",
            options->folder);
    snprintf(path, sizeof path, "%s/log.txt", options->folder);
    return progress_create(
        &trainer->display, options->progress, trainer->job.log.every_seconds, path);
}

static Status count_training_samples(const Trainer *trainer, int64_t *train_count) {
    double valid_split = trainer->job.data.valid_split;
    *train_count = loader_train_count(trainer->train_set.count, valid_split);
    if (*train_count >= 1) return STATUS_OK;
    return FAIL(STATUS_CONFIG, "data.valid_split: %g leaves none of %lld samples to train on",
        valid_split, (long long)trainer->train_set.count);
}

/* Collective. Each rank measures its part of the training samples. */
static Status measure_samples(Trainer *trainer, int64_t train_count) {
    JobData *data = &trainer->job.data;
    const Dataset *set = &trainer->train_set;
    StandardizeInput input = {.samples = set->images,
        .source = &set->source,
        .count = train_count,
        .sample = set->shape,
        .element_bytes = (size_t)set->element_bytes,
        .reducer = comm_reducer(trainer->comm),
        .rank = comm_position(trainer->comm),
        .size = comm_size(trainer->comm)};
    Standardizer standardizer;
    Status status = comm_agree(trainer->comm, standardize_prepare(&standardizer, &input));
    if (status == STATUS_OK)
        status =
            comm_agree(trainer->comm, standardize_measure(&standardizer, &data->mean, &data->std));
    standardize_finish(&standardizer);
    return status;
}

/* Collective. What data.standardize asks for becomes data.normalize: evaluation and resume need no
 * other word of it. */
static Status standardize(Trainer *trainer) {
    int64_t train_count = 0;
    if (trainer->job.data.standardize == STANDARDIZE_NONE) return STATUS_OK;
    TRY(comm_agree(trainer->comm, count_training_samples(trainer, &train_count)));
    TRY(measure_samples(trainer, train_count));
    trainer->job.data.standardize = STANDARDIZE_NONE;
    memory_free(trainer->job_text);
    trainer->job_text = NULL;
    report_standardization(trainer, train_count);
    return comm_agree(trainer->comm, job_file_print(&trainer->job, 0, &trainer->job_text));
}

/* Training samples are augmented, no others. */
static Status create_train_loader(Trainer *trainer, int64_t count) {
    const Job *job = &trainer->job;
    int microbatch = (int)job->train.microbatch;
    TRY(dataset_create_loader(&trainer->train, &trainer->train_set, &job->data, 0, count));
    return loader_augment(trainer->train, &job->data.augment, (uint64_t)job->seed,
        batch_lanes(microbatch), trainer->options->engine.thread_count);
}

static Status create_loaders(Trainer *trainer) {
    const JobData *data = &trainer->job.data;
    int64_t count = trainer->train_set.count, train_count = 0;
    TRY(count_training_samples(trainer, &train_count));
    TRY(create_train_loader(trainer, train_count));
    if (train_count < count)
        TRY(dataset_create_loader(
            &trainer->valid, &trainer->train_set, data, train_count, count - train_count));
    int best = trainer->job.checkpoint.keep_best;
    if (trainer->valid == NULL && (best == BEST_VALID_ACCURACY || best == BEST_VALID_LOSS))
        return FAIL(STATUS_CONFIG,
            "checkpoint.keep_best: looks at validation, and data.valid_split %g leaves no sample "
            "for it: set data.valid_split (0.1, say), or checkpoint.keep_best to train_loss or "
            "none",
            data->valid_split);
    if (trainer->test_set.count == 0) return STATUS_OK;
    return dataset_create_loader(
        &trainer->test, &trainer->test_set, data, 0, trainer->test_set.count);
}

/* Shuffled samples can be slow to read where each makes the set unpack much more than it. */
static void warn_of_reading(const Trainer *trainer) {
    enum { READ_BYTES_MANY = 1 << 18 };
    const Job *job = &trainer->job;
    int64_t bytes = trainer->train_set.read_bytes;
    if (!job->train.shuffle || bytes < READ_BYTES_MANY) return;
    progress_print(trainer->display,
        "warning: %s: %.1f MB are read or unpacked for each shuffled sample; "
        "`lockstep convert %s NEW.h5` stores the images so that training is not held up",
        job->data.path, 1e-6 * (double)bytes, job->data.path);
}

/* A set may come without test samples; then nothing is tested in the end. */
static Status open_sets(Trainer *trainer) {
    char note[DATASET_NOTE_BYTES];
    int has_test = 0;
    TRY(dataset_open(&trainer->train_set, trainer->comm, &trainer->job, DATASET_TRAIN));
    warn_of_reading(trainer);
    TRY(dataset_has_test(trainer->comm, &trainer->job, &has_test, note));
    if (note[0] != '\0') progress_print(trainer->display, "%s", note);
    if (!has_test) return STATUS_OK;
    return dataset_open(&trainer->test_set, trainer->comm, &trainer->job, DATASET_TEST);
}

static Status create_local_parts(Trainer *trainer) {
    Engine *engine = &trainer->engine;
    size_t begin = 0, count = 0, rows = (size_t)trainer->job.train.epochs + 1;
    exchange_slice(engine->exchange, &begin, &count);
    TRY(optimizer_create(
        &trainer->optimizer, &trainer->job.optimizer, engine->kernels, begin, count));
    return MEMORY_ALLOCATE(&trainer->history, rows * HISTORY_COLUMNS, "history");
}

/* Rank 0. */
static Status open_metrics(Trainer *trainer, int is_resumed) {
    const char *folder = trainer->options->folder;
    TRY(run_folder_write(folder, "job.yaml", trainer->job_text));
    TRY(metrics_open(&trainer->metrics, folder, is_resumed ? trainer->progress.step : -1));
    return report_header(trainer, is_resumed);
}

static Status set_up(Trainer *trainer) {
    Comm *comm = trainer->comm;
    int is_root = comm_is_root(comm), is_resumed = 0;
    TRY(comm_agree(comm, read_job(trainer)));
    TRY(comm_require_same(comm, "the resolved job", trainer->job_text));
    TRY(comm_agree(comm, is_root ? open_folder(trainer) : STATUS_OK));
    TRY(open_sets(trainer));
    TRY(job_locate(&trainer->job, standardize(trainer)));
    TRY(comm_agree(comm, job_locate(&trainer->job, create_loaders(trainer))));
    TRY(engine_create(&trainer->engine, comm, &trainer->job, &trainer->options->engine));
    TRY(comm_agree(comm, create_local_parts(trainer)));
    trainer->progress.best_metric = NAN;
    int64_t batch = trainer->job.train.batch_size;
    trainer->steps_per_epoch = (trainer->train->source.count + batch - 1) / batch;
    report_start(trainer);
    if (trainer->options->resumes) {
        TRY(snapshot_resume(trainer, &is_resumed));
        if (!is_resumed) progress_print(trainer->display, "no checkpoint yet: starting anew");
    }
    return comm_agree(comm, is_root ? open_metrics(trainer, is_resumed) : STATUS_OK);
}

static void tear_down(Trainer *trainer) {
    metrics_close(trainer->metrics);
    progress_free(trainer->display);
    optimizer_free(trainer->optimizer);
    engine_free(&trainer->engine);
    loader_free(trainer->train);
    loader_free(trainer->valid);
    loader_free(trainer->test);
    dataset_free(&trainer->train_set);
    dataset_free(&trainer->test_set);
    checkpoint_unlock(trainer->lock);
    memory_free(trainer->history);
    memory_free(trainer->job_text);
    job_free(&trainer->job);
}

/* ---- epochs ---- */

/* Validate and add a row to the history. */
static Status add_history_row(Trainer *trainer, double lr, const double **new_row) {
    TrainerProgress *progress = &trainer->progress;
    Totals valid = {.samples = 0};
    if (trainer->valid != NULL)
        TRY(engine_evaluate(&trainer->engine, trainer->valid, 0, &valid, NULL));
    double *row = trainer->history + progress->history_rows * HISTORY_COLUMNS;
    row[HISTORY_EPOCH] = (double)progress->epoch;
    row[HISTORY_TRAIN_LOSS] = totals_loss(&progress->epoch_totals);
    row[HISTORY_TRAIN_ACCURACY] = totals_accuracy(&progress->epoch_totals);
    row[HISTORY_VALID_LOSS] = totals_loss(&valid);
    row[HISTORY_VALID_ACCURACY] = totals_accuracy(&valid);
    row[HISTORY_LR] = lr;
    progress->history_rows++;
    *new_row = row;
    return STATUS_OK;
}

/* Whether the new row is the best so far; remembers it. */
static int is_best(Trainer *trainer, const double *row) {
    TrainerProgress *progress = &trainer->progress;
    static const int columns[] = {[BEST_VALID_ACCURACY] = HISTORY_VALID_ACCURACY,
        [BEST_VALID_LOSS] = HISTORY_VALID_LOSS,
        [BEST_TRAIN_LOSS] = HISTORY_TRAIN_LOSS};
    int wanted = trainer->job.checkpoint.keep_best;
    if (wanted == BEST_NONE) return 0;
    double value = row[columns[wanted]];
    if (isnan(value)) return 0;
    int better = wanted == BEST_VALID_ACCURACY ? value > progress->best_metric
                                               : value < progress->best_metric;
    if (!better && !isnan(progress->best_metric)) return 0;
    progress->best_metric = value;
    progress->best_epoch = progress->epoch;
    return 1;
}

/* Save; a disk that is full is no reason to stop training, unless this was the last chance. */
static Status save(
    Trainer *trainer, const char *name, int best, int is_last_chance, int *is_saved) {
    Status status = snapshot_save(trainer, name, best);
    *is_saved = status == STATUS_OK;
    if (is_last_chance || (status != STATUS_IO && status != STATUS_CREATE)) return status;
    report_warning(trainer, status);
    if (!*is_saved)
        progress_print(
            trainer->display, "training goes on; the next checkpoint will be tried in time");
    return STATUS_OK;
}

static Status save_in_epoch(Trainer *trainer, int is_last_chance) {
    char name[64];
    int is_saved = 0;
    snprintf(name, sizeof name, "step-%08lld.h5", (long long)trainer->progress.step);
    return save(trainer, name, 0, is_last_chance, &is_saved);
}

/* Sum the gradients of all ranks and update the parameters. */
static void update(Trainer *trainer, double lr) {
    Engine *engine = &trainer->engine;
    int before = profile_switch(engine->profile, PROFILE_UPDATE);
    trainer->optimizer->lr = lr;
    exchange_finish(engine->exchange, &engine->batch, trainer->job.optimizer.clip_norm,
        optimizer_update, trainer->optimizer);
    optimizer_finish_step(trainer->optimizer);
    profile_switch(engine->profile, before);
}

static Status run_step(Trainer *trainer, double lr, Totals *batch, double *stop) {
    TrainerProgress *progress = &trainer->progress;
    int64_t size = trainer->job.train.batch_size, count = trainer->train->source.count;
    int64_t first = progress->position * size;
    EngineStep step = {.loader = trainer->train,
        .first = first,
        .sample_count = first + size < count ? size : count - first,
        .epoch = (uint32_t)progress->epoch,
        .step = (uint32_t)progress->step,
        .trains = 1,
        .stop = stop_signal != 0};
    TRY(engine_run(&trainer->engine, &step, batch));
    *stop = step.stop;
    if (!isfinite(batch->loss_sum))
        return FAIL(STATUS_DIVERGED,
            "epoch %lld, step %lld: the loss is not finite (lr %g). The last checkpoint stays; "
            "continue from it with a smaller optimizer.lr, optimizer.clip_norm or a warm-up",
            (long long)progress->epoch + 1, (long long)progress->step + 1, lr);
    update(trainer, lr);
    progress->step++;
    progress->position++;
    progress->samples_seen += batch->samples;
    totals_add(&progress->epoch_totals, batch);
    return STATUS_OK;
}

static Status run_profiled_step(Trainer *trainer, double lr, Totals *batch, double *stop) {
    Profile *profile = trainer->engine.profile;
    profile_switch(profile, PROFILE_OTHER);
    Status status = run_step(trainer, lr, batch, stop);
    profile_switch(profile, PROFILE_OUTSIDE);
    if (profile != NULL) profile->steps++;
    return status;
}

/* Run the rest of the present epoch. `*stop` tells whether to stop after it; asked for earlier, it
 * stops at once, with a checkpoint and STATUS_STOPPED. */
static Status run_steps(Trainer *trainer, ReportStopwatch *watch, double *lr, int *stop) {
    TrainerProgress *progress = &trainer->progress;
    const JobCheckpoint *checkpoint = &trainer->job.checkpoint;
    while (progress->position < trainer->steps_per_epoch) {
        Totals batch;
        double wishes = 0;
        *lr = schedule_lr(&trainer->job, progress->step, trainer->steps_per_epoch);
        TRY(run_profiled_step(trainer, *lr, &batch, &wishes));
        watch->samples += batch.samples;
        ProgressPoint point = report_point(trainer, watch, *lr);
        progress_show(trainer->display, &point);
        report_step(trainer, &batch, *lr);
        *stop = wishes > 0 || progress->step == trainer->options->stop_after;
        if (progress->position == trainer->steps_per_epoch) break;
        if (*stop) {
            TRY(save_in_epoch(trainer, 1));
            return FAIL(STATUS_STOPPED, "stopped after step %lld; continue with --resume",
                (long long)progress->step);
        }
        if (checkpoint->every_steps > 0 && progress->step % checkpoint->every_steps == 0)
            TRY(save_in_epoch(trainer, 0));
    }
    return STATUS_OK;
}

/* After the last step of an epoch: validate, tell, save. */
static Status finish_epoch(Trainer *trainer, const ReportStopwatch *watch, double lr, int stop) {
    TrainerProgress *progress = &trainer->progress;
    const JobCheckpoint *checkpoint = &trainer->job.checkpoint;
    ProgressPoint point = report_point(trainer, watch, lr);
    double seconds = progress_now() - watch->start;
    char name[64];
    TrainerProgress best_before = *progress;
    progress->epoch++;
    const double *row = NULL;
    TRY(add_history_row(trainer, lr, &row));
    int best = is_best(trainer, row);
    progress->position = 0;
    progress->epoch_totals = (Totals){.samples = 0};
    report_epoch(trainer, &point, seconds);
    int is_last = progress->epoch == trainer->job.train.epochs;
    int is_due =
        (checkpoint->every_epochs > 0 && progress->epoch % checkpoint->every_epochs == 0) ||
        (checkpoint->every_steps > 0 && progress->step % checkpoint->every_steps == 0);
    snprintf(name, sizeof name, "epoch-%04lld.h5", (long long)progress->epoch);
    int is_saved = 0;
    if (best || is_due || is_last || stop)
        TRY(save(trainer, name, best, is_last || stop, &is_saved));
    if (best && !is_saved) { /* a best that is not on the disk is none */
        progress->best_metric = best_before.best_metric;
        progress->best_epoch = best_before.best_epoch;
    }
    if (stop && !is_last)
        return FAIL(STATUS_STOPPED, "stopped after step %lld; continue with --resume",
            (long long)progress->step);
    return STATUS_OK;
}

static Status run_epoch(Trainer *trainer) {
    const Job *job = &trainer->job;
    int stop = 0;
    double lr = 0;
    loader_set_order(
        trainer->train, (uint32_t)trainer->progress.epoch, job->train.shuffle, (uint64_t)job->seed);
    ReportStopwatch watch = report_stopwatch_start(trainer);
    TRY(run_steps(trainer, &watch, &lr, &stop));
    return finish_epoch(trainer, &watch, lr, stop);
}

static Status train(Trainer *trainer) {
    if (trainer->progress.history_rows == 0) { /* a new run: the curve starts before epoch 1 */
        const double *row = NULL;
        TRY(add_history_row(
            trainer, schedule_lr(&trainer->job, 0, trainer->steps_per_epoch), &row));
        report_epoch(trainer, NULL, 0);
    }
    while (trainer->progress.epoch < trainer->job.train.epochs) TRY(run_epoch(trainer));
    return report_test(trainer);
}

Status trainer_run(Comm *comm, const TrainerOptions *options) {
    Trainer trainer = {.comm = comm, .options = options};
    listen_to_signals();
    Status status = set_up(&trainer);
    int never_began = status != STATUS_OK;
    if (status == STATUS_OK) status = train(&trainer);
    report_profile(&trainer);
    if (status == STATUS_STOPPED) progress_print(trainer.display, "%s", status_message());
    if (status != STATUS_OK && status != STATUS_STOPPED)
        progress_log(trainer.display, status_message());
    tear_down(&trainer);
    if (never_began && trainer.folder_is_new) run_folder_remove(options->folder);
    return status;
}
