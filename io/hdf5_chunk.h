/* hdf5_chunk.h - packed chunks of an HDF5 dataset, looked at before HDF5 unpacks them.
 *
 * HDF5 (1.10.8, and later ones) believes that a chunk unpacks to its full length. It reads past the
 * end of one that does not, and so takes whatever lies there in memory for data; it crashes at one
 * that is shorter than its own checksum; and it makes room for all that gzip unpacks to. */
#ifndef IO_HDF5_CHUNK_H
#define IO_HDF5_CHUNK_H

#include "io/array_set.h"
#include "io/hdf5_private.h"

enum { HDF5_WHERE_BYTES = 4608 };

/* Which chunks of one dataset were looked at. */
typedef struct Hdf5Chunks Hdf5Chunks;

/* Local. For a chunked dataset, which must live longer, of `shape` and items of `item_bytes`, whose
 * chunks have its dimensions, in a file of `file_bytes`; *chunks is NULL where nothing is packed.
 * `where` begins messages. The caller frees with hdf5_chunks_free. Fails with STATUS_DATA,
 * STATUS_IO, STATUS_NO_MEMORY. */
MUST_CHECK Status hdf5_chunks_create(Hdf5Chunks **chunks, hid_t dataset, const ArrayShape *shape,
    int item_bytes, int64_t file_bytes, const char *where);
void hdf5_chunks_free(Hdf5Chunks *chunks);

/* Local. Look at the chunks that hold rows [first, first + count) of the first dimension, each the
 * first time it is asked for: it must unpack to its full length, no less and no more. Fails with
 * STATUS_DATA, STATUS_IO, STATUS_NO_MEMORY. */
MUST_CHECK Status hdf5_chunks_check(
    Hdf5Chunks *chunks, int64_t first, int64_t count, const char *where);

#endif
