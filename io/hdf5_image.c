/* hdf5_image.c - see hdf5_image.h. HDF5's core driver keeps a file in memory and asks callbacks for
 * that memory, so that it is ours: also after the file is closed. */
#include "io/hdf5_image.h"
#include "io/hdf5_private.h"
#include "src/memory.h"
#include <string.h>

Status hdf5_image_create(Hdf5Image *image, size_t expected_bytes) {
    *image = (Hdf5Image){.capacity_bytes = expected_bytes};
    return memory_allocate((void **)&image->bytes, expected_bytes, 1, "image of a checkpoint");
}

void hdf5_image_free(Hdf5Image *image) {
    memory_free(image->bytes);
    *image = (Hdf5Image){.bytes = NULL};
}

/* ---- the callbacks ---- */

/* The driver's granularity is one byte, so the last size it asks for is the file's. */
static void *resize(void *old, size_t bytes, H5FD_file_image_op_t purpose, void *context) {
    Hdf5Image *image = context;
    (void)old; /* NULL at first, image->bytes from then on */
    (void)purpose;
    if (bytes > image->capacity_bytes) {
        char *more = NULL;
        size_t capacity = bytes + bytes / 2;
        if (memory_allocate((void **)&more, capacity, 1, "image of a checkpoint") != STATUS_OK)
            return NULL;
        memcpy(more, image->bytes, image->size_bytes);
        memory_free(image->bytes);
        image->bytes = more;
        image->capacity_bytes = capacity;
    }
    image->size_bytes = bytes;
    return image->bytes;
}

static void *allocate(size_t bytes, H5FD_file_image_op_t purpose, void *context) {
    return resize(NULL, bytes, purpose, context);
}

static void *copy(
    void *to, const void *from, size_t bytes, H5FD_file_image_op_t purpose, void *context) {
    (void)purpose;
    (void)context;
    return memcpy(to, from, bytes);
}

static herr_t keep(void *bytes, H5FD_file_image_op_t purpose, void *context) {
    (void)bytes;
    (void)purpose;
    (void)context;
    return 0;
}

static void *copy_context(void *context) {
    return context;
}

static herr_t free_context(void *context) {
    (void)context;
    return 0;
}

hid_t hdf5_image_access(Hdf5Image *image) {
    H5FD_file_image_callbacks_t callbacks = {.image_malloc = allocate,
        .image_memcpy = copy,
        .image_realloc = resize,
        .image_free = keep,
        .udata_copy = copy_context,
        .udata_free = free_context,
        .udata = image};
    hid_t access = hdf5_file_access();
    if (access < 0) return access;
    if (H5Pset_fapl_core(access, 1, 0) < 0 || H5Pset_file_image_callbacks(access, &callbacks) < 0) {
        H5Pclose(access);
        return -1;
    }
    return access;
}
