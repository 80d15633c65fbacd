/* command_convert_images.c - folders of images, for lockstep convert. */
#include "io/image_file.h"
#include "io/image_folder.h"
#include "src/command_convert.h"
#include "src/memory.h"
#include "src/rng.h"
#include <stdio.h>

/* The first image says what the others must be. */
typedef struct FirstImage {
    char path[IMAGE_FOLDER_PATH_BYTES];
    int channels, height, width;
    Shape shape; /* as written */
} FirstImage;

static Status shape_as_written(const Conversion *conversion, int channels, const Image *image,
    const char *path, Shape *shape) {
    Shape sample = {3, {channels, image->height, image->width}};
    Status status =
        convert_name_option(transform_shape(&conversion->options->transforms, sample, shape));
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
static Status add_split(
    Conversion *conversion, const ImageFolder *folder, int split, FirstImage *first) {
    uint32_t *order = NULL, count = (uint32_t)folder->count[split];
    char path[IMAGE_FOLDER_PATH_BYTES];
    int32_t label = 0;
    if (folder->count[split] > UINT32_MAX)
        return FAIL(STATUS_DATA, "%s: more than %u images", folder->path, UINT32_MAX);
    TRY(find_image(folder, split, 0, &label, path));
    TRY(read_image(conversion, first, path));
    DatasetFileSplit written = {.name = convert_split_names[split],
        .count = folder->count[split],
        .class_count = (int64_t)folder->classes.count,
        .sample = first->shape,
        .element_bytes = 1};
    TRY(dataset_file_begin(conversion->file, &written));
    TRY(MEMORY_ALLOCATE(&order, count, "order of the images"));
    rng_permute(rng_stream(1, RNG_SHUFFLE, 0), (uint32_t)split, order, count);
    Status status = add_images(conversion, folder, split, first, order);
    memory_free(order);
    if (status == STATUS_OK) convert_tell_split(split, folder->count[split], first->shape);
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

Status convert_folder(Conversion *conversion) {
    FirstImage first = {.path = ""};
    ImageFolder folder;
    Status status = image_folder_open(&folder, conversion->input);
    if (status == STATUS_OK) {
        printf("%s: images of %zu classes\n", conversion->input, folder.classes.count);
        if (folder.note[0] != '\0') printf("%s\n", folder.note);
    }
    for (int split = 0; split < IMAGE_FOLDER_SPLITS && status == STATUS_OK; split++)
        if (folder.count[split] > 0) status = add_split(conversion, &folder, split, &first);
    if (status == STATUS_OK)
        status = dataset_file_finish(conversion->file, folder.classes.names, folder.classes.count);
    if (status == STATUS_OK) tell_passed_over(&folder.passed_over);
    image_folder_close(&folder);
    return status;
}
