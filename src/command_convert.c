/* command_convert.c - lockstep convert: a data set of any format that the program reads, or a
 * folder of images, into one HDF5 file. */
#include "src/command_convert.h"
#include "io/array_set.h"
#include "io/image_folder.h"
#include "src/memory.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char images_word[] = "images"; /* --format of a folder of images */
enum { IMAGES = -1 };                       /* what it is beside the DataFormats */
const char *const convert_split_names[] = {[DATASET_TRAIN] = "train", [DATASET_TEST] = "test"};

Status convert_name_option(Status status) {
    static const char *const names[][2] = {{"data.path", "IN"}, {"data.resize", "--resize"},
        {"data.pad", "--pad"}, {"data.center_crop", "--center-crop"}};
    const char *message = status_message();
    for (size_t i = 0; status != STATUS_OK && i < sizeof names / sizeof *names; i++) {
        size_t length = strlen(names[i][0]);
        if (strncmp(message, names[i][0], length) == 0 && message[length] == ':')
            return FAIL(status == STATUS_CONFIG ? STATUS_USAGE : status, "%s%s", names[i][1],
                message + length);
    }
    return status;
}

/* What is written is nchw; whether data.layout: auto takes it for that. */
static int is_layout_clear(int64_t count, Shape sample) {
    const int *size = sample.size;
    ArrayForm written = {.shape = {4, {count, size[0], size[1], size[2]}}, .item_bytes = 1};
    DatasetSizes sizes;
    int is_nhwc = 0;
    return array_describe_images(&written, LAYOUT_AUTO, "", &sizes, &is_nhwc) == STATUS_OK &&
           !is_nhwc;
}

void convert_tell_split(int split, int64_t count, Shape sample) {
    char text[SHAPE_TEXT_BYTES];
    printf("%s: %lld samples of %s\n", convert_split_names[split], (long long)count,
        shape_print(sample, text));
    if (split == DATASET_TRAIN && !is_layout_clear(count, sample))
        printf("a job that reads it has to say data.layout: nchw\n");
}

/* ---- what the input is ---- */

static const char *const *format_words(void) {
    const Option *option = job_options();
    while (strcmp(option->key, "data.format") != 0) option++;
    return option->words;
}

/* The format that --format names. */
static Status find_wanted(const char *wanted, int *format) {
    const char *const *words = format_words();
    char known[256] = "";
    for (*format = 0; words[*format] != NULL; ++*format) {
        if (*format == DATA_SYNTHETIC) continue; /* drawn: no input */
        if (strcmp(wanted, words[*format]) == 0) return STATUS_OK;
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s, ", words[*format]);
    }
    *format = IMAGES;
    if (strcmp(wanted, images_word) == 0) return STATUS_OK;
    return FAIL(STATUS_USAGE, "--format wants one of %s%s, got \"%s\"", known, images_word, wanted);
}

/* Whether the input is a set of the format, or what is wrong. */
static Status try_format(const Conversion *conversion, Job *job, int format) {
    DatasetSizes sizes;
    ImageFolder folder;
    job->data.format = format;
    if (format != IMAGES) return dataset_format(format)->measure(job, DATASET_TRAIN, &sizes);
    Status status = image_folder_open(&folder, conversion->input);
    image_folder_close(&folder);
    return status;
}

/* The format whose set is whole. Where none is, that of the first broken one, which the conversion
 * will tell; where there is not even one of those, what each format misses. */
static Status guess_format(const Conversion *conversion, Job *job) {
    static const int formats[] = {DATA_IDX, DATA_CIFAR, DATA_NPY, IMAGES};
    enum { NONE = -2, FORMATS = sizeof formats / sizeof *formats };
    char missing[STATUS_MESSAGE_BYTES / 2] = "";
    int broken = NONE;
    for (int i = 0; i < FORMATS; i++) {
        int format = formats[i];
        Status status = try_format(conversion, job, format);
        if (status != STATUS_MISSING && status != STATUS_DATA) return status;
        if (status == STATUS_DATA && broken == NONE) broken = format;
        size_t used = strlen(missing);
        snprintf(missing + used, sizeof missing - used, "\n  %s: %s",
            format == IMAGES ? images_word : format_words()[format], status_message());
    }
    job->data.format = broken;
    if (broken != NONE) return STATUS_OK;
    return FAIL(STATUS_MISSING, "%s: is a set of no format:%s", conversion->input, missing);
}

/* HDF5 sets are files, the others folders. */
static Status find_format(const Conversion *conversion, Job *job) {
    struct stat found;
    if (conversion->options->format != NULL)
        return find_wanted(conversion->options->format, &job->data.format);
    if (stat(conversion->input, &found) != 0)
        return FAIL(errno == ENOENT ? STATUS_MISSING : STATUS_IO, "%s: cannot open: %s",
            conversion->input, strerror(errno));
    job->data.format = DATA_HDF5;
    return S_ISDIR(found.st_mode) ? guess_format(conversion, job) : STATUS_OK;
}

static Status check_options(const Conversion *conversion, int format) {
    const ConvertOptions *options = conversion->options;
    const char *name = format == IMAGES ? images_word : format_words()[format];
    if (options->channels != 0 && format != IMAGES)
        return FAIL(STATUS_USAGE, "--channels is for folders of images; %s is a set of format %s",
            conversion->input, name);
    if (options->layout != LAYOUT_AUTO && format != DATA_NPY && format != DATA_HDF5)
        return FAIL(STATUS_USAGE,
            "--layout is for sets of format npy or hdf5; %s is one of format %s", conversion->input,
            name);
    return STATUS_OK;
}

/* Whether a file in or below the input's folder is there and no HDF5 file, which earlier
 * conversions may have left there. */
static int is_part_of_input(const char *output, const char *input) {
    char folder[PATH_MAX], real_folder[PATH_MAX], real_input[PATH_MAX], start[4] = "";
    const char *slash = strrchr(output, '/');
    FILE *file = fopen(output, "rb");
    size_t got = file != NULL ? fread(start, 1, sizeof start, file) : 0;
    if (file != NULL) fclose(file);
    if (got == 0 || memcmp(start, "\x89HDF", sizeof start) == 0) return 0;
    snprintf(folder, sizeof folder, "%.*s", slash == NULL ? 1 : (int)(slash - output) + 1,
        slash == NULL ? "." : output);
    if (realpath(folder, real_folder) == NULL || realpath(input, real_input) == NULL) return 0;
    size_t length = strlen(real_input);
    return strncmp(real_folder, real_input, length) == 0 &&
           (real_folder[length] == '\0' || real_folder[length] == '/');
}

/* The result must not take the place of what it is made from. */
static Status check_output(const char *output, const char *input) {
    struct stat from, to;
    if (stat(output, &to) != 0 || stat(input, &from) != 0 || !S_ISREG(to.st_mode)) return STATUS_OK;
    if (from.st_dev == to.st_dev && from.st_ino == to.st_ino)
        return FAIL(STATUS_CREATE, "%s: is the input; the result needs another name", output);
    if (!is_part_of_input(output, input)) return STATUS_OK;
    return FAIL(STATUS_CREATE, "%s: is a file of the input; the result needs another name", output);
}

static Status convert_input(Conversion *conversion, const Job *job) {
    if (job->data.format == IMAGES) return convert_folder(conversion);
    printf("%s: format %s\n", conversion->input, format_words()[job->data.format]);
    return convert_set(conversion, job);
}

static Status convert(Conversion *conversion, const char *output) {
    Job job = {.seed = 1, .data.layout = conversion->options->layout};
    TRY(check_output(output, conversion->input));
    TRY(memory_copy_string(&job.data.path, conversion->input));
    Status status =
        dataset_file_create(&conversion->file, output, (int)conversion->options->gzip_level);
    if (status == STATUS_OK) status = find_format(conversion, &job);
    if (status == STATUS_OK) status = check_options(conversion, job.data.format);
    if (status == STATUS_OK) status = convert_input(conversion, &job);
    dataset_file_free(conversion->file);
    memory_free(conversion->result);
    memory_free(job.data.path);
    return convert_name_option(status);
}

static Status run(Comm *comm, const CommandLine *line) {
    (void)comm;
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error of the write, not the end */
    Conversion conversion = {.input = line->arguments[0], .options = &line->convert};
    return convert(&conversion, line->arguments[1]);
}

const Command command_convert = {
    .name = "convert",
    .usage = "IN OUT.h5 [--format NAME] [--layout nchw|nhwc] [--resize HxW] [--pad N] "
             "[--center-crop HxW] [--channels 1|3] [--gzip LEVEL]",
    .summary = "a data set, or a folder TRAIN-OR-TEST/CLASS/IMAGE, as one HDF5 file",
    .details = "IN is a folder of a set (idx, cifar, npy), an HDF5 file, or a folder of JPEG and "
               "PNG images:\n"
               "train/CLASS/... and test/CLASS/..., or CLASS/... alone. OUT.h5 is for data.format: "
               "hdf5.\n",
    .examples = "  lockstep convert photos photos.h5 --resize 64x64 --channels 3\n"
                "  lockstep convert data/cifar10 cifar10.h5 --gzip 4\n",
    .options = "flRexcz",
    .minimum_arguments = 2,
    .maximum_arguments = 2,
    .run = run,
};
