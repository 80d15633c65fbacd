/* main.c - lockstep: the command line, and the only place that prints errors and exits. */
#include "build_id.h"
#include "io/suggest.h"
#include "src/help.h"
#include "src/memory.h"
#include "src/subnormals.h"
#include <ctype.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const Command *const commands[] = {&command_train, &command_eval, &command_summary,
    &command_config, &command_convert, &command_bench_kernels, &command_bench_step,
    &command_bench_allreduce, NULL};

static void print_version(void) {
    printf("lockstep %s (%s)\n", BUILD_VERSION, BUILD_GIT_ID);
    printf("compiler: %s, %s build\n", BUILD_COMPILER, BUILD_TYPE);
    printf("MPI: %s\n", comm_library_version());
    printf("matrix kernels: built in; instruction set %s", kernels_best_isa());
    printf(" (built for");
    for (const char *const *name = kernels_isa_names(); *name != NULL; name++) printf(" %s", *name);
    printf(")\nHDF5: %s\n", checkpoint_library_version());
}

/* ---- options ---- */

static Status parse_count(const char *option, const char *text, long maximum, int64_t *value) {
    char *end = NULL;
    long number = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || number < 1 || number > maximum)
        return FAIL(
            STATUS_USAGE, "--%s wants a number from 1 to %ld, got \"%s\"", option, maximum, text);
    *value = number;
    return STATUS_OK;
}

static Status parse_word(
    const char *option, const char *text, const char *const *words, int *index) {
    char known[128] = "";
    for (*index = 0; words[*index] != NULL; ++*index) {
        if (strcmp(words[*index], text) == 0) return STATUS_OK;
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used > 0 ? ", " : "", words[*index]);
    }
    return FAIL(STATUS_USAGE, "--%s wants one of %s, got \"%s\"", option, known, text);
}

static Status parse_isa(const char *text, const char **isa) {
    char known[128] = "auto";
    *isa = text;
    if (kernels_find(text, KERNEL_WIDTH_MAX) != NULL) return STATUS_OK;
    for (const char *const *name = kernels_isa_names(); *name != NULL; name++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, ", %s", *name);
    }
    return FAIL(STATUS_USAGE,
        "--isa %s: not known, or not what this CPU can run; known are %s; the best here is %s",
        text, known, kernels_best_isa());
}

/* HxW */
static Status parse_size(const char *option, const char *text, OptionInts *size) {
    char *end = NULL, *last = NULL;
    long height = strtol(text, &end, 10), width = *end == 'x' ? strtol(end + 1, &last, 10) : 0;
    if (!isdigit((unsigned char)text[0]) || last == NULL || !isdigit((unsigned char)end[1]) ||
        *last != '\0' || height < 1 || width < 1 || height > TRANSFORM_SIDE_MAX ||
        width > TRANSFORM_SIDE_MAX)
        return FAIL(STATUS_USAGE, "--%s wants HEIGHTxWIDTH with sides from 1 to %d, got \"%s\"",
            option, TRANSFORM_SIDE_MAX, text);
    *size = (OptionInts){2, {height, width}};
    return STATUS_OK;
}

static Status parse_convert_option(ConvertOptions *options, int letter, const char *value) {
    static const char *const channels[] = {"1", "3", NULL};
    static const char *const layouts[] = {"nchw", "nhwc", NULL};
    int index = 0;
    switch (letter) {
    case 'f':
        options->format = value;
        return STATUS_OK;
    case 'c':
        TRY(parse_word("channels", value, channels, &index));
        options->channels = index == 0 ? 1 : 3;
        return STATUS_OK;
    case 'R':
        return parse_size("resize", value, &options->transforms.resize);
    case 'e':
        return parse_count("pad", value, TRANSFORM_SIDE_MAX, &options->transforms.pad);
    case 'x':
        return parse_size("center-crop", value, &options->transforms.center_crop);
    case 'l':
        TRY(parse_word("layout", value, layouts, &index));
        options->layout = index == 0 ? LAYOUT_NCHW : LAYOUT_NHWC;
        return STATUS_OK;
    default:
        return parse_count("gzip", value, 9, &options->gzip_level);
    }
}

static Status parse_option(CommandLine *line, int letter, char *value) {
    static const char *const modes[] = {"eval", "train", NULL};
    static const char *const displays[] = {"auto", "bar", "lines", "none", NULL};
    TrainerOptions *train = &line->train;
    int64_t count = 0;
    int index = 0;
    switch (letter) {
    case 'o':
        train->folder = value;
        return STATUS_OK;
    case 'r':
        train->resumes = 1;
        return STATUS_OK;
    case 't':
        TRY(parse_count("threads", value, 1024, &count));
        train->engine.thread_count = (int)count;
        return STATUS_OK;
    case 's':
        if (train->set_count == (int)(sizeof line->sets / sizeof *line->sets))
            return FAIL(
                STATUS_USAGE, "more than %d --set: put them into the job file", train->set_count);
        line->sets[train->set_count++] = value;
        return STATUS_OK;
    case 'a':
        return parse_count("stop-after", value, LONG_MAX, &train->stop_after);
    case 'i':
        return parse_isa(value, &train->engine.isa);
    case 'p':
        TRY(parse_word("progress", value, displays, &index));
        train->progress = (ProgressMode)index;
        return STATUS_OK;
    case 'm':
        return parse_word("mode", value, modes, &line->uses_batch_statistics);
    case 'P':
        train->engine.profiles = 1;
        return STATUS_OK;
    case 'f':
    case 'c':
    case 'R':
    case 'e':
    case 'x':
    case 'l':
    case 'z':
        return parse_convert_option(&line->convert, letter, value);
    case 'n':
        TRY(parse_count("repeats", value, BENCH_REPEATS_MAX, &count));
        line->bench.repeats = (int)count;
        return STATUS_OK;
    case 'j':
        line->bench.as_json = 1;
        return STATUS_OK;
    default:
        line->prints_default = 1;
        return STATUS_OK;
    }
}

/* The table of options as getopt_long wants it. */
static void list_options(struct option list[COMMAND_OPTION_MAX + 1]) {
    int i = 0;
    for (; command_options[i].name != NULL; i++)
        list[i] = (struct option){command_options[i].name,
            command_options[i].value == NULL ? no_argument : required_argument, NULL,
            command_options[i].letter};
    list[i] = (struct option){NULL, 0, NULL, 0};
}

static Status check_argument_count(const Command *command, const CommandLine *line) {
    if (line->argument_count >= command->minimum_arguments) return STATUS_OK;
    return FAIL(STATUS_USAGE, "%s needs %s: lockstep %s %s", command->name,
        command->minimum_arguments == 1 ? "a file name" : "more file names", command->name,
        command->usage);
}

/* The flag that `given`, "--FLAG=VALUE", gives a value to; getopt tells its letter then. */
static const char *find_valued_flag(const char *given, int letter) {
    size_t length = strcspn(given, "=");
    if (strncmp(given, "--", 2) != 0 || given[length] == '\0') return NULL;
    for (int i = 0; command_options[i].name != NULL; i++)
        if (command_options[i].letter == letter &&
            strncmp(command_options[i].name, given + 2, length - 2) == 0)
            return command_options[i].name;
    return NULL;
}

/* getopt refused `given`; `letter`: one that it does not know, or the flag's; 0: a long option. */
static Status fail_unknown(const Command *command, const char *given, int letter) {
    char text[3] = {'-', (char)letter, '\0'};
    const char *flag = find_valued_flag(given, letter);
    if (flag != NULL) return FAIL(STATUS_USAGE, "--%s takes no value", flag);
    return FAIL(STATUS_USAGE, "%s does not know %s: lockstep %s %s", command->name,
        letter != 0 ? text : given, command->name, command->usage);
}

static Status parse_line(
    const Command *command, CommandLine *line, int argc, char **argv, int *wants_help) {
    *line = (CommandLine){
        .train = {.engine = {.thread_count = 1, .trains = 1}}, .bench = {.repeats = BENCH_REPEATS}};
    struct option list[COMMAND_OPTION_MAX + 1];
    list_options(list);
    opterr = 0;
    optind = strchr(command->name, ' ') != NULL ? 3 : 2;
    for (;;) {
        int number = 0;
        int letter = getopt_long(argc, argv, ":h", list, &number);
        if (letter == -1) break;
        if (letter == 'h') {
            *wants_help = 1;
            return STATUS_OK;
        }
        if (letter == ':') return FAIL(STATUS_USAGE, "%s wants a value", argv[optind - 1]);
        if (letter == '?') return fail_unknown(command, argv[optind - 1], optopt);
        if (strchr(command->options, letter) == NULL)
            return FAIL(STATUS_USAGE, "%s does not know --%s: lockstep %s %s", command->name,
                list[number].name, command->name, command->usage);
        TRY(parse_option(line, letter, optarg));
    }
    for (; optind < argc; optind++) {
        if (line->argument_count == command->maximum_arguments)
            return FAIL(
                STATUS_USAGE, "%s: one argument too many: \"%s\"", command->name, argv[optind]);
        line->arguments[line->argument_count++] = argv[optind];
    }
    return check_argument_count(command, line);
}

/* ---- running ---- */

static const Command *find_command(int argc, char **argv) {
    char words[64];
    snprintf(words, sizeof words, "%s %s", argv[1], argc > 2 ? argv[2] : "");
    for (int i = 0; commands[i] != NULL; i++) {
        const char *name = commands[i]->name, *given = strchr(name, ' ') != NULL ? words : argv[1];
        if (strcmp(name, given) == 0) return commands[i];
    }
    return NULL;
}

/* A rank other than 0 of a job, started without MPI in use yet: it stays silent. */
static int is_silent_rank(void) {
    static const char *const variables[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *rank = getenv(variables[i]);
        if (rank != NULL) return strcmp(rank, "0") != 0;
    }
    return 0;
}

static void print_error(Status status) {
    if (status == STATUS_OK || status == STATUS_STOPPED) return;
    fflush(stdout);
    fprintf(stderr, "lockstep: %s\n", status_message());
}

static Status run_alone(const Command *command, int argc, char **argv) {
    CommandLine line;
    int wants_help = 0;
    Status status = parse_line(command, &line, argc, argv, &wants_help);
    if (wants_help && !is_silent_rank()) help_print_command(command);
    if (status == STATUS_OK && !wants_help) status = command->run(NULL, &line);
    if (!is_silent_rank()) print_error(status);
    return status;
}

/* Ranks that were started differently would wait for each other for ever: compare what steers them,
 * beside the job itself. */
static Status compare_ranks(const Comm *comm, const CommandLine *line, int wants_help) {
    char text[8192];
    const TrainerOptions *train = &line->train;
    const char *isa = train->engine.isa != NULL ? train->engine.isa : kernels_best_isa();
    TRY(comm_require_same(comm, "the program's build",
        "lockstep " BUILD_VERSION " " BUILD_GIT_ID " " BUILD_COMPILER " " BUILD_TYPE));
    TRY(comm_require_same(
        comm, "the instruction set (choose one that all CPUs have with --isa)", isa));
    snprintf(text, sizeof text,
        "--out %s\n--resume %d\n--stop-after %lld\n--mode %d\n--help %d\n--repeats %d\n--json %d",
        train->folder != NULL ? train->folder : "", train->resumes, (long long)train->stop_after,
        line->uses_batch_statistics, wants_help, line->bench.repeats, line->bench.as_json);
    return comm_require_same(comm, "the command line", text);
}

/* The same on all ranks; rank 0 prints. */
static Status run_on_ranks(const Command *command, int argc, char **argv) {
    Comm *comm = NULL;
    CommandLine line;
    int wants_help = 0;
    Status status = comm_start(&comm, &argc, &argv);
    if (status == STATUS_OK)
        status = comm_agree(comm, parse_line(command, &line, argc, argv, &wants_help));
    if (status == STATUS_OK) status = compare_ranks(comm, &line, wants_help);
    if (status == STATUS_OK && wants_help && comm_is_root(comm)) help_print_command(command);
    if (status == STATUS_OK && !wants_help) status = command->run(comm, &line);
    if (comm != NULL ? comm_is_root(comm) : !is_silent_rank()) print_error(status);
    comm_finish(comm);
    return status;
}

/* Whether the command has two words, of which `word` is the first. */
static int is_of_group(const Command *command, const char *word) {
    size_t length = strlen(word);
    return strncmp(command->name, word, length) == 0 && command->name[length] == ' ';
}

/* Both words where the first one is that of commands of two. */
static Status tell_unknown_command(int argc, char **argv) {
    char known[256] = "", word[SUGGEST_WORD_BYTES + 1];
    snprintf(word, sizeof word, "%s", argv[1]);
    for (int i = 0; commands[i] != NULL && argc > 2; i++)
        if (is_of_group(commands[i], argv[1]))
            snprintf(word, sizeof word, "%s %s", argv[1], argv[2]);
    Suggestion nearest = {.wrong = word};
    for (int i = 0; commands[i] != NULL; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "", commands[i]->name);
        suggest_offer(&nearest, commands[i]->name);
    }
    if (nearest.word[0] != '\0')
        return FAIL(STATUS_USAGE, "no command \"%s\"; did you mean \"%s\"?", word, nearest.word);
    return FAIL(STATUS_USAGE, "no command \"%s\"; there are %s; see lockstep --help", word, known);
}

static int asks_for_help(int argc, char **argv, int index) {
    return argc > index && (strcmp(argv[index], "--help") == 0 || strcmp(argv[index], "-h") == 0);
}

/* All commands of two words, of which `word` is the first; returns how many there are. */
static int print_help_of_group(const char *word) {
    int count = 0;
    for (int i = 0; commands[i] != NULL; i++) {
        if (!is_of_group(commands[i], word)) continue;
        if (count++ > 0 && !is_silent_rank()) printf("\n");
        if (!is_silent_rank()) help_print_command(commands[i]);
    }
    return count;
}

static Status run_command(int argc, char **argv) {
    const Command *command = find_command(argc, argv);
    if (asks_for_help(argc, argv, 2) && print_help_of_group(argv[1]) > 0) return STATUS_OK;
    if (command != NULL)
        return command->needs_ranks ? run_on_ranks(command, argc, argv)
                                    : run_alone(command, argc, argv);
    Status status = tell_unknown_command(argc, argv);
    if (!is_silent_rank()) print_error(status);
    return status;
}

int main(int argc, char **argv) {
    subnormals_flush();
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2 || asks_for_help(argc, argv, 1)) {
        if (!is_silent_rank()) help_print(commands);
        return argc < 2 ? status_exit_code(STATUS_USAGE) : 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        if (!is_silent_rank()) print_version();
        return 0;
    }
    return status_exit_code(run_command(argc, argv));
}
