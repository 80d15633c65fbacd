/* job_compare.c - what differs between two jobs; see job_file.h. */
#include "io/job_file.h"
#include "io/job_reader.h"
#include "src/memory.h"
#include <stdio.h>
#include <string.h>

/* Two values as texts; equal values have equal ones. */
typedef struct ValuePair {
    char *before, *now;
} ValuePair;

static Status print_pair(
    ValuePair *pair, const Option *option, const void *before, const void *now) {
    TextBuilder builders[2] = {{0}, {0}};
    job_value_print(&builders[0], option, before);
    job_value_print(&builders[1], option, now);
    Status first = text_builder_finish(&builders[0], &pair->before);
    Status second = text_builder_finish(&builders[1], &pair->now);
    return first != STATUS_OK ? first : second;
}

/* One option of both. */
static Status compare_option(TextBuilder *out, const char *prefix, const Option *option,
    const void *before, const void *now) {
    ValuePair pair = {NULL, NULL};
    Status status = print_pair(&pair, option, before, now);
    if (status == STATUS_OK && strcmp(pair.before, pair.now) != 0)
        text_builder_print(out, "%s%s: %s -> %s\n", prefix, option->key, pair.before, pair.now);
    memory_free(pair.before);
    memory_free(pair.now);
    return status;
}

static int changes_what_is_trained(const char *key) {
    static const char *const keys[] = {"seed", "data.", "model.", "loss", "optimizer.name",
        "train.batch_size", "train.microbatch", "train.shuffle", NULL};
    if (strcmp(key, "data.path") == 0) return 0;
    for (int i = 0; keys[i] != NULL; i++) {
        size_t bytes = strlen(keys[i]);
        int is_section = keys[i][bytes - 1] == '.';
        if (is_section ? strncmp(key, keys[i], bytes) == 0 : strcmp(key, keys[i]) == 0) return 1;
    }
    return 0;
}

static Status compare_lists(
    TextBuilder *out, const char *path, const LayerList *before, const LayerList *now);

static Status compare_layer(
    TextBuilder *out, const char *path, int index, const LayerSpec *before, const LayerSpec *now) {
    char prefix[JOB_PATH_BYTES], texts[2][LAYER_NAME_BYTES], inner[JOB_PATH_BYTES + 64];
    const char *type_before = before == NULL ? "(no layer)" : before->type->name;
    const char *type_now = now == NULL ? "(no layer)" : now->type->name;
    snprintf(prefix, sizeof prefix, "%s.%d.", path, index);
    if (strcmp(type_before, type_now) != 0) {
        text_builder_print(out, "%s.%d: %s -> %s\n", path, index, type_before, type_now);
        return STATUS_OK;
    }
    const char *label_before = job_layer_label(before, index, texts[0]);
    const char *label_now = job_layer_label(now, index, texts[1]);
    if (strcmp(label_before, label_now) != 0)
        text_builder_print(out, "%sname: %s -> %s\n", prefix, label_before, label_now);
    const Option *option = now->type->options;
    for (; option != NULL && option->key != NULL; option++)
        TRY(compare_option(out, prefix, option, before->options, now->options));
    for (int list = 0; now->type->lists[list].key != NULL; list++) {
        snprintf(inner, sizeof inner, "%s%s", prefix, now->type->lists[list].key);
        TRY(compare_lists(out, inner, &before->lists[list], &now->lists[list]));
    }
    return STATUS_OK;
}

static Status compare_lists(
    TextBuilder *out, const char *path, const LayerList *before, const LayerList *now) {
    for (int i = 0; i < before->count || i < now->count; i++)
        TRY(compare_layer(out, path, i, i < before->count ? &before->layers[i] : NULL,
            i < now->count ? &now->layers[i] : NULL));
    return STATUS_OK;
}

/* What makes it another run goes to `other_run`, the rest to `same_run`. */
static Status compare(
    TextBuilder *other_run, TextBuilder *same_run, const Job *before, const Job *now) {
    for (const Option *option = job_options(); option->key != NULL; option++) {
        TextBuilder *out = changes_what_is_trained(option->key) ? other_run : same_run;
        TRY(compare_option(out, "", option, before, now));
    }
    return compare_lists(other_run, "model.layers", &before->network.list, &now->network.list);
}

static Status finish_lines(TextBuilder *builder, char **text) {
    if (builder->bytes > 0) builder->text[--builder->bytes] = '\0'; /* the last newline */
    return text_builder_finish(builder, text);
}

Status job_file_compare(const Job *before, const Job *now, char **text, int *is_same_run) {
    TextBuilder other_run = {0}, same_run = {0};
    char *other_text = NULL, *same_text = NULL;
    Status status = compare(&other_run, &same_run, before, now);
    Status other = finish_lines(&other_run, &other_text),
           same = finish_lines(&same_run, &same_text);
    if (status == STATUS_OK) status = other != STATUS_OK ? other : same;
    *is_same_run = status == STATUS_OK && other_text[0] == '\0';
    *text = status != STATUS_OK ? NULL : *is_same_run ? same_text : other_text;
    if (*text != other_text) memory_free(other_text);
    if (*text != same_text) memory_free(same_text);
    return status;
}
