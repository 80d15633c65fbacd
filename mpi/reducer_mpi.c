/* reducer_mpi.c - see reducer.h: small records combined over all ranks.
 *
 * Each rank folds its microbatches to as few records as the tree allows, its pieces, and puts them
 * into the node's window; every rank then folds all pieces itself, which costs less than waiting
 * for another to do it. Between nodes the first rank of each exchanges the node's own pieces. All
 * ranks work out from the batch who has which pieces: only records travel. */
#include "mpi/comm_private.h"
#include "mpi/pieces.h"
#include "src/memory.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { PLANS_KEPT = 4, WINDOW_BYTES_MIN = 1 << 16 };

/* Who has which pieces, for one batch size and group size. */
typedef struct Plan {
    PieceSplit split;
    PieceList of_ranks;   /* owners: positions */
    PieceList of_nodes;   /* owners: nodes; empty when there is one */
    int node_records_max; /* most pieces that the ranks of a node have together */
} Plan;

typedef struct ReducerMpi {
    Reducer reducer;
    const Comm *comm;
    Plan plans[PLANS_KEPT];
    int plan_next; /* the one to be replaced next */
    CommWindow *window;
    double *slots[2]; /* the node's ranks' pieces, in turn: one barrier per call is enough */
    double *shared;   /* all nodes' pieces */
    size_t slots_bytes, shared_bytes;
    int turn;
    double *stack;
    size_t stack_bytes;
    int *counts, *offsets; /* [node_count] of MPI_Allgatherv */
} ReducerMpi;

/* A step has no way to fail: what it needs beyond the first call's is a bug or the end. */
static void must_succeed(const ReducerMpi *self, Status status) {
    if (status == STATUS_OK) return;
    fprintf(stderr, "lockstep: rank %d: %s\n", self->comm->rank, status_message());
    comm_abort(self->comm, status_exit_code(status));
}

static int same_split(PieceSplit a, PieceSplit b) {
    return a.total == b.total && a.group == b.group;
}

static Status build_plan(const Comm *comm, Plan *plan, PieceSplit split) {
    plan->split = (PieceSplit){0};
    TRY(pieces_begin(&plan->of_ranks, comm->size));
    for (int position = 0; position < comm->size; position++)
        TRY(pieces_append(&plan->of_ranks, split,
            tree_first_leaf(position, comm->size, split.total),
            tree_first_leaf(position + 1, comm->size, split.total)));
    int nodes = comm->node_count;
    TRY(pieces_begin(&plan->of_nodes, nodes));
    plan->node_records_max = 0;
    for (int node = 0; node < nodes; node++) {
        const int *first = plan->of_ranks.first;
        int records = first[comm->node_first[node + 1]] - first[comm->node_first[node]];
        if (records > plan->node_records_max) plan->node_records_max = records;
        if (nodes > 1)
            TRY(pieces_append(&plan->of_nodes, split,
                comm_first_leaf_of_node(comm, node, split.total),
                comm_first_leaf_of_node(comm, node + 1, split.total)));
    }
    plan->split = split;
    return STATUS_OK;
}

static const Plan *find_plan(ReducerMpi *self, PieceSplit split) {
    for (int i = 0; i < PLANS_KEPT; i++)
        if (same_split(self->plans[i].split, split)) return &self->plans[i];
    Plan *plan = &self->plans[self->plan_next];
    self->plan_next = (self->plan_next + 1) % PLANS_KEPT;
    must_succeed(self, build_plan(self->comm, plan, split));
    return plan;
}

static size_t round_up_bytes(size_t bytes) {
    size_t rounded = WINDOW_BYTES_MIN;
    while (rounded < bytes) rounded *= 2;
    return rounded;
}

/* Make room for a call. The sizes are equal on all ranks, so all grow together. A call's slots lie
 * where the last call's of the same turn lay: another size must not move them. */
static void reserve_window(ReducerMpi *self, const Plan *plan, int length) {
    size_t record_bytes = (size_t)length * sizeof(double);
    size_t slots_bytes = (size_t)plan->node_records_max * record_bytes;
    size_t shared_bytes = (size_t)pieces_count(&plan->of_nodes) * record_bytes;
    if (slots_bytes > self->slots_bytes || shared_bytes > self->shared_bytes) {
        void *data = NULL;
        self->slots_bytes = round_up_bytes(slots_bytes);
        self->shared_bytes = shared_bytes > 0 ? round_up_bytes(shared_bytes) : 0;
        comm_window_free(self->window);
        must_succeed(self, comm_window_create(self->comm,
                               2 * self->slots_bytes + self->shared_bytes, &self->window, &data));
        self->slots[0] = data;
        self->slots[1] = (double *)((char *)data + self->slots_bytes);
        self->shared = (double *)((char *)data + 2 * self->slots_bytes);
    }
}

static void reserve_stack(ReducerMpi *self, PieceSplit split, int length) {
    size_t bytes = (size_t)piece_fold_depth(split) * (size_t)length * sizeof(double);
    if (bytes <= self->stack_bytes) return;
    memory_free(self->stack);
    self->stack_bytes = round_up_bytes(bytes);
    must_succeed(self, memory_allocate((void **)&self->stack, self->stack_bytes, 1, "reducer"));
}

/* Fold the node's pieces out of its ranks'. Every rank of the node does, for the groups that are
 * complete here; the first rank keeps the results, [pieces of the node][length]. */
static void fold_node(
    const ReducerMpi *self, const Plan *plan, PieceFold *fold, const double *slots) {
    const Comm *comm = self->comm;
    size_t length = (size_t)fold->length;
    double *results = self->shared + (size_t)plan->of_nodes.first[comm->node] * length;
    int source = plan->of_ranks.first[comm->node_first[comm->node]];
    for (int i = plan->of_nodes.first[comm->node]; i < plan->of_nodes.first[comm->node + 1]; i++) {
        const Piece *target = &plan->of_nodes.pieces[i];
        piece_fold_begin(fold);
        for (; source < plan->of_ranks.first[comm->size] &&
               plan->of_ranks.pieces[source].end <= target->end;
             source++, slots += length)
            piece_fold_push(fold, &plan->of_ranks.pieces[source], slots);
        const double *result = piece_fold_finish(fold);
        if (comm->node_rank == 0) memcpy(results, result, length * sizeof *results);
        results += length;
    }
}

static void exchange_between_nodes(const ReducerMpi *self, const Plan *plan, int length) {
    const Comm *comm = self->comm;
    comm_clock_enter(comm);
    for (int node = 0; node < comm->node_count; node++) {
        const int *first = plan->of_nodes.first;
        REQUIRE((int64_t)first[node + 1] * length <= INT_MAX);
        self->counts[node] = (first[node + 1] - first[node]) * length;
        self->offsets[node] = first[node] * length;
    }
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, self->shared, self->counts, self->offsets,
        MPI_DOUBLE, comm->leaders);
    comm_clock_leave(comm);
}

/* Fold this rank's microbatches and put the pieces into the node's window; returns the first piece
 * of the node. */
static const double *share_own_pieces(
    ReducerMpi *self, const Plan *plan, PieceFold *fold, double *records) {
    const Comm *comm = self->comm;
    const int *first = plan->of_ranks.first;
    double *slots = self->slots[self->turn];
    int before = first[comm->position] - first[comm->node_first[comm->node]];
    double *own = slots + (size_t)before * fold->length;
    for (int i = first[comm->position]; i < first[comm->position + 1]; i++, own += fold->length)
        piece_fold_local(fold, &plan->of_ranks.pieces[i], records, own);
    self->turn = 1 - self->turn;
    comm_node_barrier(comm);
    return slots;
}

/* Make the nodes' pieces out of the ranks', and those of all nodes known to every rank. */
static const double *share_node_pieces(
    ReducerMpi *self, const Plan *plan, PieceFold *fold, const double *slots) {
    fold_node(self, plan, fold, slots);
    if (self->comm->node_rank == 0) exchange_between_nodes(self, plan, fold->length);
    comm_node_barrier(self->comm);
    return self->shared;
}

static void combine(Reducer *reducer, const Batch *batch, int group, int length, ReducerMerge merge,
    double *records, double *grouped, double *total) {
    ReducerMpi *self = (ReducerMpi *)reducer;
    const Comm *comm = self->comm;
    int64_t leaves = batch->global_microbatch_count;
    REQUIRE(group > 0 && length > 0 && length <= REDUCER_LENGTH_MAX);
    REQUIRE(batch->local_begin == tree_first_leaf(comm->position, comm->size, leaves));
    PieceSplit split = {.total = leaves, .group = group < leaves ? group : leaves};
    const Plan *plan = find_plan(self, split);
    reserve_window(self, plan, length);
    reserve_stack(self, split, length);

    PieceFold fold = {.split = split,
        .length = length,
        .merge = merge,
        .stack = self->stack,
        .grouped = grouped,
        .local_begin = batch->local_begin,
        .local_end = batch->local_begin + batch->local_count};
    const PieceList *all = &plan->of_ranks;
    const double *record = share_own_pieces(self, plan, &fold, records);
    if (comm->node_count > 1) {
        record = share_node_pieces(self, plan, &fold, record);
        all = &plan->of_nodes;
    }
    piece_fold_begin(&fold);
    for (int i = 0; i < pieces_count(all); i++, record += length)
        piece_fold_push(&fold, &all->pieces[i], record);
    const double *result = piece_fold_finish(&fold);
    if (total != NULL) memcpy(total, result, (size_t)length * sizeof *total);
}

static void combine_alone(Reducer *reducer, const Batch *batch, int group, int length,
    ReducerMerge merge, double *records, double *grouped, double *total) {
    (void)reducer;
    Reducer *alone = reducer_of_one_rank();
    alone->combine(alone, batch, group, length, merge, records, grouped, total);
}

Status reducer_mpi_create(Comm *comm) {
    ReducerMpi *self = NULL;
    TRY(MEMORY_ALLOCATE(&self, 1, "reducer"));
    comm->reducer = &self->reducer;
    self->comm = comm;
    self->reducer.combine = comm->size == 1 ? combine_alone : combine;
    TRY(MEMORY_ALLOCATE(&self->counts, (size_t)comm->node_count, "reducer"));
    return MEMORY_ALLOCATE(&self->offsets, (size_t)comm->node_count, "reducer");
}

void reducer_mpi_free(Comm *comm) {
    ReducerMpi *self = (ReducerMpi *)comm->reducer;
    if (self == NULL) return;
    for (int i = 0; i < PLANS_KEPT; i++) {
        pieces_free(&self->plans[i].of_ranks);
        pieces_free(&self->plans[i].of_nodes);
    }
    comm_window_free(self->window);
    memory_free(self->stack);
    memory_free(self->counts);
    memory_free(self->offsets);
    memory_free(self);
    comm->reducer = NULL;
}
