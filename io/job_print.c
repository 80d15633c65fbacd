/* job_print.c - a job as a job file; see job_file.h. */
#include "io/job_file.h"
#include "io/job_reader.h"
#include "src/memory.h"
#include <stdio.h>
#include <string.h>

enum { COMMENT_COLUMNS = 100, COMMENT_BYTES = 1024, INDENT = 2 };

/* Bytes of `text` that fit into `room`, up to a space; a list is kept together unless that leaves a
 * third of the room empty. */
static size_t fitting_bytes(const char *text, size_t room) {
    size_t bytes = strlen(text);
    if (bytes <= room) return bytes;
    for (bytes = room; bytes > room - room / 3; bytes--)
        if (text[bytes] == ' ' && text[bytes - 1] != ',') return bytes;
    for (bytes = room; bytes > 1; bytes--)
        if (text[bytes] == ' ') return bytes;
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

/* "adam, adamw: added to the denominator; from 0 to 1; default 1.0e-8" */
static void describe_option(const Option *table, const Option *option, char text[COMMENT_BYTES]) {
    char range[JOB_RANGE_BYTES], users[JOB_WORDS_BYTES];
    text[0] = '\0';
    append(text, job_value_users(table, option, users));
    append(text, text[0] == '\0' ? "" : ": ");
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
static void print_layer_docs(TextBuilder *builder, const LayerType *type, int indent) {
    char text[COMMENT_BYTES], line[COMMENT_BYTES + 64];
    snprintf(line, sizeof line, "%s: %s", type->name, type->summary);
    print_comment(builder, indent, line);
    for (const Option *option = type->options; option != NULL && option->key != NULL; option++) {
        describe_option(type->options, option, text);
        snprintf(line, sizeof line, "  %s: %s", option->key, text);
        print_comment(builder, indent, line);
    }
    for (const LayerListOption *list = type->lists; list->key != NULL; list++) {
        snprintf(line, sizeof line, "  %s: %s; a list of layers; %s", list->key, list->doc,
            list->is_optional ? "may be left out" : "must be given");
        print_comment(builder, indent, line);
    }
}

Status job_file_print_layer_types(char **text) {
    TextBuilder builder = {0};
    *text = NULL;
    print_comment(&builder, 0, "All layers that model.layers may hold, and their options:");
    for (const LayerType *const *type = layer_types(); *type != NULL; type++) {
        text_builder_print(&builder, "#\n");
        print_layer_docs(&builder, *type, 0);
    }
    return text_builder_finish(&builder, text);
}

/* A layer without layers within: all options in its line. */
static void print_flow_options(TextBuilder *builder, const LayerSpec *layer) {
    const char *before = ": {";
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

/* The layers being printed: `first` is the network's list, for what comes first in it. */
typedef struct LayerPrinter {
    TextBuilder *builder;
    const LayerList *first;
    int with_docs;
} LayerPrinter;

static void print_list(const LayerPrinter *printer, const LayerList *list, int indent);

/* A layer with layers within: a line for each option, and the lists below it. */
static void print_block_options(const LayerPrinter *printer, const LayerSpec *layer, int indent) {
    TextBuilder *builder = printer->builder;
    text_builder_print(builder, ":\n");
    if (layer->label[0] != '\0') {
        text_builder_print(builder, "%*sname: ", indent, "");
        job_value_print_string(builder, layer->label);
        text_builder_print(builder, "\n");
    }
    const Option *option = layer->type->options;
    for (; option != NULL && option->key != NULL; option++) {
        text_builder_print(builder, "%*s%s: ", indent, "", option->key);
        job_value_print(builder, option, layer->options);
        text_builder_print(builder, "\n");
    }
    for (int list = 0; layer->type->lists[list].key != NULL; list++) {
        if (layer->lists[list].count == 0) continue;
        text_builder_print(builder, "%*s%s:\n", indent, "", layer->type->lists[list].key);
        print_list(printer, &layer->lists[list], indent + INDENT);
    }
}

/* The first layer of a type, depth first. */
static const LayerSpec *first_of_type(const LayerList *list, const LayerType *type) {
    for (int i = 0; i < list->count; i++) {
        const LayerSpec *layer = &list->layers[i];
        if (layer->type == type) return layer;
        for (int inner = 0; inner < LAYER_LISTS_MAX; inner++) {
            const LayerSpec *found = first_of_type(&layer->lists[inner], type);
            if (found != NULL) return found;
        }
    }
    return NULL;
}

static void print_list(const LayerPrinter *printer, const LayerList *list, int indent) {
    for (int i = 0; i < list->count; i++) {
        const LayerSpec *layer = &list->layers[i];
        if (printer->with_docs && first_of_type(printer->first, layer->type) == layer)
            print_layer_docs(printer->builder, layer->type, indent);
        text_builder_print(printer->builder, "%*s- %s", indent, "", layer->type->name);
        if (layer->type->lists[0].key != NULL)
            print_block_options(printer, layer, indent + 2 * INDENT);
        else
            print_flow_options(printer->builder, layer);
    }
}

static void print_layers(TextBuilder *builder, const NetworkSpec *network, int with_docs) {
    LayerPrinter printer = {.builder = builder, .first = &network->list, .with_docs = with_docs};
    if (with_docs)
        print_comment(builder, INDENT,
            "first to last: a word, or a word and its options; any may have a name:, the prefix of "
            "its tensors");
    text_builder_print(builder, "%*slayers:\n", INDENT, "");
    print_list(&printer, &network->list, 2 * INDENT);
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

/* One option, in its section; what the job has no use for is left out, or a comment. */
static void print_option(
    TextBuilder *builder, const Job *job, const Option *option, const char *before, int with_docs) {
    char comment[COMMENT_BYTES];
    int depth = 0, is_used = option_is_used(job_options(), option, job);
    if (!is_used && !with_docs) return;
    size_t start = open_sections(builder, option->key, before, &depth);
    describe_option(job_options(), option, comment);
    if (with_docs) print_comment(builder, depth * INDENT, comment);
    text_builder_print(
        builder, "%*s%s%s: ", depth * INDENT, "", is_used ? "" : "# ", option->key + start);
    job_value_print(builder, option, job);
    text_builder_print(builder, "\n");
}

Status job_file_print(const Job *job, int with_docs, char **text) {
    TextBuilder builder = {0};
    const char *before = "";
    *text = NULL;
    for (const Option *option = job_options(); option->key != NULL; option++) {
        print_option(&builder, job, option, before, with_docs);
        before = option->key;
        int is_last_of_model = strncmp(option[0].key, "model.", 6) == 0 &&
                               (option[1].key == NULL || strncmp(option[1].key, "model.", 6) != 0);
        if (is_last_of_model) print_layers(&builder, &job->network, with_docs);
    }
    return text_builder_finish(&builder, text);
}
