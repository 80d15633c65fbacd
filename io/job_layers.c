/* job_layers.c - the list of layers; see job_reader.h. */
#include "io/job_reader.h"
#include "io/suggest.h"
#include "io/utf8.h"
#include "src/memory.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static void tell_unknown_layer(
    JobReader *reader, JobPlace place, const char *path, const char *word) {
    char list[320] = "", shown[40];
    Suggestion nearest = {.wrong = word};
    for (const LayerType *const *type = layer_types(); *type != NULL; type++) {
        size_t used = strlen(list);
        suggest_offer(&nearest, (*type)->name);
        snprintf(list + used, sizeof list - used, "%s%s", used == 0 ? "" : ", ", (*type)->name);
    }
    utf8_shorten(word, shown, sizeof shown);
    if (nearest.word[0] != '\0')
        job_problems_add(&reader->problems, place, path,
            "unknown layer \"%s\"; did you mean \"%s\"?", shown, nearest.word);
    else
        job_problems_add(
            &reader->problems, place, path, "unknown layer \"%s\"; known: %s", shown, list);
}

/* A name may hold dots inside, never at an end or side by side. */
static int is_label(const char *text) {
    size_t bytes = strlen(text);
    if (bytes == 0 || bytes >= LAYER_NAME_BYTES || text[0] == '.' || text[bytes - 1] == '.')
        return 0;
    for (size_t i = 0; i < bytes; i++) {
        if (!isascii(text[i])) return 0;
        if (!isalnum((unsigned char)text[i]) && strchr("_.-", text[i]) == NULL) return 0;
        if (text[i] == '.' && text[i + 1] == '.') return 0;
    }
    return 1;
}

static void read_label(
    JobReader *reader, LayerSpec *layer, const YamlNode *node, const char *prefix) {
    char path[JOB_PATH_BYTES], found[JOB_FOUND_BYTES];
    if (node == NULL || node->kind == YAML_IS_REFUSED) return;
    snprintf(path, sizeof path, "%sname", prefix);
    if (node->kind == YAML_IS_SCALAR && is_label(node->text))
        snprintf(layer->label, LAYER_NAME_BYTES, "%s", node->text);
    else
        job_problems_add(&reader->problems, node->place, path,
            "wants up to %d letters, digits, _ and -, with dots inside, got %s",
            LAYER_NAME_BYTES - 1, job_value_found(node, found));
}

static Status read_options(JobReader *reader, LayerSpec *layer, const YamlNode *options,
    JobPlace place, const char *path, const YamlNode **name) {
    static const Option none[] = {{.key = NULL}};
    char found[JOB_FOUND_BYTES], prefix[48];
    snprintf(prefix, sizeof prefix, "%s.", path);
    TRY(memory_allocate(&layer->options, 1, layer->type->options_bytes, "options of a layer"));
    JobScope scope = {.table = layer->type->options == NULL ? none : layer->type->options,
        .values = layer->options,
        .prefix = prefix,
        .extra_key = "name",
        .place = place};
    int is_map = options != NULL && options->kind == YAML_IS_MAP;
    if (options != NULL && options->kind == YAML_IS_REFUSED) return STATUS_OK;
    if (options != NULL && !is_map && !yaml_tree_is_empty(options)) {
        job_problems_add(&reader->problems, options->place, path,
            "%s wants its options as {key: value}, got %s", layer->type->name,
            job_value_found(options, found));
        return STATUS_OK;
    }
    TRY(job_scope_read(reader, &scope, is_map ? options : NULL));
    *name = scope.extra;
    read_label(reader, layer, scope.extra, prefix);
    return STATUS_OK;
}

/* One item: a word, or a mapping of one word to its options. *name is where it got its label. */
static Status read_layer(
    JobReader *reader, int index, const YamlNode *item, const YamlNode **name) {
    char path[40], found[JOB_FOUND_BYTES];
    LayerSpec *layer = &reader->job->network.layers[index];
    const YamlNode *first = item->first;
    int is_map = item->kind == YAML_IS_MAP && first != NULL;
    snprintf(path, sizeof path, "model.layers.%d", index);
    if (item->kind == YAML_IS_REFUSED) return STATUS_OK;
    if (!is_map && (item->kind != YAML_IS_SCALAR || yaml_tree_is_empty(item))) {
        job_problems_add(&reader->problems, item->place, path,
            "wants a layer, as relu or linear: {out: 10}, got %s", job_value_found(item, found));
        return STATUS_OK;
    }
    const char *word = is_map ? first->key : item->text;
    JobPlace place = is_map ? first->key_place : item->place;
    layer->type = layer_type_find(word);
    if (layer->type == NULL)
        tell_unknown_layer(reader, place, path, word);
    else if (is_map && first->next != NULL)
        job_problems_add(&reader->problems, first->next->key_place, path,
            "one layer an item; options go inside: %s: {key: value}", layer->type->name);
    else
        TRY(read_options(reader, layer, is_map ? first : NULL, place, path, name));
    return STATUS_OK;
}

/* The prefix of a layer's tensors. */
static const char *label_of(const LayerSpec *layer, int index, char text[LAYER_NAME_BYTES]) {
    if (layer->label[0] != '\0') return layer->label;
    snprintf(text, LAYER_NAME_BYTES, "%d", index);
    return text;
}

static void check_label(JobReader *reader, int index, const YamlNode *name) {
    const NetworkSpec *network = &reader->job->network;
    const char *label = network->layers[index].label;
    for (int other = 0; other < network->layer_count; other++) {
        char text[LAYER_NAME_BYTES], path[48];
        const LayerSpec *layer = &network->layers[other];
        int is_later_name = other > index && layer->label[0] != '\0'; /* told there */
        if (other == index || is_later_name || strcmp(label, label_of(layer, other, text)) != 0)
            continue;
        snprintf(path, sizeof path, "model.layers.%d.name", index);
        job_problems_add(&reader->problems, name->place, path,
            "\"%s\" is already the name of layer %d%s", label, other,
            layer->label[0] == '\0' ? ", which has no other" : "");
        return;
    }
}

static Status read_list(JobReader *reader, const YamlNode *list, int count) {
    NetworkSpec *network = &reader->job->network;
    const YamlNode **names = NULL;
    TRY(MEMORY_ALLOCATE(&network->layers, (size_t)count, "layers"));
    network->layer_count = count;
    TRY(MEMORY_ALLOCATE(&names, (size_t)count, "names of layers"));
    Status status = STATUS_OK;
    const YamlNode *item = list->first;
    for (int i = 0; i < count && status == STATUS_OK; i++, item = item->next)
        status = read_layer(reader, i, item, &names[i]);
    for (int i = 0; i < count && status == STATUS_OK; i++)
        if (network->layers[i].label[0] != '\0') check_label(reader, i, names[i]);
    memory_free(names);
    return status;
}

Status job_layers_read(JobReader *reader, const YamlNode *list, JobPlace place) {
    char found[JOB_FOUND_BYTES];
    if (list == NULL) {
        job_problems_add(&reader->problems, place, "model.layers",
            "must be given: the list of layers, first to last");
        return STATUS_OK;
    }
    if (list->kind == YAML_IS_REFUSED) return STATUS_OK;
    if (list->kind != YAML_IS_LIST || list->first == NULL) {
        job_problems_add(&reader->problems, list->place, "model.layers",
            "wants a list of layers, got %s", job_value_found(list, found));
        return STATUS_OK;
    }
    long count = yaml_tree_count(list);
    if (count > JOB_LAYERS_MAX) {
        job_problems_add(&reader->problems, list->place, "model.layers",
            "has %ld layers; at most %d", count, JOB_LAYERS_MAX);
        return STATUS_OK;
    }
    return read_list(reader, list, (int)count);
}
