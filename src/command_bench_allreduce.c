/* command_bench_allreduce.c - lockstep bench allreduce: see bench_allreduce.h. */
#include "mpi/bench_allreduce.h"
#include "src/command.h"

static Status run(Comm *comm, const CommandLine *line) {
    enum { LANES = 16 };
    return bench_allreduce(comm, kernels_find(line->train.engine.isa, LANES), &line->bench);
}

const Command command_bench_allreduce = {
    .name = "bench allreduce",
    .usage = "[--repeats N] [--json] [--isa NAME]",
    .summary = "barrier, small records and gradient exchange of the ranks, beside MPI's own",
    .examples = "  mpirun -n 4 lockstep bench allreduce\n"
                "  srun --mpi=pmix lockstep bench allreduce --json\n",
    .options = "nji",
    .needs_ranks = 1,
    .run = run,
};
