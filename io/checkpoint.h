/* checkpoint.h - one sealed HDF5 file that holds model, optimizer, progress and history.
 *
 * This file knows the format; what goes in is described by CheckpointContent, a list of arrays. It
 * never talks to other ranks: rank 0 calls it, and the caller agrees. Two equal runs give
 * byte-identical files, so nothing in them may differ between equal runs: no times, speeds, host
 * names, rank or thread counts. */
#ifndef IO_CHECKPOINT_H
#define IO_CHECKPOINT_H

#include "src/shape.h"
#include "src/status.h"
#include <stddef.h>
#include <stdint.h>

enum { CHECKPOINT_FORMAT_VERSION = 1, CHECKPOINT_PATH_BYTES = 4096 };

typedef enum CheckpointType {
    CHECKPOINT_FLOAT32,
    CHECKPOINT_FLOAT64,
    CHECKPOINT_INT64
} CheckpointType;

/* A dataset of the file. When writing, `data` is its content; when reading, it is filled. */
typedef struct CheckpointArray {
    const char *group; /* "model", "optimizer", "optimizer/exp_avg" (after its parent), "history" */
    const char *name;  /* "0.weight": may contain dots, no slash */
    CheckpointType type;
    Shape shape; /* dimension_count 0: a scalar */
    void *data;  /* borrowed */
} CheckpointArray;

/* An attribute of a group: a number, or a text when `text` is not NULL. */
typedef struct CheckpointAttribute {
    const char *group; /* "" is the root */
    const char *name;
    double number;
    const char *text;
} CheckpointAttribute;

typedef struct CheckpointContent {
    int64_t step;       /* also in the seal */
    const char *config; /* the resolved job as text: /config */
    int attribute_count;
    const CheckpointAttribute *attributes; /* in addition to format, format_version, complete */
    int array_count;
    const CheckpointArray *arrays; /* written in this order */
} CheckpointContent;

/* Local. Write `folder`/`name` so that the name exists only when the file is whole: temporary name
 * in the same folder, every return value checked, fsync, read back and verify, rename, fsync of the
 * folder. On failure the temporary is removed and an older file of that name is untouched; only if
 * the last fsync fails is the new file there, whole. Takes memory for the whole file. Fails with
 * STATUS_IO (full disk and the like, naming file and cause), STATUS_CREATE (folder),
 * STATUS_NO_MEMORY. */
MUST_CHECK Status checkpoint_write(
    const char *folder, const char *name, const CheckpointContent *content);

/* Local. Let the symbolic link `folder`/`link` point to `target` (relative to folder), atomically.
 */
MUST_CHECK Status checkpoint_link(const char *folder, const char *link, const char *target);

/* Local. What the link points to; "" when there is no such link or it cannot be read. */
void checkpoint_read_link(const char *folder, const char *link, char target[CHECKPOINT_PATH_BYTES]);

/* A checkpoint opened for reading. */
typedef struct Checkpoint Checkpoint;

/* Local. Open after checking that it is a regular file, of the sealed length, with the sealed
 * XXH3-128 and a known format version, and only then let HDF5 see it; external storage, links,
 * virtual datasets and unknown filters are refused. The caller closes with checkpoint_close. Fails
 * with STATUS_MISSING, STATUS_DATA (message names the file and what is wrong), STATUS_IO. */
MUST_CHECK Status checkpoint_open(Checkpoint **checkpoint, const char *path);
void checkpoint_close(Checkpoint *checkpoint);

/* Local. Fill the arrays. Every array must be there with this type and shape; in the groups named,
 * no other dataset or group may exist. Checks each tensor's own checksum as well. Fails with
 * STATUS_DATA, naming dataset, expected and found, STATUS_IO. */
MUST_CHECK Status checkpoint_read(
    Checkpoint *checkpoint, const CheckpointArray *arrays, int array_count);

/* Local. Length of the first dimension of a dataset (0 for a scalar), so that /history can be read.
 */
MUST_CHECK Status checkpoint_length(
    Checkpoint *checkpoint, const char *group, const char *name, int64_t *length);

/* Local. Attributes, and /config. The caller frees texts with memory_free. */
MUST_CHECK Status checkpoint_read_number(
    Checkpoint *checkpoint, const char *group, const char *name, double *number);
MUST_CHECK Status checkpoint_read_text(
    Checkpoint *checkpoint, const char *group, const char *name, char **text);
MUST_CHECK Status checkpoint_read_config(Checkpoint *checkpoint, char **text);

/* Local. The step in a file's seal without reading the rest. Fails like checkpoint_open. */
MUST_CHECK Status checkpoint_peek_step(const char *path, int64_t *step);

/* Local. The names ("epoch-0003.h5") in `folder` that are checkpoints by name and seal, highest
 * step first; temporaries are ignored. `*names` is an array of `*count` texts in one allocation;
 * the caller frees it with memory_free. An absent folder gives 0. */
MUST_CHECK Status checkpoint_list(const char *folder, char ***names, int *count);

/* Local. Remove the checkpoints in `folder` beyond the newest `keep` (at least 2), except `best`
 * (may be NULL), and temporaries that no living process of this host holds. */
MUST_CHECK Status checkpoint_prune(const char *folder, int keep, const char *best);

/* Local. The version of the HDF5 library in use, e.g. "1.10.8"; static memory. */
const char *checkpoint_library_version(void);

/* A lock on a run directory, so that two jobs never write into one. */
typedef struct CheckpointLock CheckpointLock;

/* Local. Take the lock file `folder`/lock with fcntl; it ends with the process. The file's text
 * names host, process and start for the message of the one that is refused. `wait_seconds`: keep
 * trying that long (a predecessor may be dying). Fails with STATUS_CREATE, naming the holder, when
 * another living process holds it. */
MUST_CHECK Status checkpoint_lock(CheckpointLock **lock, const char *folder, double wait_seconds);
void checkpoint_unlock(CheckpointLock *lock);

#endif
