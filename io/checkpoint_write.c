/* checkpoint_write.c - write a checkpoint: HDF5 in memory, seal, write under a temporary name,
 * verify, rename. */
#include "io/file.h"
#include "io/hdf5_image.h"
#include "io/hdf5_private.h"
#include "io/seal.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { COMPACT_BYTES_MAX = 32768, CHUNK_BYTES = 1 << 20, GROUPS_MAX = 32 };

/* A file being written, and its groups, opened once. */
typedef struct Writer {
    const char *path;
    Hdf5Image *image;
    hid_t file;
    int group_count;
    const char *names[GROUPS_MAX]; /* [0] is "", the root */
    hid_t groups[GROUPS_MAX];
} Writer;

/* ---- the file and its groups ---- */

static Status open_writer(Writer *writer) {
    hid_t access = hdf5_image_access(writer->image),
          creation = hdf5_creation_list(H5P_FILE_CREATE, 1);
    if (access >= 0 && creation >= 0 && H5Pset_userblock(creation, SEAL_BYTES) >= 0 &&
        !status_fault_is_due())
        writer->file = H5Fcreate(writer->path, H5F_ACC_TRUNC, creation, access);
    Status status = STATUS_OK;
    if (writer->file < 0) status = hdf5_fail(STATUS_IO, writer->path, "cannot create");
    if (access >= 0) H5Pclose(access);
    if (creation >= 0) H5Pclose(creation);
    if (status != STATUS_OK) return status;
    writer->names[0] = "";
    writer->groups[0] = H5Gopen2(writer->file, "/", H5P_DEFAULT);
    writer->group_count = 1;
    return writer->groups[0] < 0 ? hdf5_fail(STATUS_IO, writer->path, "no root") : STATUS_OK;
}

/* Closing moves what HDF5 still holds into the image: it can fail like a write. */
static Status close_writer(Writer *writer, Status status) {
    int failed = 0;
    for (int i = 0; i < writer->group_count; i++)
        if (writer->groups[i] >= 0) failed |= H5Gclose(writer->groups[i]) < 0;
    if (writer->file >= 0) failed |= H5Fflush(writer->file, H5F_SCOPE_LOCAL) < 0;
    if (writer->file >= 0) failed |= H5Fclose(writer->file) < 0;
    if (status != STATUS_OK || !failed) return status;
    return hdf5_fail(STATUS_IO, writer->path, "cannot write");
}

/* The group of that path, created when it is first asked for; its parent has been asked for before.
 */
static Status find_group(Writer *writer, const char *name, hid_t *group) {
    for (int i = 0; i < writer->group_count; i++)
        if (strcmp(writer->names[i], name) == 0) {
            *group = writer->groups[i];
            return STATUS_OK;
        }
    REQUIRE(writer->group_count < GROUPS_MAX);
    hid_t creation = hdf5_creation_list(H5P_GROUP_CREATE, 1);
    *group = -1;
    if (creation >= 0) *group = H5Gcreate2(writer->file, name, H5P_DEFAULT, creation, H5P_DEFAULT);
    Status status = *group < 0 ? hdf5_fail(STATUS_IO, writer->path, name) : STATUS_OK;
    if (creation >= 0) H5Pclose(creation);
    if (status == STATUS_OK) {
        writer->names[writer->group_count] = name;
        writer->groups[writer->group_count++] = *group;
    }
    return status;
}

/* ---- attributes ---- */

static Status write_attribute(
    Writer *writer, hid_t object, const char *name, hid_t type, const void *value) {
    hid_t space = H5Screate(H5S_SCALAR), attribute = -1;
    if (space >= 0) attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    int failed = attribute < 0 || status_fault_is_due() || H5Awrite(attribute, type, value) < 0;
    Status status = failed ? hdf5_fail(STATUS_IO, writer->path, name) : STATUS_OK;
    if (attribute >= 0) H5Aclose(attribute);
    if (space >= 0) H5Sclose(space);
    return status;
}

static Status write_text(Writer *writer, hid_t object, const char *name, const char *text) {
    hid_t type = hdf5_string_type(strlen(text));
    if (type < 0) return hdf5_fail(STATUS_IO, writer->path, name);
    Status status = write_attribute(writer, object, name, type, text);
    H5Tclose(type);
    return status;
}

/* A boolean as h5py knows it: an enumeration of FALSE and TRUE. */
static Status write_true(Writer *writer, hid_t object, const char *name) {
    int8_t no = 0, yes = 1;
    hid_t type = H5Tenum_create(H5T_STD_I8LE);
    Status status = STATUS_OK;
    if (type < 0 || H5Tenum_insert(type, "FALSE", &no) < 0 ||
        H5Tenum_insert(type, "TRUE", &yes) < 0)
        status = hdf5_fail(STATUS_IO, writer->path, name);
    if (status == STATUS_OK) status = write_attribute(writer, object, name, type, &yes);
    if (type >= 0) H5Tclose(type);
    return status;
}

static Status write_attributes(Writer *writer, const CheckpointContent *content) {
    int64_t version = CHECKPOINT_FORMAT_VERSION;
    hid_t root = writer->groups[0];
    TRY(write_text(writer, root, "format", CHECKPOINT_FORMAT_NAME));
    TRY(write_attribute(writer, root, "format_version", H5T_STD_I64LE, &version));
    for (int i = 0; i < content->attribute_count; i++) {
        const CheckpointAttribute *attribute = &content->attributes[i];
        hid_t group = -1;
        TRY(find_group(writer, attribute->group, &group));
        if (attribute->text != NULL)
            TRY(write_text(writer, group, attribute->name, attribute->text));
        else
            TRY(write_attribute(
                writer, group, attribute->name, H5T_IEEE_F64LE, &attribute->number));
    }
    return STATUS_OK;
}

/* ---- datasets ---- */

/* Small arrays lie in the object header, which has a checksum; large ones in chunks of whole rows
 * of about a mebibyte, each with one. */
static Status choose_storage(hid_t creation, const CheckpointArray *array, hsize_t *sizes) {
    size_t bytes = shape_element_count(array->shape) * hdf5_type_bytes(array->type);
    int dimensions = array->shape.dimension_count;
    if (bytes <= COMPACT_BYTES_MAX)
        return H5Pset_layout(creation, H5D_COMPACT) < 0 ? STATUS_IO : STATUS_OK;
    hsize_t chunk[SHAPE_DIMENSIONS_MAX];
    size_t row_bytes = bytes / sizes[0];
    for (int d = 0; d < dimensions; d++) chunk[d] = sizes[d];
    chunk[0] = row_bytes >= CHUNK_BYTES ? 1 : CHUNK_BYTES / row_bytes;
    if (chunk[0] > sizes[0]) chunk[0] = sizes[0];
    return H5Pset_chunk(creation, dimensions, chunk) < 0 || H5Pset_fletcher32(creation) < 0 ||
                   H5Pset_fill_time(creation, H5D_FILL_TIME_IFSET) < 0
               ? STATUS_IO
               : STATUS_OK;
}

static hid_t array_space(const CheckpointArray *array, hsize_t *sizes) {
    int dimensions = array->shape.dimension_count;
    for (int d = 0; d < dimensions; d++) sizes[d] = (hsize_t)array->shape.size[d];
    return dimensions == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(dimensions, sizes, NULL);
}

static Status write_array(Writer *writer, const CheckpointArray *array) {
    hsize_t sizes[SHAPE_DIMENSIONS_MAX];
    hid_t group = -1, dataset = -1, type = hdf5_file_type(array->type);
    TRY(find_group(writer, array->group, &group));
    hid_t space = array_space(array, sizes), creation = hdf5_creation_list(H5P_DATASET_CREATE, 0);
    if (space >= 0 && creation >= 0 && choose_storage(creation, array, sizes) == STATUS_OK)
        dataset = H5Dcreate2(group, array->name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    int failed = dataset < 0 || status_fault_is_due() ||
                 H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, array->data) < 0;
    Status status = failed ? hdf5_fail(STATUS_IO, writer->path, array->name) : STATUS_OK;
    uint64_t checksum = hdf5_array_checksum(array);
    if (status == STATUS_OK)
        status = write_attribute(writer, dataset, "xxh3", H5T_STD_U64LE, &checksum);
    if (dataset >= 0 && H5Dclose(dataset) < 0 && status == STATUS_OK)
        status = hdf5_fail(STATUS_IO, writer->path, array->name);
    if (creation >= 0) H5Pclose(creation);
    if (space >= 0) H5Sclose(space);
    return status;
}

static Status write_config(Writer *writer, const char *text) {
    hid_t type = hdf5_string_type(strlen(text)), space = H5Screate(H5S_SCALAR), dataset = -1;
    hid_t creation = hdf5_creation_list(H5P_DATASET_CREATE, 0);
    if (type >= 0 && space >= 0 && creation >= 0 && H5Pset_layout(creation, H5D_CONTIGUOUS) >= 0)
        dataset =
            H5Dcreate2(writer->file, "config", type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    int failed = dataset < 0 || status_fault_is_due() ||
                 H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text) < 0;
    Status status = failed ? hdf5_fail(STATUS_IO, writer->path, "config") : STATUS_OK;
    if (dataset >= 0 && H5Dclose(dataset) < 0 && status == STATUS_OK)
        status = hdf5_fail(STATUS_IO, writer->path, "config");
    if (creation >= 0) H5Pclose(creation);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    return status;
}

/* `complete` comes last. */
static Status write_content(Writer *writer, const CheckpointContent *content) {
    TRY(open_writer(writer));
    TRY(write_attributes(writer, content));
    for (int i = 0; i < content->array_count; i++) TRY(write_array(writer, &content->arrays[i]));
    TRY(write_config(writer, content->config));
    return write_true(writer, writer->groups[0], "complete");
}

/* ---- the whole protocol ---- */

/* Room for the file: arrays, the last chunk of each, headers. */
static size_t expected_bytes(const CheckpointContent *content) {
    enum { HEADER_BYTES = 4096 };
    size_t bytes = CHUNK_BYTES + strlen(content->config);
    for (int i = 0; i < content->array_count; i++) {
        const CheckpointArray *array = &content->arrays[i];
        size_t array_bytes = shape_element_count(array->shape) * hdf5_type_bytes(array->type);
        bytes += array_bytes + (array_bytes > COMPACT_BYTES_MAX ? CHUNK_BYTES : HEADER_BYTES);
    }
    return bytes;
}

static Status build_image(const char *path, const CheckpointContent *content, Hdf5Image *image) {
    HDF5_SECTION;
    Writer writer = {.path = path, .image = image, .file = -1};
    TRY(close_writer(&writer, write_content(&writer, content)));
    seal_put(image->bytes, image->size_bytes, content->step);
    return STATUS_OK;
}

/* The seal was made from memory: checking it compares what is in the file with what was meant. */
static Status write_image(const char *path, const Hdf5Image *image) {
    int descriptor = -1;
    int64_t step = -1;
    TRY(file_create(&descriptor, path));
    Status status = file_write_at(descriptor, path, image->bytes, image->size_bytes, 0);
    if (status == STATUS_OK) status = file_sync(descriptor, path);
    file_close(descriptor);
    return status == STATUS_OK ? seal_check(path, &step) : status;
}

Status checkpoint_write(const char *folder, const char *name, const CheckpointContent *content) {
    char temporary[256], path[CHECKPOINT_PATH_BYTES];
    Hdf5Image image;
    hdf5_prepare();
    snprintf(temporary, sizeof temporary, ".%.200s.tmp.%ld", name, (long)getpid());
    int length = snprintf(path, sizeof path, "%s/%s", folder, temporary);
    if (length >= CHECKPOINT_PATH_BYTES)
        return FAIL(STATUS_CREATE, "%.100s...: the path is too long", folder);
    unlink(path); /* of an earlier process of our number */
    TRY(hdf5_image_create(&image, expected_bytes(content)));
    Status status = build_image(path, content, &image);
    if (status == STATUS_OK) status = write_image(path, &image);
    if (status == STATUS_OK) status = file_rename(folder, temporary, name);
    if (status != STATUS_OK) unlink(path);
    hdf5_image_free(&image);
    return status;
}
