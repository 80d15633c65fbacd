/* job_layers.c - lists of layers, and those within their layers; see job_reader.h. */
#include "io/job_reader.h"
#include "io/suggest.h"
#include "io/utf8.h"
#include "src/memory.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Print where something stands; what finds no room is cut. */
static void print_path(char path[JOB_PATH_BYTES], const char *format, ...) PRINTF_LIKE(2, 3);
static void print_path(char path[JOB_PATH_BYTES], const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path, JOB_PATH_BYTES, format, arguments);
    va_end(arguments);
}

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
    print_path(path, "%sname", prefix);
    if (node->kind == YAML_IS_SCALAR && is_label(node->text))
        snprintf(layer->label, LAYER_NAME_BYTES, "%s", node->text);
    else
        job_problems_add(&reader->problems, node->place, path,
            "wants up to %d letters, digits, _ and -, with dots inside, got %s",
            LAYER_NAME_BYTES - 1, job_value_found(node, found));
}

static void tell_wrong_options(
    JobReader *reader, const LayerSpec *layer, const YamlNode *options, const char *path) {
    char found[JOB_FOUND_BYTES];
    if (layer->type->lists[0].key != NULL)
        job_problems_add(&reader->problems, options->place, path,
            "%s wants its options as {%s: [...]}, got %s", layer->type->name,
            layer->type->lists[0].key, job_value_found(options, found));
    else
        job_problems_add(&reader->problems, options->place, path,
            "%s wants its options as {key: value}, got %s", layer->type->name,
            job_value_found(options, found));
}

/* The lists of layers that a layer holds; `nodes` are what was given for them. */
static Status read_inner_lists(JobReader *reader, LayerSpec *layer, const YamlNode *const *nodes,
    JobPlace place, const char *prefix) {
    const LayerListOption *option = layer->type->lists;
    for (int list = 0; option[list].key != NULL; list++) {
        char path[JOB_PATH_BYTES];
        if (nodes[list] == NULL && option[list].is_optional) continue;
        print_path(path, "%s%s", prefix, option[list].key);
        TRY(job_layers_read(reader, &layer->lists[list], nodes[list], path, place));
    }
    return STATUS_OK;
}

static Status read_options(JobReader *reader, LayerSpec *layer, const YamlNode *options,
    JobPlace place, const char *path, const YamlNode **name) {
    static const Option none[] = {{.key = NULL}};
    char prefix[JOB_PATH_BYTES];
    int list_count = 0;
    print_path(prefix, "%s.", path);
    TRY(memory_allocate(&layer->options, 1, layer->type->options_bytes, "options of a layer"));
    JobScope scope = {.table = layer->type->options == NULL ? none : layer->type->options,
        .values = layer->options,
        .prefix = prefix,
        .place = place};
    for (; layer->type->lists[list_count].key != NULL; list_count++)
        scope.extra_keys[list_count] = layer->type->lists[list_count].key;
    scope.extra_keys[list_count] = "name";
    int is_map = options != NULL && options->kind == YAML_IS_MAP;
    if (options != NULL && options->kind == YAML_IS_REFUSED) return STATUS_OK;
    if (options != NULL && !is_map && !yaml_tree_is_empty(options)) {
        tell_wrong_options(reader, layer, options, path);
        return STATUS_OK;
    }
    TRY(job_scope_read(reader, &scope, is_map ? options : NULL));
    *name = scope.extras[list_count];
    read_label(reader, layer, *name, prefix);
    return read_inner_lists(reader, layer, scope.extras, place, prefix);
}

/* One item: a word, or a mapping of one word to its options. *name is where it got its label. */
static Status read_layer(JobReader *reader, LayerSpec *layer, const YamlNode *item,
    const char *path, const YamlNode **name) {
    char found[JOB_FOUND_BYTES];
    const YamlNode *first = item->first;
    int is_map = item->kind == YAML_IS_MAP && first != NULL;
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

const char *job_layer_label(const LayerSpec *layer, int position, char text[LAYER_NAME_BYTES]) {
    if (layer->label[0] != '\0') return layer->label;
    snprintf(text, LAYER_NAME_BYTES, "%d", position);
    return text;
}

static void check_label(JobReader *reader, const LayerList *list, int index, const YamlNode *name,
    const char *list_path) {
    const char *label = list->layers[index].label;
    for (int other = 0; other < list->count; other++) {
        char text[LAYER_NAME_BYTES], path[JOB_PATH_BYTES];
        const LayerSpec *layer = &list->layers[other];
        int is_later_name = other > index && layer->label[0] != '\0'; /* told there */
        if (other == index || is_later_name ||
            strcmp(label, job_layer_label(layer, other, text)) != 0)
            continue;
        print_path(path, "%s.%d.name", list_path, index);
        job_problems_add(&reader->problems, name->place, path,
            "\"%s\" is already the name of layer %d%s", label, other,
            layer->label[0] == '\0' ? ", which has no other" : "");
        return;
    }
}

static Status read_items(
    JobReader *reader, LayerList *list, const YamlNode *node, int count, const char *list_path) {
    const YamlNode **names = NULL;
    TRY(MEMORY_ALLOCATE(&list->layers, (size_t)count, "layers"));
    list->count = count;
    TRY(MEMORY_ALLOCATE(&names, (size_t)count, "names of layers"));
    Status status = STATUS_OK;
    const YamlNode *item = node->first;
    for (int i = 0; i < count && status == STATUS_OK; i++, item = item->next) {
        char path[JOB_PATH_BYTES];
        print_path(path, "%s.%d", list_path, i);
        status = read_layer(reader, &list->layers[i], item, path, &names[i]);
    }
    for (int i = 0; i < count && status == STATUS_OK; i++)
        if (list->layers[i].label[0] != '\0') check_label(reader, list, i, names[i], list_path);
    memory_free(names);
    return status;
}

Status job_layers_read(
    JobReader *reader, LayerList *list, const YamlNode *node, const char *path, JobPlace place) {
    char found[JOB_FOUND_BYTES];
    if (node == NULL) {
        job_problems_add(
            &reader->problems, place, path, "must be given: the list of layers, first to last");
        return STATUS_OK;
    }
    if (node->kind == YAML_IS_REFUSED) return STATUS_OK;
    if (node->kind != YAML_IS_LIST || node->first == NULL) {
        job_problems_add(&reader->problems, node->place, path, "wants a list of layers, got %s",
            job_value_found(node, found));
        return STATUS_OK;
    }
    long count = yaml_tree_count(node);
    if (count > JOB_LAYERS_MAX) {
        job_problems_add(&reader->problems, node->place, path, "has %ld layers; at most %d", count,
            JOB_LAYERS_MAX);
        return STATUS_OK;
    }
    return read_items(reader, list, node, (int)count, path);
}

/* The item of a list that became `wanted`; NULL if none did. */
static const YamlNode *find_item(
    const LayerList *list, const YamlNode *node, const LayerSpec *wanted) {
    const YamlNode *item = node->first;
    for (int i = 0; i < list->count; i++, item = item->next) {
        const LayerSpec *layer = &list->layers[i];
        if (layer == wanted) return item;
        for (int inner = 0; layer->type->lists[inner].key != NULL; inner++) {
            if (layer->lists[inner].count == 0) continue;
            const YamlNode *below = yaml_tree_find(item->first, layer->type->lists[inner].key);
            const YamlNode *found = find_item(&layer->lists[inner], below, wanted);
            if (found != NULL) return found;
        }
    }
    return NULL;
}

JobPlace job_layers_place(const LayerList *list, const YamlNode *node, const LayerSpec *wanted) {
    const YamlNode *item = find_item(list, node, wanted);
    if (item == NULL) return node->place;
    return item->kind == YAML_IS_MAP ? item->first->key_place : item->place;
}
