/* exchange.h - sum the gradients over the tree and update the parameters, sharded over the ranks.
 *
 * The parameter block is cut into one slice per rank at multiples of NETWORK_BLOCK_FLOATS. The
 * owner of a slice receives the other ranks' subtree sums for it, finishes the tree in order,
 * updates its slice and hands it to all (ZeRO-1: Rajbhandari et al., SC'20). Ranks of one node keep
 * parameters and gradients in a shared window and read each other's directly; between nodes only
 * the node's own subtree sums travel. The result has the same bits for any number of ranks and
 * nodes. */
#ifndef MPI_EXCHANGE_H
#define MPI_EXCHANGE_H

#include "mpi/comm.h"
#include "src/batch.h"
#include "src/kernels/kernels.h"

typedef struct Exchange Exchange;

/* What the owner of floats [begin, begin + count) does with its summed gradient; both multiples of
 * NETWORK_BLOCK_FLOATS. `gradient` and `parameters` point to float `begin` of the block; the
 * optimizer's state of a slice, kept from its first float, is found at begin - slice begin. */
typedef void (*ExchangeUpdate)(
    void *context, size_t begin, size_t count, float *parameters, const float *gradient);

/* Collective: floats (a multiple of NETWORK_BLOCK_FLOATS), full_batch (but for its local fields)
 * equal on all ranks. Allocates the parameter block and this rank's gradient blocks, one for each
 * node of a full batch or of any smaller one with the same microbatch size. `kernels` and `comm`
 * must outlive it. The caller frees with exchange_free (Collective), also after a failure. Fails
 * with STATUS_NO_MEMORY, agreed. */
MUST_CHECK Status exchange_create(Exchange **exchange, Comm *comm, const Kernels *kernels,
    size_t floats, const Batch *full_batch);
void exchange_free(Exchange *exchange);

/* Local. The parameter block: one per node of the machine, shared by its ranks. */
float *exchange_parameters(Exchange *exchange);

/* Local. The gradient blocks [node] to be filled by backward; valid until exchange_free. */
float *const *exchange_gradients(Exchange *exchange);

/* Local. This rank's slice of the parameter block. */
void exchange_slice(const Exchange *exchange, size_t *begin, size_t *count);

/* Local. The slice of any rank (as comm_rank): for gathering optimizer state. */
void exchange_slice_of(const Exchange *exchange, int rank, size_t *begin, size_t *count);

/* Collective: batch (but for its local fields) and max_norm equal on all ranks. Takes the gradient
 * blocks of the batch's nodes, sums them, scales them down to the norm max_norm where the norm is
 * larger (0: never; torch.nn.utils.clip_grad_norm_), calls `update` on consecutive parts of this
 * rank's slice, in order, each part once and while it is in cache (never when the slice is empty),
 * and makes the new parameters visible to every rank. The gradient blocks' contents are used up.
 * Returns the gradient's norm before clipping, equal on all ranks, 0 when max_norm is 0. */
double exchange_finish(
    Exchange *exchange, const Batch *batch, double max_norm, ExchangeUpdate update, void *context);

/* Collective. Copy a sharded array: rank 0 gets all `floats` of it from the ranks' slices; and
 * back. `slice` is this rank's part (may be NULL where empty), `whole` is used on rank 0 only. */
void exchange_gather(const Exchange *exchange, const float *slice, float *whole);
void exchange_scatter(const Exchange *exchange, const float *whole, float *slice);

/* Collective. Make rank 0's parameters those of every node, after rank 0 has loaded them. */
void exchange_broadcast_parameters(Exchange *exchange);

/* Local. Bytes this rank sends to other nodes, and bytes of gradients that it reads from other
 * ranks of its own node, in one step of a full batch. */
size_t exchange_bytes_sent(const Exchange *exchange);
size_t exchange_bytes_shared(const Exchange *exchange);

#endif
