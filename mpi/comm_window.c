/* comm_window.c - see comm.h: memory shared by the ranks of a node, and their barrier. */
#include "mpi/comm_private.h"
#include "src/memory.h"
#include "src/threads.h"
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/statvfs.h>

struct CommWindow {
    MPI_Win window;       /* MPI_WIN_NULL: none */
    void *private_memory; /* on a node with one rank */
};

/* Zero this rank's share of the window: the first rank to touch a page decides which memory of the
 * machine it lies in, and callers lay windows out in the order of the node's ranks. */
static void zero_share(const Comm *comm, char *data, size_t bytes) {
    size_t begin = (size_t)tree_first_leaf(comm->node_rank, comm->node_size, (int64_t)bytes);
    size_t end = (size_t)tree_first_leaf(comm->node_rank + 1, comm->node_size, (int64_t)bytes);
    memset(data + begin, 0, end - begin);
    MPI_Barrier(comm->node_ranks);
}

/* The whole segment belongs to node rank 0; the others ask for nothing and for its address. */
static int allocate_shared(const Comm *comm, size_t bytes, MPI_Win *window) {
    void *base = NULL;
    MPI_Aint size = comm->node_rank == 0 ? (MPI_Aint)(bytes + MEMORY_ALIGNMENT_BYTES) : 0;
    MPI_Comm_set_errhandler(comm->node_ranks, MPI_ERRORS_RETURN);
    int failed = MPI_Win_allocate_shared(size, 1, MPI_INFO_NULL, comm->node_ranks, &base, window) !=
                 MPI_SUCCESS;
    MPI_Comm_set_errhandler(comm->node_ranks, MPI_ERRORS_ARE_FATAL);
    int any_failed = 0;
    MPI_Allreduce(&failed, &any_failed, 1, MPI_INT, MPI_MAX, comm->node_ranks);
    /* A window that exists on some ranks only cannot be freed: that takes all of them. */
    if (any_failed) *window = MPI_WIN_NULL;
    return !any_failed;
}

static void *address_in(MPI_Win window) {
    MPI_Aint size;
    int unit;
    char *base = NULL;
    MPI_Win_shared_query(window, 0, &size, &unit, &base);
    /* Segments start on a page in every process, so all skip equally many bytes. */
    size_t beyond = (uintptr_t)base % MEMORY_ALIGNMENT_BYTES;
    return base + (beyond == 0 ? 0 : MEMORY_ALIGNMENT_BYTES - beyond);
}

/* MPI libraries keep shared memory in /dev/shm, of which a container may have little; where it runs
 * out, Open MPI's ranks wait for each other for ever. Pages count when they are touched, which
 * comm_window_create does at once. */
static Status check_room(size_t bytes) {
    enum { MIB = 1 << 20 };
    struct statvfs room;
    if (statvfs("/dev/shm", &room) != 0) return STATUS_OK;
    size_t free_bytes = (size_t)room.f_bavail * (size_t)room.f_frsize;
    if (bytes < free_bytes && free_bytes - bytes >= MIB) return STATUS_OK;
    return FAIL(STATUS_NO_MEMORY,
        "shared memory: %zu MiB more are needed on this node, and /dev/shm has %zu MiB free: "
        "enlarge it (docker run --shm-size=...), or start one rank per node with --threads",
        bytes / MIB + 1, free_bytes / MIB);
}

static Status allocate_locally(const Comm *comm, size_t bytes, CommWindow *window) {
    if (comm->node_size == 1)
        return memory_allocate(&window->private_memory, bytes, 1, "node memory");
    if (status_fault_is_due() || bytes > SIZE_MAX / 4)
        return FAIL(STATUS_NO_MEMORY, "shared memory: cannot allocate %zu bytes", bytes);
    return comm->node_rank == 0 ? check_room(bytes) : STATUS_OK;
}

Status comm_window_create(const Comm *comm, size_t bytes, CommWindow **window, void **data) {
    *data = NULL;
    Status status = MEMORY_ALLOCATE(window, 1, "window");
    CommWindow *made = *window;
    if (status == STATUS_OK) {
        made->window = MPI_WIN_NULL;
        status = allocate_locally(comm, bytes, made);
    }
    TRY(comm_agree(comm, status));
    if (comm->node_size > 1) {
        if (allocate_shared(comm, bytes, &made->window))
            MPI_Win_lock_all(MPI_MODE_NOCHECK, made->window);
        else
            status = FAIL(STATUS_NO_MEMORY, "shared memory: MPI cannot allocate %zu bytes", bytes);
    }
    TRY(comm_agree(comm, status));
    *data = comm->node_size == 1 ? made->private_memory : address_in(made->window);
    if (comm->node_size > 1) zero_share(comm, *data, bytes);
    return STATUS_OK;
}

void comm_window_free(CommWindow *window) {
    if (window == NULL) return;
    if (window->window != MPI_WIN_NULL) {
        MPI_Win_unlock_all(window->window);
        MPI_Win_free(&window->window);
    }
    memory_free(window->private_memory);
    memory_free(window);
}

/* The last rank to arrive opens the next round; each counter has a cache line of its own. */
struct CommBarrier {
    alignas(64) atomic_uint arrived;
    alignas(64) atomic_uint round;
};

Status comm_barrier_create(Comm *comm) {
    void *data = NULL;
    TRY(comm_window_create(comm, sizeof(CommBarrier), &comm->barrier_window, &data));
    comm->barrier = data;
    return STATUS_OK;
}

void comm_barrier_free(Comm *comm) {
    comm_window_free(comm->barrier_window);
    comm->barrier_window = NULL;
    comm->barrier = NULL;
}

/* Spin about as long as ranks on cores of their own need to meet; after that give the core away,
 * for there may be more ranks than cores, and let MPI move what it still holds back, for the rank
 * we wait for may be waiting for that. Longer spins gain nothing on own cores (2 ranks: 0.2 us) and
 * lose where cores are shared (4 ranks on 2 cores, SPINS 30, 100, 400: 1.3, 2.2, 5.7 us). */
static void wait_for_round(const Comm *comm, unsigned round) {
    enum { SPINS = 30, YIELDS_PER_PROGRESS = 8 };
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&comm->barrier->round, memory_order_acquire) != round) return;
        threads_pause();
    }
    for (unsigned i = 1; atomic_load_explicit(&comm->barrier->round, memory_order_acquire) == round;
         i++) {
        int found;
        if (i % YIELDS_PER_PROGRESS == 0)
            MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm->all, &found, MPI_STATUS_IGNORE);
        sched_yield();
    }
}

void comm_node_barrier(const Comm *comm) {
    if (comm->node_size == 1) return;
    comm_clock_enter(comm);
    CommBarrier *barrier = comm->barrier;
    unsigned round = atomic_load_explicit(&barrier->round, memory_order_relaxed);
    unsigned before = atomic_fetch_add_explicit(&barrier->arrived, 1, memory_order_acq_rel);
    if ((int)before == comm->node_size - 1) {
        atomic_store_explicit(&barrier->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&barrier->round, round + 1, memory_order_release);
    } else {
        wait_for_round(comm, round);
    }
    comm_clock_leave(comm);
}
