/* dataset_file.h - write images and labels to an HDF5 file, sample by sample.
 *
 * The file: groups train and (if there are any) test, each with images, uint8 or float32
 * [count][c][h][w], and labels, uint8 or (more than 256 classes) int32 [count], chunked with
 * checksums; the root's attribute `classes` has the names of the classes, where they have any.
 * Equal samples give equal bytes. */
#ifndef IO_DATASET_FILE_H
#define IO_DATASET_FILE_H

#include "src/shape.h"
#include "src/status.h"

typedef struct DatasetFile DatasetFile;

/* Local. Start the file under a temporary name in the folder of `path`, which must be free or a
 * regular file's; gzip_level 0 (none) to 9. One file at a time: the caller frees with
 * dataset_file_free, which removes the temporary unless dataset_file_finish has renamed it, and so
 * do SIGHUP, SIGINT and SIGTERM before they end the process. After a failure the process must not
 * use HDF5 again: a file that cannot be written cannot be closed. Fails with STATUS_CREATE,
 * STATUS_IO, STATUS_NO_MEMORY. */
MUST_CHECK Status dataset_file_create(DatasetFile **file, const char *path, int gzip_level);
void dataset_file_free(DatasetFile *file);

/* What a split holds: `count` >= 1 samples [c, h, w] of elements of 1 byte (uint8_t) or 4 (float).
 */
typedef struct DatasetFileSplit {
    const char *name; /* "train" or "test" */
    int64_t count, class_count;
    Shape sample;
    size_t element_bytes;
} DatasetFileSplit;

/* Local. Start a split; all of its samples are then added one by one: image [c][h][w]. Fails with
 * STATUS_IO, STATUS_NO_MEMORY. */
MUST_CHECK Status dataset_file_begin(DatasetFile *file, const DatasetFileSplit *split);
MUST_CHECK Status dataset_file_add(DatasetFile *file, const void *image, int32_t label);

/* Local. Write the classes' names (class_count 0: they have none), bring the file to the disk and
 * give it its name. Fails with STATUS_IO, STATUS_NO_MEMORY. */
MUST_CHECK Status dataset_file_finish(
    DatasetFile *file, char *const *class_names, size_t class_count);

#endif
