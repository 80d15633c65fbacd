/* image_folder.h - a folder of images as a labelled set: FOLDER/train/CLASS/IMAGE and
 * FOLDER/test/CLASS/IMAGE, or FOLDER/CLASS/IMAGE when all are for training. Without test/, the
 * first of val/, valid/ and validation/ is the test split.
 *
 * Classes are numbered in the order of their names' bytes. A class has the images of its folder and
 * of all folders below it, links followed: folder after folder and name after name in the order of
 * their bytes, as in torchvision's ImageFolder. Images are the files whose names end in .jpg, .jpeg
 * or .png in any case; other files are passed over and counted, names that begin with a dot are
 * not looked at. */
#ifndef IO_IMAGE_FOLDER_H
#define IO_IMAGE_FOLDER_H

#include "io/dataset.h"
#include "io/name_list.h"
#include <stdint.h>

enum {
    IMAGE_FOLDER_SPLITS = 2,
    IMAGE_FOLDER_CLASSES_MAX = 1 << 16,
    IMAGE_FOLDER_PATH_BYTES = 4096,
    IMAGE_FOLDER_DEPTH_MAX = 32, /* folders below a class, one in another */
    IMAGE_FOLDER_KINDS_MAX = 8,
    IMAGE_FOLDER_KIND_BYTES = 12
};

/* Files that are no images by their names. */
typedef struct PassedOver {
    int64_t count;
    char first[IMAGE_FOLDER_PATH_BYTES]; /* in the order of the paths' bytes */
    /* Their endings, "" for none; the first in order where there are more. */
    char kinds[IMAGE_FOLDER_KINDS_MAX][IMAGE_FOLDER_KIND_BYTES];
    int kind_count, has_more_kinds;
} PassedOver;

typedef struct ImageFolder {
    const char *path;                   /* borrowed */
    int has_splits;                     /* train/ is there */
    const char *test_name;              /* "test", "val", ...; NULL: no test split */
    char note[DATASET_NOTE_BYTES];      /* of test_split_find */
    NameList classes;                   /* those of train, in the order of their bytes */
    NameList *files;                    /* [IMAGE_FOLDER_SPLITS][classes.count] */
    int64_t count[IMAGE_FOLDER_SPLITS]; /* images for training, for test, which may be 0 */
    PassedOver passed_over;             /* in the classes, and beside them */
} ImageFolder;

/* Local. List the folder; no image is opened. The caller frees with image_folder_close, also after
 * a failure. Fails with STATUS_MISSING (no such folder, or no class in it), STATUS_DATA (a class
 * without images, a test class that train does not have, splits of other names, too many classes, a
 * link to a folder above it), STATUS_IO. */
MUST_CHECK Status image_folder_open(ImageFolder *folder, const char *path);
void image_folder_close(ImageFolder *folder);

/* Local. The path of image `index` of class `label` in a split (0: train, 1: test). Fails with
 * STATUS_DATA (path too long). */
MUST_CHECK Status image_folder_path(const ImageFolder *folder, int split, int label, size_t index,
    char path[IMAGE_FOLDER_PATH_BYTES]);

#endif
