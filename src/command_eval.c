/* command_eval.c - lockstep eval: loss and accuracy of a checkpoint on the test set, in all and for
 * each class. Evaluation mode uses the running statistics; --mode train those of each batch, and
 * drops what training drops, to compare. */
#include "io/checkpoint.h"
#include "io/dataset.h"
#include "io/job_file.h"
#include "io/utf8.h"
#include "src/command.h"
#include "src/engine.h"
#include "src/memory.h"
#include "src/snapshot.h"
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 48 }; /* of a class, as it is shown */

typedef struct Evaluation {
    Comm *comm;
    Job job;
    char *job_text; /* the resolved job */
    Dataset set;
    Loader *loader;
    Engine engine;
    Confusion confusion;
    NameList classes; /* rank 0 */
} Evaluation;

static Status read_stored_job(Job *job, const char *path, char *const *sets, int set_count) {
    Checkpoint *file = NULL;
    char *text = NULL;
    Status status = checkpoint_open(&file, path);
    if (status == STATUS_OK) status = checkpoint_read_config(file, &text);
    if (status == STATUS_OK) status = job_file_parse_stored(job, path, text, sets, set_count);
    memory_free(text);
    checkpoint_close(file);
    return status;
}

/* A job that standardizes: by the numbers that the checkpoint was trained with. */
static Status use_stored_normalization(JobData *data, const char *path) {
    Job stored = {.seed = 0};
    Status status = read_stored_job(&stored, path, NULL, 0);
    data->mean = stored.data.mean;
    data->std = stored.data.std;
    data->standardize = STANDARDIZE_NONE;
    job_free(&stored);
    return status;
}

/* The job that is given, or the one in the checkpoint. */
static Status read_job(Evaluation *evaluation, const CommandLine *line) {
    Job *job = &evaluation->job;
    const char *path = line->arguments[0];
    if (line->argument_count < 2)
        TRY(read_stored_job(job, path, line->sets, line->train.set_count));
    else
        TRY(job_file_read(job, line->arguments[1], line->sets, line->train.set_count));
    if (job->data.standardize == STANDARDIZE_NONE) return STATUS_OK;
    return use_stored_normalization(&job->data, path);
}

static Status create_local_parts(Evaluation *evaluation) {
    TRY(confusion_create(&evaluation->confusion, evaluation->job.output.size[0]));
    if (comm_is_root(evaluation->comm))
        TRY(dataset_read_classes(&evaluation->job, &evaluation->classes));
    return dataset_create_loader(
        &evaluation->loader, &evaluation->set, &evaluation->job.data, 0, evaluation->set.count);
}

/* "  name", or "" where the class has none. */
static const char *print_name(const NameList *classes, int label, char text[NAME_BYTES]) {
    text[0] = '\0';
    if ((size_t)label >= classes->count) return text;
    strcpy(text, "  ");
    utf8_shorten(classes->names[label], text + 2, NAME_BYTES - 2);
    return text;
}

static void print_confusion(const Confusion *confusion, const NameList *classes) {
    int count = confusion->classes;
    char name[NAME_BYTES];
    if (confusion->matrix == NULL) return;
    printf("confusion matrix: rows are labels, columns what was predicted\n      ");
    for (int k = 0; k < count; k++) printf("%6d", k);
    for (int label = 0; label < count; label++) {
        printf("\n%6d", label);
        for (int k = 0; k < count; k++)
            printf("%6lld", (long long)confusion->matrix[label * count + k]);
        printf("%s", print_name(classes, label, name));
    }
    printf("\n");
}

static void print_result(const Evaluation *evaluation, const Totals *totals, const char *mode) {
    const Confusion *confusion = &evaluation->confusion;
    char name[NAME_BYTES];
    printf("%lld samples, layers in %s mode\n", (long long)totals->samples, mode);
    printf("loss %.6f  accuracy %.4f\n", totals_loss(totals), totals_accuracy(totals));
    for (int label = 0; label < confusion->classes; label++) {
        int64_t all = confusion->samples[label], right = confusion->right[label];
        if (all > 0)
            printf("class %3d  accuracy %.4f (%lld of %lld)%s\n", label,
                (double)right / (double)all, (long long)right, (long long)all,
                print_name(&evaluation->classes, label, name));
    }
    print_confusion(confusion, &evaluation->classes);
    fflush(stdout);
}

/* Collective. */
static Status open_test_set(Evaluation *evaluation) {
    const Job *job = &evaluation->job;
    char note[DATASET_NOTE_BYTES];
    int has_test = 0;
    TRY(dataset_has_test(evaluation->comm, job, &has_test, note));
    if (note[0] != '\0') printf("%s\n", note);
    if (has_test) return dataset_open(&evaluation->set, evaluation->comm, job, DATASET_TEST);
    return FAIL(STATUS_MISSING,
        "%s: the set has no test samples; name one that has, with --set data.path=... or in a job "
        "file behind the checkpoint",
        job->data.path);
}

static Status evaluate(Evaluation *evaluation, const CommandLine *line) {
    Comm *comm = evaluation->comm;
    TRY(comm_agree(comm, read_job(evaluation, line)));
    TRY(comm_agree(comm, job_file_print(&evaluation->job, 0, &evaluation->job_text)));
    TRY(comm_require_same(comm, "the resolved job", evaluation->job_text));
    TRY(open_test_set(evaluation));
    EngineOptions options = line->train.engine;
    options.trains = 0;
    TRY(engine_create(&evaluation->engine, comm, &evaluation->job, &options));
    TRY(comm_agree(comm, create_local_parts(evaluation)));
    TRY(snapshot_load_model(&evaluation->engine, line->arguments[0]));
    Totals totals;
    TRY(engine_evaluate(&evaluation->engine, evaluation->loader, line->uses_batch_statistics,
        &totals, &evaluation->confusion));
    if (comm_is_root(comm))
        print_result(evaluation, &totals, line->uses_batch_statistics ? "train" : "eval");
    return STATUS_OK;
}

static Status run(Comm *comm, const CommandLine *line) {
    Evaluation evaluation = {.comm = comm};
    Status status = evaluate(&evaluation, line);
    name_list_free(&evaluation.classes);
    confusion_free(&evaluation.confusion);
    loader_free(evaluation.loader);
    engine_free(&evaluation.engine);
    dataset_free(&evaluation.set);
    memory_free(evaluation.job_text);
    job_free(&evaluation.job);
    return status;
}

const Command command_eval = {
    .name = "eval",
    .usage = "MODEL.h5 [JOB.yaml] [--mode train|eval] [--threads N] [--set a.b=v]... [--isa NAME]",
    .summary = "loss, accuracy, accuracy per class and confusion matrix on the test set",
    .details = "Without JOB.yaml the job that the checkpoint holds says which data to use.\n",
    .examples = "  lockstep eval runs/a/best.h5\n"
                "  mpirun -n 2 lockstep eval runs/a/latest.h5 --set data.path=data/other\n",
    .options = "tsmi",
    .minimum_arguments = 1,
    .maximum_arguments = 2,
    .needs_ranks = 1,
    .run = run,
};
