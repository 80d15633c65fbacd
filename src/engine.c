/* engine.c - see engine.h. */
#include "src/engine.h"
#include "src/memory.h"
#include "src/subnormals.h"
#include <math.h>
#include <string.h>

/* ---- set-up ---- */

static Status check_microbatches(const Engine *engine) {
    const JobTrain *train = &engine->job->train;
    int size = comm_size(engine->comm);
    int64_t count = engine->batch.global_microbatch_count;
    if (count >= size) return STATUS_OK;
    int64_t fitting = train->batch_size / size;
    if (fitting < 1)
        return FAIL(STATUS_CONFIG,
            "train.batch_size: %lld is less than the %d ranks: use at most %lld ranks, or set "
            "train.batch_size to %d or more",
            (long long)train->batch_size, size, (long long)train->batch_size, size);
    return FAIL(STATUS_CONFIG,
        "train.batch_size: %lld in microbatches of %lld gives %lld, fewer than the %d ranks: use "
        "at most %lld ranks, or set train.microbatch to %lld, or train.batch_size to %lld",
        (long long)train->batch_size, (long long)train->microbatch, (long long)count, size,
        (long long)count, (long long)fitting, (long long)(size * train->microbatch));
}

static void plan_batch(Engine *engine, int64_t samples) {
    batch_plan(&engine->batch, samples, job_microbatch(engine->job), comm_position(engine->comm),
        comm_size(engine->comm));
}

static Status create_local(Engine *engine, const EngineOptions *options) {
    const Batch *batch = &engine->batch;
    int count = batch->local_count;
    if (options->trains) TRY(job_locate(engine->job, check_microbatches(engine)));
    engine->kernels = kernels_find(options->isa, batch->lanes);
    REQUIRE(engine->kernels != NULL);
    subnormals_flush();
    TRY(threads_create(&engine->threads, options->thread_count));
    TRY(network_create(
        &engine->network, &engine->job->network, batch->lanes, count, options->thread_count));
    if (options->profiles && comm_is_root(engine->comm))
        TRY(profile_create(&engine->profile, engine->network->layer_count));
    TRY(MEMORY_ALLOCATE(&engine->labels, (size_t)count * (size_t)batch->lanes, "labels"));
    TRY(MEMORY_ALLOCATE(
        &engine->sample_index, (size_t)count * (size_t)batch->microbatch, "sample numbers"));
    return MEMORY_ALLOCATE(
        &engine->records, (size_t)count * LOSS_RECORD_LENGTH, "records of microbatches");
}

Status engine_create(Engine *engine, Comm *comm, const Job *job, const EngineOptions *options) {
    *engine = (Engine){.comm = comm, .job = job};
    plan_batch(engine, job->train.batch_size);
    TRY(comm_agree(comm, create_local(engine, options)));
    TRY(exchange_create(&engine->exchange, comm, engine->kernels,
        engine->network->parameter_block_floats, &engine->batch));
    network_attach(engine->network, exchange_parameters(engine->exchange));
    network_initialize(engine->network, (uint64_t)job->seed, comm_node_rank(comm) == 0);
    comm_node_barrier(comm);
    return STATUS_OK;
}

void engine_free(Engine *engine) {
    exchange_free(engine->exchange);
    network_free(engine->network);
    profile_free(engine->profile);
    threads_free(engine->threads);
    memory_free(engine->labels);
    memory_free(engine->sample_index);
    memory_free(engine->records);
    *engine = (Engine){.comm = NULL};
}

/* ---- batches ---- */

static Pass make_pass(const Engine *engine, const EngineStep *step) {
    return (Pass){.batch = &engine->batch,
        .kernels = engine->kernels,
        .threads = engine->threads,
        .reducer = comm_reducer(engine->comm),
        .profile = step->trains ? engine->profile : NULL,
        .gradients = exchange_gradients(engine->exchange),
        .seed = (uint64_t)engine->job->seed,
        .epoch = step->epoch,
        .step = step->step,
        .sample_index = engine->sample_index,
        .is_training = step->trains,
        .uses_batch_statistics = step->trains || step->uses_batch_statistics};
}

/* The sums over the batch, on every rank. `loaded`: whether this rank has its samples; fails,
 * agreed, when one has not. */
static Status combine_records(Engine *engine, EngineStep *step, Status loaded, Totals *totals) {
    double total[LOSS_RECORD_LENGTH];
    Reducer *reducer = comm_reducer(engine->comm);
    if (engine->batch.local_count > 0) {
        engine->records[LOSS_STOP] = step->stop;
        engine->records[LOSS_FAILED] = loaded != STATUS_OK;
    }
    reducer->combine(reducer, &engine->batch, (int)engine->batch.global_microbatch_count,
        LOSS_RECORD_LENGTH, reducer_merge_sum, engine->records, NULL, total);
    step->stop = total[LOSS_STOP];
    *totals = (Totals){.loss_sum = total[LOSS_SUM],
        .correct = total[LOSS_CORRECT],
        .samples = engine->batch.global_sample_count};
    return total[LOSS_FAILED] > 0 ? comm_agree(engine->comm, loaded) : STATUS_OK;
}

/* Let the samples of the next batch be read while this one is computed. */
static void request_next(const Engine *engine, const EngineStep *step) {
    int64_t first = step->first + step->sample_count;
    int64_t left = step->loader->source.count - first, size = engine->job->train.batch_size;
    Batch next;
    if (left <= 0) return;
    batch_plan(&next, left < size ? left : size, job_microbatch(engine->job),
        comm_position(engine->comm), comm_size(engine->comm));
    loader_request(step->loader, &next, first);
}

Status engine_run(Engine *engine, EngineStep *step, Totals *totals) {
    Network *network = engine->network;
    plan_batch(engine, step->sample_count);
    Pass pass = make_pass(engine, step);
    int before = profile_switch(pass.profile, PROFILE_LOADING);
    Status loaded = loader_fill(step->loader, &engine->batch, step->first, engine->kernels,
        engine->threads, network_input(network), engine->labels, engine->sample_index);
    request_next(engine, step);
    profile_switch(pass.profile, before);
    network_forward(network, &pass);
    Tensor gradient = network_output_gradient(network);
    if (!step->trains) gradient.data = NULL;
    profile_switch(pass.profile, PROFILE_LOSS);
    loss_compute(loss_type(engine->job->loss), &pass, network_output(network), engine->labels,
        &gradient, engine->records);
    profile_switch(pass.profile, PROFILE_UPDATE); /* from here on mostly waiting for other ranks */
    Status status = combine_records(engine, step, loaded, totals);
    profile_switch(pass.profile, before);
    TRY(status);
    if (step->trains) network_backward(network, &pass);
    return STATUS_OK;
}

/* ---- evaluation ---- */

Status confusion_create(Confusion *confusion, int classes) {
    size_t size = (size_t)classes;
    size_t cells = classes <= CONFUSION_MATRIX_CLASSES_MAX ? size * size : 0;
    *confusion = (Confusion){.classes = classes, .count = 2 * size + cells};
    TRY(MEMORY_ALLOCATE(&confusion->counts, confusion->count, "counts per class"));
    confusion->samples = confusion->counts;
    confusion->right = confusion->samples + size;
    if (cells > 0) confusion->matrix = confusion->right + size;
    return STATUS_OK;
}

void confusion_free(Confusion *confusion) {
    memory_free(confusion->counts);
    *confusion = (Confusion){.classes = 0};
}

static void count_prediction(Confusion *confusion, int label, int predicted) {
    confusion->samples[label]++;
    confusion->right[label] += predicted == label;
    if (confusion->matrix != NULL) confusion->matrix[label * confusion->classes + predicted]++;
}

static void count_predictions(const Engine *engine, Confusion *confusion) {
    const Tensor *output = network_output(engine->network);
    int lanes = engine->batch.lanes, classes = output->shape.size[0];
    for (int m = 0; m < engine->batch.local_count; m++)
        for (int s = 0; s < lanes; s++) {
            int label = engine->labels[m * lanes + s];
            if (label < 0) continue;
            int predicted = loss_predicted_class(layer_input(output, m).data, classes, lanes, s);
            if (label < confusion->classes && predicted < confusion->classes)
                count_prediction(confusion, label, predicted);
        }
}

Status engine_evaluate(Engine *engine, Loader *loader, int uses_batch_statistics, Totals *totals,
    Confusion *confusion) {
    int64_t count = loader->source.count, batch = engine->job->train.batch_size;
    *totals = (Totals){.samples = 0};
    for (int64_t first = 0; first < count; first += batch) {
        EngineStep step = {.loader = loader,
            .first = first,
            .sample_count = first + batch < count ? batch : count - first,
            .uses_batch_statistics = uses_batch_statistics};
        Totals of_batch;
        TRY(engine_run(engine, &step, &of_batch));
        totals_add(totals, &of_batch);
        if (confusion != NULL) count_predictions(engine, confusion);
    }
    if (confusion != NULL) comm_sum_counts(engine->comm, confusion->counts, confusion->count);
    return STATUS_OK;
}

void totals_add(Totals *sum, const Totals *more) {
    sum->loss_sum += more->loss_sum;
    sum->correct += more->correct;
    sum->samples += more->samples;
}

double totals_loss(const Totals *totals) {
    return totals->samples > 0 ? totals->loss_sum / (double)totals->samples : NAN;
}

double totals_accuracy(const Totals *totals) {
    return totals->samples > 0 ? totals->correct / (double)totals->samples : NAN;
}
