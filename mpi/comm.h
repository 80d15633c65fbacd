/* comm.h - the ranks: who they are, agreement on errors, shared memory, small messages.
 * <mpi.h> stays inside mpi/. */
#ifndef MPI_COMM_H
#define MPI_COMM_H

#include "src/reducer.h"
#include "src/status.h"
#include <stddef.h>
#include <stdint.h>

typedef struct Comm Comm;

/* Collective over all processes of the job. Start MPI (FUNNELED: only the main thread calls it),
 * find the ranks of each node. Installs what ends the job when REQUIRE fails. The caller ends with
 * comm_finish, also after a failure, and prints what is wrong before: what a rank prints after
 * MPI's end may be lost with a failing job. Fails with STATUS_CONFIG, STATUS_NO_MEMORY, agreed. */
MUST_CHECK Status comm_start(Comm **comm, int *argc, char ***argv);

/* Collective. Free `comm` (NULL is allowed) and finish MPI. Called once. */
void comm_finish(Comm *comm);

/* Local. End the whole job at once with `exit_code` (1..125): for a rank that cannot go on alone.
 */
_Noreturn void comm_abort(const Comm *comm, int exit_code);

/* Local. This rank of how many; whether it is rank 0; its place among the ranks of its node; nodes.
 * Ranks of one node are consecutive in comm_position, the order in which microbatches are handed
 * out: equal to the rank wherever the launcher fills node after node. Rank 0 has position 0.
 * LOCKSTEP_RANKS_PER_NODE="N" in the environment treats each N ranks of a machine as a node, for
 * tests and for machines with several memories; "N,cyclic" deals the ranks out in turn. */
int comm_rank(const Comm *comm);
int comm_size(const Comm *comm);
int comm_is_root(const Comm *comm);
int comm_position(const Comm *comm);
int comm_node(const Comm *comm);
int comm_node_count(const Comm *comm);
int comm_node_rank(const Comm *comm);
int comm_node_size(const Comm *comm);

/* Collective. Every rank brings its own status; all get the same one: STATUS_OK if all are, else
 * that of the lowest failing rank, whose message goes to all (prefixed "rank N: " on more than one
 * rank, unless every rank failed with the same message). */
MUST_CHECK Status comm_agree(const Comm *comm, Status local);

/* Collective: bytes and root equal on all ranks. */
void comm_broadcast(const Comm *comm, void *data, size_t bytes, int root);
void comm_barrier(const Comm *comm);

/* Collective. The sum, the largest, the smallest of a number over the ranks. For what has no effect
 * on training (times, limits): the order of the sum depends on the rank count. */
double comm_sum(const Comm *comm, double value);
double comm_max(const Comm *comm, double value);
double comm_min(const Comm *comm, double value);

/* Collective: length equal on all ranks. Replace each of `counts` [length] by its sum over the
 * ranks: whole numbers, exact in any order. */
void comm_sum_counts(const Comm *comm, int64_t *counts, size_t length);

/* Collective: name equal on all ranks. Compare a text over the ranks; STATUS_CONFIG on all ranks
 * when one differs from rank 0's, naming `name`, the first rank that differs and both texts (their
 * first differing lines when they have several). */
MUST_CHECK Status comm_require_same(const Comm *comm, const char *name, const char *text);

/* Memory that the ranks of a node share. */
typedef struct CommWindow CommWindow;

/* Collective: bytes equal on the ranks of a node. Zeroed, 64-byte aligned; `*data` is this
 * process's address of it. Falls back to private memory on a node with one rank. The caller frees
 * with comm_window_free (Collective), also after a failure. Fails with STATUS_NO_MEMORY, agreed. */
MUST_CHECK Status comm_window_create(
    const Comm *comm, size_t bytes, CommWindow **window, void **data);
void comm_window_free(CommWindow *window);

/* Collective over the ranks of a node: all stores before it are seen by all loads after it. */
void comm_node_barrier(const Comm *comm);

/* Local. The reducer over these ranks (see reducer.h). Owned by comm. */
Reducer *comm_reducer(Comm *comm);

/* Local. Seconds this rank has spent inside communication since the start. */
double comm_seconds(const Comm *comm);

/* Local. "Open MPI v4.1.4 ..." or "MPICH ...": the library in use, one line, static memory. */
const char *comm_library_version(void);

#endif
