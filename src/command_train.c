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
    .options = "ortsaipP",
    .maximum_arguments = 1,
    .needs_ranks = 1,
    .run = run,
};
