/* job_reader.h - from the tree of a job file to structs, by tables of options; for io/job_*.c.
 *
 * What is wrong goes to reader->problems; a function fails for want of memory only. */
#ifndef IO_JOB_READER_H
#define IO_JOB_READER_H

#include "io/text_builder.h"
#include "io/yaml_tree.h"
#include "src/job.h"

enum {
    JOB_OPTIONS_MAX = 64,
    JOB_EXTRAS_MAX = LAYER_LISTS_MAX + 1,
    JOB_PATH_BYTES = 320,
    JOB_LAYERS_MAX = 4096 /* in one list */
};

typedef struct JobReader {
    Job *job;
    YamlTree tree;
    JobProblems problems;
} JobReader;

/* A table of options, the struct it fills, and what a mapping of the file gave for it. */
typedef struct JobScope {
    const Option *table;
    void *values;
    const char *prefix; /* of all keys in messages: "" or "model.layers.0." */
    const char *extra_keys[JOB_EXTRAS_MAX + 1]; /* keys that have no table entry, then NULL */
    const YamlNode *extras[JOB_EXTRAS_MAX];     /* what was given for them, else NULL */
    JobPlace place;                             /* where something that is missing is told */
    const YamlNode *given[JOB_OPTIONS_MAX];     /* per option; NULL if not given */
    int is_good[JOB_OPTIONS_MAX];               /* per option: it has a value that fits */
} JobScope;

/* Local. One value, given or the fallback's, into the struct; *is_good tells whether it fitted. A
 * string target holds a valid string, or NULL, before. */
MUST_CHECK Status job_value_read(JobReader *reader, const Option *option, const YamlNode *node,
    const char *prefix, void *values, int *is_good);

/* Local. What stands there, for "wants this, got that"; returns `out`. */
enum { JOB_FOUND_BYTES = 64 };
const char *job_value_found(const YamlNode *node, char out[JOB_FOUND_BYTES]);

/* Local. The words of its chooser that an option is for, as "adam, adamw"; "" for all. */
enum { JOB_WORDS_BYTES = 64 };
const char *job_value_users(const Option *table, const Option *option, char out[JOB_WORDS_BYTES]);

/* Local. The value of an option in flow style, as job_value_read reads it; and its range, e.g.
 * "from 0 to 1", "" where there is none. */
void job_value_print(TextBuilder *builder, const Option *option, const void *values);
void job_value_print_string(TextBuilder *builder, const char *text);
enum { JOB_RANGE_BYTES = 192 };
const char *job_value_range(const Option *option, char out[JOB_RANGE_BYTES]);

/* Local. Read a mapping (or nothing) into the scope's struct: given values, then fallbacks. An
 * option that the chosen word has no use for is a problem, unless it has its default. Where it
 * stands in a checkpoint, or in the file and --set chose the word, it counts as not given. */
MUST_CHECK Status job_scope_read(JobReader *reader, JobScope *scope, const YamlNode *map);

/* Local. Index of an option in the scope's table; a bug if it is not there. */
int job_scope_index(const JobScope *scope, const char *key);

/* Local. The list of layers at `path`, "model.layers": `node` is NULL if it is missing, which is
 * told at `place`. */
MUST_CHECK Status job_layers_read(
    JobReader *reader, LayerList *list, const YamlNode *node, const char *path, JobPlace place);

/* Local. Where a layer of the list that `node` gave stands, also one within others; where the list
 * stands for NULL. The list was read without a problem. */
JobPlace job_layers_place(const LayerList *list, const YamlNode *node, const LayerSpec *wanted);

/* Local. What a layer's tensors are named by within its list: its name, or its position. */
const char *job_layer_label(const LayerSpec *layer, int position, char text[LAYER_NAME_BYTES]);

/* Local. What the tables cannot say; expands ${NAME} in data.path. */
MUST_CHECK Status job_check(JobReader *reader, const JobScope *scope);

/* The embedded job. */
extern const char job_default_text[];

#endif
