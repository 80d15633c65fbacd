/* pieces.h - how the microbatches of a batch in groups come apart over ranks: each rank's records
 * are folded to its pieces, and the pieces of all, in order, fold to the groups and the total. */
#ifndef MPI_PIECES_H
#define MPI_PIECES_H

#include "src/reducer.h"
#include "src/status.h"

/* `total` microbatches in groups of `group` <= total, the last maybe shorter. */
typedef struct PieceSplit {
    int64_t total, group;
} PieceSplit;

/* A subtree that lies with one owner: within one group, or of whole groups. */
typedef struct Piece {
    int64_t begin, end; /* its microbatches */
    int is_of_groups;
    TreeNode node; /* in the tree of groups if is_of_groups, else in its group's own tree */
} Piece;

/* The pieces of consecutive owners. */
typedef struct PieceList {
    int owner_count; /* appended so far */
    int *first;      /* [owner_count + 1] */
    Piece *pieces;
    int capacity;
} PieceList;

/* Local. Empty a list (zeroed before the first time) and prepare it for `owners` owners; append the
 * next owner, who has the microbatches [begin, end). Both fail with STATUS_NO_MEMORY. */
MUST_CHECK Status pieces_begin(PieceList *list, int owners);
MUST_CHECK Status pieces_append(PieceList *list, PieceSplit split, int64_t begin, int64_t end);
void pieces_free(PieceList *list);
int pieces_count(const PieceList *list);

/* A fold of pieces that arrive in order. The records of complete groups go to `grouped`, where they
 * hold local microbatches and arrive as pieces of a group, not of groups. (A group that began on an
 * earlier node looks complete to the fold of a node's own pieces; the fold over all nodes comes
 * later and replaces it.) */
typedef struct PieceFold {
    PieceSplit split;
    int length;
    ReducerMerge merge;
    double *stack;                  /* [piece_fold_depth][length] */
    double *grouped;                /* [local microbatch][length] or NULL */
    int64_t local_begin, local_end; /* microbatches */
    TreeFold of_groups, in_group;   /* the group's slots lie above those of the groups */
} PieceFold;

/* Local. Records that the stack must hold. */
int piece_fold_depth(PieceSplit split);

/* Local. Fold the local `records` [local microbatch][length] of one of this rank's own pieces, in
 * place, into `result`; gives grouped what the piece's groups are. */
void piece_fold_local(PieceFold *fold, const Piece *piece, double *records, double *result);

/* Local. Fold pieces in order; the result, on the stack, is that of everything pushed. */
void piece_fold_begin(PieceFold *fold);
void piece_fold_push(PieceFold *fold, const Piece *piece, const double *record);
const double *piece_fold_finish(PieceFold *fold);

#endif
