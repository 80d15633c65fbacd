/* dataset_file.c - see dataset_file.h. Only a chunk of images and a split's labels are in memory.
 */
#include "io/dataset_file.h"
#include "io/file.h"
#include "io/hdf5_private.h"
#include "src/memory.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK_BYTES = 1 << 15, PATH_BYTES = 4096, NAME_BYTES = 256 };

struct DatasetFile {
    char folder[PATH_BYTES], name[NAME_BYTES], temporary[NAME_BYTES], path[PATH_BYTES + NAME_BYTES];
    int gzip_level;
    int exists; /* the temporary does */
    hid_t file;
    /* of the present split */
    hid_t group, images;
    DatasetFileSplit split;
    size_t sample_bytes;
    int64_t done, chunk_count;
    char *chunk;     /* [chunk_count][c][h][w] */
    int32_t *labels; /* [split.count] */
};

/* ---- names ---- */

static Status split_name(DatasetFile *file, const char *path) {
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    size_t folder_bytes = slash == NULL ? 0 : (size_t)(slash - path) + (slash == path);
    if (folder_bytes >= PATH_BYTES || strlen(name) + 24 > NAME_BYTES || name[0] == '\0')
        return FAIL(STATUS_CREATE, "%.200s: is no name for a file", path);
    snprintf(file->folder, PATH_BYTES, "%.*s", folder_bytes == 0 ? 1 : (int)folder_bytes,
        folder_bytes == 0 ? "." : path);
    snprintf(file->name, NAME_BYTES, "%s", name);
    snprintf(file->temporary, NAME_BYTES, ".%.*s.tmp.%ld", NAME_BYTES - 24, name, (long)getpid());
    snprintf(file->path, sizeof file->path, "%s/%s", file->folder, file->temporary);
    return STATUS_OK;
}

/* Before any work: what the last step, the renaming, could not do or should not. */
static Status check_target(const DatasetFile *file, const char *path) {
    struct stat found;
    if (lstat(path, &found) == 0 && !S_ISREG(found.st_mode) &&
        (!S_ISLNK(found.st_mode) || (stat(path, &found) == 0 && !S_ISREG(found.st_mode))))
        return FAIL(STATUS_CREATE, "%s: is %s: a file's name is wanted", path,
            S_ISDIR(found.st_mode) ? "a folder" : "no regular file");
    if (access(file->folder, W_OK | X_OK) == 0) return STATUS_OK;
    return FAIL(STATUS_CREATE, "%s: cannot create: %s", path, strerror(errno));
}

static char unfinished[PATH_BYTES + NAME_BYTES]; /* the temporary that a signal leaves behind */

static void remove_unfinished(int number) {
    unlink(unfinished);
    signal(number, SIG_DFL);
    raise(number);
}

/* A signal that is ignored stays so. */
static void listen_to_signals(const DatasetFile *file) {
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM};
    struct sigaction action = {.sa_handler = remove_unfinished}, before;
    sigemptyset(&action.sa_mask);
    memcpy(unfinished, file->path, sizeof unfinished);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
}

/* HDF5 says too little of a folder that is not there, so the file is made without it. */
static Status make_temporary(DatasetFile *file) {
    int descriptor = -1;
    unlink(file->path); /* of an earlier process of our number */
    TRY(file_create(&descriptor, file->path));
    file->exists = 1;
    file_close(descriptor);
    return STATUS_OK;
}

Status dataset_file_create(DatasetFile **file, const char *path, int gzip_level) {
    TRY(MEMORY_ALLOCATE(file, 1, "HDF5 file"));
    DatasetFile *self = *file;
    self->gzip_level = gzip_level;
    self->file = self->group = self->images = -1;
    TRY(split_name(self, path));
    TRY(check_target(self, path));
    listen_to_signals(self);
    TRY(make_temporary(self));
    hdf5_prepare();
    hid_t access = hdf5_file_access(), creation = hdf5_creation_list(H5P_FILE_CREATE, 1);
    if (access >= 0 && creation >= 0 && !status_fault_is_due())
        self->file = H5Fcreate(self->path, H5F_ACC_TRUNC, creation, access);
    Status status = self->file < 0 ? hdf5_fail(STATUS_IO, self->path, "cannot create") : STATUS_OK;
    if (access >= 0) H5Pclose(access);
    if (creation >= 0) H5Pclose(creation);
    return status;
}

void dataset_file_free(DatasetFile *file) {
    if (file == NULL) return;
    if (file->exists) unlink(file->path);
    memory_free(file->chunk);
    memory_free(file->labels);
    memory_free(file);
}

/* ---- splits ---- */

/* A list for datasets of chunks with this many rows. */
static hid_t chunked_list(const DatasetFile *file, int rank, const hsize_t *chunk) {
    hid_t list = hdf5_creation_list(H5P_DATASET_CREATE, 0);
    if (list < 0) return list;
    if (H5Pset_chunk(list, rank, chunk) < 0 ||
        (file->gzip_level > 0 && H5Pset_deflate(list, (unsigned)file->gzip_level) < 0) ||
        H5Pset_fletcher32(list) < 0) {
        H5Pclose(list);
        return -1;
    }
    return list;
}

/* Dimensions of `rows` samples, or labels. */
static int dimensions(const DatasetFile *file, int is_images, int64_t rows, hsize_t sizes[4]) {
    sizes[0] = (hsize_t)rows;
    for (int i = 0; i < 3; i++) sizes[1 + i] = (hsize_t)file->split.sample.size[i];
    return is_images ? 4 : 1;
}

/* The types of the file; in memory images are the same and labels int32_t. */
static hid_t type_of(const DatasetFile *file, int is_images) {
    enum { BYTE_CLASSES_MAX = 256 };
    if (is_images) return file->split.element_bytes == 1 ? H5T_STD_U8LE : H5T_IEEE_F32LE;
    return file->split.class_count <= BYTE_CLASSES_MAX ? H5T_STD_U8LE : H5T_STD_I32LE;
}

static Status create_dataset(
    const DatasetFile *file, const char *name, int is_images, int64_t chunk_rows, hid_t *dataset) {
    hsize_t sizes[4], chunk[4];
    int rank = dimensions(file, is_images, file->split.count, sizes);
    dimensions(file, is_images, chunk_rows, chunk);
    hid_t space = H5Screate_simple(rank, sizes, NULL), list = chunked_list(file, rank, chunk);
    *dataset = -1;
    if (space >= 0 && list >= 0)
        *dataset = H5Dcreate2(
            file->group, name, type_of(file, is_images), space, H5P_DEFAULT, list, H5P_DEFAULT);
    Status status = *dataset < 0 ? hdf5_fail(STATUS_IO, file->path, name) : STATUS_OK;
    if (space >= 0) H5Sclose(space);
    if (list >= 0) H5Pclose(list);
    return status;
}

Status dataset_file_begin(DatasetFile *file, const DatasetFileSplit *split) {
    REQUIRE(split->sample.dimension_count == 3 && split->count > 0 && file->group < 0);
    int64_t count = split->count;
    file->split = *split;
    file->sample_bytes = shape_element_count(split->sample) * split->element_bytes;
    file->done = 0;
    file->chunk_count = CHUNK_BYTES / (int64_t)file->sample_bytes;
    if (file->chunk_count < 1) file->chunk_count = 1;
    if (file->chunk_count > count) file->chunk_count = count;
    TRY(MEMORY_ALLOCATE(
        &file->chunk, (size_t)file->chunk_count * file->sample_bytes, "chunk of images"));
    TRY(MEMORY_ALLOCATE(&file->labels, (size_t)count, "labels"));
    hid_t creation = hdf5_creation_list(H5P_GROUP_CREATE, 1);
    if (creation >= 0 && !status_fault_is_due())
        file->group = H5Gcreate2(file->file, split->name, H5P_DEFAULT, creation, H5P_DEFAULT);
    if (creation >= 0) H5Pclose(creation);
    if (file->group < 0) return hdf5_fail(STATUS_IO, file->path, split->name);
    return create_dataset(file, "images", 1, file->chunk_count, &file->images);
}

/* The last `rows` samples, which lie in the chunk. */
static Status write_chunk(DatasetFile *file, int64_t rows) {
    hsize_t begin[4] = {(hsize_t)(file->done - rows)}, sizes[4];
    int rank = dimensions(file, 1, rows, sizes);
    hid_t memory = H5Screate_simple(rank, sizes, NULL), space = H5Dget_space(file->images);
    int failed =
        memory < 0 || space < 0 || status_fault_is_due() ||
        H5Sselect_hyperslab(space, H5S_SELECT_SET, begin, NULL, sizes, NULL) < 0 ||
        H5Dwrite(file->images, type_of(file, 1), memory, space, H5P_DEFAULT, file->chunk) < 0;
    Status status = failed ? hdf5_fail(STATUS_IO, file->path, "cannot write images") : STATUS_OK;
    if (memory >= 0) H5Sclose(memory);
    if (space >= 0) H5Sclose(space);
    return status;
}

static Status write_labels(DatasetFile *file) {
    hid_t labels = -1;
    int64_t count = file->split.count, chunk_rows = count < CHUNK_BYTES ? count : CHUNK_BYTES;
    TRY(create_dataset(file, "labels", 0, chunk_rows, &labels));
    int failed = status_fault_is_due() || H5Dwrite(labels, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL,
                                              H5P_DEFAULT, file->labels) < 0;
    if (failed || H5Dclose(labels) < 0)
        return hdf5_fail(STATUS_IO, file->path, "cannot write labels");
    return STATUS_OK;
}

static Status end_split(DatasetFile *file) {
    TRY(write_labels(file));
    if (H5Dclose(file->images) < 0 || H5Gclose(file->group) < 0)
        return hdf5_fail(STATUS_IO, file->path, "cannot write");
    file->group = file->images = -1;
    memory_free(file->chunk);
    memory_free(file->labels);
    file->chunk = NULL;
    file->labels = NULL;
    return STATUS_OK;
}

Status dataset_file_add(DatasetFile *file, const void *image, int32_t label) {
    REQUIRE(file->group >= 0 && file->done < file->split.count);
    size_t place = (size_t)(file->done % file->chunk_count);
    memcpy(file->chunk + place * file->sample_bytes, image, file->sample_bytes);
    file->labels[file->done++] = label;
    if (place + 1 == (size_t)file->chunk_count || file->done == file->split.count)
        TRY(write_chunk(file, (int64_t)place + 1));
    return file->done == file->split.count ? end_split(file) : STATUS_OK;
}

/* ---- the end ---- */

/* A list of texts, each with room for the longest. */
static Status write_classes(DatasetFile *file, char *const *names, size_t count) {
    size_t longest = 1;
    char *texts = NULL;
    for (size_t i = 0; i < count; i++)
        if (strlen(names[i]) > longest) longest = strlen(names[i]);
    TRY(MEMORY_ALLOCATE(&texts, count * longest, "names of the classes"));
    for (size_t i = 0; i < count; i++) memcpy(texts + i * longest, names[i], strlen(names[i]));
    hsize_t size = count;
    hid_t type = hdf5_string_type(longest), space = H5Screate_simple(1, &size, NULL), list = -1;
    if (type >= 0 && space >= 0)
        list = H5Acreate2(file->file, "classes", type, space, H5P_DEFAULT, H5P_DEFAULT);
    int failed = list < 0 || status_fault_is_due() || H5Awrite(list, type, texts) < 0;
    Status status = failed ? hdf5_fail(STATUS_IO, file->path, "classes") : STATUS_OK;
    if (list >= 0) H5Aclose(list);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    memory_free(texts);
    return status;
}

static Status bring_to_disk(const DatasetFile *file) {
    int descriptor = -1;
    int64_t bytes = 0;
    TRY(file_open_to_read(&descriptor, &bytes, file->path));
    Status status = file_sync(descriptor, file->path);
    file_close(descriptor);
    return status;
}

Status dataset_file_finish(DatasetFile *file, char *const *class_names, size_t class_count) {
    REQUIRE(file->group < 0);
    if (class_count > 0) TRY(write_classes(file, class_names, class_count));
    if (status_fault_is_due() || H5Fflush(file->file, H5F_SCOPE_LOCAL) < 0 ||
        H5Fclose(file->file) < 0)
        return hdf5_fail(STATUS_IO, file->path, "cannot write");
    TRY(bring_to_disk(file));
    TRY(file_rename(file->folder, file->temporary, file->name));
    file->exists = 0;
    return STATUS_OK;
}
