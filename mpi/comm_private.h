/* comm_private.h - what the files of mpi/ share: communicators and the layout of the ranks. */
#ifndef MPI_COMM_PRIVATE_H
#define MPI_COMM_PRIVATE_H

#include "mpi/comm.h"
#include <mpi.h>

typedef struct CommBarrier CommBarrier;

/* Counts through a const Comm: time is not part of what a Comm is. */
typedef struct CommClock {
    int depth; /* calls inside calls count once */
    double began;
    double seconds;
} CommClock;

struct Comm {
    MPI_Comm all;         /* every rank, in order of rank */
    MPI_Comm by_position; /* every rank, in order of position */
    MPI_Comm node_ranks;  /* those of this node, in order of position */
    MPI_Comm leaders;     /* node rank 0 of every node; MPI_COMM_NULL on other ranks */
    int rank, size, position;
    int node, node_count, node_rank, node_size;
    int *position_of;           /* [size] of each rank */
    int *node_first;            /* [node_count + 1] first position of each node */
    CommWindow *barrier_window; /* NULL on a node with one rank */
    CommBarrier *barrier;       /* inside the window */
    CommClock *clock;
    Reducer *reducer;
};

/* Local. Around every stretch that communicates: comm_seconds is their sum. */
void comm_clock_enter(const Comm *comm);
void comm_clock_leave(const Comm *comm);

/* Local. First microbatch of a node: its ranks' ranges are consecutive. */
int64_t comm_first_leaf_of_node(const Comm *comm, int node, int64_t total);

/* Collective. The window in which the ranks of a node meet. */
MUST_CHECK Status comm_barrier_create(Comm *comm);
void comm_barrier_free(Comm *comm);

/* Collective. The reducer that comm_reducer returns. Fails with STATUS_NO_MEMORY, not agreed. */
MUST_CHECK Status reducer_mpi_create(Comm *comm);
void reducer_mpi_free(Comm *comm);

#endif
