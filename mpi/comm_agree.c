/* comm_agree.c - see comm.h: the ranks return the same error, and compare what must be equal. */
#include "mpi/comm_private.h"
#include "src/memory.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static int smallest(const Comm *comm, int value) {
    int result = value;
    MPI_Allreduce(&value, &result, 1, MPI_INT, MPI_MIN, comm->all);
    return result;
}

/* Whether a message begins with "rank N: ": it came from another rank before. */
static int names_a_rank(const char *message) {
    if (strncmp(message, "rank ", 5) != 0 || !isdigit((unsigned char)message[5])) return 0;
    const char *end = message + 5;
    while (isdigit((unsigned char)*end)) end++;
    return strncmp(end, ": ", 2) == 0;
}

/* Give every rank the status and the message of rank `failed`. */
static Status spread_failure(const Comm *comm, Status local, int failed) {
    struct {
        int status;
        char message[STATUS_MESSAGE_BYTES];
    } failure = {.status = local};
    snprintf(failure.message, sizeof failure.message, "%s", status_message());
    MPI_Bcast(&failure, sizeof failure, MPI_BYTE, failed, comm->all);
    int is_same = (int)local == failure.status && strcmp(status_message(), failure.message) == 0;
    int all_same = smallest(comm, is_same);
    if (comm->size == 1 || all_same || names_a_rank(failure.message))
        status_set_message(failure.message);
    else
        (void)!FAIL(failure.status, "rank %d: %s", failed, failure.message);
    return (Status)failure.status;
}

Status comm_agree(const Comm *comm, Status local) {
    comm_clock_enter(comm);
    int failed = smallest(comm, local == STATUS_OK ? comm->size : comm->rank);
    Status agreed = failed == comm->size ? STATUS_OK : spread_failure(comm, local, failed);
    comm_clock_leave(comm);
    return agreed;
}

/* FNV-1a (Fowler, Noll, Vo), 64 bits. */
static uint64_t hash_text(const char *text) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text != '\0'; text++) hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash;
}

/* Equal on all ranks if the largest is the smallest: max(v) == ~max(~v). */
static int hash_is_same(const Comm *comm, uint64_t hash) {
    uint64_t mine[2] = {hash, ~hash}, largest[2];
    MPI_Allreduce(mine, largest, 2, MPI_UINT64_T, MPI_MAX, comm->all);
    return largest[0] == ~largest[1];
}

/* Say how `here` differs from rank 0's text: by their first differing lines. */
static Status describe_difference(const char *name, const char *there, const char *here) {
    size_t line_begin = 0, at = 0;
    int line = 1, has_lines = strchr(there, '\n') != NULL || strchr(here, '\n') != NULL;
    for (; here[at] == there[at]; at++) {
        if (here[at] == '\0') return STATUS_OK;
        if (here[at] != '\n') continue;
        line_begin = at + 1;
        line++;
    }
    there += line_begin;
    here += line_begin;
    int there_length = (int)strcspn(there, "\n"), here_length = (int)strcspn(here, "\n");
    enum { SHOWN = STATUS_MESSAGE_BYTES / 4 }; /* of each text */
    if (there_length > SHOWN) there_length = SHOWN;
    if (here_length > SHOWN) here_length = SHOWN;
    char place[32] = "";
    if (has_lines) snprintf(place, sizeof place, "line %d: ", line);
    return FAIL(STATUS_CONFIG, "%s differs between ranks: %s\"%.*s\" here, \"%.*s\" on rank 0",
        name, place, here_length, here, there_length, there);
}

static Status compare_with_root(const Comm *comm, const char *name, const char *text) {
    uint64_t bytes = strlen(text) + 1;
    char *of_root = NULL;
    comm_broadcast(comm, &bytes, sizeof bytes, 0);
    Status status = comm_agree(comm, MEMORY_ALLOCATE(&of_root, bytes, name));
    if (status == STATUS_OK) {
        if (comm->rank == 0) memcpy(of_root, text, bytes);
        comm_broadcast(comm, of_root, bytes, 0);
        /* Rank 0 never differs, so the lowest failing rank is named by the agreement. */
        status = comm_agree(comm, describe_difference(name, of_root, text));
    }
    memory_free(of_root);
    return status;
}

Status comm_require_same(const Comm *comm, const char *name, const char *text) {
    comm_clock_enter(comm);
    Status status =
        hash_is_same(comm, hash_text(text)) ? STATUS_OK : compare_with_root(comm, name, text);
    comm_clock_leave(comm);
    return status;
}
