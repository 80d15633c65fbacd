/* command.h - the program's subcommands: one file each, named in the table of main.c. */
#ifndef SRC_COMMAND_H
#define SRC_COMMAND_H

#include "mpi/comm.h"
#include "src/bench.h"
#include "src/trainer.h"

/* What `convert` does; zero where nothing is said. */
typedef struct ConvertOptions {
    const char *format;
    int64_t channels, gzip_level;
    int layout; /* LayoutName: how to read the set */
    TransformOptions transforms;
} ConvertOptions;

/* What the words after the subcommand say. */
typedef struct CommandLine {
    const char *arguments[8]; /* those that are not options */
    int argument_count;
    TrainerOptions train;
    int prints_default;        /* config --print-default */
    int uses_batch_statistics; /* eval --mode train */
    ConvertOptions convert;
    BenchOptions bench;
    char *sets[256];
} CommandLine;

typedef struct Command {
    const char *name;     /* a word, or two with a space between them */
    const char *usage;    /* behind the name */
    const char *summary;  /* one line */
    const char *details;  /* lines for its --help; NULL: none */
    const char *examples; /* lines for its --help */
    const char *options;  /* accepted options, one letter each: see help.h */
    int minimum_arguments, maximum_arguments;
    int needs_ranks; /* whether it is started on all ranks, with MPI */
    Status (*run)(Comm *comm, const CommandLine *line); /* comm: NULL unless needs_ranks */
} Command;

extern const Command command_train, command_eval, command_summary, command_config, command_convert,
    command_bench_allreduce, command_bench_kernels, command_bench_step;

#endif
