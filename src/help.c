/* help.c - see help.h. */
#include "src/help.h"
#include <stdio.h>
#include <string.h>

const CommandOption command_options[] = {
    {"out", 'o', "DIR", "the run's folder; without it runs/ and the job file's name"},
    {"resume", 'r', NULL, "continue from the newest whole checkpoint of the folder, if it has one"},
    {"threads", 't', "N", "threads of each rank; 1 without it"},
    {"set", 's', "a.b=v", "set a key of the job file, over what the file says; may be repeated"},
    {"stop-after", 'a', "STEP", "stop after this step with a checkpoint, as on SIGUSR1"},
    {"isa", 'i', "NAME", "instruction set (see --version); without it the best of this CPU"},
    {"progress", 'p', "MODE", "bar, lines, none, or auto: a bar where there is a terminal"},
    {"profile", 'P', NULL, "end with a table of where the time of rank 0 went"},
    {"mode", 'm', "MODE", "eval, or train: layers act as in training (batch statistics, dropout)"},
    {"print-default", 'd', NULL, "explain every key; without a job file every layer too"},
    {"format", 'f', "NAME", "what IN is: idx, cifar, npy, hdf5, images; guessed without it"},
    {"layout", 'l', "LAYOUT", "npy, hdf5: nchw or nhwc, where shapes leave open which is meant"},
    {"resize", 'R', "HxW", "give all images this size, as Pillow 9.4 does (bilinear)"},
    {"pad", 'e', "N", "zeros on every side, after --resize"},
    {"center-crop", 'x', "HxW", "cut this size out of the middle, after --resize and --pad"},
    {"channels", 'c', "COUNT", "images: 1 (grey) or 3 (colours); without it as the first image"},
    {"gzip", 'z', "LEVEL", "pack the result, 1 (fast) to 9 (small); without it it is not packed"},
    {"repeats", 'n', "N", "measurements, of which the median counts; 11 without it"},
    {"json", 'j', NULL, "print a JSON object per line instead of columns"},
    {"help", 'h', NULL, "print this"},
    {.name = NULL},
};
_Static_assert(sizeof command_options / sizeof *command_options <= COMMAND_OPTION_MAX + 1,
    "room for all options and the end");

void help_print(const Command *const *commands) {
    printf("lockstep trains neural networks on CPU clusters: the same bits on any number of "
           "ranks.\n\n");
    for (; *commands != NULL; commands++)
        printf("  lockstep %s %s\n      %s\n", (*commands)->name, (*commands)->usage,
            (*commands)->summary);
    printf(
        "  lockstep --version | --help\n\n"
        "lockstep COMMAND --help explains the options of a command, lockstep config "
        "--print-default\n"
        "the keys and layers of job files.\n\n"
        "Examples:\n"
        "  mpirun -n 2 lockstep train\n"
        "  srun --mpi=pmix lockstep train job.yaml --out runs/a --resume\n"
        "  lockstep eval runs/a/best.h5\n\n"
        "Exit codes: 0 ok, 3 diverged, 64 usage, 65 bad data or checkpoint, 66 input missing,\n"
        "70 bug, 71 memory, 73 cannot create, 74 input/output, 75 stopped early with a checkpoint\n"
        "(start again with --resume), 78 configuration.\n");
}

void help_print_command(const Command *command) {
    printf("lockstep %s %s\n    %s\n", command->name, command->usage, command->summary);
    if (command->details != NULL) printf("\n%s", command->details);
    printf("\nOptions:\n");
    for (const CommandOption *option = command_options; option->name != NULL; option++) {
        char text[32];
        if (option->letter != 'h' && strchr(command->options, option->letter) == NULL) continue;
        snprintf(text, sizeof text, "--%s%s%s", option->name, option->value == NULL ? "" : " ",
            option->value == NULL ? "" : option->value);
        printf("  %-20s %s\n", text, option->doc);
    }
    printf("\nExamples:\n%s", command->examples);
}
