/* exchange.c - see exchange.h. */
#include "mpi/exchange_private.h"
#include "src/memory.h"
#include "src/network.h"
#include <limits.h>
#include <math.h>
#include <string.h>

static int64_t block_count(const Exchange *exchange) {
    return (int64_t)(exchange->floats / NETWORK_BLOCK_FLOATS);
}

ExchangeSlice exchange_slice_at(const Exchange *exchange, int position) {
    int64_t begin = tree_first_leaf(position, exchange->comm->size, block_count(exchange));
    int64_t end = tree_first_leaf(position + 1, exchange->comm->size, block_count(exchange));
    return (ExchangeSlice){.begin = (size_t)begin * NETWORK_BLOCK_FLOATS,
        .count = (size_t)(end - begin) * NETWORK_BLOCK_FLOATS};
}

int exchange_message_count(ExchangeSlice slice) {
    return (int)((slice.count + EXCHANGE_MESSAGE_FLOATS - 1) / EXCHANGE_MESSAGE_FLOATS);
}

size_t exchange_message_floats(ExchangeSlice slice, int message) {
    size_t left = slice.count - (size_t)message * EXCHANGE_MESSAGE_FLOATS;
    return left < EXCHANGE_MESSAGE_FLOATS ? left : EXCHANGE_MESSAGE_FLOATS;
}

/* The subtrees of the rank at `position` in a batch of `total` microbatches. */
static int rank_cover(
    const Comm *comm, int position, int64_t total, TreeNode nodes[TREE_NODES_MAX]) {
    int64_t begin = tree_first_leaf(position, comm->size, total);
    int64_t end = tree_first_leaf(position + 1, comm->size, total);
    return tree_cover(begin, end - begin, total, nodes);
}

/* Gradient blocks that a rank needs, at least one: for a full batch or any smaller one. */
static int blocks_needed(const Comm *comm, int position, int64_t microbatches_max) {
    TreeNode nodes[TREE_NODES_MAX];
    int most = 1;
    for (int64_t total = 1; total <= microbatches_max; total++) {
        int count = rank_cover(comm, position, total, nodes);
        if (count > most) most = count;
    }
    return most;
}

static int depth_needed(int64_t microbatches_max) {
    int depth = 2;
    while (((int64_t)1 << (depth - 2)) < microbatches_max) depth++;
    return depth;
}

static Status allocate_tables(Exchange *exchange) {
    const Comm *comm = exchange->comm;
    size_t size = (size_t)comm->size;
    TRY(MEMORY_ALLOCATE(&exchange->first_block, (size_t)comm->node_size + 1, "exchange"));
    for (int i = 0; i < comm->node_size; i++)
        exchange->first_block[i + 1] =
            exchange->first_block[i] +
            blocks_needed(comm, comm->node_first[comm->node] + i, exchange->microbatches_max);
    size_t node_blocks = (size_t)exchange->first_block[comm->node_size];
    TRY(exchange_nodes_create(exchange));
    size_t all_sources = node_blocks + (size_t)exchange->nodes.other_pieces_max;
    TRY(MEMORY_ALLOCATE(&exchange->node_blocks, node_blocks, "exchange"));
    TRY(MEMORY_ALLOCATE(&exchange->node_sources, node_blocks, "exchange"));
    TRY(MEMORY_ALLOCATE(&exchange->slice_sources, all_sources, "exchange"));
    exchange->fold_depth = depth_needed(exchange->microbatches_max);
    TRY(MEMORY_ALLOCATE(
        &exchange->scratch, (size_t)exchange->fold_depth * EXCHANGE_FOLD_FLOATS, "exchange"));
    TRY(MEMORY_ALLOCATE(
        &exchange->block_sums, exchange->slice.count / NETWORK_BLOCK_FLOATS, "exchange"));
    TRY(MEMORY_ALLOCATE(&exchange->block_counts, size, "exchange"));
    return MEMORY_ALLOCATE(&exchange->block_offsets, size, "exchange");
}

static Status create_windows(Exchange *exchange) {
    const Comm *comm = exchange->comm;
    void *parameters = NULL, *gradients = NULL;
    size_t node_blocks = (size_t)exchange->first_block[comm->node_size];
    TRY(comm_window_create(
        comm, exchange->floats * sizeof(float), &exchange->parameter_window, &parameters));
    TRY(comm_window_create(comm, node_blocks * exchange->floats * sizeof(float),
        &exchange->gradient_window, &gradients));
    exchange->parameters = parameters;
    for (size_t i = 0; i < node_blocks; i++)
        exchange->node_blocks[i] = (float *)gradients + i * exchange->floats;
    exchange->gradients = exchange->node_blocks + exchange->first_block[comm->node_rank];
    return STATUS_OK;
}

static void describe_slices(Exchange *exchange) {
    for (int position = 0; position < exchange->comm->size; position++) {
        ExchangeSlice slice = exchange_slice_at(exchange, position);
        exchange->block_counts[position] = (int)(slice.count / NETWORK_BLOCK_FLOATS);
        exchange->block_offsets[position] = (int)(slice.begin / NETWORK_BLOCK_FLOATS);
    }
}

/* List the subtree sums of a batch of `total` microbatches, if that is not the list in hand. */
static void plan(Exchange *exchange, int64_t total) {
    const Comm *comm = exchange->comm;
    REQUIRE(total > 0 && total <= exchange->microbatches_max);
    if (total == exchange->microbatches) return;
    exchange->microbatches = total;
    exchange->node_source_count = exchange->slice_source_count = 0;
    exchange->nodes.other_pieces = 0;
    for (int i = 0; i < comm->node_size; i++) {
        TreeNode nodes[TREE_NODES_MAX];
        int count = rank_cover(comm, comm->node_first[comm->node] + i, total, nodes);
        for (int k = 0; k < count; k++)
            exchange->node_sources[exchange->node_source_count++] =
                (ExchangeSource){.node = nodes[k],
                    .data = exchange->node_blocks[exchange->first_block[i] + k],
                    .node_rank = i};
    }
    for (int node = 0; node < comm->node_count; node++) {
        if (node != comm->node) {
            exchange_nodes_add_sources(exchange, node);
            continue;
        }
        for (int i = 0; i < exchange->node_source_count; i++) {
            ExchangeSource source = exchange->node_sources[i];
            source.data += exchange->slice.begin;
            exchange->slice_sources[exchange->slice_source_count++] = source;
        }
    }
}

static void count_bytes(Exchange *exchange) {
    const Comm *comm = exchange->comm;
    TreeNode cover[TREE_NODES_MAX];
    size_t sums = (size_t)exchange_node_cover(comm, comm->node, exchange->microbatches, cover);
    size_t shared = 0, foreign = 0;
    for (int i = 0; i < exchange->nodes.foreign_count; i++)
        foreign += exchange_slice_at(exchange, exchange->nodes.foreign[i]).count;
    for (int i = 0; i < exchange->node_source_count; i++)
        if (exchange->node_sources[i].node_rank != comm->node_rank)
            shared += exchange->slice.count + foreign;
    size_t sent = sums * foreign + (size_t)(comm->node_count - 1) * exchange->slice.count;
    exchange->bytes_sent = sent * sizeof(float);
    exchange->bytes_shared = shared * sizeof(float);
}

Status exchange_create(Exchange **exchange, Comm *comm, const Kernels *kernels, size_t floats,
    const Batch *full_batch) {
    REQUIRE(floats % NETWORK_BLOCK_FLOATS == 0 && floats / NETWORK_BLOCK_FLOATS <= INT_MAX);
    Status status = MEMORY_ALLOCATE(exchange, 1, "exchange");
    Exchange *made = *exchange;
    if (status == STATUS_OK) made->block = MPI_DATATYPE_NULL;
    TRY(comm_agree(comm, status));
    made->comm = comm;
    made->kernels = kernels;
    made->floats = floats;
    made->microbatches_max = full_batch->global_microbatch_count;
    made->slice = exchange_slice_at(made, comm->position);
    TRY(comm_agree(comm, allocate_tables(made)));
    TRY(create_windows(made));
    MPI_Type_contiguous(NETWORK_BLOCK_FLOATS, MPI_FLOAT, &made->block);
    MPI_Type_commit(&made->block);
    describe_slices(made);
    plan(made, made->microbatches_max);
    count_bytes(made);
    return STATUS_OK;
}

void exchange_free(Exchange *exchange) {
    if (exchange == NULL) return;
    exchange_nodes_free(exchange);
    comm_window_free(exchange->gradient_window);
    comm_window_free(exchange->parameter_window);
    if (exchange->block != MPI_DATATYPE_NULL) MPI_Type_free(&exchange->block);
    memory_free(exchange->first_block);
    memory_free(exchange->node_blocks);
    memory_free(exchange->node_sources);
    memory_free(exchange->slice_sources);
    memory_free(exchange->scratch);
    memory_free(exchange->block_sums);
    memory_free(exchange->block_counts);
    memory_free(exchange->block_offsets);
    memory_free(exchange);
}

float *exchange_parameters(Exchange *exchange) {
    return exchange->parameters;
}

float *const *exchange_gradients(Exchange *exchange) {
    return exchange->gradients;
}

void exchange_slice(const Exchange *exchange, size_t *begin, size_t *count) {
    exchange_slice_of(exchange, exchange->comm->rank, begin, count);
}

void exchange_slice_of(const Exchange *exchange, int rank, size_t *begin, size_t *count) {
    ExchangeSlice slice = exchange_slice_at(exchange, exchange->comm->position_of[rank]);
    *begin = slice.begin;
    *count = slice.count;
}

size_t exchange_bytes_sent(const Exchange *exchange) {
    return exchange->bytes_sent;
}

size_t exchange_bytes_shared(const Exchange *exchange) {
    return exchange->bytes_shared;
}

const float *exchange_fold(const Exchange *exchange, const ExchangeSource *sources,
    int source_count, size_t offset, size_t count) {
    const float *value[TREE_LEVELS_MAX];
    TreeFold fold;
    tree_fold_begin(&fold);
    for (int i = 0; i <= source_count; i++) {
        int is_end = i == source_count;
        int right = is_end ? fold.depth - 1 : fold.depth;
        REQUIRE(right < exchange->fold_depth);
        if (!is_end) value[right] = sources[i].data + offset;
        int merges = is_end ? tree_fold_finish(&fold) : tree_fold_push(&fold, sources[i].node);
        for (; merges > 0; merges--, right--) {
            float *left = exchange->scratch + (size_t)(right - 1) * EXCHANGE_FOLD_FLOATS;
            if (value[right - 1] != left) memcpy(left, value[right - 1], count * sizeof *left);
            exchange->kernels->add(left, value[right], count);
            value[right - 1] = left;
        }
    }
    return value[0];
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Sum the slice into this rank's own first gradient block, where nobody else reads the slice of
 * this rank, and return the norm of the whole gradient: the sums of squares of the parameter
 * block's blocks, along the tree over the blocks. */
static double sum_slice(Exchange *exchange, float *sum) {
    const Kernels *kernels = exchange->kernels;
    size_t slice = exchange->slice.count;
    for (size_t at = 0; at < slice; at += EXCHANGE_FOLD_FLOATS) {
        size_t count = smaller(slice - at, EXCHANGE_FOLD_FLOATS);
        if (exchange->comm->node_count > 1 && at % EXCHANGE_MESSAGE_FLOATS == 0)
            exchange_nodes_wait_sums(exchange, (int)(at / EXCHANGE_MESSAGE_FLOATS));
        const float *folded = exchange_fold(
            exchange, exchange->slice_sources, exchange->slice_source_count, at, count);
        if (folded != sum + at) memcpy(sum + at, folded, count * sizeof *sum);
        for (size_t i = 0; i < count; i += NETWORK_BLOCK_FLOATS)
            exchange->block_sums[(at + i) / NETWORK_BLOCK_FLOATS] =
                kernels->sum_of_squares(sum + at + i, NETWORK_BLOCK_FLOATS);
    }
    int64_t blocks = block_count(exchange);
    Batch tree = {.global_microbatch_count = blocks,
        .local_begin = (int64_t)(exchange->slice.begin / NETWORK_BLOCK_FLOATS),
        .local_count = (int)(slice / NETWORK_BLOCK_FLOATS)};
    double total = 0;
    Reducer *reducer = comm_reducer(exchange->comm);
    if (blocks > 0)
        reducer->combine(
            reducer, &tree, (int)blocks, 1, reducer_merge_sum, exchange->block_sums, NULL, &total);
    return sqrt(total);
}

/* Update the slice part by part while each is in cache, and send the parameters on. `sum` is the
 * summed slice to be scaled by `factor`, or NULL: then sum first. */
static void update_slice(
    Exchange *exchange, float *sum, float factor, ExchangeUpdate update, void *context) {
    ExchangeSlice slice = exchange->slice;
    int has_nodes = exchange->comm->node_count > 1;
    for (size_t at = 0; at < slice.count; at += EXCHANGE_FOLD_FLOATS) {
        size_t count = smaller(slice.count - at, EXCHANGE_FOLD_FLOATS);
        int message = (int)(at / EXCHANGE_MESSAGE_FLOATS);
        const float *gradient = sum != NULL ? sum + at : NULL;
        if (sum == NULL) {
            if (has_nodes && at % EXCHANGE_MESSAGE_FLOATS == 0)
                exchange_nodes_wait_sums(exchange, message);
            gradient = exchange_fold(
                exchange, exchange->slice_sources, exchange->slice_source_count, at, count);
        } else if (factor != 1) {
            exchange->kernels->scale(sum + at, factor, count);
        }
        size_t begin = slice.begin + at;
        update(context, begin, count, exchange->parameters + begin, gradient);
        int ends_message = (at + count) % EXCHANGE_MESSAGE_FLOATS == 0 || at + count == slice.count;
        if (has_nodes && ends_message) exchange_nodes_send_parameters(exchange, message);
    }
}

double exchange_finish(
    Exchange *exchange, const Batch *batch, double max_norm, ExchangeUpdate update, void *context) {
    const Comm *comm = exchange->comm;
    double norm = 0, factor = 1;
    float *sum = NULL;
    plan(exchange, batch->global_microbatch_count);
    comm_node_barrier(comm); /* the node's gradients are complete, its parameters no longer read */
    if (comm->node_count > 1) exchange_nodes_begin(exchange);
    if (max_norm > 0) {
        sum = exchange->gradients[0] + exchange->slice.begin;
        norm = sum_slice(exchange, sum);
        factor = max_norm / (norm + 1e-6);
        if (factor > 1) factor = 1; /* a norm that is not a number goes on as such */
    }
    update_slice(exchange, sum, (float)factor, update, context);
    if (comm->node_count > 1) exchange_nodes_finish(exchange);
    comm_node_barrier(comm); /* the parameters are complete, the gradients no longer read */
    return norm;
}

void exchange_gather(const Exchange *exchange, const float *slice, float *whole) {
    const Comm *comm = exchange->comm;
    comm_clock_enter(comm);
    MPI_Gatherv(slice, exchange->block_counts[comm->position], exchange->block, whole,
        exchange->block_counts, exchange->block_offsets, exchange->block, 0, comm->by_position);
    comm_clock_leave(comm);
}

void exchange_scatter(const Exchange *exchange, const float *whole, float *slice) {
    const Comm *comm = exchange->comm;
    comm_clock_enter(comm);
    MPI_Scatterv(whole, exchange->block_counts, exchange->block_offsets, exchange->block, slice,
        exchange->block_counts[comm->position], exchange->block, 0, comm->by_position);
    comm_clock_leave(comm);
}

void exchange_broadcast_parameters(Exchange *exchange) {
    const Comm *comm = exchange->comm;
    comm_clock_enter(comm);
    comm_node_barrier(comm);
    if (comm->leaders != MPI_COMM_NULL)
        MPI_Bcast(
            exchange->parameters, (int)block_count(exchange), exchange->block, 0, comm->leaders);
    comm_node_barrier(comm);
    comm_clock_leave(comm);
}
