/* job_scope.c - a mapping of the file against a table of options; see job_reader.h. */
#include "io/job_reader.h"
#include "io/suggest.h"
#include "io/utf8.h"
#include "src/memory.h"
#include <stdio.h>
#include <string.h>

enum { KEY_BYTES = 40, LIST_BYTES = 320 };

int job_scope_index(const JobScope *scope, const char *key) {
    int index = 0;
    while (scope->table[index].key != NULL && strcmp(scope->table[index].key, key) != 0) index++;
    REQUIRE(scope->table[index].key != NULL);
    return index;
}

static int table_length(const JobScope *scope) {
    int count = 0;
    while (scope->table[count].key != NULL) count++;
    REQUIRE(count <= JOB_OPTIONS_MAX);
    return count;
}

/* Key i of the scope: the table's, then the extra ones, then NULL. */
static const char *known_key(const JobScope *scope, int i) {
    int count = table_length(scope);
    return i < count ? scope->table[i].key : scope->extra_keys[i - count];
}

/* The part of a known key behind `section`, up to the next dot; "" if it is not in there. */
static void next_word(const char *known, const char *section, char word[KEY_BYTES]) {
    size_t section_bytes = strlen(section);
    word[0] = '\0';
    if (strncmp(known, section, section_bytes) != 0) return;
    const char *start = known + section_bytes;
    snprintf(word, KEY_BYTES, "%.*s", (int)strcspn(start, "."), start);
}

/* All keys of a section, each once, as "name, lr, momentum"; each is offered as what was meant. */
static void list_section(
    const JobScope *scope, const char *section, char list[LIST_BYTES], Suggestion *nearest) {
    char before[KEY_BYTES] = "", word[KEY_BYTES];
    const char *known = NULL;
    size_t used = 0;
    list[0] = '\0';
    for (int i = 0; (known = known_key(scope, i)) != NULL; i++) {
        next_word(known, section, word);
        if (word[0] == '\0' || strcmp(word, before) == 0) continue;
        memcpy(before, word, sizeof before);
        suggest_offer(nearest, word);
        snprintf(list + used, LIST_BYTES - used, "%s%s", used == 0 ? "" : ", ", word);
        used = strlen(list);
    }
}

/* The key of another section that ends in just this word, NULL if there is none. */
static const char *find_elsewhere(const JobScope *scope, const char *key) {
    const char *known = NULL;
    for (int i = 0; (known = known_key(scope, i)) != NULL; i++) {
        const char *dot = strrchr(known, '.');
        if (strcmp(known, key) == 0 || (dot != NULL && strcmp(dot + 1, key) == 0)) return known;
    }
    return NULL;
}

static void tell_unknown(
    JobReader *reader, const JobScope *scope, const YamlNode *node, const char *section) {
    char list[LIST_BYTES], key[KEY_BYTES], path[JOB_PATH_BYTES];
    Suggestion nearest = {.wrong = node->key};
    list_section(scope, section, list, &nearest);
    utf8_shorten(node->key, key, sizeof key);
    snprintf(path, sizeof path, "%s%s%s", scope->prefix, section, key);
    const char *elsewhere = find_elsewhere(scope, node->key);
    if (strchr(node->key, '.') != NULL && elsewhere != NULL)
        job_problems_add(&reader->problems, node->key_place, path,
            "unknown key; sections are mappings, not dots: %.*s: {%s: ...}",
            (int)strcspn(elsewhere, "."), elsewhere, strchr(elsewhere, '.') + 1);
    else if (nearest.word[0] != '\0')
        job_problems_add(&reader->problems, node->key_place, path,
            "unknown key; did you mean \"%s\"?", nearest.word);
    else if (elsewhere != NULL)
        job_problems_add(&reader->problems, node->key_place, path,
            "unknown key here; did you mean \"%s%s\"?", scope->prefix, elsewhere);
    else
        job_problems_add(
            &reader->problems, node->key_place, path, "unknown key; known here: %s", list);
}

/* True if `key` is in the section twice and this is not the first; told. */
static int is_duplicate(
    JobReader *reader, const YamlNode *map, const YamlNode *node, const char *path) {
    const YamlNode *first = yaml_tree_find(map, node->key);
    if (first == node) return 0;
    if (first->key_place.source->is_argument)
        job_problems_add(&reader->problems, node->key_place, path, "duplicate key");
    else
        job_problems_add(&reader->problems, node->key_place, path,
            "duplicate key; it is already in line %zu", first->key_place.line);
    return 1;
}

typedef enum KeyKind { KEY_UNKNOWN, KEY_OPTION, KEY_SECTION } KeyKind;

/* What `path`, a key below all its sections, is; *index is known_key's. */
static KeyKind classify(const JobScope *scope, const char *path, int *index) {
    size_t bytes = strlen(path);
    const char *known = NULL;
    for (int i = 0; (known = known_key(scope, i)) != NULL; i++) {
        *index = i;
        if (strcmp(known, path) == 0) return KEY_OPTION;
        if (strncmp(known, path, bytes) == 0 && known[bytes] == '.') return KEY_SECTION;
    }
    return KEY_UNKNOWN;
}

static Status read_option(JobReader *reader, JobScope *scope, const YamlNode *node, int index) {
    int count = table_length(scope);
    if (index >= count) {
        scope->extras[index - count] = node;
        return STATUS_OK;
    }
    scope->given[index] = node;
    return job_value_read(
        reader, &scope->table[index], node, scope->prefix, scope->values, &scope->is_good[index]);
}

/* `section` is "" or "data.normalize."; sections nest no deeper than the table's keys have dots. */
static Status read_section(
    JobReader *reader, JobScope *scope, const YamlNode *map, const char *section) {
    for (const YamlNode *node = map->first; node != NULL; node = node->next) {
        char path[JOB_PATH_BYTES], shown[2 * JOB_PATH_BYTES], found[JOB_FOUND_BYTES];
        int index = 0;
        snprintf(path, sizeof path, "%s%s", section, node->key);
        KeyKind kind = strchr(node->key, '.') == NULL ? classify(scope, path, &index) : KEY_UNKNOWN;
        if (kind == KEY_UNKNOWN) {
            tell_unknown(reader, scope, node, section);
            continue;
        }
        snprintf(shown, sizeof shown, "%s%s", scope->prefix, path);
        if (is_duplicate(reader, map, node, shown)) continue;
        if (kind == KEY_OPTION) {
            TRY(read_option(reader, scope, node, index));
        } else if (node->kind == YAML_IS_MAP) {
            snprintf(path, sizeof path, "%s%s.", section, node->key);
            TRY(read_section(reader, scope, node, path));
        } else if (node->kind != YAML_IS_REFUSED && !yaml_tree_is_empty(node)) {
            job_problems_add(&reader->problems, node->place, shown,
                "wants a mapping of its options, got %s", job_value_found(node, found));
        }
    }
    return STATUS_OK;
}

/* An option that was not given: its default, or a problem. One that was wrong gets its default too,
 * so that the struct is whole. */
static Status use_fallback(JobReader *reader, JobScope *scope, int index) {
    static const JobSource defaults = {.name = "defaults", .text = "", .order = -1};
    const Option *option = &scope->table[index];
    int was_given = scope->given[index] != NULL, is_good = 0;
    if (option->fallback == NULL) {
        char path[JOB_PATH_BYTES];
        snprintf(path, sizeof path, "%s%s", scope->prefix, option->key);
        if (!was_given)
            job_problems_add(
                &reader->problems, scope->place, path, "must be given (%s)", option->doc);
        return STATUS_OK;
    }
    YamlNode *node = NULL;
    TRY(yaml_tree_read(&reader->tree, &defaults, option->fallback, strlen(option->fallback),
        &reader->problems, &node));
    REQUIRE(node != NULL);
    TRY(job_value_read(reader, option, node, scope->prefix, scope->values, &is_good));
    REQUIRE(is_good);
    scope->is_good[index] = !was_given;
    return STATUS_OK;
}

/* As if the option had not been given; *was_same tells whether it was given its default. */
static Status take_back(JobReader *reader, JobScope *scope, int index, int *was_same) {
    const Option *option = &scope->table[index];
    TextBuilder builders[2] = {{0}, {0}};
    char *texts[2] = {NULL, NULL};
    scope->given[index] = NULL;
    job_value_print(&builders[0], option, scope->values);
    Status status = use_fallback(reader, scope, index);
    job_value_print(&builders[1], option, scope->values);
    for (int i = 0; i < 2; i++) {
        Status finished = text_builder_finish(&builders[i], &texts[i]);
        if (status == STATUS_OK) status = finished;
    }
    *was_same = status == STATUS_OK && strcmp(texts[0], texts[1]) == 0;
    memory_free(texts[0]);
    memory_free(texts[1]);
    return status;
}

/* An option that was given for another word of its chooser than the chosen one. */
static Status check_use(JobReader *reader, JobScope *scope, int index) {
    const Option *option = &scope->table[index];
    const YamlNode *given = scope->given[index];
    int was_same = 0;
    if (given == NULL || option_is_used(scope->table, option, scope->values)) return STATUS_OK;
    int chooser = job_scope_index(scope, option->chooser);
    const YamlNode *choice = scope->given[chooser];
    if (!scope->is_good[chooser]) return STATUS_OK; /* told */
    const JobSource *source = given->place.source;
    int was_chosen_later = choice != NULL && choice->place.source->is_argument;
    TRY(take_back(reader, scope, index, &was_same));
    if (was_same || source->is_stored || (was_chosen_later && !source->is_argument))
        return STATUS_OK;
    char path[JOB_PATH_BYTES], users[JOB_WORDS_BYTES];
    int word = *(const int *)(const void *)((char *)scope->values + scope->table[chooser].offset);
    snprintf(path, sizeof path, "%s%s", scope->prefix, option->key);
    job_problems_add(&reader->problems, given->key_place, path,
        "belongs to %s, and %s is %s: leave it out, or choose another %s",
        job_value_users(scope->table, option, users), option->chooser,
        scope->table[chooser].words[word], option->chooser);
    scope->is_good[index] = 0;
    return STATUS_OK;
}

Status job_scope_read(JobReader *reader, JobScope *scope, const YamlNode *map) {
    if (map != NULL) TRY(read_section(reader, scope, map, ""));
    for (int i = 0; scope->table[i].key != NULL; i++)
        if (!scope->is_good[i]) TRY(use_fallback(reader, scope, i));
    for (int i = 0; scope->table[i].key != NULL; i++) TRY(check_use(reader, scope, i));
    return STATUS_OK;
}
