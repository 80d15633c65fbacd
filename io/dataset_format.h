/* dataset_format.h - what a data format is: one file io/dataset_<name>.c, a word in the job's list
 * of formats, and one line here. */
#ifndef IO_DATASET_FORMAT_H
#define IO_DATASET_FORMAT_H

#include "io/dataset.h"

/* Which DataFormat is read by which `const DatasetFormat`. */
#define DATASET_FORMATS(ENTRY)                                                                     \
    ENTRY(DATA_IDX, dataset_idx)                                                                   \
    ENTRY(DATA_SYNTHETIC, dataset_synthetic)                                                       \
    ENTRY(DATA_CIFAR, dataset_cifar)                                                               \
    ENTRY(DATA_NPY, dataset_npy)                                                                   \
    ENTRY(DATA_HDF5, dataset_hdf5)

/* What a set holds; all at least 1, count below 2^31, sides at most 4096. */
typedef struct DatasetSizes {
    int64_t count, channels, height, width, class_count;
    int64_t element_bytes; /* 1: uint8, 4: float */
    int64_t first_label;   /* the smallest of the training labels, which count from 0 */
    int64_t file_bytes;    /* of a set whose images stay in their file; 0: the set fits in memory */
    int64_t read_bytes;    /* of such a set for one sample; 0: memory will hold all of it */
} DatasetSizes;

/* Local. Of a sample as it is stored: [channels, height, width], and its bytes. */
Shape dataset_sample_shape(const DatasetSizes *sizes);
size_t dataset_sample_bytes(const DatasetSizes *sizes);

/* All functions are Local and see nothing but the job's data section and seed. Rank 0 alone calls
 * `has_split` and `read_classes`, one rank of each node `measure` and `fill`. */
typedef struct DatasetFormat {
    /* Whether anything of a split is there, images or labels; `note`, "" as it comes, tells where
     * something of the set is taken for it, or passed over. NULL for formats whose sets always have
     * both splits. */
    Status (*has_split)(
        const Job *job, DatasetSplit split, int *has, char note[DATASET_NOTE_BYTES]);

    /* Find out the sizes without memory that depends on them, and check that the set is what it
     * claims as far as that is possible. */
    Status (*measure)(const Job *job, DatasetSplit split, DatasetSizes *sizes);

    /* Write images [count][channels][height][width], of element_bytes each and finite, and labels
     * [count], each below class_count. `sizes` are those that measure gave on rank 0: the set is
     * checked against them again. */
    Status (*fill)(const Job *job, DatasetSplit split, const DatasetSizes *sizes, void *images,
        int32_t *labels);

    /* Add the names of the classes, in the order of their labels, to an empty list; none where the
     * set has none, and maybe not as many as there are classes. NULL for formats without names. */
    Status (*read_classes)(const Job *job, NameList *names);

    /* Where the images stay in their file (file_bytes > 0; `fill` then writes labels only): open it
     * to read samples. Local; every rank calls it. The caller ends with source->close unless it
     * fails. NULL for other formats. */
    Status (*open_source)(
        const Job *job, DatasetSplit split, const DatasetSizes *sizes, SampleSource *source);
} DatasetFormat;

/* Local. That of a DataFormat. */
const DatasetFormat *dataset_format(int format);

#define DATASET_FORMAT_DECLARE(format, object) extern const DatasetFormat object;
DATASET_FORMATS(DATASET_FORMAT_DECLARE)
#undef DATASET_FORMAT_DECLARE

#endif
