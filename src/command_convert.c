/* command_convert.c - lockstep convert: a data set of any format that the program reads, or a
 * folder of images, into one HDF5 file. */
#include "io/dataset_file.h"
#include "io/dataset_format.h"
#include "io/image_file.h"
#include "io/image_folder.h"
#include "src/command.h"
#include "src/memory.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const char images_word[] = "images"; /* --format of a folder of images */
static const char *const split_names[] = {[DATASET_TRAIN] = "train", [DATASET_TEST] = "test"};

typedef struct Conversion {
    const char *input;
    const ConvertOptions *options;
    TransformOptions transforms;
    DatasetFile *file;
    uint8_t *result; /* one sample as it is written */
} Conversion;

static void tell_split(int split, int64_t count, Shape sample) {
    char text[SHAPE_TEXT_BYTES];
    printf("%s: %lld samples of %s\n", split_names[split], (long long)count,
        shape_print(sample, text));
}

/* ---- sets in the formats of job files ---- */

static const char *const *format_words(void) {
    const Option *option = job_options();
    while (strcmp(option->key, "data.format") != 0) option++;
    return option->words;
}

static Status add_sample(
    Conversion *conversion, Transform *transform, const uint8_t *image, uint8_t label) {
    transform_sample(transform, image, conversion->result);
    return dataset_file_add(conversion->file, conversion->result, label);
}

/* A split that is in memory. */
static Status add_samples(Conversion *conversion, const DatasetSizes *sizes, int split,
    const uint8_t *images, const uint8_t *labels) {
    Shape sample = {3, {(int)sizes->channels, (int)sizes->height, (int)sizes->width}}, shape;
    Transform *transform = NULL;
    TRY(transform_shape(&conversion->transforms, sample, &shape));
    TRY(MEMORY_ALLOCATE(&conversion->result, shape_element_count(shape), "a sample"));
    TRY(dataset_file_begin(conversion->file, split_names[split], sizes->count, shape));
    Status status = transform_create(&transform, &conversion->transforms, sample, 1);
    for (int64_t i = 0; i < sizes->count && status == STATUS_OK; i++)
        status = add_sample(
            conversion, transform, images + (size_t)i * shape_element_count(sample), labels[i]);
    transform_free(transform);
    memory_free(conversion->result);
    conversion->result = NULL;
    if (status == STATUS_OK) tell_split(split, sizes->count, shape);
    return status;
}

static Status convert_split(
    Conversion *conversion, const Job *job, DatasetSplit split, int64_t *class_count) {
    DatasetSizes sizes;
    uint8_t *images = NULL, *labels = NULL;
    const DatasetFormat *format = dataset_format(job->data.format);
    TRY(format->measure(job, split, &sizes));
    *class_count = sizes.class_count;
    size_t bytes =
        (size_t)(sizes.count * sizes.channels) * (size_t)sizes.height * (size_t)sizes.width;
    Status status = MEMORY_ALLOCATE(&images, bytes, "images of the set");
    if (status == STATUS_OK)
        status = MEMORY_ALLOCATE(&labels, (size_t)sizes.count, "labels of the set");
    if (status == STATUS_OK) status = format->fill(job, split, &sizes, images, labels);
    if (status == STATUS_OK) status = add_samples(conversion, &sizes, split, images, labels);
    memory_free(images);
    memory_free(labels);
    return status;
}

/* These formats have no names for their classes: numbers. */
static Status finish_with_numbers(Conversion *conversion, int64_t class_count) {
    char texts[IMAGE_FOLDER_CLASSES_MAX][8], *names[IMAGE_FOLDER_CLASSES_MAX];
    REQUIRE(class_count <= IMAGE_FOLDER_CLASSES_MAX);
    for (int i = 0; i < class_count; i++) {
        snprintf(texts[i], sizeof texts[i], "%d", i);
        names[i] = texts[i];
    }
    return dataset_file_finish(conversion->file, names, (size_t)class_count);
}

static Status convert_set(Conversion *conversion, const Job *job) {
    int64_t class_count = 0;
    if (conversion->options->channels != 0)
        return FAIL(STATUS_USAGE, "--channels is for folders of images; %s is a set of format %s",
            conversion->input, format_words()[job->data.format]);
    printf("%s: format %s\n", conversion->input, format_words()[job->data.format]);
    TRY(convert_split(conversion, job, DATASET_TRAIN, &class_count));
    TRY(convert_split(conversion, job, DATASET_TEST, &class_count));
    return finish_with_numbers(conversion, class_count);
}

/* ---- folders of images ---- */

/* The first image says what the others must be. */
typedef struct FirstImage {
    char path[IMAGE_FOLDER_PATH_BYTES];
    int channels, height, width;
    Shape shape; /* as written */
} FirstImage;

static Status take_first(
    Conversion *conversion, FirstImage *first, const Image *image, const char *path) {
    snprintf(first->path, sizeof first->path, "%s", path);
    int64_t channels = conversion->options->channels;
    first->channels = channels != 0 ? (int)channels : image->channels;
    first->height = image->height;
    first->width = image->width;
    Shape sample = {3, {first->channels, image->height, image->width}};
    TRY(transform_shape(&conversion->transforms, sample, &first->shape));
    return MEMORY_ALLOCATE(
        &conversion->result, shape_element_count(first->shape), "an image of the set");
}

static Status check_size(
    const Conversion *conversion, const FirstImage *first, const Image *image, const char *path) {
    if (conversion->transforms.resize.count > 0) return STATUS_OK;
    if (image->height == first->height && image->width == first->width) return STATUS_OK;
    return FAIL(STATUS_DATA,
        "%s has %d x %d pixels, %s %d x %d: give all one size with --resize HxW", first->path,
        first->height, first->width, path, image->height, image->width);
}

/* The image's planes as they are written, in conversion->result. */
static Status transform_image(Conversion *conversion, const FirstImage *first, const Image *image) {
    Transform *transform = NULL;
    uint8_t *planes = NULL;
    Shape sample = {3, {first->channels, image->height, image->width}};
    TRY(MEMORY_ALLOCATE(&planes, shape_element_count(sample), "planes of an image"));
    image_split(image, first->channels, planes);
    Status status = transform_create(&transform, &conversion->transforms, sample, 1);
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
    if (status == STATUS_OK) status = check_size(conversion, first, &image, path);
    if (status == STATUS_OK) status = transform_image(conversion, first, &image);
    image_free(&image);
    return status;
}

static Status convert_images(
    Conversion *conversion, const ImageFolder *folder, int split, FirstImage *first) {
    int is_begun = 0;
    for (size_t label = 0; label < folder->classes.count; label++) {
        const NameList *files = &folder->files[(size_t)split * folder->classes.count + label];
        for (size_t i = 0; i < files->count; i++) {
            char path[IMAGE_FOLDER_PATH_BYTES];
            TRY(image_folder_path(folder, split, (int)label, i, path));
            TRY(read_image(conversion, first, path));
            if (!is_begun)
                TRY(dataset_file_begin(
                    conversion->file, split_names[split], folder->count[split], first->shape));
            is_begun = 1;
            TRY(dataset_file_add(conversion->file, conversion->result, (uint8_t)label));
        }
    }
    tell_split(split, folder->count[split], first->shape);
    return STATUS_OK;
}

static Status convert_folder(Conversion *conversion) {
    FirstImage first = {.path = ""};
    ImageFolder folder;
    Status status = image_folder_open(&folder, conversion->input);
    if (status == STATUS_OK)
        printf("%s: images of %zu classes; they are written class after class, so data.valid_split "
               "would keep the last classes only\n",
            conversion->input, folder.classes.count);
    for (int split = 0; split < IMAGE_FOLDER_SPLITS && status == STATUS_OK; split++)
        if (folder.count[split] > 0) status = convert_images(conversion, &folder, split, &first);
    if (status == STATUS_OK)
        status = dataset_file_finish(conversion->file, folder.classes.names, folder.classes.count);
    image_folder_close(&folder);
    return status;
}

/* ---- which of them ---- */

/* The format that finds its files in the input, or is said to be there; -1 for a folder of images.
 * A set that is drawn is no input. */
static Status find_format(const Conversion *conversion, Job *job) {
    const char *wanted = conversion->options->format;
    const char *const *words = format_words();
    char known[256] = "";
    for (int i = 0; words[i] != NULL; i++) {
        DatasetSizes sizes;
        if (i == DATA_SYNTHETIC) continue;
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s, ", words[i]);
        job->data.format = i;
        if (wanted != NULL && strcmp(wanted, words[i]) == 0) return STATUS_OK;
        if (wanted == NULL &&
            dataset_format(i)->measure(job, DATASET_TRAIN, &sizes) != STATUS_MISSING)
            return STATUS_OK;
    }
    job->data.format = -1;
    if (wanted == NULL || strcmp(wanted, images_word) == 0) return STATUS_OK;
    return FAIL(STATUS_USAGE, "--format wants one of %s%s, got \"%s\"", known, images_word, wanted);
}

static Status convert(Conversion *conversion, const char *output) {
    Job job = {.seed = 1};
    TRY(memory_copy_string(&job.data.path, conversion->input));
    Status status = find_format(conversion, &job);
    if (status == STATUS_OK)
        status =
            dataset_file_create(&conversion->file, output, (int)conversion->options->gzip_level);
    if (status == STATUS_OK)
        status = job.data.format < 0 ? convert_folder(conversion) : convert_set(conversion, &job);
    dataset_file_free(conversion->file);
    memory_free(conversion->result);
    memory_free(job.data.path);
    return status;
}

static Status run(Comm *comm, const CommandLine *line) {
    (void)comm;
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error of the write, not the end */
    Conversion conversion = {.input = line->arguments[0],
        .options = &line->convert,
        .transforms = {.resize = line->convert.resize}};
    return convert(&conversion, line->arguments[1]);
}

const Command command_convert = {
    .name = "convert",
    .usage = "IN OUT.h5 [--format NAME] [--resize HxW] [--channels 1|3] [--gzip LEVEL]",
    .summary = "a data set, or a folder TRAIN-OR-TEST/CLASS/IMAGE, as one HDF5 file",
    .options = "fRcz",
    .minimum_arguments = 2,
    .maximum_arguments = 2,
    .run = run,
};
