/* hdf5_classes.c - see hdf5_classes.h. */
#include "io/hdf5_classes.h"
#include "io/hdf5_heap.h"
#include "src/memory.h"
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES_MAX = 4096, COUNT_MAX = 1 << 16 };

static const char attribute_name[] = "classes";

/* The attribute, opened. */
typedef struct Texts {
    const Hdf5File *file;
    char where[HDF5_WHERE_BYTES]; /* "FILE: attribute classes": begins messages */
    hid_t attribute, type, space;
    hsize_t count;
} Texts;

static Status fail_size(const Texts *texts) {
    return FAIL(STATUS_DATA, "%s: at most %d names of %d bytes expected", texts->where, COUNT_MAX,
        NAME_BYTES_MAX);
}

static Status read_attribute(const Texts *texts, void *out) {
    if (!hdf5_fault_is_due() && H5Aread(texts->attribute, texts->type, out) >= 0) return STATUS_OK;
    return hdf5_fail_read(texts->where, "cannot read it");
}

/* `text`: `bytes` long, or ended by a zero or blanks before. */
static Status add_name(NameList *names, const char *text, size_t bytes) {
    char name[NAME_BYTES_MAX + 1];
    size_t length = strnlen(text, bytes);
    while (length > 0 && text[length - 1] == ' ') length--;
    memcpy(name, text, length);
    name[length] = '\0';
    return name_list_add(names, name);
}

/* ---- texts of fixed length ---- */

static Status read_fixed(const Texts *texts, NameList *names) {
    char *all = NULL;
    size_t bytes = H5Tget_size(texts->type);
    if (bytes < 1 || bytes > NAME_BYTES_MAX) return fail_size(texts);
    TRY(MEMORY_ALLOCATE(&all, (size_t)texts->count * bytes, "names of the classes"));
    Status status = read_attribute(texts, all);
    for (hsize_t i = 0; i < texts->count && status == STATUS_OK; i++)
        status = add_name(names, all + i * bytes, bytes);
    memory_free(all);
    return status;
}

/* ---- texts of variable length ---- */

static Status add_variable(const Texts *texts, Hdf5Heap *heap, NameList *names) {
    for (size_t i = 0; i < texts->count; i++) {
        const char *text = NULL;
        size_t bytes = 0;
        TRY(hdf5_heap_find(heap, i, NAME_BYTES_MAX, &text, &bytes));
        TRY(add_name(names, text, bytes));
    }
    return STATUS_OK;
}

static Status read_variable(const Texts *texts, NameList *names) {
    Hdf5Heap heap;
    Status status = hdf5_heap_open(
        &heap, texts->file, texts->where, texts->attribute, texts->type, (size_t)texts->count);
    if (status == STATUS_OK) status = add_variable(texts, &heap, names);
    hdf5_heap_close(&heap);
    return status;
}

/* ---- which of them ---- */

static int is_list(Texts *texts) {
    return texts->type >= 0 && texts->space >= 0 && H5Tget_class(texts->type) == H5T_STRING &&
           H5Sget_simple_extent_type(texts->space) == H5S_SIMPLE &&
           H5Sget_simple_extent_ndims(texts->space) == 1 &&
           H5Sget_simple_extent_dims(texts->space, &texts->count, NULL) == 1;
}

static Status read_names(Texts *texts, NameList *names) {
    if (!is_list(texts) || texts->count == 0) return STATUS_OK;
    if (texts->count > COUNT_MAX) return fail_size(texts);
    return H5Tis_variable_str(texts->type) > 0 ? read_variable(texts, names)
                                               : read_fixed(texts, names);
}

Status hdf5_classes_read(const Hdf5File *file, NameList *names) {
    htri_t is_there = H5Aexists(file->id, attribute_name);
    if (is_there == 0) return STATUS_OK;
    hid_t attribute = is_there < 0 ? -1 : H5Aopen(file->id, attribute_name, H5P_DEFAULT);
    if (attribute < 0) return hdf5_fail_read(file->path, "cannot open the names of its classes");
    Texts texts = {.file = file,
        .attribute = attribute,
        .type = H5Aget_type(attribute),
        .space = H5Aget_space(attribute)};
    snprintf(texts.where, sizeof texts.where, "%s: attribute %s", file->path, attribute_name);
    Status status = read_names(&texts, names);
    if (texts.type >= 0) H5Tclose(texts.type);
    if (texts.space >= 0) H5Sclose(texts.space);
    H5Aclose(attribute);
    return status;
}
