/* hdf5_image.h - an HDF5 file that is built in memory.
 *
 * HDF5 cannot close a file whose last write failed: it keeps it half open, and crashes when the
 * next file is opened or the program ends. So HDF5 only ever writes to memory, and what may fail,
 * bringing the bytes to a disk, is done by file.h. */
#ifndef IO_HDF5_IMAGE_H
#define IO_HDF5_IMAGE_H

#include "src/status.h"
#include <hdf5.h>

/* A file's bytes. Whole once HDF5 has closed it. */
typedef struct Hdf5Image {
    char *bytes;
    size_t size_bytes, capacity_bytes;
} Hdf5Image;

/* Local. Start an empty image with room for `expected_bytes`; it grows beyond them. The caller
 * frees with hdf5_image_free. Fails with STATUS_NO_MEMORY. */
MUST_CHECK Status hdf5_image_create(Hdf5Image *image, size_t expected_bytes);
void hdf5_image_free(Hdf5Image *image);

/* Local. A file access list that lets H5Fcreate build `image`. Negative on failure. The image must
 * live until the file is closed. */
hid_t hdf5_image_access(Hdf5Image *image);

#endif
