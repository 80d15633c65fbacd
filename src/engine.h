/* engine.h - one network on all ranks, ready to run batches: what training and evaluation share. */
#ifndef SRC_ENGINE_H
#define SRC_ENGINE_H

#include "mpi/exchange.h"
#include "src/job.h"
#include "src/loader.h"
#include "src/loss.h"

typedef struct EngineOptions {
    const char *isa; /* one that kernels_find knows, NULL: the best; equal on all ranks */
    int thread_count;
    int trains;   /* refuse more ranks than microbatches; evaluation lets them idle */
    int profiles; /* rank 0 measures where the time of training steps goes */
} EngineOptions;

typedef struct Engine {
    Comm *comm;
    const Job *job;
    const Kernels *kernels;
    Threads *threads;
    Exchange *exchange;
    Network *network;
    Profile *profile;      /* NULL where nothing is measured */
    Batch batch;           /* the present batch */
    int *labels;           /* [local microbatches][lanes] */
    int64_t *sample_index; /* [local microbatches * microbatch] */
    double *records;       /* [local microbatches][LOSS_RECORD_LENGTH] */
} Engine;

/* Sums over samples, with what makes a mean of them. */
typedef struct Totals {
    double loss_sum;
    double correct;
    int64_t samples;
} Totals;

/* What an evaluation counts per class. Above CONFUSION_MATRIX_CLASSES_MAX classes there is no
 * matrix: nothing to look at, and classes * classes counts would not fit into memory. */
enum { CONFUSION_MATRIX_CLASSES_MAX = 20 };
typedef struct Confusion {
    int classes;
    int64_t *samples, *right; /* [classes] */
    int64_t *matrix; /* [classes][classes]: row = label, column = predicted class; or NULL */
    int64_t *counts; /* [count]: the memory of all these; owned */
    size_t count;
} Confusion;

/* Local. Nothing counted yet. The caller frees with confusion_free, also after a failure. Fails
 * with STATUS_NO_MEMORY. */
MUST_CHECK Status confusion_create(Confusion *confusion, int classes);
void confusion_free(Confusion *confusion);

/* Collective: job equal on all ranks; it must outlive the engine. Refuses a batch of fewer
 * microbatches than ranks. Parameters have their start values afterwards. The caller frees with
 * engine_free (Collective), also after a failure. Fails, agreed, with STATUS_CONFIG,
 * STATUS_NO_MEMORY. */
MUST_CHECK Status engine_create(
    Engine *engine, Comm *comm, const Job *job, const EngineOptions *options);
void engine_free(Engine *engine);

/* Collective: arguments equal on all ranks. Run one batch of `sample_count` samples from position
 * `first` of the loader's order forward; with `trains` also backward. Returns in `totals` the sums
 * over the whole batch, equal on all ranks, and whether any rank asked to stop (brings `stop`).
 * A rank that cannot read its samples takes part with zeros and a flag in the sums: then all ranks
 * fail, agreed, with STATUS_IO, STATUS_DATA or STATUS_NO_MEMORY, before anything goes backward. */
typedef struct EngineStep {
    Loader *loader;
    int64_t first, sample_count;
    uint32_t epoch, step;
    int trains, uses_batch_statistics;
    double stop; /* this rank's wish; afterwards the sum over the ranks */
} EngineStep;
MUST_CHECK Status engine_run(Engine *engine, EngineStep *step, Totals *totals);

/* Collective. Loss and accuracy over all samples of the loader, each counted once, in batches of
 * the job's batch size. uses_batch_statistics: batch norm and dropout as in training, but nothing
 * is updated. confusion may be NULL; it is filled on every rank. Fails as engine_run. */
MUST_CHECK Status engine_evaluate(Engine *engine, Loader *loader, int uses_batch_statistics,
    Totals *totals, Confusion *confusion);

/* Local. Add totals up; means (NaN without samples). */
void totals_add(Totals *sum, const Totals *more);
double totals_loss(const Totals *totals);
double totals_accuracy(const Totals *totals);

#endif
