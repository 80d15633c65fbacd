/* command_config.c - lockstep config: the resolved job, or the default one with every key and every
 * layer explained. */
#include "io/job_file.h"
#include "src/command.h"
#include "src/memory.h"
#include <stdio.h>

static Status print(const char *text) {
    if (fputs(text, stdout) >= 0 && fflush(stdout) == 0) return STATUS_OK;
    return FAIL(STATUS_IO, "cannot write to standard output");
}

static Status run(Comm *comm, const CommandLine *line) {
    (void)comm;
    Job job;
    char *text = NULL, *layers = NULL;
    const char *path = line->argument_count > 0 ? line->arguments[0] : NULL;
    Status status = job_file_read(&job, path, line->sets, line->train.set_count);
    if (status == STATUS_OK) status = job_file_print(&job, line->prints_default, &text);
    if (status == STATUS_OK && line->prints_default && path == NULL)
        status = job_file_print_layer_types(&layers);
    if (status == STATUS_OK) status = print(text);
    if (status == STATUS_OK && layers != NULL) status = print(layers);
    memory_free(layers);
    memory_free(text);
    job_free(&job);
    return status;
}

const Command command_config = {
    .name = "config",
    .usage = "[--print-default] [JOB.yaml] [--set a.b=v]...",
    .summary = "print the resolved job; --print-default explains every key and layer",
    .examples = "  lockstep config --print-default\n"
                "  lockstep config job.yaml --set optimizer.name=adam\n",
    .options = "sd",
    .maximum_arguments = 1,
    .run = run,
};
