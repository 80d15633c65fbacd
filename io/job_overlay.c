/* job_overlay.c - see job_overlay.h. */
#include "io/job_overlay.h"
#include "io/utf8.h"
#include "src/layer.h"
#include "src/memory.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_WORD_BYTES = 64, PATH_BYTES = 256 };

/* A walk along the path of one --set. */
typedef struct Overlay {
    YamlTree *tree;
    const JobSource *source;
    JobProblems *problems;
    YamlNode *value;
    const char *path_end; /* the '=' */
} Overlay;

static JobPlace place_at(const Overlay *overlay, const char *text) {
    return (JobPlace){overlay->source, 1, (size_t)(text - overlay->source->text) + 1};
}

/* Bytes of the word at the front of a path; 0 if it is no word of one. */
static size_t word_bytes(const char *path) {
    size_t bytes = 0;
    while (isalnum((unsigned char)path[bytes]) || path[bytes] == '_' || path[bytes] == '-') bytes++;
    return bytes < PATH_WORD_BYTES ? bytes : 0;
}

/* The '=' behind a path of words and dots, NULL if `text` is not so. */
static const char *find_path_end(const char *text) {
    const char *path = text;
    size_t bytes = word_bytes(path);
    while (bytes > 0 && path[bytes] == '.') {
        path += bytes + 1;
        bytes = word_bytes(path);
    }
    return bytes > 0 && path[bytes] == '=' && path + bytes - text < PATH_BYTES ? path + bytes
                                                                               : NULL;
}

/* Blanks instead of "a.b=" keep the columns right. */
static Status read_value(Overlay *overlay) {
    const JobSource *source = overlay->source;
    size_t path_bytes = (size_t)(overlay->path_end + 1 - source->text);
    char *text = NULL;
    TRY(memory_copy_string(&text, source->text));
    memset(text, ' ', path_bytes);
    Status status = yaml_tree_read(
        overlay->tree, source, text, source->bytes, overlay->problems, &overlay->value);
    memory_free(text);
    TRY(status);
    if (overlay->value == NULL) return STATUS_OK;
    JobPlace start = place_at(overlay, overlay->path_end + 1);
    const char *problem = NULL;
    if (overlay->value->is_block)
        problem = "the value may not be indented YAML; write {key: value} or [value, value]";
    else if (yaml_tree_is_empty(overlay->value) && source->text[path_bytes] != '\0')
        problem = "there is no value: # starts a comment, quote it";
    if (problem == NULL) return STATUS_OK;
    job_problems_add(overlay->problems, start, "", "%s", problem);
    overlay->value = NULL;
    return STATUS_OK;
}

/* Give `node`, whatever it was, the content of `other`; key and place in the list stay. */
static void replace_content(YamlNode *node, const YamlNode *other) {
    YamlNode replaced = *other;
    replaced.key = node->key;
    replaced.key_place = other->place;
    replaced.next = node->next;
    *node = replaced;
}

/* Find or add `key` in a mapping. */
static Status enter_key(
    Overlay *overlay, YamlNode *map, const char *key, JobPlace place, YamlNode **child) {
    *child = yaml_tree_find(map, key);
    if (*child != NULL) return STATUS_OK;
    TRY(yaml_tree_add_node(overlay->tree, YAML_IS_SCALAR, place, child));
    yaml_tree_append(map, *child);
    return yaml_tree_add_text(overlay->tree, key, &(*child)->key);
}

/* Make a mapping of a node that is none, for a path that goes on. */
static void become_map(YamlNode *node, JobPlace place) {
    YamlNode map = {.kind = YAML_IS_MAP, .place = place};
    if (node->kind == YAML_IS_MAP) return;
    replace_content(node, &map);
}

/* From the item of model.layers to the mapping of its options, unless `key` is its own word. */
static Status enter_layer(Overlay *overlay, YamlNode *item, const char *key, YamlNode **options) {
    JobPlace place = item->place;
    *options = item;
    if (item->kind == YAML_IS_SCALAR) {
        char *word = item->text;
        if (strcmp(word, key) == 0) return STATUS_OK;
        become_map(item, place);
        TRY(enter_key(overlay, item, word, place, options));
    } else if (item->kind == YAML_IS_MAP && item->first != NULL && item->first == item->last) {
        if (strcmp(item->first->key, key) == 0) return STATUS_OK;
        *options = item->first;
    }
    if (yaml_tree_is_empty(*options)) become_map(*options, (*options)->place);
    return STATUS_OK;
}

/* The item of a list that a word of the path names; NULL, with a problem, if there is none. */
static YamlNode *enter_index(Overlay *overlay, YamlNode *list, const char *word, JobPlace place) {
    long count = yaml_tree_count(list);
    char *end = NULL;
    long index = strtol(word, &end, 10);
    if (*end == '\0' && index >= 0 && index < count && isdigit((unsigned char)word[0]))
        return yaml_tree_at(list, index);
    if (count == 0)
        job_problems_add(
            overlay->problems, place, "", "the list has no item \"%s\": it is empty", word);
    else
        job_problems_add(overlay->problems, place, "",
            "the list has no item \"%s\"; its items are 0 to %ld", word, count - 1);
    return NULL;
}

static void tell_duplicate(Overlay *overlay, const YamlNode *node) {
    char key[PATH_WORD_BYTES];
    utf8_shorten(node->key, key, sizeof key);
    job_problems_add(overlay->problems, node->key_place, "", "duplicate key \"%s\"", key);
}

/* Lay the children of a mapping over those of another; anything else replaces what is there. */
static Status merge(Overlay *overlay, YamlNode *node, const YamlNode *value) {
    if (value->kind != YAML_IS_MAP || node->kind != YAML_IS_MAP) {
        replace_content(node, value);
        return STATUS_OK;
    }
    for (const YamlNode *child = value->first; child != NULL; child = child->next) {
        YamlNode *target = NULL;
        if (yaml_tree_find(value, child->key) != child) tell_duplicate(overlay, child);
        TRY(enter_key(overlay, node, child->key, child->key_place, &target));
        TRY(merge(overlay, target, child));
        target->key_place = child->key_place;
    }
    return STATUS_OK;
}

/* Whether some layer has a list of layers under this key. */
static int is_list_key(const char *key, size_t bytes) {
    for (const LayerType *const *type = layer_types(); *type != NULL; type++)
        for (const LayerListOption *list = (*type)->lists; list->key != NULL; list++)
            if (strlen(list->key) == bytes && memcmp(list->key, key, bytes) == 0) return 1;
    return 0;
}

/* "model.layers." or "model.layers.0.projection.", which ends before `end`. */
static int is_layer_list(const char *path, const char *end) {
    static const char layers[] = "model.layers.";
    size_t bytes = sizeof layers - 1;
    if ((size_t)(end - path) < bytes || strncmp(path, layers, bytes) != 0) return 0;
    const char *word = end - 1;
    while (word > path && word[-1] != '.') word--;
    return end == path + bytes || is_list_key(word, (size_t)(end - 1 - word));
}

static Status walk(Overlay *overlay, YamlNode *node) {
    const char *start = overlay->source->text;
    int is_item = 0, is_layer = 0;
    for (const char *at = start; at < overlay->path_end;) {
        char word[PATH_WORD_BYTES] = "";
        size_t bytes = word_bytes(at);
        memcpy(word, at, bytes);
        JobPlace place = place_at(overlay, at);
        if (is_layer) TRY(enter_layer(overlay, node, word, &node));
        is_item = node->kind == YAML_IS_LIST;
        is_layer = is_item && is_layer_list(start, at);
        if (is_item) {
            node = enter_index(overlay, node, word, place);
            if (node == NULL) return STATUS_OK;
        } else {
            become_map(node, place_at(overlay, start));
            TRY(enter_key(overlay, node, word, place, &node));
            node->key_place = place;
        }
        at += bytes + 1;
    }
    if (is_item) {
        replace_content(node, overlay->value);
        return STATUS_OK;
    }
    JobPlace key_place = node->key_place;
    TRY(merge(overlay, node, overlay->value));
    node->key_place = key_place;
    return STATUS_OK;
}

Status job_overlay_apply(
    YamlTree *tree, YamlNode *root, const JobSource *source, JobProblems *problems) {
    Overlay overlay = {.tree = tree, .source = source, .problems = problems};
    overlay.path_end = find_path_end(source->text);
    if (overlay.path_end == NULL) {
        job_problems_add(problems, (JobPlace){source, 1, 1}, "",
            "wants the form section.key=value, as in optimizer.lr=0.01");
        return STATUS_OK;
    }
    TRY(read_value(&overlay));
    return overlay.value == NULL ? STATUS_OK : walk(&overlay, root);
}
