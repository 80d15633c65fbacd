/* file.h - files by POSIX calls, every result checked. Each open, read, write, sync and rename is a
 * fault point (status.h), so that tests can make the n-th one fail. */
#ifndef IO_FILE_H
#define IO_FILE_H

#include "src/status.h"
#include <stddef.h>
#include <stdint.h>

/* Local. Open for reading: a regular file, links followed. The caller closes with file_close.
 * Fails with STATUS_MISSING, STATUS_DATA (not a regular file), STATUS_IO. */
MUST_CHECK Status file_open_to_read(int *descriptor, int64_t *size_bytes, const char *path);

/* Local. What a folder holds, for messages about what it lacks: writes "; it holds a, b/, ..." into
 * `text`, "; it is empty", or "" where it cannot be read, and returns it. */
enum { FILE_CONTENT_BYTES = 256 };
const char *file_print_content(const char *folder, char text[FILE_CONTENT_BYTES]);

/* Local. Create a file, to be written; nothing of that name may exist. Fails with STATUS_CREATE
 * (the folder: missing, no permission), STATUS_IO (full disk and the like). */
MUST_CHECK Status file_create(int *descriptor, const char *path);
void file_close(int descriptor);

/* Local. All `bytes` at `offset`. Reading fails with STATUS_IO, also at the file's end. */
MUST_CHECK Status file_read_at(
    int descriptor, const char *path, void *data, size_t bytes, int64_t offset);
MUST_CHECK Status file_write_at(
    int descriptor, const char *path, const void *data, size_t bytes, int64_t offset);

/* Local. Wait until the file's content is on the disk. A failed sync is final: the file must be
 * given up, not synced again. */
MUST_CHECK Status file_sync(int descriptor, const char *path);

/* Local. Give `from` the name `to` in `folder`, replacing what bears it, and wait until the folder
 * is on the disk. Both are names within the folder. Fails with STATUS_IO. */
MUST_CHECK Status file_rename(const char *folder, const char *from, const char *to);

#endif
