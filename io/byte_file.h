/* byte_file.h - one file, plain or gzip, read front to back: what the formats of bytes share. */
#ifndef IO_BYTE_FILE_H
#define IO_BYTE_FILE_H

#include "src/status.h"
#include <stddef.h>
#include <stdint.h>

enum { BYTE_FILE_PATH_BYTES = 4096 };

typedef struct ByteFile {
    char path[BYTE_FILE_PATH_BYTES];
    void *stream;       /* zlib's gzFile; NULL: not open */
    int is_compressed;  /* by content, whatever the name says */
    int64_t file_bytes; /* as it lies on the disk */
    int64_t offset;     /* bytes read so far, unpacked: what messages call "byte" */
} ByteFile;

/* Local. Check that `folder`, the job's data.path, is one. Fails with STATUS_MISSING, STATUS_DATA
 * (a file), STATUS_IO. */
MUST_CHECK Status byte_file_check_folder(const char *folder);

/* Local. Open `folder`/`name`; file->stream is NULL where there is no such file, which is no
 * failure. The caller closes with byte_file_close unless it fails. Fails with STATUS_DATA (not a
 * regular file), STATUS_IO, STATUS_NO_MEMORY, STATUS_CONFIG (path too long). */
MUST_CHECK Status byte_file_open(ByteFile *file, const char *folder, const char *name);

/* Local. The same for `folder`/`stem`, then `folder`/`stem`.gz. */
MUST_CHECK Status byte_file_open_packed(ByteFile *file, const char *folder, const char *stem);

/* Local. Read up to `bytes` bytes; fewer, in `*got`, only at the end of the file. Fails with
 * STATUS_DATA when the gzip stream is cut off or damaged, STATUS_IO. Reading past the end has zlib
 * compare the stream's checksum. */
MUST_CHECK Status byte_file_read(ByteFile *file, void *data, int64_t bytes, int64_t *got);

/* Local. Also of a file that is not open. */
void byte_file_close(ByteFile *file);

/* Deflate makes at most 1032 bytes out of one (zlib's "maximum compression factor"); with a margin.
 */
enum { BYTE_FILE_DEFLATE_FACTOR_MAX = 1100 };

/* Local. The most that the file can hold unpacked. */
int64_t byte_file_bytes_max(const ByteFile *file);

#endif
