/* npy_file.h - one NumPy array file (.npy), read front to back.
 *
 * Format (NEP 1; versions 1 to 3): "\x93NUMPY", major and minor version, the header's length as 16
 * bits (version 1) or 32 bits, little-endian, the header: a Python dictionary of descr,
 * fortran_order and shape, padded with blanks and ended by a newline; then the elements. */
#ifndef IO_NPY_FILE_H
#define IO_NPY_FILE_H

#include "io/array_set.h"
#include "io/byte_file.h"

typedef struct NpyFile {
    ByteFile bytes;
    ArrayForm form;
    int is_swapped;       /* in the other byte order than this machine */
    int64_t header_bytes; /* all before the first element */
} NpyFile;

/* Local. Open `folder`/`name`, or that with .gz, and read its header; file->bytes.stream is NULL
 * where there is no such file, which is no failure. The header is parsed strictly: the three keys,
 * once each, and nothing else; up to 8 dimensions; the elements it promises are what the file
 * holds. The caller closes with npy_close unless it fails. Fails with STATUS_DATA, naming file,
 * byte, expected and found, STATUS_IO. */
MUST_CHECK Status npy_open(NpyFile *file, const char *folder, const char *name);

/* Local. Read the next `count` elements, in this machine's byte order, form.item_bytes each. */
MUST_CHECK Status npy_read(NpyFile *file, void *items, int64_t count);

/* Local. Check that nothing is left. */
MUST_CHECK Status npy_finish(NpyFile *file);

/* Local. */
void npy_close(NpyFile *file);

#endif
