/* bench_allreduce.h - how long ranks need to meet, to combine a record, and to sum gradients and
 * update parameters; beside MPI's own operations. */
#ifndef MPI_BENCH_ALLREDUCE_H
#define MPI_BENCH_ALLREDUCE_H

#include "mpi/comm.h"
#include "src/bench.h"

/* Collective: arguments equal on all ranks. Rank 0 prints one line per figure, the slowest rank's.
 * Fails, agreed, with STATUS_NO_MEMORY. */
MUST_CHECK Status bench_allreduce(Comm *comm, const Kernels *kernels, const BenchOptions *options);

#endif
