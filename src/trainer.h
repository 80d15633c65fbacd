/* trainer.h - the training loop: epochs, steps, validation, checkpoints, resume. */
#ifndef SRC_TRAINER_H
#define SRC_TRAINER_H

#include "io/checkpoint.h"
#include "io/dataset.h"
#include "io/metrics.h"
#include "src/engine.h"
#include "src/optimizer.h"
#include "src/progress.h"

/* What the command line says; equal on all ranks. */
typedef struct TrainerOptions {
    const char *job_path; /* NULL: the embedded default job */
    const char *folder;   /* run directory */
    char *const *sets;    /* --set */
    int set_count;
    int resumes;        /* continue from the newest valid checkpoint, if there is any */
    int64_t stop_after; /* stop with a checkpoint after this step of the run; 0: never */
    ProgressMode progress;
    EngineOptions engine;
} TrainerOptions;

/* Columns of the history, one row per epoch; row 0 is before the first. */
enum {
    HISTORY_EPOCH,
    HISTORY_TRAIN_LOSS,
    HISTORY_TRAIN_ACCURACY,
    HISTORY_VALID_LOSS,
    HISTORY_VALID_ACCURACY,
    HISTORY_LR,
    HISTORY_COLUMNS
};

/* All that is needed to go on, beside the network and the optimizer's state; equal on all ranks. */
typedef struct TrainerProgress {
    int64_t epoch;    /* epochs done */
    int64_t step;     /* optimizer steps done */
    int64_t position; /* steps done in the present epoch */
    int64_t samples_seen;
    Totals epoch_totals; /* of the present epoch so far */
    double best_metric;  /* NaN: none yet */
    int64_t best_epoch;
    int64_t history_rows;
} TrainerProgress;

typedef struct Trainer {
    Comm *comm;
    const TrainerOptions *options;
    Job job;
    char *job_text; /* the resolved job, as in job.yaml */
    Dataset train_set, test_set;
    Loader *train, *valid, *test; /* valid: NULL without a split */
    Engine engine;
    Optimizer *optimizer;
    TrainerProgress progress;
    double *history; /* [epochs + 1][HISTORY_COLUMNS] */
    int64_t steps_per_epoch;
    /* rank 0 only */
    Progress *display;
    Metrics *metrics;
    CheckpointLock *lock;
    int folder_is_new;
} Trainer;

/* Collective: options equal on all ranks. Train a job to its end.
 * Returns, agreed: STATUS_OK; STATUS_STOPPED when asked to stop (SIGUSR1, SIGTERM, SIGINT,
 * stop_after) with a checkpoint saved; STATUS_DIVERGED at a loss that is not finite; or what went
 * wrong. */
MUST_CHECK Status trainer_run(Comm *comm, const TrainerOptions *options);

#endif
