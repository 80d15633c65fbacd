/* yaml_reader.c - libyaml's events become a YamlTree; see yaml_tree.h. */
#include "io/utf8.h"
#include "io/yaml_tree.h"
#include <stdio.h>
#include <string.h>
#include <yaml.h>

typedef struct Reader {
    YamlTree *tree;
    const JobSource *source;
    const char *text;
    size_t bytes;
    JobProblems *problems;
    yaml_parser_t parser;
    YamlNode *open[YAML_TREE_DEPTH_MAX]; /* lists and mappings not yet ended, outermost first */
    int depth;
    YamlNode *keyed; /* has its key and place in the innermost mapping, and waits for its value */
    YamlNode *root;
    int node_count, document_count;
    int is_finished, is_broken;
} Reader;

static JobPlace place_of(const Reader *reader, yaml_mark_t mark) {
    return (JobPlace){reader->source, mark.line + 1, mark.column + 1};
}

/* A problem after which reading makes no sense. */
static Status stop_at(Reader *reader, JobPlace place, const char *message) {
    job_problems_add(reader->problems, place, "", "%s", message);
    reader->is_broken = 1;
    return STATUS_OK;
}

/* The byte where a mark is, whose index counts code points. */
static size_t offset_of(const Reader *reader, yaml_mark_t mark) {
    size_t at = 0;
    for (size_t index = mark.index; index > 0 && at < reader->bytes; index--) {
        uint32_t code = 0;
        size_t step = utf8_decode(reader->text + at, reader->bytes - at, &code);
        at += step == 0 ? 1 : step;
    }
    return at;
}

/* Where to point at: not behind the end of the text, where there is nothing to see. */
static JobPlace visible_place(const Reader *reader, yaml_mark_t mark) {
    size_t bytes = reader->bytes;
    while (bytes > 0 && strchr(" \n\r", reader->text[bytes - 1]) != NULL) bytes--;
    if (offset_of(reader, mark) < bytes) return place_of(reader, mark);
    return job_problems_place(reader->source, bytes);
}

/* libyaml says what it could not read: bytes by their offset, all else by a mark. */
static Status tell_syntax(Reader *reader) {
    const yaml_parser_t *parser = &reader->parser;
    char message[320] = "", context_at[64] = "";
    if (parser->error == YAML_MEMORY_ERROR)
        return FAIL(STATUS_NO_MEMORY, "%s: no memory to read it", reader->source->name);
    const char *problem = parser->problem == NULL ? "not readable as YAML" : parser->problem;
    if (parser->error == YAML_READER_ERROR)
        return stop_at(reader, job_problems_place(reader->source, parser->problem_offset), problem);
    size_t at = offset_of(reader, parser->problem_mark);
    int is_tab = at < reader->bytes && reader->text[at] == '\t';
    if (!reader->source->is_argument)
        snprintf(context_at, sizeof context_at, " at %zu:%zu", parser->context_mark.line + 1,
            parser->context_mark.column + 1);
    snprintf(message, sizeof message, "%s%s%s%s%s", parser->context == NULL ? "" : parser->context,
        parser->context == NULL ? "" : context_at, parser->context == NULL ? "" : ": ", problem,
        is_tab ? "; there is a tab, use spaces" : "");
    return stop_at(reader, visible_place(reader, parser->problem_mark), message);
}

/* The node for an event: a new one in a list, the keyed one in a mapping. */
static Status place_node(Reader *reader, YamlKind kind, yaml_mark_t mark, YamlNode **node) {
    JobPlace place = place_of(reader, mark);
    YamlNode *parent = reader->depth == 0 ? NULL : reader->open[reader->depth - 1];
    if (reader->keyed != NULL) {
        *node = reader->keyed;
        reader->keyed = NULL;
        (*node)->kind = kind;
        (*node)->place = place;
        return STATUS_OK;
    }
    if (++reader->node_count > YAML_TREE_NODES_MAX) {
        char message[64];
        snprintf(message, sizeof message, "more than %d values", YAML_TREE_NODES_MAX);
        *node = NULL;
        return stop_at(reader, place, message);
    }
    TRY(yaml_tree_add_node(reader->tree, kind, place, node));
    if (parent == NULL)
        reader->root = *node;
    else
        yaml_tree_append(parent, *node);
    return STATUS_OK;
}

static int wants_key(const Reader *reader) {
    return reader->depth > 0 && reader->open[reader->depth - 1]->kind == YAML_IS_MAP &&
           reader->keyed == NULL;
}

static void refuse_decoration(
    Reader *reader, yaml_mark_t mark, const yaml_char_t *anchor, const yaml_char_t *tag) {
    char word[40];
    if (anchor != NULL)
        job_problems_add(reader->problems, place_of(reader, mark), "",
            "anchors (&%s) are not part of job files",
            utf8_shorten((const char *)anchor, word, sizeof word));
    if (tag != NULL)
        job_problems_add(reader->problems, place_of(reader, mark), "",
            "tags (%s) are not part of job files",
            utf8_shorten((const char *)tag, word, sizeof word));
}

static Status read_scalar(Reader *reader, const yaml_event_t *event) {
    const char *text = (const char *)event->data.scalar.value;
    yaml_scalar_style_t style = event->data.scalar.style;
    int is_key = wants_key(reader);
    refuse_decoration(reader, event->start_mark, event->data.scalar.anchor, event->data.scalar.tag);
    if (strlen(text) != event->data.scalar.length)
        return stop_at(
            reader, place_of(reader, event->start_mark), "a text with a zero byte in it");
    YamlNode *node = NULL;
    TRY(place_node(reader, YAML_IS_SCALAR, event->start_mark, &node));
    if (node == NULL) return STATUS_OK;
    if (is_key) {
        if (strcmp(text, "<<") == 0 && style == YAML_PLAIN_SCALAR_STYLE)
            return stop_at(reader, node->place, "merge keys (<<) are not part of job files");
        node->key_place = node->place;
        reader->keyed = node;
        return yaml_tree_add_text(reader->tree, text, &node->key);
    }
    node->is_quoted = style != YAML_PLAIN_SCALAR_STYLE;
    node->is_block = style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE;
    return yaml_tree_add_text(reader->tree, text, &node->text);
}

static Status begin_collection(Reader *reader, YamlKind kind, const yaml_event_t *event,
    const yaml_char_t *anchor, const yaml_char_t *tag, int is_block) {
    JobPlace place = place_of(reader, event->start_mark);
    refuse_decoration(reader, event->start_mark, anchor, tag);
    if (wants_key(reader)) return stop_at(reader, place, "a key must be a word");
    if (reader->depth == YAML_TREE_DEPTH_MAX) {
        char message[64];
        snprintf(message, sizeof message, "nested more than %d deep", YAML_TREE_DEPTH_MAX);
        return stop_at(reader, place, message);
    }
    YamlNode *node = NULL;
    TRY(place_node(reader, kind, event->start_mark, &node));
    if (node == NULL) return STATUS_OK;
    node->is_block = is_block;
    reader->open[reader->depth++] = node;
    return STATUS_OK;
}

static Status read_alias(Reader *reader, const yaml_event_t *event) {
    char word[40];
    job_problems_add(reader->problems, place_of(reader, event->start_mark), "",
        "aliases (*%s) are not part of job files",
        utf8_shorten((const char *)event->data.alias.anchor, word, sizeof word));
    reader->is_broken |= wants_key(reader);
    if (reader->is_broken) return STATUS_OK;
    YamlNode *node = NULL;
    return place_node(reader, YAML_IS_REFUSED, event->start_mark, &node);
}

static Status read_event(Reader *reader, const yaml_event_t *event) {
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++reader->document_count == 1) return STATUS_OK;
        return stop_at(
            reader, place_of(reader, event->start_mark), "a second document starts here");
    case YAML_SCALAR_EVENT:
        return read_scalar(reader, event);
    case YAML_ALIAS_EVENT:
        return read_alias(reader, event);
    case YAML_SEQUENCE_START_EVENT:
        return begin_collection(reader, YAML_IS_LIST, event, event->data.sequence_start.anchor,
            event->data.sequence_start.tag,
            event->data.sequence_start.style == YAML_BLOCK_SEQUENCE_STYLE);
    case YAML_MAPPING_START_EVENT:
        return begin_collection(reader, YAML_IS_MAP, event, event->data.mapping_start.anchor,
            event->data.mapping_start.tag,
            event->data.mapping_start.style == YAML_BLOCK_MAPPING_STYLE);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        reader->depth--;
        return STATUS_OK;
    default:
        reader->is_finished = event->type == YAML_STREAM_END_EVENT;
        return STATUS_OK;
    }
}

static Status read_events(Reader *reader) {
    while (!reader->is_finished && !reader->is_broken) {
        yaml_event_t event;
        if (!yaml_parser_parse(&reader->parser, &event)) return tell_syntax(reader);
        Status status = read_event(reader, &event);
        yaml_event_delete(&event);
        TRY(status);
    }
    return STATUS_OK;
}

Status yaml_tree_read(YamlTree *tree, const JobSource *source, const char *text, size_t bytes,
    JobProblems *problems, YamlNode **root) {
    *root = NULL;
    Reader reader = {
        .tree = tree, .source = source, .text = text, .bytes = bytes, .problems = problems};
    if (!yaml_parser_initialize(&reader.parser))
        return FAIL(STATUS_NO_MEMORY, "%s: no memory to read it", source->name);
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, bytes);
    Status status = read_events(&reader);
    yaml_parser_delete(&reader.parser);
    TRY(status);
    if (reader.is_broken) return STATUS_OK;
    *root = reader.root;
    if (reader.root != NULL) return STATUS_OK;
    return yaml_tree_add_node(tree, YAML_IS_SCALAR, (JobPlace){source, 1, 1}, root);
}
