/* pieces.c - see pieces.h. */
#include "mpi/pieces.h"
#include "src/memory.h"
#include <string.h>

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t group_count(PieceSplit split) {
    return (split.total + split.group - 1) / split.group;
}

static int64_t group_end(PieceSplit split, int64_t group) {
    return smaller((group + 1) * split.group, split.total);
}

Status pieces_begin(PieceList *list, int owners) {
    list->owner_count = 0;
    if (list->first == NULL) TRY(MEMORY_ALLOCATE(&list->first, (size_t)owners + 1, "pieces"));
    list->first[0] = 0;
    return STATUS_OK;
}

void pieces_free(PieceList *list) {
    memory_free(list->first);
    memory_free(list->pieces);
    *list = (PieceList){0};
}

int pieces_count(const PieceList *list) {
    return list->first == NULL ? 0 : list->first[list->owner_count];
}

static Status reserve(PieceList *list, int count) {
    if (count <= list->capacity) return STATUS_OK;
    Piece *larger = NULL;
    int capacity = 2 * count;
    TRY(MEMORY_ALLOCATE(&larger, (size_t)capacity, "pieces"));
    if (list->pieces != NULL)
        memcpy(larger, list->pieces, (size_t)pieces_count(list) * sizeof *larger);
    memory_free(list->pieces);
    list->pieces = larger;
    list->capacity = capacity;
    return STATUS_OK;
}

/* The pieces of the part [begin, end) of one group. */
static int cover_in_group(PieceSplit split, int64_t begin, int64_t end, Piece *pieces) {
    TreeNode nodes[TREE_NODES_MAX];
    int64_t first = begin / split.group * split.group;
    int64_t leaves = group_end(split, begin / split.group) - first;
    int count = tree_cover(begin - first, end - begin, leaves, nodes);
    for (int i = 0; i < count; i++)
        pieces[i] = (Piece){.begin = first + nodes[i].begin,
            .end = first + nodes[i].begin + nodes[i].count,
            .node = nodes[i]};
    return count;
}

/* The pieces of the whole groups [begin, end). */
static int cover_groups(PieceSplit split, int64_t begin, int64_t end, Piece *pieces) {
    TreeNode nodes[TREE_NODES_MAX];
    int count = tree_cover(begin, end - begin, group_count(split), nodes);
    for (int i = 0; i < count; i++)
        pieces[i] = (Piece){.begin = nodes[i].begin * split.group,
            .end = group_end(split, nodes[i].begin + nodes[i].count - 1),
            .is_of_groups = 1,
            .node = nodes[i]};
    return count;
}

static int cover(PieceSplit split, int64_t begin, int64_t end, Piece *pieces) {
    int count = 0;
    int64_t whole = (begin + split.group - 1) / split.group; /* first whole group, and the end */
    int64_t whole_end = end == split.total ? group_count(split) : end / split.group;
    if (begin == end) return 0;
    if (begin % split.group != 0) {
        int64_t part_end = smaller(end, group_end(split, begin / split.group));
        count += cover_in_group(split, begin, part_end, pieces);
        if (part_end == end) return count;
    }
    if (whole < whole_end) count += cover_groups(split, whole, whole_end, pieces + count);
    if (whole_end < group_count(split) && whole_end * split.group < end)
        count += cover_in_group(split, whole_end * split.group, end, pieces + count);
    return count;
}

Status pieces_append(PieceList *list, PieceSplit split, int64_t begin, int64_t end) {
    Piece pieces[3 * TREE_NODES_MAX];
    int count = cover(split, begin, end, pieces);
    int before = pieces_count(list);
    TRY(reserve(list, before + count));
    if (count > 0) memcpy(list->pieces + before, pieces, (size_t)count * sizeof *pieces);
    list->first[++list->owner_count] = before + count;
    return STATUS_OK;
}

static int levels_of(int64_t leaves) {
    int levels = 0;
    while (((int64_t)1 << levels) < leaves) levels++;
    return levels;
}

int piece_fold_depth(PieceSplit split) {
    return levels_of(split.group) + 2 + levels_of(group_count(split)) + 2;
}

static size_t record_bytes(const PieceFold *fold) {
    return (size_t)fold->length * sizeof(double);
}

static double *slot_of(const PieceFold *fold, int slot) {
    return fold->stack + (size_t)slot * fold->length;
}

/* Give the local microbatches of a group its record. */
static void hand_out(const PieceFold *fold, int64_t group, const double *record) {
    if (fold->grouped == NULL) return;
    int64_t begin = group * fold->split.group, end = group_end(fold->split, group);
    if (begin < fold->local_begin) begin = fold->local_begin;
    if (end > fold->local_end) end = fold->local_end;
    for (int64_t m = begin; m < end; m++)
        memcpy(fold->grouped + (size_t)(m - fold->local_begin) * fold->length, record,
            record_bytes(fold));
}

void piece_fold_local(PieceFold *fold, const Piece *piece, double *records, double *result) {
    double *first = records + (size_t)(piece->begin - fold->local_begin) * fold->length;
    if (!piece->is_of_groups) {
        reducer_fold_leaves(piece->node.count, fold->length, fold->merge, first);
    } else {
        for (int64_t i = 0; i < piece->node.count; i++) {
            int64_t group = piece->node.begin + i, begin = group * fold->split.group;
            double *of_group = records + (size_t)(begin - fold->local_begin) * fold->length;
            reducer_fold_leaves(
                group_end(fold->split, group) - begin, fold->length, fold->merge, of_group);
            hand_out(fold, group, of_group);
            memmove(first + (size_t)i * fold->length, of_group, record_bytes(fold));
        }
        reducer_fold_leaves(piece->node.count, fold->length, fold->merge, first);
    }
    memcpy(result, first, record_bytes(fold));
}

void piece_fold_begin(PieceFold *fold) {
    tree_fold_begin(&fold->of_groups);
    tree_fold_begin(&fold->in_group);
}

/* Put a record on top of `tree`, whose slots begin at `base`, and do the merges that are due. A
 * record that merges at once is not copied. */
static void push(PieceFold *fold, TreeFold *tree, int base, TreeNode node, const double *record) {
    int slot = base + tree->depth;
    int merges = tree_fold_push(tree, node);
    double *place = slot_of(fold, slot);
    if (merges == 0 && record != place) memcpy(place, record, record_bytes(fold));
    for (; merges > 0; merges--, slot--) {
        fold->merge(slot_of(fold, slot - 1), record, fold->length);
        record = slot_of(fold, slot - 1);
    }
}

static void finish(PieceFold *fold, TreeFold *tree, int base) {
    int slot = base + tree->depth - 1;
    for (int merges = tree_fold_finish(tree); merges > 0; merges--, slot--)
        fold->merge(slot_of(fold, slot - 1), slot_of(fold, slot), fold->length);
}

/* All that was pushed of this group is there: it becomes a leaf of the tree of groups. */
static void close_group(PieceFold *fold, int64_t group) {
    int base = fold->of_groups.depth;
    finish(fold, &fold->in_group, base);
    tree_fold_begin(&fold->in_group);
    const double *record = slot_of(fold, base);
    hand_out(fold, group, record);
    push(fold, &fold->of_groups, 0, (TreeNode){.begin = group, .count = 1}, record);
}

void piece_fold_push(PieceFold *fold, const Piece *piece, const double *record) {
    if (piece->is_of_groups) {
        push(fold, &fold->of_groups, 0, piece->node, record);
        return;
    }
    int64_t group = piece->begin / fold->split.group;
    push(fold, &fold->in_group, fold->of_groups.depth, piece->node, record);
    if (piece->end == group_end(fold->split, group)) close_group(fold, group);
}

const double *piece_fold_finish(PieceFold *fold) {
    if (fold->in_group.depth > 0) {
        REQUIRE(fold->of_groups.depth == 0); /* part of one group and nothing else */
        finish(fold, &fold->in_group, 0);
    } else {
        finish(fold, &fold->of_groups, 0);
    }
    return fold->stack;
}
