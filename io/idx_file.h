/* idx_file.h - one IDX file of bytes, plain or gzip, read front to back.
 *
 * IDX (LeCun, Cortes, Burges, "The MNIST database of handwritten digits"): bytes 0 0, element type
 * (8: unsigned byte), dimension count; then each size as 32-bit big-endian; then the elements. */
#ifndef IO_IDX_FILE_H
#define IO_IDX_FILE_H

#include "io/byte_file.h"

enum { IDX_DIMENSIONS_MAX = 3, IDX_SIDE_MAX = 4096 };

typedef struct IdxFile {
    ByteFile bytes;
    int dimension_count; /* 3: images, 1: labels */
    int64_t size[IDX_DIMENSIONS_MAX];
} IdxFile;

/* Local. Find `folder`/`stem`-idxN-ubyte (or .idxN-ubyte; each plain, then .gz), open it and check
 * its header; N = dimension_count. What the header promises is then at most what the file can hold:
 * for a plain file exactly that, for a gzip file what deflate can make of so many bytes. The caller
 * closes with idx_close unless it fails.
 * Fails with STATUS_MISSING, naming folder and names; STATUS_DATA, naming file, byte, expected and
 * found; STATUS_IO; STATUS_CONFIG (path too long). */
MUST_CHECK Status idx_open(
    IdxFile *file, const char *folder, const char *stem, int dimension_count);

/* Local. Read the next `bytes` bytes. Fails with STATUS_DATA when the file ends before (naming
 * where, and how long it should be) or its gzip stream is damaged, STATUS_IO. */
MUST_CHECK Status idx_read(IdxFile *file, void *data, int64_t bytes);

/* Local. Check that nothing is left, which also has zlib compare the stream's checksum. */
MUST_CHECK Status idx_finish(IdxFile *file);

/* Local. */
void idx_close(IdxFile *file);

/* Local. Bytes that the header promises, header included. */
int64_t idx_content_bytes(const IdxFile *file);

#endif
