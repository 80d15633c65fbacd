/* comm.c - see comm.h: start and end, who is where, agreement, small messages. */
#include "mpi/comm_private.h"
#include "src/memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of one MPI call, whose counts are ints. */
enum { BROADCAST_BYTES_MAX = 1 << 30, SUMMED_COUNTS_MAX = 1 << 20 };

static void end_job(int exit_code) {
    MPI_Abort(MPI_COMM_WORLD, exit_code);
}

void comm_abort(const Comm *comm, int exit_code) {
    (void)comm;
    fflush(NULL);
    end_job(exit_code >= 1 && exit_code <= 125 ? exit_code : status_exit_code(STATUS_BUG));
    _Exit(exit_code);
}

/* Where ranks of a node are dealt out to smaller "nodes": see comm.h. */
typedef struct NodeRule {
    int ranks_per_node; /* 0: nodes are what they are */
    int is_cyclic;
} NodeRule;

static Status read_node_rule(NodeRule *rule) {
    *rule = (NodeRule){0};
    const char *text = getenv("LOCKSTEP_RANKS_PER_NODE");
    if (text == NULL || *text == '\0') return STATUS_OK;
    char *end = NULL;
    long ranks = strtol(text, &end, 10);
    rule->is_cyclic = strcmp(end, ",cyclic") == 0;
    if (end == text || (*end != '\0' && !rule->is_cyclic) || ranks < 1 || ranks > 1 << 20)
        return FAIL(STATUS_CONFIG,
            "LOCKSTEP_RANKS_PER_NODE: expected \"N\" or \"N,cyclic\" with N >= 1, got \"%s\"",
            text);
    rule->ranks_per_node = (int)ranks;
    return STATUS_OK;
}

static void split_nodes(Comm *comm, NodeRule rule) {
    MPI_Comm host;
    int host_rank, host_size;
    MPI_Comm_split_type(comm->all, MPI_COMM_TYPE_SHARED, comm->rank, MPI_INFO_NULL, &host);
    MPI_Comm_rank(host, &host_rank);
    MPI_Comm_size(host, &host_size);
    int color = 0;
    if (rule.ranks_per_node > 0) {
        int nodes = (host_size + rule.ranks_per_node - 1) / rule.ranks_per_node;
        color = rule.is_cyclic ? host_rank % nodes : host_rank / rule.ranks_per_node;
    }
    MPI_Comm_split(host, color, comm->rank, &comm->node_ranks);
    MPI_Comm_free(&host);
    MPI_Comm_rank(comm->node_ranks, &comm->node_rank);
    MPI_Comm_size(comm->node_ranks, &comm->node_size);
}

/* Order the ranks: the node with the lowest rank first, within a node by rank. leader_of [size] is
 * the lowest rank of each rank's node, and becomes its node. */
static void order_ranks(Comm *comm, int *leader_of) {
    comm->node_count = 0;
    for (int rank = 0; rank < comm->size; rank++) {
        int is_leader = leader_of[rank] == rank;
        /* A leader comes before its node's other ranks, so its entry is already the node's. */
        leader_of[rank] = is_leader ? comm->node_count++ : leader_of[leader_of[rank]];
        comm->node_first[leader_of[rank] + 1]++;
    }
    for (int node = 0; node < comm->node_count; node++)
        comm->node_first[node + 1] += comm->node_first[node];
    for (int rank = 0; rank < comm->size; rank++)
        comm->position_of[rank] = comm->node_first[leader_of[rank]]++;
    for (int node = comm->node_count; node > 0; node--) /* each had moved to its end */
        comm->node_first[node] = comm->node_first[node - 1];
    comm->node_first[0] = 0;
    comm->node = leader_of[comm->rank];
    comm->position = comm->position_of[comm->rank];
}

static Status place_ranks(Comm *comm) {
    NodeRule rule;
    int *leader_of = NULL;
    Status status = read_node_rule(&rule);
    if (status == STATUS_OK) status = MEMORY_ALLOCATE(&comm->position_of, comm->size, "ranks");
    if (status == STATUS_OK) status = MEMORY_ALLOCATE(&comm->node_first, comm->size + 1, "nodes");
    if (status == STATUS_OK) status = MEMORY_ALLOCATE(&leader_of, comm->size, "node leaders");
    status = comm_agree(comm, status);
    if (status == STATUS_OK) {
        split_nodes(comm, rule);
        int leader = comm->rank;
        MPI_Bcast(&leader, 1, MPI_INT, 0, comm->node_ranks);
        MPI_Allgather(&leader, 1, MPI_INT, leader_of, 1, MPI_INT, comm->all);
        order_ranks(comm, leader_of);
        MPI_Comm_split(comm->all, 0, comm->position, &comm->by_position);
        MPI_Comm_split(
            comm->all, comm->node_rank == 0 ? 0 : MPI_UNDEFINED, comm->position, &comm->leaders);
    }
    memory_free(leader_of);
    return status;
}

/* Everything that comm_agree needs; where memory is short on any rank, none goes on. */
static Status create_comm(Comm **comm) {
    Status status = MEMORY_ALLOCATE(comm, 1, "communicator");
    CommClock *clock = NULL;
    if (status == STATUS_OK) status = MEMORY_ALLOCATE(&clock, 1, "communicator");
    int failed = status != STATUS_OK, any = 0;
    MPI_Comm all;
    MPI_Comm_dup(MPI_COMM_WORLD, &all);
    MPI_Allreduce(&failed, &any, 1, MPI_INT, MPI_MAX, all);
    if (any) {
        MPI_Comm_free(&all);
        memory_free(clock);
        memory_free(*comm);
        *comm = NULL;
        return failed ? status : FAIL(STATUS_NO_MEMORY, "communicator: out of memory on a rank");
    }
    Comm *made = *comm;
    made->clock = clock;
    made->all = all;
    made->by_position = made->node_ranks = made->leaders = MPI_COMM_NULL;
    MPI_Comm_rank(all, &made->rank);
    MPI_Comm_size(all, &made->size);
    status_set_abort(end_job, made->rank);
    return STATUS_OK;
}

static Status complete_comm(Comm *comm) {
    TRY(place_ranks(comm));
    TRY(comm_barrier_create(comm));
    return comm_agree(comm, reducer_mpi_create(comm));
}

Status comm_start(Comm **comm, int *argc, char ***argv) {
    int provided = 0;
    *comm = NULL;
    MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);
    Status status =
        provided >= MPI_THREAD_FUNNELED
            ? create_comm(comm)
            : FAIL(STATUS_CONFIG, "%s was built without threads", comm_library_version());
    return status == STATUS_OK ? complete_comm(*comm) : status;
}

static void free_communicator(MPI_Comm *communicator) {
    if (*communicator != MPI_COMM_NULL) MPI_Comm_free(communicator);
}

static void free_comm(Comm *comm) {
    reducer_mpi_free(comm);
    comm_barrier_free(comm);
    free_communicator(&comm->leaders);
    free_communicator(&comm->by_position);
    free_communicator(&comm->node_ranks);
    free_communicator(&comm->all);
    memory_free(comm->node_first);
    memory_free(comm->position_of);
    memory_free(comm->clock);
    status_set_abort(NULL, comm->rank);
    memory_free(comm);
}

void comm_finish(Comm *comm) {
    if (comm != NULL) free_comm(comm);
    MPI_Finalize();
}

int comm_rank(const Comm *comm) {
    return comm->rank;
}

int comm_size(const Comm *comm) {
    return comm->size;
}

int comm_is_root(const Comm *comm) {
    return comm->rank == 0;
}

int comm_position(const Comm *comm) {
    return comm->position;
}

int comm_node(const Comm *comm) {
    return comm->node;
}

int comm_node_count(const Comm *comm) {
    return comm->node_count;
}

int comm_node_rank(const Comm *comm) {
    return comm->node_rank;
}

int comm_node_size(const Comm *comm) {
    return comm->node_size;
}

int64_t comm_first_leaf_of_node(const Comm *comm, int node, int64_t total) {
    return tree_first_leaf(comm->node_first[node], comm->size, total);
}

Reducer *comm_reducer(Comm *comm) {
    return comm->reducer;
}

void comm_clock_enter(const Comm *comm) {
    if (comm->clock->depth++ == 0) comm->clock->began = MPI_Wtime();
}

void comm_clock_leave(const Comm *comm) {
    REQUIRE(comm->clock->depth > 0);
    if (--comm->clock->depth == 0) comm->clock->seconds += MPI_Wtime() - comm->clock->began;
}

double comm_seconds(const Comm *comm) {
    return comm->clock->seconds;
}

const char *comm_library_version(void) {
    static char version[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    MPI_Get_library_version(version, &length);
    version[strcspn(version, "\n")] = '\0';
    for (char *tab = version; (tab = strchr(tab, '\t')) != NULL;) *tab = ' ';
    return version;
}

void comm_broadcast(const Comm *comm, void *data, size_t bytes, int root) {
    comm_clock_enter(comm);
    for (size_t done = 0; done < bytes; done += BROADCAST_BYTES_MAX) {
        size_t left = bytes - done;
        int count = left < BROADCAST_BYTES_MAX ? (int)left : BROADCAST_BYTES_MAX;
        MPI_Bcast((char *)data + done, count, MPI_BYTE, root, comm->all);
    }
    comm_clock_leave(comm);
}

void comm_barrier(const Comm *comm) {
    comm_clock_enter(comm);
    MPI_Barrier(comm->all);
    comm_clock_leave(comm);
}

static double reduce_number(const Comm *comm, double value, MPI_Op operation) {
    double result = value;
    comm_clock_enter(comm);
    MPI_Allreduce(&value, &result, 1, MPI_DOUBLE, operation, comm->all);
    comm_clock_leave(comm);
    return result;
}

double comm_sum(const Comm *comm, double value) {
    return reduce_number(comm, value, MPI_SUM);
}

double comm_max(const Comm *comm, double value) {
    return reduce_number(comm, value, MPI_MAX);
}

double comm_min(const Comm *comm, double value) {
    return reduce_number(comm, value, MPI_MIN);
}

void comm_sum_counts(const Comm *comm, int64_t *counts, size_t length) {
    comm_clock_enter(comm);
    for (size_t done = 0; done < length; done += SUMMED_COUNTS_MAX) {
        size_t left = length - done;
        int count = left < SUMMED_COUNTS_MAX ? (int)left : SUMMED_COUNTS_MAX;
        MPI_Allreduce(MPI_IN_PLACE, counts + done, count, MPI_INT64_T, MPI_SUM, comm->all);
    }
    comm_clock_leave(comm);
}
