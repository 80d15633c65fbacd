/* command_convert.c - lockstep convert: a data set of any format that the program reads, or a
 * folder of images, into one HDF5 file. */
#include "io/array_set.h"
#include "io/dataset_file.h"
#include "io/dataset_format.h"
#include "io/image_file.h"
#include "io/image_folder.h"
#include "src/command.h"
#include "src/memory.h"
#include "src/rng.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char images_word[] = "images"; /* --format of a folder of images */
enum { IMAGES = -1 };                       /* what it is beside the DataFormats */
static const char *const split_names[] = {[DATASET_TRAIN] = "train", [DATASET_TEST] = "test"};

typedef struct Conversion {
    const char *input;
    const ConvertOptions *options;
    DatasetFile *file;
    void *result; /* one sample as it is written */
} Conversion;

/* A failure that names a key of job files names what stands for it on the command line. */
static Status name_option(Status status) {
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

static void tell_split(int split, int64_t count, Shape sample) {
    char text[SHAPE_TEXT_BYTES];
    printf("%s: %lld samples of %s\n", split_names[split], (long long)count,
        shape_print(sample, text));
    if (split == DATASET_TRAIN && !is_layout_clear(count, sample))
        printf("a job that reads it has to say data.layout: nchw\n");
}

/* ---- sets in the formats of job files ---- */

static const char *const *format_words(void) {
    const Option *option = job_options();
    while (strcmp(option->key, "data.format") != 0) option++;
    return option->words;
}

enum { BLOCK = 64 }; /* samples read at once, of a set that stays in its file */

/* A split that is being converted. */
typedef struct Split {
    DatasetSizes sizes;
    const void *images;  /* all of them, NULL: */
    SampleSource source; /* reads them */
    void *block;         /* [BLOCK] samples, where they are read */
    int32_t *labels;
    Transform *transform;
} Split;

static size_t sample_bytes(const DatasetSizes *sizes) {
    return (size_t)(sizes->channels * sizes->height * sizes->width * sizes->element_bytes);
}

/* Samples [begin, begin + count), one after the other. */
static Status fetch(const Split *split, int64_t begin, int count, const char **first) {
    int64_t index[BLOCK];
    *first = split->block;
    if (split->images != NULL) {
        *first = (const char *)split->images + (size_t)begin * sample_bytes(&split->sizes);
        return STATUS_OK;
    }
    for (int i = 0; i < count; i++) index[i] = begin + i;
    return split->source.read(split->source.context, index, count, split->block);
}

static Status add_samples(Conversion *conversion, const Split *split) {
    int64_t all = split->sizes.count;
    for (int64_t begin = 0; begin < all; begin += BLOCK) {
        const char *first = NULL;
        int count = all - begin < BLOCK ? (int)(all - begin) : BLOCK;
        TRY(fetch(split, begin, count, &first));
        for (int i = 0; i < count; i++) {
            transform_sample(split->transform, first + (size_t)i * sample_bytes(&split->sizes),
                conversion->result);
            TRY(dataset_file_add(conversion->file, conversion->result, split->labels[begin + i]));
        }
    }
    return STATUS_OK;
}

/* The images in memory, or a source and memory for what it reads. */
static Status read_split(Split *split, const Job *job, DatasetSplit name, void **images) {
    const DatasetFormat *format = dataset_format(job->data.format);
    const DatasetSizes *sizes = &split->sizes;
    int stays_in_file = sizes->file_bytes > 0;
    size_t bytes = sample_bytes(sizes), rows = stays_in_file ? BLOCK : (size_t)sizes->count;
    TRY(memory_allocate(images, rows, bytes, "images of the set"));
    TRY(MEMORY_ALLOCATE(&split->labels, (size_t)sizes->count, "labels of the set"));
    split->images = stays_in_file ? NULL : *images;
    split->block = *images;
    TRY(format->fill(job, name, sizes, stays_in_file ? NULL : *images, split->labels));
    return stays_in_file ? format->open_source(job, name, sizes, &split->source) : STATUS_OK;
}

static Status write_split(Conversion *conversion, Split *split, DatasetSplit name) {
    const DatasetSizes *sizes = &split->sizes;
    size_t element_bytes = (size_t)sizes->element_bytes;
    Shape sample = {3, {(int)sizes->channels, (int)sizes->height, (int)sizes->width}};
    DatasetFileSplit written = {.name = split_names[name],
        .count = sizes->count,
        .class_count = sizes->class_count,
        .element_bytes = element_bytes};
    TRY(transform_shape(&conversion->options->transforms, sample, &written.sample));
    TRY(memory_allocate(
        &conversion->result, shape_element_count(written.sample), element_bytes, "a sample"));
    TRY(transform_create(
        &split->transform, &conversion->options->transforms, sample, element_bytes));
    TRY(dataset_file_begin(conversion->file, &written));
    TRY(add_samples(conversion, split));
    tell_split(name, sizes->count, written.sample);
    return STATUS_OK;
}

static Status convert_split(Conversion *conversion, const Job *job, DatasetSplit name) {
    Split split = {.labels = NULL};
    void *images = NULL;
    TRY(dataset_format(job->data.format)->measure(job, name, &split.sizes));
    Status status = read_split(&split, job, name, &images);
    if (status == STATUS_OK) status = write_split(conversion, &split, name);
    if (split.source.close != NULL) split.source.close(split.source.context);
    transform_free(split.transform);
    memory_free(images);
    memory_free(split.labels);
    memory_free(conversion->result);
    conversion->result = NULL;
    return status;
}

static Status convert_set(Conversion *conversion, const Job *job) {
    printf("%s: format %s\n", conversion->input, format_words()[job->data.format]);
    const DatasetFormat *format = dataset_format(job->data.format);
    NameList classes = {.names = NULL};
    char note[DATASET_NOTE_BYTES] = "";
    int has_test = 1;
    TRY(convert_split(conversion, job, DATASET_TRAIN));
    if (format->has_split != NULL) TRY(format->has_split(job, DATASET_TEST, &has_test, note));
    if (note[0] != '\0') printf("%s\n", note);
    if (has_test) TRY(convert_split(conversion, job, DATASET_TEST));
    Status status = dataset_read_classes(job, &classes);
    if (status == STATUS_OK)
        status = dataset_file_finish(conversion->file, classes.names, classes.count);
    name_list_free(&classes);
    return status;
}

/* ---- folders of images ---- */

/* The first image says what the others must be. */
typedef struct FirstImage {
    char path[IMAGE_FOLDER_PATH_BYTES];
    int channels, height, width;
    Shape shape; /* as written */
} FirstImage;

static Status shape_as_written(const Conversion *conversion, int channels, const Image *image,
    const char *path, Shape *shape) {
    Shape sample = {3, {channels, image->height, image->width}};
    Status status = name_option(transform_shape(&conversion->options->transforms, sample, shape));
    return status == STATUS_OK ? STATUS_OK : FAIL(status, "%s: %s", path, status_message());
}

static Status take_first(
    Conversion *conversion, FirstImage *first, const Image *image, const char *path) {
    snprintf(first->path, sizeof first->path, "%s", path);
    int64_t channels = conversion->options->channels;
    first->channels = channels != 0 ? (int)channels : image->channels;
    first->height = image->height;
    first->width = image->width;
    TRY(shape_as_written(conversion, first->channels, image, path, &first->shape));
    return memory_allocate(
        &conversion->result, shape_element_count(first->shape), 1, "an image of the set");
}

static Status check_colors(
    const Conversion *conversion, const FirstImage *first, const Image *image, const char *path) {
    if (conversion->options->channels != 0 || image->channels <= first->channels) return STATUS_OK;
    return FAIL(STATUS_DATA,
        "%s is grey, %s has colours: say what all shall be with --channels 3 or --channels 1",
        first->path, path);
}

static Status check_size(
    const Conversion *conversion, const FirstImage *first, const Image *image, const char *path) {
    Shape shape;
    TRY(shape_as_written(conversion, first->channels, image, path, &shape));
    if (shape_is_equal(shape, first->shape)) return STATUS_OK;
    return FAIL(STATUS_DATA,
        "%s has %d x %d pixels, %s %d x %d: give all one size with --resize HxW or --center-crop "
        "HxW",
        first->path, first->height, first->width, path, image->height, image->width);
}

/* The image's planes as they are written, in conversion->result. */
static Status transform_image(Conversion *conversion, const FirstImage *first, const Image *image) {
    Transform *transform = NULL;
    uint8_t *planes = NULL;
    Shape sample = {3, {first->channels, image->height, image->width}};
    TRY(MEMORY_ALLOCATE(&planes, shape_element_count(sample), "planes of an image"));
    image_split(image, first->channels, planes);
    Status status = transform_create(&transform, &conversion->options->transforms, sample, 1);
    if (status == STATUS_OK) transform_sample(transform, planes, conversion->result);
    transform_free(transform);
    memory_free(planes);
    return status;
}

static Status read_image(Conversion *conversion, FirstImage *first, const char *path) {
    Image image;
    Status status = image_read(&image, path);
    if (status == STATUS_OK && first->path[0] == '\0')
        status = take_first(conversion, first, &image, path);
    if (status == STATUS_OK) status = check_colors(conversion, first, &image, path);
    if (status == STATUS_OK) status = check_size(conversion, first, &image, path);
    if (status == STATUS_OK) status = transform_image(conversion, first, &image);
    image_free(&image);
    return status;
}

/* Image number `number` of a split, counted class after class. */
static Status find_image(const ImageFolder *folder, int split, uint32_t number, int32_t *label,
    char path[IMAGE_FOLDER_PATH_BYTES]) {
    const NameList *files = folder->files + (size_t)split * folder->classes.count;
    for (*label = 0; number >= files[*label].count; ++*label)
        number -= (uint32_t)files[*label].count;
    return image_folder_path(folder, split, *label, number, path);
}

static Status add_images(Conversion *conversion, const ImageFolder *folder, int split,
    FirstImage *first, const uint32_t *order) {
    for (int64_t i = 0; i < folder->count[split]; i++) {
        char path[IMAGE_FOLDER_PATH_BYTES];
        int32_t label = 0;
        TRY(find_image(folder, split, order[i], &label, path));
        TRY(read_image(conversion, first, path));
        TRY(dataset_file_add(conversion->file, conversion->result, label));
    }
    return STATUS_OK;
}

/* The images are mixed, always in the same way: class after class, the last part of a set, which
 * validation takes, would hold the last classes only. */
static Status convert_images(
    Conversion *conversion, const ImageFolder *folder, int split, FirstImage *first) {
    uint32_t *order = NULL, count = (uint32_t)folder->count[split];
    char path[IMAGE_FOLDER_PATH_BYTES];
    int32_t label = 0;
    if (folder->count[split] > UINT32_MAX)
        return FAIL(STATUS_DATA, "%s: more than %u images", folder->path, UINT32_MAX);
    TRY(find_image(folder, split, 0, &label, path));
    TRY(read_image(conversion, first, path));
    DatasetFileSplit written = {.name = split_names[split],
        .count = folder->count[split],
        .class_count = (int64_t)folder->classes.count,
        .sample = first->shape,
        .element_bytes = 1};
    TRY(dataset_file_begin(conversion->file, &written));
    TRY(MEMORY_ALLOCATE(&order, count, "order of the images"));
    rng_permute(rng_stream(1, RNG_SHUFFLE, 0), (uint32_t)split, order, count);
    Status status = add_images(conversion, folder, split, first, order);
    memory_free(order);
    if (status == STATUS_OK) tell_split(split, folder->count[split], first->shape);
    return status;
}

static void tell_passed_over(const PassedOver *over) {
    if (over->count == 0) return;
    printf("passed over, being no .jpg, .jpeg or .png: %lld file%s (", (long long)over->count,
        over->count == 1 ? "" : "s");
    for (int i = 0; i < over->kind_count; i++)
        printf("%s%s", i == 0 ? "" : ", ", over->kinds[i][0] == '\0' ? "others" : over->kinds[i]);
    printf("%s), the first is %s\n", over->has_more_kinds ? ", ..." : "", over->first);
}

static Status convert_folder(Conversion *conversion) {
    FirstImage first = {.path = ""};
    ImageFolder folder;
    Status status = image_folder_open(&folder, conversion->input);
    if (status == STATUS_OK) {
        printf("%s: images of %zu classes\n", conversion->input, folder.classes.count);
        if (folder.note[0] != '\0') printf("%s\n", folder.note);
    }
    for (int split = 0; split < IMAGE_FOLDER_SPLITS && status == STATUS_OK; split++)
        if (folder.count[split] > 0) status = convert_images(conversion, &folder, split, &first);
    if (status == STATUS_OK)
        status = dataset_file_finish(conversion->file, folder.classes.names, folder.classes.count);
    if (status == STATUS_OK) tell_passed_over(&folder.passed_over);
    image_folder_close(&folder);
    return status;
}

/* ---- which of them ---- */

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

static Status convert(Conversion *conversion, const char *output) {
    Job job = {.seed = 1, .data.layout = conversion->options->layout};
    TRY(check_output(output, conversion->input));
    TRY(memory_copy_string(&job.data.path, conversion->input));
    Status status =
        dataset_file_create(&conversion->file, output, (int)conversion->options->gzip_level);
    if (status == STATUS_OK) status = find_format(conversion, &job);
    if (status == STATUS_OK) status = check_options(conversion, job.data.format);
    if (status == STATUS_OK)
        status =
            job.data.format == IMAGES ? convert_folder(conversion) : convert_set(conversion, &job);
    dataset_file_free(conversion->file);
    memory_free(conversion->result);
    memory_free(job.data.path);
    return name_option(status);
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
