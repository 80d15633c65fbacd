/* job_check.c - what the tables of options cannot say; see job_reader.h. */
#include "io/job_reader.h"
#include "io/utf8.h"
#include "src/memory.h"
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An option of the job: its place in the file, or that of the whole. */
static JobPlace place_of(const JobScope *scope, const char *key) {
    const YamlNode *node = scope->given[job_scope_index(scope, key)];
    return node == NULL ? scope->place : node->place;
}

static int is_good(const JobScope *scope, const char *key) {
    return scope->is_good[job_scope_index(scope, key)];
}

/* Bytes of the name in "${NAME}" at `text`, 0 if it is none. */
static size_t variable_bytes(const char *text) {
    size_t bytes = 0;
    if (strncmp(text, "${", 2) != 0) return 0;
    while (isalnum((unsigned char)text[2 + bytes]) || text[2 + bytes] == '_') bytes++;
    return text[2 + bytes] == '}' && !isdigit((unsigned char)text[2]) ? bytes : 0;
}

/* Writes `path` with its variables into the builder; returns what is wrong, "" if nothing is. */
static const char *expand(const char *path, TextBuilder *builder, char problem[128]) {
    problem[0] = '\0';
    while (*path != '\0' && problem[0] == '\0') {
        size_t plain = 1 + strcspn(path + 1, "$"), name_bytes = variable_bytes(path);
        if (name_bytes == 0) {
            text_builder_print(builder, "%.*s", (int)plain, path);
            path += plain;
            continue;
        }
        char name[LAYER_NAME_BYTES];
        snprintf(name, sizeof name, "%.*s", (int)name_bytes, path + 2);
        const char *value = name_bytes < sizeof name ? getenv(name) : NULL;
        if (value == NULL)
            snprintf(problem, 128, "the environment has no variable %s", name);
        else
            text_builder_print(builder, "%s", value);
        path += name_bytes + 3;
    }
    return problem;
}

static Status expand_path(JobReader *reader, const JobScope *scope) {
    char problem[128] = "", *expanded = NULL, **path = &reader->job->data.path;
    TextBuilder builder = {0};
    if (!is_good(scope, "data.path")) return STATUS_OK;
    expand(*path, &builder, problem);
    TRY(text_builder_finish(&builder, &expanded));
    memory_free(*path);
    *path = expanded;
    if (problem[0] == '\0' && strstr(expanded, "${") != NULL)
        snprintf(
            problem, sizeof problem, "wants ${NAME}: letters, digits and _ between the braces");
    else if (problem[0] == '\0' && !utf8_is_valid(expanded))
        snprintf(problem, sizeof problem, "a variable in it is not UTF-8 text");
    if (problem[0] != '\0')
        job_problems_add(
            &reader->problems, place_of(scope, "data.path"), "data.path", "%s", problem);
    return STATUS_OK;
}

/* Every format but the one that is drawn reads files. */
static void check_path(JobReader *reader, const JobScope *scope) {
    const JobData *data = &reader->job->data;
    int format = job_scope_index(scope, "data.format");
    if (!scope->is_good[format] || data->format == DATA_SYNTHETIC) return;
    if (!is_good(scope, "data.path") || data->path[0] != '\0') return;
    int is_given = scope->given[job_scope_index(scope, "data.path")] != NULL;
    job_problems_add(&reader->problems, place_of(scope, is_given ? "data.path" : "data.format"),
        "data.path", "must be given for format %s: the %s of the data set",
        scope->table[format].words[data->format], data->format == DATA_HDF5 ? "file" : "folder");
}

static void check_input(JobReader *reader, const JobScope *scope) {
    Job *job = reader->job;
    JobPlace place = place_of(scope, "model.input");
    const OptionInts *input = &job->input;
    if (!is_good(scope, "model.input")) return;
    if (input->count != 1 && input->count != 3) {
        job_problems_add(&reader->problems, place, "model.input",
            "wants [features] or [channels, height, width], got %d sizes", input->count);
        return;
    }
    double elements = 1;
    job->network.input.dimension_count = input->count;
    for (int i = 0; i < input->count; i++) {
        job->network.input.size[i] = (int)input->values[i];
        elements *= (double)input->values[i];
    }
    if (elements > INT_MAX)
        job_problems_add(&reader->problems, place, "model.input",
            "a sample of %.0f numbers is too large; at most %d", elements, INT_MAX);
}

static void check_normalization(
    JobReader *reader, const JobScope *scope, const char *key, const OptionFloats *values) {
    const OptionInts *input = &reader->job->input;
    int64_t channels = input->count == 3 ? input->values[0] : 1;
    if (!is_good(scope, key) || !is_good(scope, "model.input")) return;
    if (values->count == 1 || values->count == channels) return;
    job_problems_add(&reader->problems, place_of(scope, key), key,
        "has %d values, but model.input has %lld channel%s; wants one for each, or one for all",
        values->count, (long long)channels, channels == 1 ? "" : "s");
}

/* A size is [height, width]. */
static void check_size(
    JobReader *reader, const JobScope *scope, const char *key, const OptionInts *size) {
    if (!is_good(scope, key) || size->count == 0 || size->count == 2) return;
    job_problems_add(&reader->problems, place_of(scope, key), key,
        "wants [height, width], got %d number%s", size->count, size->count == 1 ? "" : "s");
}

/* Two sources for the same numbers. The defaults of normalize, which change nothing, are none. */
static void check_standardization(JobReader *reader, const JobScope *scope) {
    static const char *const keys[] = {"data.normalize.mean", "data.normalize.std"};
    const JobData *data = &reader->job->data;
    if (!is_good(scope, "data.standardize") || data->standardize == STANDARDIZE_NONE) return;
    for (int i = 0; i < 2; i++) {
        const OptionFloats *values = i == 0 ? &data->mean : &data->std;
        if (!is_good(scope, keys[i]) || (values->count == 1 && values->values[0] == i)) continue;
        JobPlace place = place_of(scope, keys[i]);
        job_problems_add(&reader->problems, place_of(scope, "data.standardize"), "data.standardize",
            "train computes what %s gives in %s, line %zu: leave one of them out", keys[i],
            place.source->name, place.line);
    }
}

static void check_optimizer(JobReader *reader, const JobScope *scope) {
    const JobOptimizer *optimizer = &reader->job->optimizer;
    if (is_good(scope, "optimizer.betas") && optimizer->betas.count != 2)
        job_problems_add(&reader->problems, place_of(scope, "optimizer.betas"), "optimizer.betas",
            "wants two values, got %d", optimizer->betas.count);
    if (!is_good(scope, "optimizer.nesterov") || !optimizer->nesterov) return;
    int has_momentum = !is_good(scope, "optimizer.momentum") || optimizer->momentum > 0;
    int has_dampening = is_good(scope, "optimizer.dampening") && optimizer->dampening != 0;
    if (!has_momentum || has_dampening)
        job_problems_add(&reader->problems, place_of(scope, "optimizer.nesterov"),
            "optimizer.nesterov", "needs momentum > 0 and dampening 0");
}

/* The last layer, also where lists end in lists; NULL where it could not be read. */
static const LayerSpec *last_layer(const LayerList *list) {
    const LayerSpec *last = list->count > 0 ? &list->layers[list->count - 1] : NULL;
    while (last != NULL && last->type != NULL && strcmp(last->type->name, "sequential") == 0) {
        list = &last->lists[0];
        last = list->count > 0 ? &list->layers[list->count - 1] : NULL;
    }
    return last != NULL && last->type != NULL ? last : NULL;
}

/* Without it the loss would fall without end. */
static void check_loss(JobReader *reader, const JobScope *scope) {
    const LayerSpec *last = last_layer(&reader->job->network.list);
    if (!is_good(scope, "loss") || reader->job->loss != LOSS_NLL || last == NULL) return;
    if (strcmp(last->type->name, "log_softmax") == 0) return;
    job_problems_add(&reader->problems, place_of(scope, "loss"), "loss",
        "nll wants log-probabilities, and the last layer is %s: end with log_softmax, or use "
        "cross_entropy",
        last->type->name);
}

/* Layers that do not fit to each other, or to the input. */
static Status check_layers(JobReader *reader, const JobScope *scope) {
    const NetworkSpec *network = &reader->job->network;
    const LayerSpec *refused = NULL;
    if (reader->problems.count > 0) return STATUS_OK; /* some may not be there */
    Status status = network_check(network, &reader->job->output, &refused);
    if (status == STATUS_CONFIG) {
        JobPlace place = job_layers_place(&network->list, scope->extras[0], refused);
        job_problems_add(&reader->problems, place, "", "%s", status_message());
        status = STATUS_OK;
    }
    return status;
}

static void add_origin(Job *job, const char *key, JobPlace place) {
    JobOrigin *origin = &job->origins[job->origin_count++];
    origin->key = key;
    job_problems_print_place(&place, origin->place);
}

/* For what only the data shows to be wrong. */
static Status keep_origins(JobReader *reader, const JobScope *scope) {
    Job *job = reader->job;
    const LayerList *layers = &job->network.list;
    if (reader->problems.count > 0) return STATUS_OK;
    TRY(MEMORY_ALLOCATE(&job->origins, JOB_OPTIONS_MAX + 1, "places in the job file"));
    for (int i = 0; scope->table[i].key != NULL; i++)
        if (scope->given[i] != NULL) add_origin(job, scope->table[i].key, scope->given[i]->place);
    add_origin(job, "model.layers", job_layers_place(layers, scope->extras[0], last_layer(layers)));
    return STATUS_OK;
}

static void check_best(JobReader *reader, const JobScope *scope) {
    int best = reader->job->checkpoint.keep_best;
    if (!is_good(scope, "checkpoint.keep_best") || !is_good(scope, "data.valid_split")) return;
    if (best != BEST_VALID_ACCURACY && best != BEST_VALID_LOSS) return;
    if (reader->job->data.valid_split > 0) return;
    job_problems_add(&reader->problems, place_of(scope, "checkpoint.keep_best"),
        "checkpoint.keep_best",
        "looks at validation, and there is none: set data.valid_split (0.1, say), or keep_best to "
        "train_loss or none");
}

Status job_check(JobReader *reader, const JobScope *scope) {
    Job *job = reader->job;
    TRY(expand_path(reader, scope));
    check_path(reader, scope);
    check_input(reader, scope);
    check_normalization(reader, scope, "data.normalize.mean", &job->data.mean);
    check_normalization(reader, scope, "data.normalize.std", &job->data.std);
    check_standardization(reader, scope);
    check_size(reader, scope, "data.resize", &job->data.transforms.resize);
    check_size(reader, scope, "data.center_crop", &job->data.transforms.center_crop);
    check_optimizer(reader, scope);
    check_loss(reader, scope);
    check_best(reader, scope);
    TRY(check_layers(reader, scope));
    return keep_origins(reader, scope);
}
