/* image_folder.c - see image_folder.h. */
#include "io/image_folder.h"
#include "io/test_split.h"
#include "src/memory.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static const char train_name[] = "train";

/* ---- names ---- */

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int is_folder(const char *path) {
    struct stat found;
    return stat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

/* What follows the last dot of a path's last name, with the dot; "" where there is none. */
static const char *ending_of(const char *path) {
    const char *name = strrchr(path, '/'), *dot = strrchr(path, '.');
    return dot == NULL || (name != NULL && dot <= name + 1) ? "" : dot;
}

static int is_image(const char *path) {
    static const char *const endings[] = {".jpg", ".jpeg", ".png"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(ending_of(path), endings[i]) == 0) return 1;
    return 0;
}

static Status join(char out[IMAGE_FOLDER_PATH_BYTES], const char *folder, const char *name) {
    int length = snprintf(out, IMAGE_FOLDER_PATH_BYTES, "%s/%s", folder, name);
    if (length < IMAGE_FOLDER_PATH_BYTES) return STATUS_OK;
    return FAIL(STATUS_DATA, "%.100s...: the path is too long", folder);
}

/* ---- files that are no images ---- */

static void note_kind(PassedOver *over, const char *ending) {
    char kind[IMAGE_FOLDER_KIND_BYTES] = "";
    if (strlen(ending) < sizeof kind) snprintf(kind, sizeof kind, "%s", ending);
    int place = 0, order = 1;
    while (place < over->kind_count && (order = strcmp(over->kinds[place], kind)) < 0) place++;
    if (order == 0) return;
    if (over->kind_count == IMAGE_FOLDER_KINDS_MAX)
        over->has_more_kinds = 1;
    else
        over->kind_count++;
    for (int i = over->kind_count - 1; i > place; i--)
        memcpy(over->kinds[i], over->kinds[i - 1], sizeof kind);
    if (place < over->kind_count) memcpy(over->kinds[place], kind, sizeof kind);
}

static void pass_over(PassedOver *over, const char *path) {
    if (over->count++ == 0 || strcmp(path, over->first) < 0)
        snprintf(over->first, sizeof over->first, "%s", path);
    note_kind(over, ending_of(path));
}

/* ---- listing ---- */

/* Where the entries of a folder go, as paths without their first `skip` bytes. */
typedef struct Listing {
    NameList *folders, *images; /* images NULL: they are passed over as well */
    PassedOver *over;
    size_t skip;
} Listing;

static Status read_entries(const Listing *listing, DIR *stream, const char *path) {
    for (;;) {
        char entry_path[IMAGE_FOLDER_PATH_BYTES];
        errno = status_fault_is_due() ? EIO : 0;
        const struct dirent *entry = errno == 0 ? readdir(stream) : NULL;
        if (entry == NULL && errno != 0)
            return FAIL(STATUS_IO, "%s: cannot read the folder: %s", path, strerror(errno));
        if (entry == NULL) return STATUS_OK;
        if (entry->d_name[0] == '.') continue;
        TRY(join(entry_path, path, entry->d_name));
        if (is_folder(entry_path))
            TRY(name_list_add(listing->folders, entry_path + listing->skip));
        else if (listing->images != NULL && is_image(entry_path))
            TRY(name_list_add(listing->images, entry_path + listing->skip));
        else
            pass_over(listing->over, entry_path);
    }
}

static Status list_entries(const Listing *listing, const char *path) {
    DIR *stream = opendir(path);
    if (stream == NULL)
        return FAIL(errno == ENOENT || errno == ENOTDIR ? STATUS_MISSING : STATUS_IO,
            "%s: cannot open the folder: %s", path, strerror(errno));
    Status status = read_entries(listing, stream, path);
    closedir(stream);
    return status;
}

/* The folders of a folder. */
static Status list_folders(ImageFolder *folder, NameList *folders, const char *path) {
    Listing listing = {.folders = folders, .over = &folder->passed_over, .skip = strlen(path) + 1};
    TRY(list_entries(&listing, path));
    if (folders->count > 0)
        qsort(folders->names, folders->count, sizeof *folders->names, compare_names);
    return STATUS_OK;
}

/* A folder `path` below the first `top_bytes` of it must not be one of those above it. */
static Status check_descent(const char *path, size_t top_bytes) {
    char above[IMAGE_FOLDER_PATH_BYTES];
    struct stat here, there;
    int depth = 0;
    if (stat(path, &here) != 0) return STATUS_OK; /* opening it will tell */
    for (snprintf(above, sizeof above, "%s", path); strlen(above) > top_bytes; depth++) {
        *strrchr(above, '/') = '\0';
        if (stat(above, &there) == 0 && here.st_dev == there.st_dev && here.st_ino == there.st_ino)
            return FAIL(STATUS_DATA, "%s: is a link to %s, a folder above it", path, above);
    }
    if (depth <= IMAGE_FOLDER_DEPTH_MAX) return STATUS_OK;
    return FAIL(
        STATUS_DATA, "%s: lies more than %d folders below its class", path, IMAGE_FOLDER_DEPTH_MAX);
}

/* Folders, and names within a folder, in the order of their bytes. */
static int compare_paths(const void *a, const void *b) {
    const char *left = *(char *const *)a, *right = *(char *const *)b;
    const char *left_slash = strrchr(left, '/'), *right_slash = strrchr(right, '/');
    size_t left_bytes = left_slash == NULL ? 0 : (size_t)(left_slash - left);
    size_t right_bytes = right_slash == NULL ? 0 : (size_t)(right_slash - right);
    int order = memcmp(left, right, left_bytes < right_bytes ? left_bytes : right_bytes);
    if (order != 0) return order;
    if (left_bytes != right_bytes) return left_bytes < right_bytes ? -1 : 1;
    return strcmp(left + left_bytes, right + right_bytes);
}

/* The images in a folder and in all below it, which `folders` grows by while they are listed. */
static Status list_below(
    ImageFolder *folder, NameList *images, NameList *folders, const char *path) {
    char below[IMAGE_FOLDER_PATH_BYTES];
    Listing listing = {folders, images, &folder->passed_over, strlen(path) + 1};
    TRY(list_entries(&listing, path));
    for (size_t i = 0; i < folders->count; i++) {
        TRY(join(below, path, folders->names[i]));
        TRY(check_descent(below, strlen(path)));
        TRY(list_entries(&listing, below));
    }
    if (images->count > 0)
        qsort(images->names, images->count, sizeof *images->names, compare_paths);
    return STATUS_OK;
}

static Status list_images(ImageFolder *folder, NameList *images, const char *path) {
    NameList folders = {.names = NULL};
    Status status = list_below(folder, images, &folders, path);
    name_list_free(&folders);
    return status;
}

/* ---- the set ---- */

static Status split_path(const ImageFolder *folder, int split, char path[IMAGE_FOLDER_PATH_BYTES]) {
    if (folder->has_splits)
        return join(path, folder->path, split == 0 ? train_name : folder->test_name);
    snprintf(path, IMAGE_FOLDER_PATH_BYTES, "%s", folder->path);
    return STATUS_OK;
}

static int is_one_of(const char *name, const char *const *words, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(name, words[i]) == 0) return 1;
    return 0;
}

/* Folders like Train and Testing are no classes, and none to be left out in silence. */
static Status check_names(const ImageFolder *folder, const NameList *names) {
    static const char *const train_words[] = {"train", "training"};
    static const char *const test_words[] = {"testing", "tests"};
    const char *train = NULL, *test = NULL;
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->names[i];
        if (is_one_of(name, train_words, 2)) train = name;
        if (is_one_of(name, test_words, 2) || is_one_of(name, test_split_names, TEST_SPLIT_COUNT))
            test = name;
    }
    if (train == NULL || test == NULL) return STATUS_OK;
    return FAIL(STATUS_DATA, "%s: has folders %s and %s: name them %s and %s", folder->path, train,
        test, train_name, test_split_names[0]);
}

/* Where one split, or both, were not found under their names. */
static Status check_splits(const ImageFolder *folder) {
    PassedOver over = {.count = 0};
    NameList names = {.names = NULL};
    Listing listing = {.folders = &names, .over = &over, .skip = strlen(folder->path) + 1};
    Status status = list_entries(&listing, folder->path);
    if (status == STATUS_OK) status = check_names(folder, &names);
    name_list_free(&names);
    return status;
}

static Status list_classes(ImageFolder *folder) {
    char path[IMAGE_FOLDER_PATH_BYTES];
    TRY(split_path(folder, 0, path));
    TRY(list_folders(folder, &folder->classes, path));
    if (folder->classes.count == 0)
        return FAIL(STATUS_MISSING, "%s: holds no folders, one for each class", path);
    if (folder->classes.count > IMAGE_FOLDER_CLASSES_MAX)
        return FAIL(STATUS_DATA, "%s: holds %zu classes; at most %d", path, folder->classes.count,
            IMAGE_FOLDER_CLASSES_MAX);
    return MEMORY_ALLOCATE(
        &folder->files, IMAGE_FOLDER_SPLITS * folder->classes.count, "files of the classes");
}

/* Without train/ all of a set are classes, but not whole sets. */
static Status check_class(const ImageFolder *folder, const char *class_path) {
    char below[IMAGE_FOLDER_PATH_BYTES];
    TRY(join(below, class_path, train_name));
    if (folder->has_splits || !is_folder(below)) return STATUS_OK;
    return FAIL(
        STATUS_DATA, "%s: has a folder %s: it is a set, not a class", class_path, train_name);
}

/* The images of one class. */
static Status list_class(ImageFolder *folder, int split, const char *name, size_t label) {
    char path[IMAGE_FOLDER_PATH_BYTES], class_path[IMAGE_FOLDER_PATH_BYTES];
    int64_t passed_over = folder->passed_over.count;
    NameList *files = &folder->files[(size_t)split * folder->classes.count + label];
    TRY(split_path(folder, split, path));
    TRY(join(class_path, path, name));
    TRY(check_class(folder, class_path));
    TRY(list_images(folder, files, class_path));
    folder->count[split] += (int64_t)files->count;
    if (files->count > 0) return STATUS_OK;
    int64_t others = folder->passed_over.count - passed_over;
    if (others == 0)
        return FAIL(STATUS_DATA,
            "%s: holds no image (.jpg, .jpeg or .png), nor anything else: remove this folder",
            class_path);
    return FAIL(STATUS_DATA,
        "%s: holds no image: no name of its files (%lld) ends in .jpg, .jpeg or .png", class_path,
        (long long)others);
}

/* Test may lack a class, but not have another one. */
static Status list_test(ImageFolder *folder, const char *path, const NameList *classes) {
    for (size_t i = 0; i < classes->count; i++) {
        char *const *found = bsearch(&classes->names[i], folder->classes.names,
            folder->classes.count, sizeof *folder->classes.names, compare_names);
        if (found == NULL)
            return FAIL(STATUS_DATA, "%s/%s: there is no class of that name in %s/%s", path,
                classes->names[i], folder->path, train_name);
        TRY(list_class(folder, 1, *found, (size_t)(found - folder->classes.names)));
    }
    return STATUS_OK;
}

static Status look_for_test(const void *set, int index, int *is_there) {
    const ImageFolder *folder = set;
    char below[IMAGE_FOLDER_PATH_BYTES];
    TRY(join(below, folder->path, test_split_names[index]));
    *is_there = is_folder(below);
    return STATUS_OK;
}

static Status find_test(ImageFolder *folder) {
    int index = -1;
    TRY(test_split_find(look_for_test, folder, &index, folder->note));
    if (index >= 0) folder->test_name = test_split_names[index];
    return STATUS_OK;
}

Status image_folder_open(ImageFolder *folder, const char *path) {
    char below[IMAGE_FOLDER_PATH_BYTES];
    NameList classes = {.names = NULL};
    *folder = (ImageFolder){.path = path};
    TRY(join(below, path, train_name));
    folder->has_splits = is_folder(below);
    TRY(list_classes(folder));
    for (size_t i = 0; i < folder->classes.count; i++)
        TRY(list_class(folder, 0, folder->classes.names[i], i));
    if (folder->has_splits) TRY(find_test(folder));
    if (folder->test_name == NULL) return check_splits(folder);
    TRY(split_path(folder, 1, below));
    Status status = list_folders(folder, &classes, below);
    if (status == STATUS_OK) status = list_test(folder, below, &classes);
    name_list_free(&classes);
    return status;
}

void image_folder_close(ImageFolder *folder) {
    for (size_t i = 0; folder->files != NULL && i < IMAGE_FOLDER_SPLITS * folder->classes.count;
         i++)
        name_list_free(&folder->files[i]);
    memory_free(folder->files);
    name_list_free(&folder->classes);
    *folder = (ImageFolder){.path = NULL};
}

Status image_folder_path(const ImageFolder *folder, int split, int label, size_t index,
    char path[IMAGE_FOLDER_PATH_BYTES]) {
    char class_path[IMAGE_FOLDER_PATH_BYTES], top[IMAGE_FOLDER_PATH_BYTES];
    const NameList *files = &folder->files[(size_t)split * folder->classes.count + (size_t)label];
    REQUIRE(index < files->count);
    TRY(split_path(folder, split, top));
    TRY(join(class_path, top, folder->classes.names[label]));
    return join(path, class_path, files->names[index]);
}
