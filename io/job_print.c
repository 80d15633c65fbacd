/* job_print.c - a job as a job file; see job_file.h. */
#include "io/job_file.h"
#include "io/job_reader.h"
#include "src/memory.h"
#include <stdio.h>
#include <string.h>

enum { COMMENT_COLUMNS = 100, COMMENT_BYTES = 1024, INDENT = 2 };

/* Bytes of `text` that fit into `room`, up to a space; a list is kept together. */
static size_t fitting_bytes(const char *text, size_t room) {
    size_t bytes = strlen(text);
    if (bytes <= room) return bytes;
    for (bytes = room; bytes > 1; bytes--)
        if (text[bytes] == ' ' && text[bytes - 1] != ',') return bytes;
    return room;
}

/* Print `text` as comment lines; what is indented stays so in all its lines. */
static void print_comment(TextBuilder *builder, int indent, const char *text) {
    const char *hanging = text[0] == ' ' ? "    " : "", *spaces = "";
    while (*text != '\0') {
        size_t room = (size_t)(COMMENT_COLUMNS - indent) - 2 - strlen(spaces);
        size_t bytes = fitting_bytes(text, room);
        text_builder_print(builder, "%*s# %s%.*s\n", indent, "", spaces, (int)bytes, text);
        text += bytes;
        text += *text == ' ';
        spaces = hanging;
    }
}

static void append(char text[COMMENT_BYTES], const char *more) {
    size_t used = strlen(text);
    snprintf(text + used, COMMENT_BYTES - used, "%s", more);
}

/* "learning rate; above 0 and at most 1000000; default 0.01" */
static void describe_option(const Option *option, char text[COMMENT_BYTES]) {
    char range[JOB_RANGE_BYTES];
    text[0] = '\0';
    append(text, option->doc);
    if (job_value_range(option, range)[0] != '\0') {
        append(text, "; ");
        append(text, range);
    }
    for (int i = 0; option->type == OPTION_ENUM && option->words[i] != NULL; i++) {
        append(text, i == 0 ? "; one of " : ", ");
        append(text, option->words[i]);
    }
    if (option->type == OPTION_BOOL) append(text, "; true or false");
    append(text, option->fallback == NULL ? "; must be given" : "; default ");
    append(text, option->fallback == NULL ? "" : option->fallback);
}

/* The options of a layer's type, above the first layer of that type. */
static void print_layer_docs(TextBuilder *builder, const LayerType *type) {
    char text[COMMENT_BYTES], line[COMMENT_BYTES + 64];
    snprintf(line, sizeof line, "%s: %s", type->name, type->summary);
    print_comment(builder, 2 * INDENT, line);
    for (const Option *option = type->options; option != NULL && option->key != NULL; option++) {
        describe_option(option, text);
        snprintf(line, sizeof line, "  %s: %s", option->key, text);
        print_comment(builder, 2 * INDENT, line);
    }
}

static void print_layer(TextBuilder *builder, const LayerSpec *layer) {
    const char *before = ": {";
    text_builder_print(builder, "%*s- %s", 2 * INDENT, "", layer->type->name);
    if (layer->label[0] != '\0') {
        text_builder_print(builder, "%sname: ", before);
        job_value_print_string(builder, layer->label);
        before = ", ";
    }
    const Option *option = layer->type->options;
    for (; option != NULL && option->key != NULL; option++) {
        text_builder_print(builder, "%s%s: ", before, option->key);
        job_value_print(builder, option, layer->options);
        before = ", ";
    }
    text_builder_print(builder, "%s\n", before[0] == ',' ? "}" : "");
}

static int is_first_of_type(const NetworkSpec *network, int index) {
    for (int i = 0; i < index; i++)
        if (network->layers[i].type == network->layers[index].type) return 0;
    return 1;
}

static void print_layers(TextBuilder *builder, const NetworkSpec *network, int with_docs) {
    if (with_docs)
        print_comment(builder, INDENT,
            "first to last: a word, or a word and its options; any may have a name:, the prefix of "
            "its tensors");
    text_builder_print(builder, "%*slayers:\n", INDENT, "");
    for (int i = 0; i < network->layer_count; i++) {
        if (with_docs && is_first_of_type(network, i))
            print_layer_docs(builder, network->layers[i].type);
        print_layer(builder, &network->layers[i]);
    }
}

/* Open the sections of `key` that are not open after `before`: "a.b.c" after "a.x" opens b. Returns
 * the bytes of `key` in front of its last word; *depth is how many sections that is. */
static size_t open_sections(TextBuilder *builder, const char *key, const char *before, int *depth) {
    size_t start = 0;
    int is_same = 1;
    *depth = 0;
    for (const char *dot = strchr(key, '.'); dot != NULL; dot = strchr(key + start, '.')) {
        size_t end = (size_t)(dot - key) + 1;
        is_same = is_same && strncmp(key, before, end) == 0;
        if (!is_same)
            text_builder_print(
                builder, "%*s%.*s:\n", *depth * INDENT, "", (int)(end - start - 1), key + start);
        start = end;
        ++*depth;
    }
    return start;
}

Status job_file_print(const Job *job, int with_docs, char **text) {
    TextBuilder builder = {0};
    const char *before = "";
    *text = NULL;
    for (const Option *option = job_options(); option->key != NULL; option++) {
        char comment[COMMENT_BYTES];
        int depth = 0;
        size_t start = open_sections(&builder, option->key, before, &depth);
        describe_option(option, comment);
        if (with_docs) print_comment(&builder, depth * INDENT, comment);
        text_builder_print(&builder, "%*s%s: ", depth * INDENT, "", option->key + start);
        job_value_print(&builder, option, job);
        text_builder_print(&builder, "\n");
        before = option->key;
        int is_last_of_model = strncmp(option[0].key, "model.", 6) == 0 &&
                               (option[1].key == NULL || strncmp(option[1].key, "model.", 6) != 0);
        if (is_last_of_model) print_layers(&builder, &job->network, with_docs);
    }
    return text_builder_finish(&builder, text);
}
