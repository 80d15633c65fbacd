/* hdf5_classes.c - see hdf5_classes.h. */
#include "io/hdf5_classes.h"
#include "src/memory.h"
#include <string.h>

enum { NAME_BYTES_MAX = 4096, COUNT_MAX = 1 << 16 };

static const char attribute_name[] = "classes";

/* `texts`: of `bytes` each, filled up with zeros or blanks. */
static Status add_names(NameList *names, const char *texts, hsize_t count, size_t bytes) {
    char name[NAME_BYTES_MAX + 1];
    for (hsize_t i = 0; i < count; i++, texts += bytes) {
        memcpy(name, texts, bytes);
        name[bytes] = '\0';
        for (size_t end = strlen(name); end > 0 && name[end - 1] == ' '; end--)
            name[end - 1] = '\0';
        TRY(name_list_add(names, name));
    }
    return STATUS_OK;
}

static Status read_names(
    const Hdf5File *file, hid_t attribute, hid_t type, hsize_t count, NameList *names) {
    char *texts = NULL;
    size_t bytes = H5Tget_size(type);
    if (bytes < 1 || bytes > NAME_BYTES_MAX || count > COUNT_MAX)
        return FAIL(STATUS_DATA, "%s: attribute %s: at most %d names of %d bytes expected",
            file->path, attribute_name, COUNT_MAX, NAME_BYTES_MAX);
    TRY(MEMORY_ALLOCATE(&texts, (size_t)count * bytes, "names of the classes"));
    Status status = STATUS_OK;
    if (hdf5_fault_is_due() || H5Aread(attribute, type, texts) < 0)
        status = hdf5_fail_read(file->path, "cannot read the names of its classes");
    if (status == STATUS_OK) status = add_names(names, texts, count, bytes);
    memory_free(texts);
    return status;
}

Status hdf5_classes_read(const Hdf5File *file, NameList *names) {
    hsize_t count = 0;
    htri_t is_there = H5Aexists(file->id, attribute_name);
    if (is_there == 0) return STATUS_OK;
    hid_t attribute = is_there < 0 ? -1 : H5Aopen(file->id, attribute_name, H5P_DEFAULT);
    if (attribute < 0) return hdf5_fail_read(file->path, "cannot open the names of its classes");
    hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    int is_list = type >= 0 && space >= 0 && H5Tget_class(type) == H5T_STRING &&
                  H5Tis_variable_str(type) == 0 && H5Sget_simple_extent_type(space) == H5S_SIMPLE &&
                  H5Sget_simple_extent_ndims(space) == 1 &&
                  H5Sget_simple_extent_dims(space, &count, NULL) == 1;
    Status status =
        is_list && count > 0 ? read_names(file, attribute, type, count, names) : STATUS_OK;
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    H5Aclose(attribute);
    return status;
}
