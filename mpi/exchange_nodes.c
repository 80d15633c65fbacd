/* exchange_nodes.c - see exchange_private.h: what travels between nodes.
 *
 * For each slice whose owner is on another node, one rank of this node stands in: it sums this
 * node's gradients for the slice to the node's own subtrees, sends them to the owner, and receives
 * the new parameters straight into the node's window. The rank's place on its node picks it, so
 * that nodes of equal size send along parallel lines. */
#include "mpi/exchange_private.h"
#include "src/memory.h"
#include "src/network.h"
#include <string.h>

enum { TAG_SUMS = 1, TAG_PARAMETERS = 2 };

static int node_at(const Comm *comm, int position) {
    int node = 0;
    while (comm->node_first[node + 1] <= position) node++;
    return node;
}

/* The position of the rank on `node` that stands in for the slice of `owner`. */
static int stand_in(const Comm *comm, int node, int owner) {
    int owner_node_rank = owner - comm->node_first[node_at(comm, owner)];
    int node_size = comm->node_first[node + 1] - comm->node_first[node];
    return comm->node_first[node] + owner_node_rank % node_size;
}

int exchange_node_cover(const Comm *comm, int node, int64_t total, TreeNode nodes[TREE_NODES_MAX]) {
    int64_t begin = comm_first_leaf_of_node(comm, node, total);
    int64_t end = comm_first_leaf_of_node(comm, node + 1, total);
    return tree_cover(begin, end - begin, total, nodes);
}

static void count_pieces(Exchange *exchange) {
    const Comm *comm = exchange->comm;
    ExchangeNodes *nodes = &exchange->nodes;
    for (int64_t total = 1; total <= exchange->microbatches_max; total++) {
        TreeNode cover[TREE_NODES_MAX];
        int own = 0, others = 0;
        for (int node = 0; node < comm->node_count; node++) {
            int count = exchange_node_cover(comm, node, total, cover);
            *(node == comm->node ? &own : &others) += count;
        }
        if (own > nodes->own_pieces_max) nodes->own_pieces_max = own;
        if (others > nodes->other_pieces_max) nodes->other_pieces_max = others;
    }
}

static Status find_foreign_slices(Exchange *exchange) {
    const Comm *comm = exchange->comm;
    ExchangeNodes *nodes = &exchange->nodes;
    TRY(MEMORY_ALLOCATE(&nodes->foreign, (size_t)comm->size, "exchange"));
    TRY(MEMORY_ALLOCATE(&nodes->partner, (size_t)comm->node_count, "exchange"));
    for (int owner = 0; owner < comm->size; owner++)
        if (node_at(comm, owner) != comm->node &&
            stand_in(comm, comm->node, owner) == comm->position)
            nodes->foreign[nodes->foreign_count++] = owner;
    for (int node = 0; node < comm->node_count; node++)
        nodes->partner[node] = stand_in(comm, node, comm->position);
    return STATUS_OK;
}

Status exchange_nodes_create(Exchange *exchange) {
    const Comm *comm = exchange->comm;
    ExchangeNodes *nodes = &exchange->nodes;
    if (comm->node_count == 1) return STATUS_OK;
    TRY(find_foreign_slices(exchange));
    count_pieces(exchange);
    size_t foreign_floats = 0, foreign_messages = 0;
    for (int i = 0; i < nodes->foreign_count; i++) {
        ExchangeSlice slice = exchange_slice_at(exchange, nodes->foreign[i]);
        foreign_floats += slice.count;
        foreign_messages += (size_t)exchange_message_count(slice);
    }
    size_t own_messages = (size_t)exchange_message_count(exchange->slice);
    size_t own_pieces = (size_t)nodes->own_pieces_max, others = (size_t)nodes->other_pieces_max;
    /* A rank alone on its node sends its gradient blocks as they are. */
    size_t send_floats = comm->node_size == 1 ? 0 : own_pieces * foreign_floats;
    size_t pending =
        foreign_messages * (own_pieces + 1) + own_messages * (size_t)(comm->node_count - 1);
    TRY(MEMORY_ALLOCATE(&nodes->send_buffer, send_floats, "sums for other nodes"));
    TRY(MEMORY_ALLOCATE(
        &nodes->receive_buffer, others * exchange->slice.count, "sums from other nodes"));
    TRY(MEMORY_ALLOCATE(&nodes->receives, own_messages * others, "exchange"));
    TRY(MEMORY_ALLOCATE(&nodes->pending, pending, "exchange"));
    nodes->pending_max = (int)pending;
    return STATUS_OK;
}

void exchange_nodes_free(Exchange *exchange) {
    ExchangeNodes *nodes = &exchange->nodes;
    memory_free(nodes->foreign);
    memory_free(nodes->partner);
    memory_free(nodes->send_buffer);
    memory_free(nodes->receive_buffer);
    memory_free(nodes->receives);
    memory_free(nodes->pending);
}

void exchange_nodes_add_sources(Exchange *exchange, int node) {
    ExchangeNodes *nodes = &exchange->nodes;
    TreeNode cover[TREE_NODES_MAX];
    int count = exchange_node_cover(exchange->comm, node, exchange->microbatches, cover);
    for (int i = 0; i < count; i++)
        exchange->slice_sources[exchange->slice_source_count++] = (ExchangeSource){.node = cover[i],
            .data = nodes->receive_buffer + (size_t)nodes->other_pieces++ * exchange->slice.count,
            .node_rank = -1};
}

static int blocks_of(size_t floats) {
    return (int)(floats / NETWORK_BLOCK_FLOATS);
}

static MPI_Request *next_pending(ExchangeNodes *nodes) {
    REQUIRE(nodes->pending_count < nodes->pending_max);
    return &nodes->pending[nodes->pending_count++];
}

static void send_floats(Exchange *exchange, const float *data, size_t floats, int to, int tag) {
    MPI_Isend(data, blocks_of(floats), exchange->block, to, tag, exchange->comm->by_position,
        next_pending(&exchange->nodes));
}

/* Ask for the other nodes' sums for this rank's slice. */
static void receive_sums(Exchange *exchange) {
    const Comm *comm = exchange->comm;
    ExchangeNodes *nodes = &exchange->nodes;
    for (int message = 0; message < exchange_message_count(exchange->slice); message++) {
        size_t offset = (size_t)message * EXCHANGE_MESSAGE_FLOATS;
        int blocks = blocks_of(exchange_message_floats(exchange->slice, message));
        int piece = 0;
        for (int node = 0; node < comm->node_count; node++) {
            TreeNode cover[TREE_NODES_MAX];
            if (node == comm->node) continue;
            int count = exchange_node_cover(comm, node, exchange->microbatches, cover);
            for (int i = 0; i < count; i++, piece++)
                MPI_Irecv(nodes->receive_buffer + (size_t)piece * exchange->slice.count + offset,
                    blocks, exchange->block, nodes->partner[node], TAG_SUMS, comm->by_position,
                    &nodes->receives[message * nodes->other_pieces + piece]);
        }
    }
}

/* Ask for the new parameters of the foreign slices. */
static void receive_parameters(Exchange *exchange) {
    ExchangeNodes *nodes = &exchange->nodes;
    for (int i = 0; i < nodes->foreign_count; i++) {
        ExchangeSlice slice = exchange_slice_at(exchange, nodes->foreign[i]);
        float *place = exchange->parameters + slice.begin;
        for (int message = 0; message < exchange_message_count(slice); message++) {
            size_t floats = exchange_message_floats(slice, message);
            MPI_Irecv(place, blocks_of(floats), exchange->block, nodes->foreign[i], TAG_PARAMETERS,
                exchange->comm->by_position, next_pending(nodes));
            place += floats;
        }
    }
}

/* Sum `sources` at floats [begin, begin + floats) of the parameter block into `buffer`; a single
 * source is used where it lies. */
static const float *sum_for_sending(const Exchange *exchange, const ExchangeSource *sources,
    int source_count, size_t begin, size_t floats, float *buffer) {
    if (source_count == 1) return sources[0].data + begin;
    for (size_t done = 0; done < floats; done += EXCHANGE_FOLD_FLOATS) {
        size_t left = floats - done;
        size_t count = left < EXCHANGE_FOLD_FLOATS ? left : EXCHANGE_FOLD_FLOATS;
        memcpy(buffer + done, exchange_fold(exchange, sources, source_count, begin + done, count),
            count * sizeof *buffer);
    }
    return buffer;
}

/* Send this node's sums for one foreign slice, each message as soon as it is summed; `buffer`
 * [subtrees of the node][slice]. */
static void send_sums(Exchange *exchange, int owner, float *buffer) {
    ExchangeSlice slice = exchange_slice_at(exchange, owner);
    TreeNode cover[TREE_NODES_MAX];
    int count =
        exchange_node_cover(exchange->comm, exchange->comm->node, exchange->microbatches, cover);
    for (int message = 0; message < exchange_message_count(slice); message++) {
        size_t offset = (size_t)message * EXCHANGE_MESSAGE_FLOATS;
        size_t floats = exchange_message_floats(slice, message);
        const ExchangeSource *source = exchange->node_sources;
        const ExchangeSource *end = source + exchange->node_source_count;
        for (int i = 0; i < count; i++) {
            int64_t node_end = cover[i].begin + cover[i].count;
            const ExchangeSource *first = source;
            while (source < end && source->node.begin < node_end) source++;
            float *place = buffer + (buffer == NULL ? 0 : (size_t)i * slice.count + offset);
            const float *sum = sum_for_sending(
                exchange, first, (int)(source - first), slice.begin + offset, floats, place);
            send_floats(exchange, sum, floats, owner, TAG_SUMS);
        }
    }
}

void exchange_nodes_begin(Exchange *exchange) {
    ExchangeNodes *nodes = &exchange->nodes;
    float *buffer = exchange->comm->node_size == 1 ? NULL : nodes->send_buffer;
    nodes->pending_count = 0;
    receive_sums(exchange);
    receive_parameters(exchange);
    for (int i = 0; i < nodes->foreign_count; i++) {
        ExchangeSlice slice = exchange_slice_at(exchange, nodes->foreign[i]);
        send_sums(exchange, nodes->foreign[i], buffer);
        if (buffer != NULL) buffer += (size_t)nodes->own_pieces_max * slice.count;
    }
}

/* MPICH's header makes GCC warn of every MPI_Waitall that ignores the statuses. */
static void wait_all(const Comm *comm, MPI_Request *requests, int count) {
    comm_clock_enter(comm);
    for (int i = 0; i < count; i++) MPI_Wait(&requests[i], MPI_STATUS_IGNORE);
    comm_clock_leave(comm);
}

void exchange_nodes_wait_sums(Exchange *exchange, int message) {
    ExchangeNodes *nodes = &exchange->nodes;
    wait_all(exchange->comm, nodes->receives + (size_t)message * (size_t)nodes->other_pieces,
        nodes->other_pieces);
}

void exchange_nodes_send_parameters(Exchange *exchange, int message) {
    const Comm *comm = exchange->comm;
    const float *data =
        exchange->parameters + exchange->slice.begin + (size_t)message * EXCHANGE_MESSAGE_FLOATS;
    size_t floats = exchange_message_floats(exchange->slice, message);
    for (int node = 0; node < comm->node_count; node++)
        if (node != comm->node)
            send_floats(exchange, data, floats, exchange->nodes.partner[node], TAG_PARAMETERS);
}

void exchange_nodes_finish(Exchange *exchange) {
    wait_all(exchange->comm, exchange->nodes.pending, exchange->nodes.pending_count);
}
