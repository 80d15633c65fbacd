/* hdf5_private.h - what writing and reading HDF5 files share. Only io/ sees HDF5. */
#ifndef IO_HDF5_PRIVATE_H
#define IO_HDF5_PRIVATE_H

#include "io/checkpoint.h"
#include <hdf5.h>

#define CHECKPOINT_FORMAT_NAME "lockstep-checkpoint"

/* Local. Make HDF5 silent, on the calling thread, and without plug-ins. */
void hdf5_prepare(void);

/* Local. One thread at a time calls HDF5, whose library need not be built for more: a function that
 * may meet another thread there begins with HDF5_SECTION and holds the library until it returns.
 * Sections nest. */
#define HDF5_SECTION __attribute__((cleanup(hdf5_leave), unused)) int hdf5_section_ = hdf5_enter()
int hdf5_enter(void);
void hdf5_leave(int *section);

/* Local. FAIL with `status`: "PATH: WHAT: " and HDF5's innermost explanation, or the system's.
 * Comes right after the call that failed: any other call of HDF5, closing too, makes it forget why.
 */
MUST_CHECK Status hdf5_fail(Status status, const char *path, const char *what);

/* Local. The same, for a read: STATUS_IO when the system refused it, else STATUS_DATA. */
MUST_CHECK Status hdf5_fail_read(const char *path, const char *what);

/* Local. status_fault_is_due for a read by HDF5, which then seems refused by the system. */
int hdf5_fault_is_due(void);

/* Local. Walk through all of a file: no storage outside it, no link but hard ones, no layout but
 * HDF5's plain ones and no filter but `filters`, ended by H5Z_FILTER_NONE. `hint` ends the message.
 * Fails with STATUS_DATA, naming file and object. */
MUST_CHECK Status hdf5_check_content(
    hid_t file, const char *path, const H5Z_filter_t *filters, const char *hint);

/* Local. A file access list: sequential driver, HDF5 1.10 format, no locks. Negative on failure. */
hid_t hdf5_file_access(void);

/* Local. A creation list of the given class with what makes equal files equal: no times, links in
 * order. Negative on failure. */
hid_t hdf5_creation_list(hid_t class, int has_links);

/* Local. The type of UTF-8 strings of fixed length, at least 1: unlike those of variable length
 * their bytes lie where HDF5 has a checksum. Negative on failure. */
hid_t hdf5_string_type(size_t bytes);

/* Local. The type of an array in the file, and its size in bytes. HDF5 owns the type. */
hid_t hdf5_file_type(CheckpointType type);
size_t hdf5_type_bytes(CheckpointType type);

/* Local. XXH3-64 over the array's bytes. */
uint64_t hdf5_array_checksum(const CheckpointArray *array);

#endif
