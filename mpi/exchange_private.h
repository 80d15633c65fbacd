/* exchange_private.h - what the files of the exchange share. */
#ifndef MPI_EXCHANGE_PRIVATE_H
#define MPI_EXCHANGE_PRIVATE_H

#include "mpi/comm_private.h"
#include "mpi/exchange.h"

enum {
    EXCHANGE_FOLD_FLOATS = 4096,       /* summed at once: a few of these stay in the L1 cache */
    EXCHANGE_MESSAGE_FLOATS = 1 << 18, /* sent at once: 1 MiB */
};

/* The sum of a subtree of the batch: `data` points to the float that offset 0 stands for. */
typedef struct ExchangeSource {
    TreeNode node;
    const float *data;
    int node_rank; /* who made it; -1: came from another node */
} ExchangeSource;

typedef struct ExchangeSlice {
    size_t begin, count; /* floats of the parameter block */
} ExchangeSlice;

/* The traffic with other nodes; all NULL and 0 on a single node. */
typedef struct ExchangeNodes {
    int foreign_count; /* slices of other nodes' ranks that this rank stands in for on its node */
    int *foreign;      /* [foreign_count] positions of their owners */
    int *partner;      /* [node_count] who stands in on each node for this rank's slice */
    int own_pieces_max, other_pieces_max; /* subtrees of this node, of all others, in any batch */
    float *send_buffer;                   /* [foreign][own_pieces_max][slice floats] */
    float *receive_buffer;                /* [other_pieces][own slice floats] */
    int other_pieces;                     /* of the batch in hand */
    MPI_Request *receives;                /* [message of the slice][other_pieces] */
    MPI_Request *pending; /* everything else that must end before the exchange does */
    int pending_count, pending_max;
} ExchangeNodes;

struct Exchange {
    Comm *comm;
    const Kernels *kernels;
    size_t floats;
    ExchangeSlice slice; /* of this rank */
    int64_t microbatches_max;
    CommWindow *parameter_window, *gradient_window;
    float *parameters;
    float **gradients;   /* [own blocks] */
    float **node_blocks; /* [first_block[node_size]] of all ranks of the node */
    int *first_block;    /* [node_size + 1] */
    ExchangeNodes nodes;
    MPI_Datatype block; /* NETWORK_BLOCK_FLOATS floats: counts of blocks fit an int */
    float *scratch;     /* [fold_depth][EXCHANGE_FOLD_FLOATS] */
    int fold_depth;
    double *block_sums;                /* [blocks of the slice], for the norm */
    int *block_counts, *block_offsets; /* [size] of MPI_Gatherv, by position */
    size_t bytes_sent, bytes_shared;

    /* Of the batch in hand: */
    int64_t microbatches;
    ExchangeSource *node_sources; /* subtrees of this node's ranks; data: whole blocks */
    int node_source_count;
    ExchangeSource *slice_sources; /* of the whole batch; data: this rank's slice */
    int slice_source_count;
};

/* Local. The slice of the rank at `position`; how many messages it takes. */
ExchangeSlice exchange_slice_at(const Exchange *exchange, int position);
int exchange_message_count(ExchangeSlice slice);
size_t exchange_message_floats(ExchangeSlice slice, int message);

/* Local. The sum of `sources`, along the tree, at floats [offset, offset + count), count <=
 * EXCHANGE_FOLD_FLOATS; points into a source or into scratch memory, good until the next call. */
const float *exchange_fold(const Exchange *exchange, const ExchangeSource *sources,
    int source_count, size_t offset, size_t count);

/* Local. The maximal subtrees of a node in a batch of `total` microbatches. */
int exchange_node_cover(const Comm *comm, int node, int64_t total, TreeNode nodes[TREE_NODES_MAX]);

/* Local. Allocate for the traffic between nodes. Fails with STATUS_NO_MEMORY, not agreed. */
MUST_CHECK Status exchange_nodes_create(Exchange *exchange);
void exchange_nodes_free(Exchange *exchange);

/* Local. Append the subtrees of node `node`, received into this rank's buffer, to slice_sources. */
void exchange_nodes_add_sources(Exchange *exchange, int node);

/* One step with other nodes, in this order. Begin: after the node's gradients are complete, ask for
 * what will come and send this node's sums for foreign slices. Wait for the sums of one message of
 * the slice; send the parameters of one message; finish: nothing is under way any more. */
void exchange_nodes_begin(Exchange *exchange);
void exchange_nodes_wait_sums(Exchange *exchange, int message);
void exchange_nodes_send_parameters(Exchange *exchange, int message);
void exchange_nodes_finish(Exchange *exchange);

#endif
