/* yaml_tree.h - a YAML document as a small tree that knows where each of its nodes stood.
 *
 * The part of YAML that job files use: scalars, lists, mappings. Anchors, aliases, merge keys and
 * tags are problems, as are more than one document, deep nesting and very many nodes. */
#ifndef IO_YAML_TREE_H
#define IO_YAML_TREE_H

#include "io/job_problems.h"

enum { YAML_TREE_DEPTH_MAX = 64, YAML_TREE_NODES_MAX = 20000 };

typedef enum YamlKind {
    YAML_IS_SCALAR,
    YAML_IS_LIST,
    YAML_IS_MAP,
    YAML_IS_REFUSED /* something else, told as a problem already */
} YamlKind;

typedef struct YamlNode {
    YamlKind kind;
    int is_quoted; /* scalar: not a plain word */
    int is_block;  /* list, map: by indentation; scalar: | or > */
    JobPlace place;
    JobPlace key_place;     /* place, but for what stands in a mapping */
    char *key;              /* in a mapping, else NULL; double keys are kept */
    char *text;             /* scalar: its value, else NULL */
    struct YamlNode *first; /* list, map: its nodes in order */
    struct YamlNode *last;
    struct YamlNode *next; /* within its list or map */
} YamlNode;

/* Owns nodes and texts of any number of documents. Start with {0}; free with yaml_tree_free. */
typedef struct YamlTree {
    struct YamlTreeBlock *blocks;
} YamlTree;

/* Local. Read `text` as one document; places refer to `source`, whose text it is, or at least looks
 * like. What is wrong goes to `problems`; `*root` is NULL if that ended the reading, and an empty
 * scalar for an empty document. Fails with STATUS_NO_MEMORY only. */
MUST_CHECK Status yaml_tree_read(YamlTree *tree, const JobSource *source, const char *text,
    size_t bytes, JobProblems *problems, YamlNode **root);

/* Local. A new node, on its own, owned by the tree; and a text. */
MUST_CHECK Status yaml_tree_add_node(
    YamlTree *tree, YamlKind kind, JobPlace place, YamlNode **node);
MUST_CHECK Status yaml_tree_add_text(YamlTree *tree, const char *text, char **copy);

/* Local. Put `child`, which stands nowhere yet, at the end of a list or mapping. */
void yaml_tree_append(YamlNode *parent, YamlNode *child);

/* Local. The first node under `key`; node `index` of a list; nodes in it. NULL if there is none. */
YamlNode *yaml_tree_find(const YamlNode *map, const char *key);
YamlNode *yaml_tree_at(const YamlNode *list, long index);
long yaml_tree_count(const YamlNode *parent);

/* Local. True for what stands after "key:" when nothing does. */
int yaml_tree_is_empty(const YamlNode *node);

void yaml_tree_free(YamlTree *tree);

#endif
