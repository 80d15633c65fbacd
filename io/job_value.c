/* job_value.c - one option's value: read, check, print; see job_reader.h. */
#include "io/job_reader.h"
#include "io/number_text.h"
#include "io/suggest.h"
#include "io/utf8.h"
#include "src/memory.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define GROUP_MAX 1e9

/* One value on its way from `node` to its place. */
typedef struct Reading {
    JobProblems *problems;
    const Option *option;
    const char *path; /* of the node, for messages */
    const YamlNode *node;
} Reading;

const char *job_value_found(const YamlNode *node, char out[JOB_FOUND_BYTES]) {
    char text[40];
    if (node->kind == YAML_IS_LIST)
        return strcpy(out, node->first == NULL ? "an empty list" : "a list");
    if (node->kind == YAML_IS_MAP) return strcpy(out, "a mapping");
    if (yaml_tree_is_empty(node)) return strcpy(out, "nothing");
    utf8_shorten(node->text, text, sizeof text);
    snprintf(out, JOB_FOUND_BYTES, "%s\"%s\"", node->is_quoted ? "the quoted text " : "", text);
    return out;
}

/* Returns 0, for "not good". */
static int wants(const Reading *reading, const char *what) {
    char found[JOB_FOUND_BYTES];
    job_problems_add(reading->problems, reading->node->place, reading->path, "wants %s, got %s",
        what, job_value_found(reading->node, found));
    return 0;
}

static const char *print_bound(double bound, char text[NUMBER_TEXT_BYTES]) {
    if (bound != floor(bound) || fabs(bound) >= 1e16) return number_text_print(bound, text);
    snprintf(text, NUMBER_TEXT_BYTES, "%.0f", bound);
    return text;
}

const char *job_value_users(const Option *table, const Option *option, char out[JOB_WORDS_BYTES]) {
    out[0] = '\0';
    if (option->chooser == NULL) return out;
    const char *const *words = option_find(table, option->chooser)->words;
    for (int i = 0; words[i] != NULL; i++) {
        size_t used = strlen(out);
        if (option->chosen >> i & 1)
            snprintf(out + used, JOB_WORDS_BYTES - used, "%s%s", used == 0 ? "" : ", ", words[i]);
    }
    return out;
}

const char *job_value_range(const Option *option, char out[JOB_RANGE_BYTES]) {
    char low[NUMBER_TEXT_BYTES], high[NUMBER_TEXT_BYTES];
    out[0] = '\0';
    if (option->minimum == 0 && option->maximum == 0) return out;
    print_bound(option->minimum, low);
    print_bound(option->maximum, high);
    const char *form = option->is_minimum_exclusive ? "above %s and at most %s" : "from %s to %s";
    snprintf(out, JOB_RANGE_BYTES, form, low, high);
    return out;
}

static int check_range(const Reading *reading, double value) {
    const Option *option = reading->option;
    char range[JOB_RANGE_BYTES], found[JOB_FOUND_BYTES];
    if (option->minimum == 0 && option->maximum == 0) return 1;
    if (value > option->minimum && value <= option->maximum) return 1;
    if (value == option->minimum && !option->is_minimum_exclusive) return 1;
    job_problems_add(reading->problems, reading->node->place, reading->path, "must be %s, got %s",
        job_value_range(option, range), job_value_found(reading->node, found));
    return 0;
}

static int is_plain(const YamlNode *node, const char *word) {
    return node->kind == YAML_IS_SCALAR && !node->is_quoted && strcmp(node->text, word) == 0;
}

/* A fault of a number's text as a problem; true if there is none. */
static int check_number(const Reading *reading, NumberFault fault, const char *what) {
    if (fault == NUMBER_IS_NOT_ONE) return wants(reading, what);
    if (fault == NUMBER_GOOD) return 1;
    char found[JOB_FOUND_BYTES];
    job_problems_add(reading->problems, reading->node->place, reading->path,
        "%s is too large for a number", job_value_found(reading->node, found));
    return 0;
}

static int read_int(const Reading *reading, int64_t *value) {
    const YamlNode *node = reading->node;
    *value = -1;
    if (reading->option->is_null_allowed && is_plain(node, "null")) return 1;
    NumberFault fault = NUMBER_IS_NOT_ONE;
    if (node->kind == YAML_IS_SCALAR && !node->is_quoted)
        fault = number_text_parse_int(node->text, value);
    return check_number(reading, fault, "a whole number") && check_range(reading, (double)*value);
}

static int read_float(const Reading *reading, double *value) {
    const YamlNode *node = reading->node;
    *value = NAN;
    if (reading->option->is_null_allowed && is_plain(node, "null")) return 1;
    NumberFault fault = NUMBER_IS_NOT_ONE;
    if (node->kind == YAML_IS_SCALAR && !node->is_quoted)
        fault = number_text_parse_float(node->text, value);
    const char *what = reading->option->is_null_allowed ? "a number or null" : "a number";
    return check_number(reading, fault, what) && check_range(reading, *value);
}

static int read_bool(const Reading *reading, int *value) {
    *value = is_plain(reading->node, "true");
    return *value || is_plain(reading->node, "false") || wants(reading, "true or false");
}

static int read_enum(const Reading *reading, int *value) {
    const YamlNode *node = reading->node;
    const char *const *words = reading->option->words;
    Suggestion nearest = {.wrong = node->kind == YAML_IS_SCALAR ? node->text : ""};
    char list[256] = "", found[JOB_FOUND_BYTES];
    for (int i = 0; words[i] != NULL; i++) {
        if (node->kind == YAML_IS_SCALAR && strcmp(words[i], node->text) == 0) {
            *value = i;
            return 1;
        }
        suggest_offer(&nearest, words[i]);
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : ", ", words[i]);
    }
    job_value_found(node, found);
    if (nearest.word[0] == '\0')
        job_problems_add(
            reading->problems, node->place, reading->path, "wants one of %s, got %s", list, found);
    else
        job_problems_add(reading->problems, node->place, reading->path,
            "wants one of %s, got %s; did you mean \"%s\"?", list, found, nearest.word);
    return 0;
}

static int read_group(const Reading *reading, int64_t *value) {
    static const char form[] = "global, none or {group: G} with G from 1 to 1000000000";
    const YamlNode *node = reading->node;
    *value = is_plain(node, "none");
    if (*value || is_plain(node, "global")) return 1;
    const YamlNode *group = node->first;
    if (node->kind != YAML_IS_MAP || group == NULL || group->next != NULL ||
        strcmp(group->key, "group") != 0)
        return wants(reading, form);
    int is_number = group->kind == YAML_IS_SCALAR && !group->is_quoted &&
                    number_text_parse_int(group->text, value) == NUMBER_GOOD;
    Reading inner = *reading;
    inner.node = group;
    return (is_number && *value >= 1 && (double)*value <= GROUP_MAX) || wants(&inner, form);
}

static int read_number_at(const Reading *reading, int index, void *target) {
    if (reading->option->type == OPTION_INTS)
        return read_int(reading, &((OptionInts *)target)->values[index]);
    return read_float(reading, &((OptionFloats *)target)->values[index]);
}

/* `count` is the field of that name in the target. */
static int read_list(const Reading *reading, void *target, int *count) {
    const YamlNode *node = reading->node;
    *count = 0;
    if (reading->option->is_null_allowed && is_plain(node, "null")) return 1;
    *count = 1;
    if (node->kind == YAML_IS_SCALAR) return read_number_at(reading, 0, target);
    long length = yaml_tree_count(node);
    if (node->kind != YAML_IS_LIST || length == 0) return wants(reading, "a list of numbers");
    if (length > OPTION_LIST_MAX) {
        job_problems_add(reading->problems, node->place, reading->path,
            "wants at most %d numbers, got %ld", OPTION_LIST_MAX, length);
        return 0;
    }
    *count = (int)length;
    int is_good = 1;
    for (int i = 0; i < *count; i++) {
        char path[JOB_PATH_BYTES + 16];
        snprintf(path, sizeof path, "%s.%d", reading->path, i);
        Reading item = *reading;
        item.path = path;
        item.node = yaml_tree_at(node, i);
        if (item.node->kind == YAML_IS_REFUSED || !read_number_at(&item, i, target)) is_good = 0;
    }
    return is_good;
}

static Status read_string(const Reading *reading, char **target, int *is_good) {
    const YamlNode *node = reading->node;
    *is_good = node->kind == YAML_IS_SCALAR || wants(reading, "a text");
    if (!*is_good) return STATUS_OK;
    int is_null = reading->option->is_null_allowed && is_plain(node, "null");
    char *text = NULL;
    TRY(memory_copy_string(&text, is_null ? "" : node->text));
    memory_free(*target);
    *target = text;
    return STATUS_OK;
}

Status job_value_read(JobReader *reader, const Option *option, const YamlNode *node,
    const char *prefix, void *values, int *is_good) {
    char path[JOB_PATH_BYTES];
    void *target = (char *)values + option->offset;
    snprintf(path, sizeof path, "%s%s", prefix, option->key);
    Reading reading = {&reader->problems, option, path, node};
    *is_good = 0;
    if (node->kind == YAML_IS_REFUSED) return STATUS_OK;
    switch (option->type) {
    case OPTION_INT:
        *is_good = read_int(&reading, target);
        break;
    case OPTION_FLOAT:
        *is_good = read_float(&reading, target);
        break;
    case OPTION_BOOL:
        *is_good = read_bool(&reading, target);
        break;
    case OPTION_ENUM:
        *is_good = read_enum(&reading, target);
        break;
    case OPTION_INTS:
        *is_good = read_list(&reading, target, &((OptionInts *)target)->count);
        break;
    case OPTION_FLOATS:
        *is_good = read_list(&reading, target, &((OptionFloats *)target)->count);
        break;
    case OPTION_GROUP:
        *is_good = read_group(&reading, target);
        break;
    case OPTION_STRING:
        return read_string(&reading, target, is_good);
    }
    return STATUS_OK;
}
