/* yaml_tree.c - see yaml_tree.h; yaml_reader.c reads documents. Nodes and texts lie in blocks. */
#include "io/yaml_tree.h"
#include "src/memory.h"
#include <string.h>

enum { BLOCK_BYTES = 32 * 1024 };

typedef struct YamlTreeBlock {
    struct YamlTreeBlock *next;
    size_t used, bytes;
    _Alignas(max_align_t) char data[];
} YamlTreeBlock;

static Status add_block(YamlTree *tree, size_t bytes) {
    YamlTreeBlock *block = NULL;
    TRY(memory_allocate((void **)&block, sizeof *block + bytes, 1, "job file"));
    block->bytes = bytes;
    block->next = tree->blocks;
    tree->blocks = block;
    return STATUS_OK;
}

static Status take_bytes(YamlTree *tree, size_t bytes, void **pointer) {
    size_t alignment = _Alignof(max_align_t);
    bytes = (bytes + alignment - 1) / alignment * alignment;
    const YamlTreeBlock *newest = tree->blocks;
    if (newest == NULL || newest->bytes - newest->used < bytes)
        TRY(add_block(tree, bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES));
    *pointer = tree->blocks->data + tree->blocks->used;
    tree->blocks->used += bytes;
    return STATUS_OK;
}

Status yaml_tree_add_text(YamlTree *tree, const char *text, char **copy) {
    size_t bytes = strlen(text) + 1;
    TRY(take_bytes(tree, bytes, (void **)copy));
    memcpy(*copy, text, bytes);
    return STATUS_OK;
}

Status yaml_tree_add_node(YamlTree *tree, YamlKind kind, JobPlace place, YamlNode **node) {
    TRY(take_bytes(tree, sizeof **node, (void **)node));
    **node = (YamlNode){.kind = kind, .place = place, .key_place = place};
    if (kind != YAML_IS_SCALAR) return STATUS_OK;
    return yaml_tree_add_text(tree, "", &(*node)->text);
}

void yaml_tree_append(YamlNode *parent, YamlNode *child) {
    REQUIRE(parent->kind == YAML_IS_LIST || parent->kind == YAML_IS_MAP);
    if (parent->last == NULL)
        parent->first = child;
    else
        parent->last->next = child;
    parent->last = child;
}

YamlNode *yaml_tree_find(const YamlNode *map, const char *key) {
    YamlNode *node = map->first;
    while (node != NULL && (node->key == NULL || strcmp(node->key, key) != 0)) node = node->next;
    return node;
}

YamlNode *yaml_tree_at(const YamlNode *list, long index) {
    YamlNode *node = list->first;
    for (; node != NULL && index > 0; index--) node = node->next;
    return node;
}

long yaml_tree_count(const YamlNode *parent) {
    long count = 0;
    for (const YamlNode *node = parent->first; node != NULL; node = node->next) count++;
    return count;
}

int yaml_tree_is_empty(const YamlNode *node) {
    return node->kind == YAML_IS_SCALAR && !node->is_quoted && node->text[0] == '\0';
}

void yaml_tree_free(YamlTree *tree) {
    while (tree->blocks != NULL) {
        YamlTreeBlock *block = tree->blocks;
        tree->blocks = block->next;
        memory_free(block);
    }
}
