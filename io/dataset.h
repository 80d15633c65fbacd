/* dataset.h - a set of images and labels: in memory, one copy for the ranks of a node, or, where
 * the format leaves the images in their file, the labels in memory and a source of samples. */
#ifndef IO_DATASET_H
#define IO_DATASET_H

#include "io/name_list.h"
#include "mpi/comm.h"
#include "src/job.h"
#include "src/loader.h"

typedef enum DatasetSplit { DATASET_TRAIN, DATASET_TEST } DatasetSplit;

typedef struct Dataset {
    int64_t count;
    Shape shape; /* of a sample, transformed: [channels, height, width] */
    int class_count;
    int element_bytes;     /* 1: uint8, 4: float */
    const void *images;    /* [count][channels][height][width]; NULL: see source */
    SampleSource source;   /* reads samples when images is NULL */
    int64_t read_bytes;    /* by source for one sample; 0: memory holds all, or will */
    const int32_t *labels; /* [count], each < class_count */
    uint8_t digest[16];    /* XXH3-128, see dataset_open */
    CommWindow *window;    /* holds labels and images */
} Dataset;

enum { DATASET_NOTE_BYTES = 256 };

/* Collective: job equal on all ranks. Whether the set comes with test samples; part of a test split
 * counts as one, so that dataset_open tells what is missing. On rank 0 `note` becomes a line for
 * the user where another split is taken for the test split, or passed over, else "". Fails, agreed,
 * with STATUS_CONFIG (data.path is too long), STATUS_MISSING, STATUS_DATA, STATUS_IO,
 * STATUS_NO_MEMORY. */
MUST_CHECK Status dataset_has_test(
    Comm *comm, const Job *job, int *has_test, char note[DATASET_NOTE_BYTES]);

/* Collective: job and split equal on all ranks. One rank of each node reads (or draws) the set into
 * memory that the node shares, and transforms its samples there; every byte and label is checked,
 * and its digest compared over the nodes: XXH3-128 of sizes, element type, labels and images. Of
 * images that stay in their file, up to 64 samples, evenly spread from the first to the last, and
 * the file's length go into the digest instead: it tells sets apart, but not a change in a sample
 * it does not look at. `*dataset` is filled; the caller frees with dataset_free (Collective), also
 * after a failure. Fails, agreed, with STATUS_CONFIG (the job does not fit the set, message names
 * the key), STATUS_MISSING (no such file, naming those looked for), STATUS_DATA (message names file
 * and byte offset, or the sample), STATUS_IO, STATUS_NO_MEMORY. */
MUST_CHECK Status dataset_open(Dataset *dataset, Comm *comm, const Job *job, DatasetSplit split);
void dataset_free(Dataset *dataset);

/* Local. The names of the classes in the order of their labels, into an empty list; none where the
 * set has none, and maybe not as many as there are classes. The caller frees with name_list_free,
 * also after a failure. Fails with STATUS_CONFIG (data.path is too long), STATUS_MISSING,
 * STATUS_DATA, STATUS_IO, STATUS_NO_MEMORY. */
MUST_CHECK Status dataset_read_classes(const Job *job, NameList *names);

/* Local. The digest in hexadecimal. */
enum { DATASET_DIGEST_TEXT_BYTES = 33 };
void dataset_print_digest(const Dataset *dataset, char text[DATASET_DIGEST_TEXT_BYTES]);

/* Local. A loader of samples [offset, offset + count), normalised as the job says. The dataset must
 * outlive it. Fails as loader_create. */
MUST_CHECK Status dataset_create_loader(
    Loader **loader, const Dataset *dataset, const JobData *data, int64_t offset, int64_t count);

#endif
