/* hdf5_array.h - one array of an HDF5 data file, opened and checked, read in ranges of rows. The
 * caller holds an HDF5_SECTION around every call. */
#ifndef IO_HDF5_ARRAY_H
#define IO_HDF5_ARRAY_H

#include "io/hdf5_chunk.h"
#include "io/hdf5_names.h"

/* An HDF5 file of data, open for reading. */
typedef struct Hdf5File {
    hid_t id; /* negative: not open */
    char path[CHECKPOINT_PATH_BYTES];
    int64_t bytes; /* its length, and when it was written, as it was opened */
    int64_t seconds, nanoseconds;
} Hdf5File;

typedef struct Hdf5Array {
    hid_t id;                     /* negative: not open */
    char where[HDF5_WHERE_BYTES]; /* "FILE: /train/images": begins messages */
    ArrayForm form;
    Hdf5Chunks *chunks; /* NULL: nothing is packed */
    double row_bytes;   /* that are read for any one row, where not all are kept; else 0 */
} Hdf5Array;

/* Local. Open `path` for reading without locks, and check what is in it (hdf5_check_content; the
 * filters deflate, shuffle and fletcher32 are allowed). The caller closes with hdf5_file_close,
 * also after a failure. Fails with STATUS_MISSING, STATUS_DATA, STATUS_IO. */
MUST_CHECK Status hdf5_file_open(Hdf5File *file, const char *path);
void hdf5_file_close(Hdf5File *file);

/* Local. Check that the file on the disk is as it was when it was opened: HDF5 itself reads zeros
 * where a file has been cut. Fails with STATUS_DATA, STATUS_IO. */
MUST_CHECK Status hdf5_file_check_unchanged(const Hdf5File *file);

/* Local. Open the one array that `names` fit, and check that all of it is stored: what its shape
 * promises is what the file holds, or what deflate can make of it. The caller closes with
 * hdf5_array_close, also after a failure. Fails with STATUS_MISSING (no such name), STATUS_DATA,
 * STATUS_IO. */
MUST_CHECK Status hdf5_array_open(Hdf5Array *array, const Hdf5File *file, const Hdf5Names *names);
void hdf5_array_close(Hdf5Array *array);

/* Local. Read rows [first, first + count) of the first dimension as items of `memory_type`. Fails
 * with STATUS_IO, STATUS_DATA, STATUS_NO_MEMORY. */
MUST_CHECK Status hdf5_array_read(
    const Hdf5Array *array, int64_t first, int64_t count, hid_t memory_type, void *items);

#endif
