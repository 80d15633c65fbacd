/* command_train.c - lockstep train: see trainer.h. */
#include "io/run_folder.h"
#include "src/command.h"

static Status run(Comm *comm, const CommandLine *line) {
    char folder[RUN_FOLDER_PATH_BYTES];
    TrainerOptions options = line->train;
    options.job_path = line->argument_count > 0 ? line->arguments[0] : NULL;
    options.sets = line->sets;
    if (options.folder == NULL) {
        run_folder_default(options.job_path, folder);
        options.folder = folder;
    }
    return trainer_run(comm, &options);
}

const Command command_train = {
    .name = "train",
    .usage = "[JOB.yaml] [--out DIR] [--resume] [--threads N] [--set a.b=v]... [--stop-after STEP] "
             "[--isa NAME] [--progress auto|bar|lines|none] [--profile]",
    .summary = "train a job; without one, the embedded default on drawn digits",
    .details =
        "The job file says what is trained, on which data and how; keys that it does not\n"
        "give have their defaults. The folder gets the resolved job, log.txt, metrics.jsonl\n"
        "and checkpoints.\n"
        "SIGUSR1, SIGTERM and SIGINT stop training with a checkpoint.\n"
        "--profile shows, for each layer, forward and backward, milliseconds per step and share,\n"
        "and those of loading, loss, batch-norm communication, and the exchange of losses and\n"
        "gradients with the optimizer. A relu that its neighbour does shows no time.\n",
    .examples = "  lockstep train jobs/mnist-mlp-bn.yaml --threads 2\n"
                "  mpirun -n 4 lockstep train job.yaml --out runs/a --set optimizer.lr=0.05\n"
                "  srun --mpi=pmix lockstep train job.yaml --out runs/a --resume\n",
    .options = "ortsaipP",
    .maximum_arguments = 1,
    .needs_ranks = 1,
    .run = run,
};
