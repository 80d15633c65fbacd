/* snapshot.c - see snapshot.h. Rank 0 reads and writes; the rest is gathered and handed out. */
#include "src/snapshot.h"
#include "io/file.h"
#include "io/job_file.h"
#include "src/memory.h"
#include "src/report.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PROGRESS_ARRAYS = 9, ATTRIBUTES_MAX = 16 };

/* The arrays of a file, in its order; memory for both ways. Rank 0 only. */
typedef struct Content {
    CheckpointArray *arrays;
    int count, capacity;
    float *states[OPTIMIZER_STATES_MAX]; /* whole optimizer state, like the parameter block */
    double *columns;                     /* [HISTORY_COLUMNS][rows] */
    int64_t optimizer_step;
    TrainerProgress progress;
} Content;

static const char *const history_names[HISTORY_COLUMNS] = {
    "epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "lr"};

static void content_free(Content *content) {
    for (int i = 0; i < OPTIMIZER_STATES_MAX; i++) memory_free(content->states[i]);
    memory_free(content->columns);
    memory_free(content->arrays);
    *content = (Content){.arrays = NULL};
}

static void add(Content *content, const char *group, const char *name, CheckpointType type,
    Shape shape, void *data) {
    REQUIRE(content->count < content->capacity);
    content->arrays[content->count++] =
        (CheckpointArray){.group = group, .name = name, .type = type, .shape = shape, .data = data};
}

static void add_model(Content *content, const Network *network) {
    for (int n = 0; n < network->tensor_count; n++) {
        LayerTensor *tensor = network->tensors[n].tensor;
        const char *name = network->tensors[n].name;
        if (tensor->kind == TENSOR_COUNTER)
            add(content, "model", name, CHECKPOINT_INT64, tensor->shape, &tensor->counter);
        else
            add(content, "model", name, CHECKPOINT_FLOAT32, tensor->shape, tensor->data);
    }
}

static const char *state_group(const char *state_name) {
    static const char *const groups[] = {
        "optimizer/momentum_buffer", "optimizer/exp_avg", "optimizer/exp_avg_sq"};
    for (int i = 0; i < 3; i++)
        if (strcmp(strchr(groups[i], '/') + 1, state_name) == 0) return groups[i];
    REQUIRE(!"an optimizer state without a group");
    return NULL;
}

static void add_optimizer(Content *content, const Network *network, const Optimizer *optimizer) {
    Shape scalar = {.dimension_count = 0};
    add(content, "optimizer", "step", CHECKPOINT_INT64, scalar, &content->optimizer_step);
    for (int i = 0; i < optimizer->state_count; i++)
        for (int n = 0; n < network->tensor_count; n++) {
            LayerTensor *tensor = network->tensors[n].tensor;
            if (tensor->kind != TENSOR_PARAMETER) continue;
            add(content, state_group(optimizer->state_names[i]), network->tensors[n].name,
                CHECKPOINT_FLOAT32, tensor->shape, content->states[i] + tensor->offset);
        }
}

static void add_progress(Content *content) {
    Shape scalar = {.dimension_count = 0};
    TrainerProgress *p = &content->progress;
    const struct {
        const char *name;
        CheckpointType type;
        void *data;
    } fields[PROGRESS_ARRAYS] = {{"epoch", CHECKPOINT_INT64, &p->epoch},
        {"step", CHECKPOINT_INT64, &p->step}, {"position", CHECKPOINT_INT64, &p->position},
        {"samples_seen", CHECKPOINT_INT64, &p->samples_seen},
        {"epoch_loss_sum", CHECKPOINT_FLOAT64, &p->epoch_totals.loss_sum},
        {"epoch_correct", CHECKPOINT_FLOAT64, &p->epoch_totals.correct},
        {"epoch_samples", CHECKPOINT_INT64, &p->epoch_totals.samples},
        {"best_metric", CHECKPOINT_FLOAT64, &p->best_metric},
        {"best_epoch", CHECKPOINT_INT64, &p->best_epoch}};
    for (int i = 0; i < PROGRESS_ARRAYS; i++)
        add(content, "progress", fields[i].name, fields[i].type, scalar, fields[i].data);
}

static void add_history(Content *content, int64_t rows) {
    Shape column = {.dimension_count = 1, .size = {(int)rows}};
    for (int i = 0; i < HISTORY_COLUMNS; i++)
        add(content, "history", history_names[i], CHECKPOINT_FLOAT64, column,
            content->columns + (size_t)i * (size_t)rows);
}

/* Rank 0: memory for what a file with this many rows of history holds. */
static Status content_allocate(Content *content, const Trainer *trainer, int64_t rows) {
    const Network *network = trainer->engine.network;
    const Optimizer *optimizer = trainer->optimizer;
    *content = (Content){.arrays = NULL};
    content->capacity =
        (1 + OPTIMIZER_STATES_MAX) * network->tensor_count + 1 + PROGRESS_ARRAYS + HISTORY_COLUMNS;
    TRY(MEMORY_ALLOCATE(&content->arrays, (size_t)content->capacity, "checkpoint"));
    TRY(MEMORY_ALLOCATE(&content->columns, (size_t)rows * HISTORY_COLUMNS, "history"));
    for (int i = 0; i < optimizer->state_count; i++)
        TRY(MEMORY_ALLOCATE(
            &content->states[i], network->parameter_block_floats, "whole optimizer state"));
    add_model(content, network);
    add_optimizer(content, network, optimizer);
    add_progress(content);
    add_history(content, rows);
    return STATUS_OK;
}

/* ---- saving ---- */

/* What h5dump shows of the optimizer. */
static int optimizer_attributes(const Trainer *trainer, CheckpointAttribute *attributes) {
    const JobOptimizer *job = &trainer->job.optimizer;
    int n = 0;
    static const char *const names[] = {"sgd", "adam", "adamw"};
    attributes[n++] = (CheckpointAttribute){"optimizer", "name", 0, names[job->name]};
    attributes[n++] = (CheckpointAttribute){"optimizer", "lr", trainer->optimizer->lr, NULL};
    attributes[n++] = (CheckpointAttribute){"optimizer", "weight_decay", job->weight_decay, NULL};
    if (job->name == OPTIMIZER_SGD) {
        attributes[n++] = (CheckpointAttribute){"optimizer", "momentum", job->momentum, NULL};
        attributes[n++] = (CheckpointAttribute){"optimizer", "dampening", job->dampening, NULL};
        attributes[n++] = (CheckpointAttribute){"optimizer", "nesterov", job->nesterov, NULL};
    } else {
        attributes[n++] = (CheckpointAttribute){"optimizer", "beta1", job->betas.values[0], NULL};
        attributes[n++] = (CheckpointAttribute){"optimizer", "beta2", job->betas.values[1], NULL};
        attributes[n++] = (CheckpointAttribute){"optimizer", "eps", job->eps, NULL};
    }
    return n;
}

/* Rank 0. */
static Status write_file(
    const Trainer *trainer, const Content *content, const char *folder, const char *name) {
    CheckpointAttribute attributes[ATTRIBUTES_MAX];
    int count = optimizer_attributes(trainer, attributes);
    attributes[count++] = (CheckpointAttribute){"", "producer", 0, "lockstep"};
    attributes[count++] = (CheckpointAttribute){"", "seed", (double)trainer->job.seed, NULL};
    attributes[count++] =
        (CheckpointAttribute){"", "instruction_set", 0, trainer->engine.kernels->isa};
    char digest[DATASET_DIGEST_TEXT_BYTES];
    dataset_print_digest(&trainer->train_set, digest);
    attributes[count++] = (CheckpointAttribute){"", "data_digest", 0, digest};
    REQUIRE(count <= ATTRIBUTES_MAX);
    CheckpointContent file = {.step = trainer->progress.step,
        .config = trainer->job_text,
        .attribute_count = count,
        .attributes = attributes,
        .array_count = content->count,
        .arrays = content->arrays};
    return checkpoint_write(folder, name, &file);
}

/* Parameters, running statistics and this rank's part of the optimizer's state. */
static Status check_finite(const Trainer *trainer) {
    const Network *network = trainer->engine.network;
    const Kernels *kernels = trainer->engine.kernels;
    const Optimizer *optimizer = trainer->optimizer;
    const char *broken = NULL;
    for (int n = 0; n < network->tensor_count; n++) {
        const LayerTensor *tensor = network->tensors[n].tensor;
        if (tensor->kind == TENSOR_COUNTER) continue;
        if (!kernels->all_finite(tensor->data, shape_element_count(tensor->shape)))
            broken = network->tensors[n].name;
    }
    for (int i = 0; i < optimizer->state_count; i++)
        if (!kernels->all_finite(optimizer->states[i], optimizer->count))
            broken = optimizer->state_names[i];
    if (broken == NULL) return STATUS_OK;
    return FAIL(STATUS_DIVERGED,
        "step %lld: %s is not finite; no checkpoint is written, the last good one stays",
        (long long)trainer->progress.step, broken);
}

/* Rank 0: copy what the file shows from the trainer. */
static void fill_content(Content *content, const Trainer *trainer) {
    int64_t rows = trainer->progress.history_rows;
    content->progress = trainer->progress;
    content->optimizer_step = trainer->optimizer->step;
    for (int64_t row = 0; row < rows; row++)
        for (int i = 0; i < HISTORY_COLUMNS; i++)
            content->columns[i * rows + row] = trainer->history[row * HISTORY_COLUMNS + i];
}

static void checkpoint_folder(const Trainer *trainer, char folder[CHECKPOINT_PATH_BYTES]) {
    snprintf(folder, CHECKPOINT_PATH_BYTES, "%s/checkpoints", trainer->options->folder);
}

/* The name that best.h5 points to, so that it is not pruned; "" without one. */
static void read_best(const Trainer *trainer, char name[CHECKPOINT_PATH_BYTES]) {
    checkpoint_read_link(trainer->options->folder, "best.h5", name);
    const char *base = strrchr(name, '/');
    if (base != NULL) memmove(name, base + 1, strlen(base));
}

/* Rank 0: the file, the links, and only then remove old ones. */
static Status publish(
    const Trainer *trainer, const Content *content, const char *name, int is_best) {
    char folder[CHECKPOINT_PATH_BYTES], target[CHECKPOINT_PATH_BYTES], best[CHECKPOINT_PATH_BYTES];
    checkpoint_folder(trainer, folder);
    TRY(write_file(trainer, content, folder, name));
    snprintf(target, sizeof target, "checkpoints/%s", name);
    Status status = checkpoint_link(trainer->options->folder, "latest.h5", target);
    if (status == STATUS_OK && is_best)
        status = checkpoint_link(trainer->options->folder, "best.h5", target);
    read_best(trainer, best);
    if (status == STATUS_OK)
        status = checkpoint_prune(folder, (int)trainer->job.checkpoint.keep_last, best);
    report_warning(trainer, status); /* the checkpoint itself is safe */
    return STATUS_OK;
}

Status snapshot_save(Trainer *trainer, const char *name, int is_best) {
    Comm *comm = trainer->comm;
    const Optimizer *optimizer = trainer->optimizer;
    Content content = {.arrays = NULL};
    Status local = check_finite(trainer);
    if (local == STATUS_OK && comm_is_root(comm))
        local = content_allocate(&content, trainer, trainer->progress.history_rows);
    Status status = comm_agree(comm, local);
    if (status == STATUS_OK) {
        for (int i = 0; i < optimizer->state_count; i++)
            exchange_gather(trainer->engine.exchange, optimizer->states[i], content.states[i]);
        if (comm_is_root(comm)) {
            fill_content(&content, trainer);
            local = publish(trainer, &content, name, is_best);
        }
        status = comm_agree(comm, local);
    }
    content_free(&content);
    return status;
}

/* ---- resuming ---- */

/* Rank 0: the data must be what the run began with, wherever it lies now. */
static Status check_data(const Trainer *trainer, Checkpoint *file, const char *path) {
    char digest[DATASET_DIGEST_TEXT_BYTES], *before = NULL;
    TRY(checkpoint_read_text(file, "", "data_digest", &before));
    dataset_print_digest(&trainer->train_set, digest);
    int is_same = strcmp(before, digest) == 0;
    memory_free(before);
    if (is_same) return STATUS_OK;
    return FAIL(STATUS_CONFIG,
        "%s: was trained on other data than that of data.path now; use the same, or another --out",
        path);
}

/* Rank 0: compare the file's job with the present one; tell what differs. */
static Status check_job(Trainer *trainer, Checkpoint *file, const char *path, int *has_other_best) {
    char *text = NULL, *differences = NULL;
    Job before = {.seed = 0};
    int is_same_run = 1;
    Status status = checkpoint_read_config(file, &text);
    if (status == STATUS_OK) status = job_file_parse_stored(&before, path, text, NULL, 0);
    if (status == STATUS_OK)
        status = job_file_compare(&before, &trainer->job, &differences, &is_same_run);
    if (status == STATUS_OK && !is_same_run)
        status = FAIL(STATUS_CONFIG,
            "%s: belongs to another job; use its settings, or another --out for a new run:\n%s",
            path, differences);
    if (status == STATUS_OK && differences[0] != '\0')
        progress_print(trainer->display, "resuming with changed settings:\n%s", differences);
    *has_other_best = before.checkpoint.keep_best != trainer->job.checkpoint.keep_best;
    memory_free(text);
    memory_free(differences);
    job_free(&before);
    return status;
}

/* Rank 0: everything from one file into `content` and the network's own memory. */
static Status read_file(Trainer *trainer, const char *path, Content *content) {
    Checkpoint *file = NULL;
    char *isa = NULL;
    int64_t rows = 0;
    int has_other_best = 0;
    Status status = checkpoint_open(&file, path);
    if (status == STATUS_OK) status = check_job(trainer, file, path, &has_other_best);
    if (status == STATUS_OK) status = check_data(trainer, file, path);
    if (status == STATUS_OK) status = checkpoint_length(file, "history", "epoch", &rows);
    if (status == STATUS_OK && rows > trainer->job.train.epochs + 1)
        status = FAIL(STATUS_CONFIG,
            "%s: has run %lld epochs, train.epochs is %lld: set it higher or use another --out",
            path, (long long)rows - 1, (long long)trainer->job.train.epochs);
    if (status == STATUS_OK) status = content_allocate(content, trainer, rows);
    if (status == STATUS_OK) status = checkpoint_read(file, content->arrays, content->count);
    if (status == STATUS_OK) status = checkpoint_read_text(file, "", "instruction_set", &isa);
    if (status == STATUS_OK && strcmp(isa, trainer->engine.kernels->isa) != 0)
        progress_print(trainer->display,
            "warning: %s was written with --isa %s, this run uses %s: the bits will differ", path,
            isa, trainer->engine.kernels->isa);
    content->progress.history_rows = rows;
    if (has_other_best) content->progress.best_metric = NAN; /* what is best is to be found anew */
    memory_free(isa);
    checkpoint_close(file);
    return status;
}

/* Rank 0: rename the newer files that could not be read, so that they count as checkpoints no more.
 */
static void set_aside(const Trainer *trainer, const char *folder, char *const *names, int count) {
    for (int i = 0; i < count; i++) {
        char aside[CHECKPOINT_PATH_BYTES];
        snprintf(aside, sizeof aside, "%s.bad", names[i]);
        Status status = file_rename(folder, names[i], aside);
        report_warning(trainer, status);
        if (status == STATUS_OK)
            progress_print(trainer->display, "%s/%s is now %s", folder, names[i], aside);
    }
}

/* Rank 0: the newest whole file. A file of another job is no reason to look further. */
static Status read_newest(Trainer *trainer, Content *content, int *found) {
    char folder[CHECKPOINT_PATH_BYTES], path[2 * CHECKPOINT_PATH_BYTES];
    char **names = NULL;
    int count = 0;
    checkpoint_folder(trainer, folder);
    TRY(checkpoint_list(folder, &names, &count));
    *found = count > 0;
    Status status = STATUS_OK, worst = STATUS_DATA;
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        content_free(content);
        status = read_file(trainer, path, content);
        if (status == STATUS_OK) set_aside(trainer, folder, names, i);
        if (status == STATUS_OK)
            progress_print(trainer->display, "resuming from %s, step %lld", path,
                (long long)content->progress.step);
        if (status != STATUS_DATA && status != STATUS_IO) break;
        if (status == STATUS_IO) worst = STATUS_IO; /* what the disk refused may be whole */
        progress_print(
            trainer->display, "warning: %s; trying the checkpoint before", status_message());
    }
    if (status == STATUS_DATA || status == STATUS_IO)
        status = FAIL(worst, "%s: none of the %d checkpoints can be read; the last: %s", folder,
            count, status_message());
    memory_free(names);
    return status;
}

/* Hand rank 0's buffers and counters to all. */
static void broadcast_buffers(const Engine *engine) {
    const Network *network = engine->network;
    for (int n = 0; n < network->tensor_count; n++) {
        LayerTensor *tensor = network->tensors[n].tensor;
        if (tensor->kind == TENSOR_BUFFER)
            comm_broadcast(
                engine->comm, tensor->data, shape_element_count(tensor->shape) * sizeof(float), 0);
        if (tensor->kind == TENSOR_COUNTER)
            comm_broadcast(engine->comm, &tensor->counter, sizeof tensor->counter, 0);
    }
}

static void distribute(Trainer *trainer, Content *content) {
    Comm *comm = trainer->comm;
    Optimizer *optimizer = trainer->optimizer;
    exchange_broadcast_parameters(trainer->engine.exchange);
    broadcast_buffers(&trainer->engine);
    for (int i = 0; i < optimizer->state_count; i++)
        exchange_scatter(trainer->engine.exchange, content->states[i], optimizer->states[i]);
    if (comm_is_root(comm)) {
        trainer->progress = content->progress;
        optimizer->step = content->optimizer_step;
        int64_t rows = content->progress.history_rows;
        for (int64_t row = 0; row < rows; row++)
            for (int i = 0; i < HISTORY_COLUMNS; i++)
                trainer->history[row * HISTORY_COLUMNS + i] = content->columns[i * rows + row];
    }
    comm_broadcast(comm, &trainer->progress, sizeof trainer->progress, 0);
    comm_broadcast(comm, &optimizer->step, sizeof optimizer->step, 0);
    comm_broadcast(comm, trainer->history,
        (size_t)trainer->progress.history_rows * HISTORY_COLUMNS * sizeof *trainer->history, 0);
}

Status snapshot_resume(Trainer *trainer, int *found) {
    Content content = {.arrays = NULL};
    Status local = STATUS_OK;
    *found = 0;
    if (comm_is_root(trainer->comm)) local = read_newest(trainer, &content, found);
    Status status = comm_agree(trainer->comm, local);
    comm_broadcast(trainer->comm, found, sizeof *found, 0);
    if (status == STATUS_OK && *found) distribute(trainer, &content);
    content_free(&content);
    return status;
}

/* ---- the model alone ---- */

/* Rank 0. */
static Status read_model(Engine *engine, const char *path) {
    Content content = {.capacity = engine->network->tensor_count};
    Checkpoint *file = NULL;
    Status status =
        MEMORY_ALLOCATE(&content.arrays, (size_t)content.capacity, "list of the model's tensors");
    if (status == STATUS_OK) {
        add_model(&content, engine->network);
        status = checkpoint_open(&file, path);
    }
    if (status == STATUS_OK) status = checkpoint_read(file, content.arrays, content.count);
    checkpoint_close(file);
    content_free(&content);
    return status;
}

Status snapshot_load_model(Engine *engine, const char *path) {
    Status local = comm_is_root(engine->comm) ? read_model(engine, path) : STATUS_OK;
    TRY(comm_agree(engine->comm, local));
    exchange_broadcast_parameters(engine->exchange);
    broadcast_buffers(engine);
    return STATUS_OK;
}
