/* image_folder.h - a folder of images as a labelled set: FOLDER/train/CLASS/IMAGE and
 * FOLDER/test/CLASS/IMAGE, or FOLDER/CLASS/IMAGE when all are for training. Without test/, the
 * first of val/, valid/ and validation/ is the test split.
 *
 * Classes are numbered in the order of their names' bytes, and so are the images of a class. Images
 * are the files whose names end in .jpg, .jpeg or .png in any case; other files and names that
 * begin with a dot are passed over. */
#ifndef IO_IMAGE_FOLDER_H
#define IO_IMAGE_FOLDER_H

#include "src/status.h"
#include <stddef.h>
#include <stdint.h>

enum {
    IMAGE_FOLDER_SPLITS = 2,
    IMAGE_FOLDER_CLASSES_MAX = 1 << 16,
    IMAGE_FOLDER_PATH_BYTES = 4096
};

/* Names in the order of their bytes. */
typedef struct NameList {
    char **names; /* [count] */
    size_t count, capacity;
} NameList;

typedef struct ImageFolder {
    const char *path;                   /* borrowed */
    int has_splits;                     /* train/ is there */
    const char *test_name;              /* "test", "val", ...; NULL: no test split */
    NameList unused;                    /* other folders of such names */
    NameList classes;                   /* those of train */
    NameList *files;                    /* [IMAGE_FOLDER_SPLITS][classes.count] */
    int64_t count[IMAGE_FOLDER_SPLITS]; /* images for training, for test, which may be 0 */
} ImageFolder;

/* Local. List the folder; no image is opened. The caller frees with image_folder_close, also after
 * a failure. Fails with STATUS_MISSING (no such folder, or no class in it), STATUS_DATA (a class
 * without images, a test class that train does not have, too many classes), STATUS_IO. */
MUST_CHECK Status image_folder_open(ImageFolder *folder, const char *path);
void image_folder_close(ImageFolder *folder);

/* Local. The path of image `index` of class `label` in a split (0: train, 1: test). Fails with
 * STATUS_DATA (path too long). */
MUST_CHECK Status image_folder_path(const ImageFolder *folder, int split, int label, size_t index,
    char path[IMAGE_FOLDER_PATH_BYTES]);

#endif
