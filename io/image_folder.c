/* image_folder.c - see image_folder.h. */
#include "io/image_folder.h"
#include "src/memory.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static const char train_name[] = "train";

/* The first that is there is the test split. */
static const char *const test_names[] = {"test", "val", "valid", "validation"};

/* ---- names ---- */

static Status add_name(NameList *list, const char *name) {
    if (list->count == list->capacity) {
        char **more = NULL;
        size_t capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
        TRY(MEMORY_ALLOCATE(&more, capacity, "names of a folder"));
        for (size_t i = 0; i < list->count; i++) more[i] = list->names[i];
        memory_free(list->names);
        list->names = more;
        list->capacity = capacity;
    }
    TRY(memory_copy_string(&list->names[list->count], name));
    list->count++;
    return STATUS_OK;
}

static void free_names(NameList *list) {
    for (size_t i = 0; i < list->count; i++) memory_free(list->names[i]);
    memory_free(list->names);
    *list = (NameList){.names = NULL};
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int is_folder(const char *path) {
    struct stat found;
    return stat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

static int is_image(const char *path) {
    static const char *const endings[] = {".jpg", ".jpeg", ".png"};
    const char *ending = strrchr(path, '.');
    for (size_t i = 0; ending != NULL && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(ending, endings[i]) == 0) return !is_folder(path);
    return 0;
}

static Status join(char out[IMAGE_FOLDER_PATH_BYTES], const char *folder, const char *name) {
    int length = snprintf(out, IMAGE_FOLDER_PATH_BYTES, "%s/%s", folder, name);
    if (length < IMAGE_FOLDER_PATH_BYTES) return STATUS_OK;
    return FAIL(STATUS_DATA, "%.100s...: the path is too long", folder);
}

/* What `accepts` takes of the entries of an open folder. */
static Status read_entries(
    NameList *list, DIR *stream, const char *path, int (*accepts)(const char *)) {
    for (;;) {
        char entry_path[IMAGE_FOLDER_PATH_BYTES];
        errno = status_fault_is_due() ? EIO : 0;
        const struct dirent *entry = errno == 0 ? readdir(stream) : NULL;
        if (entry == NULL && errno != 0)
            return FAIL(STATUS_IO, "%s: cannot read the folder: %s", path, strerror(errno));
        if (entry == NULL) break;
        if (entry->d_name[0] == '.') continue;
        TRY(join(entry_path, path, entry->d_name));
        if (accepts(entry_path)) TRY(add_name(list, entry->d_name));
    }
    if (list->count > 0) qsort(list->names, list->count, sizeof *list->names, compare_names);
    return STATUS_OK;
}

static Status list_names(NameList *list, const char *path, int (*accepts)(const char *)) {
    DIR *stream = opendir(path);
    if (stream == NULL)
        return FAIL(errno == ENOENT || errno == ENOTDIR ? STATUS_MISSING : STATUS_IO,
            "%s: cannot open the folder: %s", path, strerror(errno));
    Status status = read_entries(list, stream, path, accepts);
    closedir(stream);
    return status;
}

/* ---- the set ---- */

static Status split_path(const ImageFolder *folder, int split, char path[IMAGE_FOLDER_PATH_BYTES]) {
    if (folder->has_splits)
        return join(path, folder->path, split == 0 ? train_name : folder->test_name);
    return join(path, folder->path, ".");
}

static Status list_classes(ImageFolder *folder) {
    char path[IMAGE_FOLDER_PATH_BYTES];
    TRY(split_path(folder, 0, path));
    TRY(list_names(&folder->classes, path, is_folder));
    if (folder->classes.count == 0)
        return FAIL(STATUS_MISSING, "%s: holds no folders, one for each class", path);
    if (folder->classes.count > IMAGE_FOLDER_CLASSES_MAX)
        return FAIL(STATUS_DATA, "%s: holds %zu classes; at most %d", path, folder->classes.count,
            IMAGE_FOLDER_CLASSES_MAX);
    return MEMORY_ALLOCATE(
        &folder->files, IMAGE_FOLDER_SPLITS * folder->classes.count, "files of the classes");
}

/* The images of one class. */
static Status list_class(ImageFolder *folder, int split, const char *name, size_t label) {
    char path[IMAGE_FOLDER_PATH_BYTES], class_path[IMAGE_FOLDER_PATH_BYTES];
    NameList *files = &folder->files[(size_t)split * folder->classes.count + label];
    TRY(split_path(folder, split, path));
    TRY(join(class_path, path, name));
    TRY(list_names(files, class_path, is_image));
    folder->count[split] += (int64_t)files->count;
    if (files->count > 0) return STATUS_OK;
    return FAIL(STATUS_DATA, "%s: holds no image (.jpg, .jpeg or .png)", class_path);
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

static Status find_test(ImageFolder *folder) {
    char below[IMAGE_FOLDER_PATH_BYTES];
    for (size_t i = 0; i < sizeof test_names / sizeof *test_names; i++) {
        TRY(join(below, folder->path, test_names[i]));
        if (!is_folder(below)) continue;
        if (folder->test_name == NULL)
            folder->test_name = test_names[i];
        else
            TRY(add_name(&folder->unused, test_names[i]));
    }
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
    if (folder->test_name == NULL) return STATUS_OK;
    TRY(split_path(folder, 1, below));
    Status status = list_names(&classes, below, is_folder);
    if (status == STATUS_OK) status = list_test(folder, below, &classes);
    free_names(&classes);
    return status;
}

void image_folder_close(ImageFolder *folder) {
    for (size_t i = 0; folder->files != NULL && i < IMAGE_FOLDER_SPLITS * folder->classes.count;
         i++)
        free_names(&folder->files[i]);
    memory_free(folder->files);
    free_names(&folder->classes);
    free_names(&folder->unused);
    *folder = (ImageFolder){.path = NULL};
}

Status image_folder_path(const ImageFolder *folder, int split, int label, size_t index,
    char path[IMAGE_FOLDER_PATH_BYTES]) {
    char class_path[IMAGE_FOLDER_PATH_BYTES], top[IMAGE_FOLDER_PATH_BYTES];
    const NameList *files = &folder->files[(size_t)split * folder->classes.count + (size_t)label];
    REQUIRE(index < files->count);
    snprintf(top, sizeof top, "%s", folder->path);
    if (folder->has_splits) TRY(split_path(folder, split, top));
    TRY(join(class_path, top, folder->classes.names[label]));
    return join(path, class_path, files->names[index]);
}
